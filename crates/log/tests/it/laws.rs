//! The reading of a history depends on what is in it, not on how it came.

use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::start_epoch;
use aeroedge_log::control::{Action, ControlEntry, RemoveMember, Role, SetRole};
use aeroedge_log::history::{History, Inserted};
use proptest::prelude::*;
use proptest::test_runner::Config;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::world::{Device, SECRET, rights};

/// A club in which several people change things, sometimes without hearing of each other.
fn busy_history(seed: u64) -> Vec<ControlEntry> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut devices = vec![Device::founder(1, Division::Divided)];
    let shared = devices[0].invite(rights(Role::Member, &[]), 2);
    for number in 2..5 {
        let role = [Role::Admin, Role::Manager, Role::Member][number as usize - 2];
        let device = devices[0].admit(number, rights(role, &[]));
        devices.push(device);
    }
    for step in 0..12_u8 {
        let chosen = rng.random_range(0..devices.len());
        let other = rng.random_range(0..devices.len());
        let user = devices[other].user;
        match rng.random_range(0..6) {
            0 => {
                let mut joiner = Device::new(50 + step, devices[0].history.context());
                joiner.pull(&devices[chosen]);
                if joiner.try_join(&shared, SECRET).is_ok() {
                    devices.push(joiner);
                }
            }
            1 => {
                let role = Role::ALL[rng.random_range(0..5)];
                devices[chosen].act(Action::SetRole(SetRole {
                    user,
                    rights: rights(role, &["x"]),
                    cut_offs: Vec::new(),
                }));
            }
            2 => {
                devices[chosen].act(Action::RemoveMember(RemoveMember {
                    user,
                    cut_offs: Vec::new(),
                }));
            }
            3 => {
                let device = &mut devices[chosen];
                let now = device.now();
                let audience = [Audience::Everyone, Audience::Staff, Audience::Person(user)]
                    [rng.random_range(0..3)];
                if let Some(epoch) = start_epoch(
                    &device.history,
                    &device.secrets,
                    audience,
                    now,
                    &mut device.rng,
                ) {
                    device.insert(epoch);
                }
            }
            _ => {
                let others: Vec<ControlEntry> = devices[other].history.entries().cloned().collect();
                for entry in others {
                    devices[chosen].insert(entry);
                }
            }
        }
    }
    let mut all = History::new(devices[0].history.context());
    for entry in devices.iter().flat_map(|device| device.history.entries()) {
        all.insert(entry.clone()).unwrap();
    }
    all.entries().cloned().collect()
}

fn read_in_order(entries: &[ControlEntry], look: impl Fn(usize) -> bool) -> String {
    let mut history = History::new(entries[0].context());
    let mut added = 0;
    for (position, entry) in entries.iter().enumerate() {
        match history.insert(entry.clone()).unwrap() {
            Inserted::Added(hashes) => added += hashes.len(),
            Inserted::Waiting { missing } => assert!(!missing.is_empty()),
            Inserted::Known => panic!("each is inserted once"),
        }
        if look(position) {
            // Readings in between must leave no trace in later ones.
            let _ = history.roster();
        }
    }
    assert_eq!(added, entries.len());
    assert!(history.missing().is_empty());
    format!("{:#?}", history.roster().unwrap())
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn the_reading_is_the_same_for_every_order_of_arrival(seed in any::<u64>()) {
        let mut entries = busy_history(seed);
        let expected = read_in_order(&entries, |_| false);
        prop_assert_eq!(&read_in_order(&entries, |_| true), &expected);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        for _ in 0..4 {
            let context = entries[0].context();
            entries.shuffle(&mut rng);
            prop_assert!(entries.iter().all(|entry| entry.context() == context));
            prop_assert_eq!(&read_in_order(&entries, |position| position % 3 == 0), &expected);
        }
    }

    #[test]
    fn an_earlier_point_reads_as_it_did_then(seed in any::<u64>()) {
        let entries = busy_history(seed);
        let mut history = History::new(entries[0].context());
        let mut points = Vec::new();
        for entry in &entries {
            history.insert(entry.clone()).unwrap();
            points.push((history.heads(), format!("{:?}", history.roster().unwrap())));
        }
        for (heads, then) in points {
            prop_assert_eq!(format!("{:?}", history.roster_at(&heads).unwrap()), then);
        }
    }
}
