//! Planted bugs: a simulator that never fails proves nothing, so each mistake must be noticed by some world soon.

use aeroedge_simulator::{Broken, Bug, run};

/// Seeds within which a planted bug must show.
const SEEDS: u64 = 12;

/// Plants a bug in world after world until it is caught, and checks how.
fn check(bug: Bug, is_its_mark: impl Fn(&Broken) -> bool) {
    let mut found = Vec::new();
    for seed in 0..SEEDS {
        if let Some(broken) = run(seed, Some(bug), false).broken {
            if is_its_mark(&broken) {
                return;
            }
            found.push(format!("seed {seed}: {broken}"));
        }
    }
    panic!(
        "{bug:?} was not caught in {SEEDS} worlds; found were\n{}",
        found.join("\n")
    );
}

#[test]
fn rows_without_their_entry_are_noticed() {
    check(Bug::ForgetToSeal, |broken| {
        matches!(broken, Broken::RowDiffers { .. })
    });
}

#[test]
fn entries_applied_twice_are_noticed() {
    check(Bug::ApplyTwice, |broken| {
        matches!(broken, Broken::Differ { .. })
    });
}

#[test]
fn a_batch_acknowledged_and_not_stored_is_noticed() {
    check(Bug::DropBatch, |broken| {
        matches!(broken, Broken::Declined { .. } | Broken::NotConverged(_))
    });
}

#[test]
fn heads_signed_before_the_fsync_are_noticed() {
    check(Bug::SignBeforeDurable, |broken| {
        matches!(
            broken,
            Broken::AcknowledgedLost { .. } | Broken::SeqUsedTwice { .. }
        )
    });
}

#[test]
fn a_lost_merged_position_is_noticed() {
    check(Bug::LoseMergedPosition, |broken| {
        matches!(broken, Broken::RowDiffers { .. })
    });
}

#[test]
fn a_flipped_bit_in_a_stored_entry_is_noticed() {
    check(Bug::CorruptEntry, |broken| {
        matches!(
            broken,
            Broken::BrokenLog { .. }
                | Broken::AcknowledgedLost { .. }
                | Broken::SeqUsedTwice { .. }
                | Broken::Declined { .. }
        )
    });
}

#[test]
fn a_compartment_shared_with_too_many_is_noticed() {
    check(Bug::ShareTooMuch, |broken| {
        matches!(broken, Broken::Leaked { .. })
    });
}
