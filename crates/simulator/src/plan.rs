//! What a seed stands for: who is there, who belongs where, and what goes wrong.

use aeroedge_log::compartment::Division;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// A mistake that a careless driver could make, planted to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Now and then rows are committed and their entry is not.
    ForgetToSeal,
    /// Now and then entries that were merged are merged again.
    ApplyTwice,
    /// Now and then a batch is acknowledged and not stored.
    DropBatch,
    /// Heads are signed before anything is on the disk.
    SignBeforeDurable,
    /// Now and then an entry counts as merged that was not.
    LoseMergedPosition,
    /// Now and then a bit of a stored entry flips.
    CorruptEntry,
    /// Every member is given every compartment.
    ShareTooMuch,
}

/// A context to be.
#[derive(Debug, Clone)]
pub(crate) struct ContextPlan {
    pub(crate) division: Division,
    /// The node that founds it.
    pub(crate) founder: usize,
    /// The nodes that join, with the time in milliseconds at which they are invited.
    pub(crate) joiners: Vec<(usize, u64)>,
}

/// Everything about a run that is decided before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) contexts: Vec<ContextPlan>,
    /// How far each node's clock is ahead of the true time, milliseconds.
    pub(crate) skews_ms: Vec<i64>,
    /// How long things go wrong, milliseconds.
    pub(crate) trouble_ms: u64,
    /// Mean time between two transactions of one node, milliseconds.
    pub(crate) write_every_ms: u64,
    /// Mean time between two losses of a link anywhere, milliseconds.
    pub(crate) cut_every_ms: u64,
    /// Mean time between two crashes anywhere, milliseconds.
    pub(crate) crash_every_ms: u64,
    /// Mean time between two partitions, milliseconds.
    pub(crate) part_every_ms: u64,
    /// Mean time between two manipulated frames, milliseconds.
    pub(crate) tamper_every_ms: u64,
    /// Mean time between two changes to who belongs where, milliseconds.
    pub(crate) administer_every_ms: u64,
    /// Greatest latency of a link, milliseconds.
    pub(crate) latency_max_ms: u64,
    /// Which crashes are power cuts that may lose what no fsync covered, out of ten.
    pub(crate) power_cuts_of_ten: u32,
}

/// Clocks of members differ by up to a minute.
pub(crate) const SKEW_MAX_MS: i64 = 60_000;

impl Plan {
    /// What kind of world it describes, in the words of a report.
    pub(crate) fn scenarios(&self) -> Vec<&'static str> {
        let mut scenarios = vec![match self.nodes {
            ..=7 => "few devices",
            8..=12 => "ten devices",
            _ => "many devices",
        }];
        if self.contexts.len() > 1 {
            scenarios.push("several contexts");
        }
        if self
            .contexts
            .iter()
            .any(|context| context.division == Division::Divided)
        {
            scenarios.push("divided context");
        }
        if self.skews_ms.iter().any(|skew| skew.abs() > SKEW_MAX_MS) {
            scenarios.push("clock far off");
        }
        scenarios
    }

    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed ^ 0x706c_616e);
        // Most worlds are small, so that much happens between the same few; every tenth is as large as they get.
        let nodes = match rng.random_range(0..10) {
            0 => rng.random_range(13..=20),
            1..=3 => rng.random_range(8..=12),
            _ => rng.random_range(5..=7),
        };
        let trouble_ms = rng.random_range(40_000..90_000);
        let contexts = (0..rng.random_range(1..=3))
            .map(|number| {
                let founder = rng.random_range(0..nodes);
                let joiners = (0..nodes)
                    .filter(|node| *node != founder)
                    .filter(|_| number == 0 || rng.random_bool(0.5))
                    .collect::<Vec<_>>();
                let joiners = joiners
                    .into_iter()
                    .map(|node| {
                        let late = rng.random_bool(0.3);
                        let until = if late { trouble_ms } else { 5_000 };
                        (node, rng.random_range(1_000..until))
                    })
                    .collect();
                let division = if rng.random_bool(0.4) {
                    Division::Divided
                } else {
                    Division::Single
                };
                ContextPlan {
                    division,
                    founder,
                    joiners,
                }
            })
            .collect();
        let mut skews_ms: Vec<i64> = (0..nodes)
            .map(|_| {
                if rng.random_bool(0.5) {
                    rng.random_range(-3_000..3_000)
                } else {
                    rng.random_range(-SKEW_MAX_MS..SKEW_MAX_MS)
                }
            })
            .collect();
        if rng.random_bool(0.08) {
            // One clock is so far ahead that others hold back what it stamps.
            skews_ms[rng.random_range(0..nodes)] = rng.random_range(310_000..420_000);
        }
        let calm = rng.random_bool(0.1);
        let mut every = |from: u64, to: u64| {
            if calm {
                u64::MAX
            } else {
                rng.random_range(from..to)
            }
        };
        let (cut_every_ms, crash_every_ms) = (every(800, 8_000), every(3_000, 20_000));
        let (part_every_ms, tamper_every_ms) = (every(10_000, 40_000), every(4_000, 60_000));
        let administer_every_ms = if rng.random_bool(0.5) {
            rng.random_range(8_000..40_000)
        } else {
            u64::MAX
        };
        Self {
            nodes,
            contexts,
            skews_ms,
            trouble_ms,
            write_every_ms: rng.random_range(800..4_000) * nodes as u64 / 5,
            cut_every_ms,
            crash_every_ms,
            part_every_ms,
            tamper_every_ms,
            administer_every_ms,
            latency_max_ms: rng.random_range(2..200),
            power_cuts_of_ten: rng.random_range(0..=10),
        }
    }
}
