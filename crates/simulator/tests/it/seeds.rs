//! Many worlds, in parts that run beside each other. `AEROEDGE_SIM_SEEDS=3000` runs more of them.

use aeroedge_simulator::{Figures, run};

/// Parts of the test, each of which takes every so manieth seed.
const PARTS: u64 = 8;
/// Seeds unless the environment says otherwise.
const SEEDS: u64 = 500;

/// Worlds that do not end equal yet.
// FIXME: in each somebody is let in by an invite that falls with its maker; entries of others then fail to reach one of those who stay.
const OPEN: [u64; 3] = [253, 294, 335];

/// Runs the seeds of one part; every one must end equal and complete.
fn check_part(part: u64) {
    let seeds = std::env::var("AEROEDGE_SIM_SEEDS").map_or(SEEDS, |count| {
        count.parse().expect("AEROEDGE_SIM_SEEDS is a number")
    });
    let mut failures = Vec::new();
    for seed in (part..seeds).step_by(PARTS as usize) {
        let outcome = run(seed, None, false);
        if OPEN.contains(&seed) {
            assert!(
                outcome.broken.is_some(),
                "seed {seed} is mended: take it off the list"
            );
            continue;
        }
        if let Some(broken) = outcome.broken {
            failures.push(format!("seed {seed}: {broken}"));
        }
        check_worth(&outcome.figures);
    }
    assert!(
        failures.is_empty(),
        "look at one with AEROEDGE_SIM_SEED=n cargo test -p aeroedge-simulator replay -- --nocapture\n{}",
        failures.join("\n")
    );
}

/// A world in which nothing happens proves nothing.
fn check_worth(figures: &Figures) {
    assert!((5..=20).contains(&figures.nodes), "{figures:?}");
    assert!(figures.links > 0, "{figures:?}");
}

#[test]
fn worlds_end_equal_and_complete_0() {
    check_part(0);
}

#[test]
fn worlds_end_equal_and_complete_1() {
    check_part(1);
}

#[test]
fn worlds_end_equal_and_complete_2() {
    check_part(2);
}

#[test]
fn worlds_end_equal_and_complete_3() {
    check_part(3);
}

#[test]
fn worlds_end_equal_and_complete_4() {
    check_part(4);
}

#[test]
fn worlds_end_equal_and_complete_5() {
    check_part(5);
}

#[test]
fn worlds_end_equal_and_complete_6() {
    check_part(6);
}

#[test]
fn worlds_end_equal_and_complete_7() {
    check_part(7);
}
