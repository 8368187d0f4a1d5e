//! A seed is a run: the same again, event by event.

use aeroedge_simulator::run;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [7, 23, 34] {
        let (first, second) = (run(seed, None, true), run(seed, None, false));
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.figures, second.figures);
        assert!(!first.lines.is_empty());
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(run(23, None, false).trace, run(24, None, false).trace);
}
