//! One seed, line by line: `AEROEDGE_SIM_SEED=7 cargo test -p aeroedge-simulator replay -- --nocapture`. What the report of a failing seed
//! names besides, such as `AEROEDGE_SIM_WITHOUT=crashes`, leaves out what the failure does not need.

use aeroedge_simulator::{Lessened, run_lessened};

#[test]
fn replay() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(seed) = variable("AEROEDGE_SIM_SEED") else {
        return;
    };
    let without = variable("AEROEDGE_SIM_WITHOUT");
    let limit = variable("AEROEDGE_SIM_TROUBLE_MS");
    let lessened = Lessened::parse(without.as_deref(), limit.as_deref()).unwrap();
    let outcome = run_lessened(seed.parse().unwrap(), None, &lessened, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{:#?}", outcome.figures);
    assert_eq!(outcome.broken, None);
}
