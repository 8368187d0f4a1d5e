//! When to dial somebody again, after failures and after refusals.
//!
//! A failure may be a cut cable, so it is tried again within a second; a link that one end closed on purpose is left
//! alone for longer each time.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// Pause after the first failure, doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause while there is hope: a cut of the network must heal quickly.
const PAUSE_MAX_HOPEFUL: Duration = Duration::from_secs(1);
/// Longest pause otherwise.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// First pause after a link that one end closed on purpose.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
const REFUSED_PAUSE_MAX: Duration = Duration::from_mins(2);

/// The attempts to reach one place.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    under_way: bool,
    not_before: Option<Instant>,
    failures: u32,
    /// Links in a row that one end closed on purpose.
    refusals: u32,
}

impl Attempts {
    /// Whether to dial now; if so, an attempt is under way until [`Attempts::over`].
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        let due = !self.under_way && self.not_before.is_none_or(|time| time <= now);
        if due {
            self.under_way = true;
            self.not_before = None;
        }
        due
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next attempt may start, if none is under way.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.under_way)
    }

    /// Lets some time pass before the very first attempt.
    pub(crate) fn hold_first_until(&mut self, time: Instant) {
        if self.failures == 0 && self.refusals == 0 && self.not_before.is_none() {
            self.not_before = Some(time);
        }
    }

    /// Failures of the past say nothing any more; refusals do.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.failures = 0;
        if self.refusals == 0 {
            self.not_before = self.not_before.map(|time| time.min(now));
        }
    }

    /// Refusals of the past say nothing any more either.
    pub(crate) fn start_afresh(&mut self, now: Instant) {
        self.refusals = 0;
        self.hurry(now);
    }

    /// The attempt is over, well or not.
    pub(crate) fn over(&mut self) {
        self.under_way = false;
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn failed(&mut self, hopeful: bool, now: Instant, random: &mut impl Rng) {
        let most = if hopeful {
            PAUSE_MAX_HOPEFUL
        } else {
            PAUSE_MAX
        };
        let pause = doubled(FIRST_PAUSE, self.failures, most);
        self.failures += 1;
        self.not_before = Some(now + jittered(pause, random));
    }

    /// One end closed the link on purpose; `lasted` tells that it was wanted for a while.
    pub(crate) fn refused(&mut self, lasted: bool, now: Instant, random: &mut impl Rng) {
        if lasted {
            self.refusals = 0;
        }
        let pause = doubled(REFUSED_PAUSE, self.refusals, REFUSED_PAUSE_MAX);
        self.refusals += 1;
        self.not_before = Some(now + jittered(pause, random));
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.refusals > 0
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(most)
}

/// Between half the pause and all of it, so that devices cut off together do not return in step.
fn jittered(pause: Duration, random: &mut impl Rng) -> Duration {
    pause.mul_f64(random.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(count: usize, mut again: impl FnMut(&mut Attempts, Instant)) -> Vec<Duration> {
        let now = Instant::now();
        let mut attempts = Attempts::default();
        (0..count)
            .map(|_| {
                again(&mut attempts, now);
                attempts.next().unwrap() - now
            })
            .collect()
    }

    #[test]
    fn failures_are_retried_within_a_second_while_there_is_hope() {
        let hopeful = pauses(50, |attempts, now| {
            attempts.failed(true, now, &mut rand::rng());
        });
        assert!(hopeful[0] <= FIRST_PAUSE);
        assert!(
            hopeful
                .iter()
                .all(|pause| *pause >= FIRST_PAUSE / 2 && *pause <= PAUSE_MAX_HOPEFUL)
        );
        let hopeless = pauses(50, |attempts, now| {
            attempts.failed(false, now, &mut rand::rng());
        });
        assert!(hopeless.iter().all(|pause| *pause <= PAUSE_MAX));
        assert!(hopeless[49] >= PAUSE_MAX / 2);
    }

    #[test]
    fn refusals_lengthen_the_pause_and_no_hurry_shortens_it() {
        let refused = pauses(12, |attempts, now| {
            attempts.refused(false, now, &mut rand::rng());
            attempts.hurry(now);
        });
        assert!(refused[0] >= REFUSED_PAUSE / 2);
        assert!(refused[11] >= REFUSED_PAUSE_MAX / 2 && refused[11] <= REFUSED_PAUSE_MAX);
        let wanted = pauses(12, |attempts, now| {
            attempts.refused(true, now, &mut rand::rng());
        });
        assert!(wanted[11] <= REFUSED_PAUSE);
    }

    #[test]
    fn one_attempt_at_a_time() {
        let now = Instant::now();
        let mut attempts = Attempts::default();
        assert!(attempts.start(now));
        assert!(!attempts.start(now));
        attempts.over();
        attempts.failed(true, now, &mut rand::rng());
        assert!(!attempts.start(now));
        assert!(attempts.start(now + PAUSE_MAX_HOPEFUL));
        attempts.over();
        attempts.failed(true, now, &mut rand::rng());
        attempts.hurry(now);
        assert!(attempts.start(now));
    }
}
