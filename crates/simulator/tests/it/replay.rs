//! One seed, line by line: `AEROEDGE_SIM_SEED=7 cargo test -p aeroedge-simulator replay -- --nocapture`.

use aeroedge_simulator::run;

#[test]
fn replay() {
    let Ok(seed) = std::env::var("AEROEDGE_SIM_SEED") else {
        return;
    };
    let outcome = run(seed.parse().unwrap(), None, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{:#?}", outcome.figures);
    assert_eq!(outcome.broken, None);
}
