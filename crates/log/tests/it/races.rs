//! Whatever three people do at once, and however it arrives, everyone reads the same.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::{ControlHash, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::open_writer;
use aeroedge_log::control::{Action, ControlEntry, RevokeDevice, Rights, Role};
use aeroedge_log::history::{Claim, History, UnknownChain};
use aeroedge_log::invite::InviteSeed;
use aeroedge_log::roster::{ReductionScope, Roster};
use proptest::prelude::*;
use proptest::test_runner::Config;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::world::{Device, SECRET, rights};

/// Ancestors of each entry, itself not among them.
fn ancestors(history: &History) -> BTreeMap<ControlHash, BTreeSet<ControlHash>> {
    let mut known: BTreeMap<ControlHash, BTreeSet<ControlHash>> = BTreeMap::new();
    for entry in history.entries() {
        let mut all: BTreeSet<_> = entry.parents().iter().copied().collect();
        for parent in entry.parents() {
            all.extend(&known[parent]);
        }
        known.insert(entry.hash(), all);
    }
    known
}

/// Of whom a standing act shut out, nothing counts that it did not know and that did not know it.
fn removal_is_strong(history: &History, roster: &Roster) {
    let known = ancestors(history);
    for reduction in roster.reductions() {
        let concerns = |entry: &ControlEntry| match (reduction.scope, roster.device(entry.author()))
        {
            (ReductionScope::User(user), Some(device)) => user == device.user,
            (ReductionScope::Device(key), Some(device)) => key == device.key,
            _ => false,
        };
        for entry in history.entries().filter(|entry| concerns(entry)) {
            let hash = entry.hash();
            let is_apart = hash != reduction.entry
                && !known[&reduction.entry].contains(&hash)
                && !known[&hash].contains(&reduction.entry);
            let is_join = matches!(entry.action(), Action::Join(_));
            let left = reduction.remaining.as_ref();
            let needs_role = matches!(
                entry.action(),
                Action::RemoveMember(_) | Action::SetRole(_) | Action::Invite(_)
            );
            let has_no_right = left.is_none()
                || (needs_role && left.is_some_and(|left| left.role < Role::Manager));
            let is_leaving = matches!(entry.action(), Action::RemoveMember(removed)
                if left.is_some() && roster.device(entry.author()).unwrap().user == removed.user);
            if is_apart && has_no_right && !is_join && !is_leaving {
                assert!(
                    roster.rejected().contains_key(&hash),
                    "{reduction:?} did not know {entry:?}"
                );
            }
        }
    }
    let owners = roster
        .members()
        .filter(|member| member.is_active() && member.rights.role == Role::Owner);
    assert!(owners.count() > 0, "somebody must own the context");
}

fn read(entries: &[&ControlEntry], looks: bool) -> String {
    let mut history = History::new(entries[0].context());
    for entry in entries {
        history.insert((*entry).clone()).unwrap();
        if looks {
            let _ = history.roster();
        }
    }
    assert_eq!(history.len(), entries.len());
    format!("{:?}", history.roster().unwrap())
}

/// Reads `apart` on top of `base` in every order.
fn every_order(base: &[ControlEntry], apart: &[ControlEntry], what: &str) {
    let mut orders = vec![Vec::new()];
    for _ in apart {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let rest = (0..apart.len()).filter(|next| !order.contains(next));
            rest.map(|next| [&order[..], &[next]].concat())
        });
        orders = longer.collect();
    }
    let mut expected = None;
    for (number, order) in orders.into_iter().enumerate() {
        let arrived = order.into_iter().map(|index| &apart[index]);
        let entries: Vec<_> = base.iter().chain(arrived).collect();
        let found = read(&entries, number % 2 == 0);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert_eq!(*expected, found, "{what}");
    }
}

/// What each of three may do at once. Each takes the device, the three users and the open invite.
type Act = fn(&mut Device, &[UserId; 3], &InviteSeed);

const ACTS: [(&str, Act); 11] = [
    ("remove the first", |device, users, _| {
        _ = device.remove(users[0]);
    }),
    ("remove the second", |device, users, _| {
        _ = device.remove(users[1]);
    }),
    ("remove the third", |device, users, _| {
        _ = device.remove(users[2]);
    }),
    ("demote the second", |device, users, _| {
        device.set_role(users[1], rights(Role::Member, &[]));
    }),
    ("promote the third", |device, users, _| {
        device.set_role(users[2], rights(Role::Owner, &[]));
    }),
    ("demote the first", |device, users, _| {
        device.set_role(users[0], rights(Role::ReadOnly, &[]));
    }),
    ("revoke the second's device", |device, users, _| {
        revoke(device, users[1]);
    }),
    ("rotate", |device, _, _| {
        _ = device.rotate(Audience::Everyone);
    }),
    ("withdraw the invite", |device, _, seed| {
        device.act(Action::VoidInvite(seed.key()));
    }),
    ("let somebody join", |device, _, seed| {
        let number = 100 + device.user.0[0];
        let mut joiner = Device::new(number, device.history.context());
        joiner.pull(device);
        joiner.try_join(seed, SECRET).unwrap();
        device.pull(&joiner);
    }),
    ("open a writer", |device, _, _| {
        let now = device.now();
        let (opened, _) = open_writer(&device.history, &device.secrets, now, &mut device.rng);
        device.insert(opened);
    }),
];

fn revoke(by: &mut Device, user: UserId) {
    let roster = by.history.roster().unwrap();
    let device = roster.devices().find(|device| device.user == user).unwrap();
    by.act(Action::RevokeDevice(RevokeDevice {
        device: device.key,
        cut_offs: Vec::new(),
    }));
}

/// Three with these roles, who all know of an invite that one may still use.
fn three(roles: [Rights; 3]) -> ([Device; 3], InviteSeed) {
    let mut founder = Device::founder(1, Division::Single);
    let seed = founder.invite(rights(Role::Member, &[]), 1);
    let mut devices = [2, 3, 4].map(|number| {
        let role = roles[usize::from(number) - 2].clone();
        founder.admit(number, role)
    });
    for device in &mut devices {
        device.pull(&founder);
    }
    (devices, seed)
}

fn done_apart(before: &Device, after: &Device) -> Vec<ControlEntry> {
    let heads = before.history.heads();
    let done = after.history.unknown_to(&heads);
    done.into_iter().cloned().collect()
}

fn whoever_does(devices: &[Device; 3], seed: &InviteSeed, acts: &[(usize, usize)]) {
    let users = [0, 1, 2].map(|index: usize| devices[index].user);
    let mut apart = Vec::new();
    for (by, act) in acts {
        let mut device = devices[*by].twin();
        (ACTS[*act].1)(&mut device, &users, seed);
        apart.extend(done_apart(&devices[*by], &device));
    }
    let base: Vec<_> = devices[0].history.entries().cloned().collect();
    // Beyond three entries only the order of the acts changes.
    apart.truncate(4);
    let names: Vec<_> = acts.iter().map(|(by, act)| (by, ACTS[*act].0)).collect();
    every_order(&base, &apart, &format!("{names:?}"));
    let mut history = History::new(base[0].context());
    for entry in base.iter().chain(&apart) {
        history.insert(entry.clone()).unwrap();
    }
    removal_is_strong(&history, &history.roster().unwrap());
}

fn casts() -> [[Rights; 3]; 2] {
    let [admin, owner] = [Role::Admin, Role::Owner].map(|role| rights(role, &[]));
    [
        [admin.clone(), admin.clone(), admin.clone()],
        [owner, admin.clone(), admin],
    ]
}

#[test]
fn any_two_acts_at_once_read_the_same_in_every_order() {
    for cast in casts() {
        let (devices, seed) = three(cast);
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            for first in 0..ACTS.len() {
                for second in 0..ACTS.len() {
                    whoever_does(&devices, &seed, &[(one, first), (other, second)]);
                }
            }
        }
    }
}

#[test]
fn any_three_acts_at_once_read_the_same_in_every_order() {
    // All of them take minutes; the first six contain every way to change members.
    let count = if std::env::var_os("AEROEDGE_LONG").is_some() {
        ACTS.len()
    } else {
        6
    };
    let [admins, _] = casts();
    let (devices, seed) = three(admins);
    for first in 0..count {
        for second in 0..count {
            for third in 0..count {
                whoever_does(&devices, &seed, &[(0, first), (1, second), (2, third)]);
            }
        }
    }
}

/// A club whose members do things with and without hearing of each other, and in which those who were removed go on with a
/// program that lets them name any heads and any time.
fn hostile_history(seed: u64) -> Vec<ControlEntry> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut devices = vec![Device::founder(1, Division::Single)];
    let shared = devices[0].invite(rights(Role::Manager, &[]), 2);
    for number in 2..6 {
        let role = [Role::Owner, Role::Admin, Role::Admin, Role::Manager][number as usize - 2];
        let device = devices[0].admit(number, rights(role, &[]));
        devices.push(device);
    }
    for step in 0..14_u8 {
        let (chosen, other) = (
            rng.random_range(0..devices.len()),
            rng.random_range(0..devices.len()),
        );
        let user = devices[other].user;
        let is_hostile = rng.random_range(0..3) == 0;
        let now = devices[chosen].now();
        let role = Role::ALL[rng.random_range(0..5)];
        let action = match rng.random_range(0..9) {
            0 | 1 => {
                if chosen != other {
                    let known = devices[other].twin();
                    devices[chosen].pull(&known);
                }
                continue;
            }
            2 => {
                let mut joiner = Device::new(50 + step, devices[0].history.context());
                joiner.pull(&devices[chosen]);
                if joiner.try_join(&shared, SECRET).is_ok() {
                    devices.push(joiner);
                }
                continue;
            }
            3 => Action::VoidInvite(shared.key()),
            4 => {
                let device = &mut devices[chosen];
                let (opened, _) = open_writer(&device.history, &device.secrets, now, &mut rng);
                opened.action().clone()
            }
            5 => devices[chosen]
                .twin()
                .rotate(Audience::Everyone)
                .action()
                .clone(),
            6 => Action::SetRole(aeroedge_log::control::SetRole {
                user,
                rights: rights(role, &[]),
                cut_offs: Vec::new(),
            }),
            _ => Action::RemoveMember(aeroedge_log::control::RemoveMember {
                user,
                cut_offs: Vec::new(),
            }),
        };
        if is_hostile {
            let known: Vec<_> = devices[chosen]
                .history
                .entries()
                .map(ControlEntry::hash)
                .collect();
            let knowing = known[rng.random_range(0..known.len())];
            let at = [1, 1_700_000_005_000, (1 << 48) - 1][rng.random_range(0..3)];
            let forged = devices[chosen].forge(&[knowing], at, action);
            // One who did not even know of their own joining is no member to anybody.
            let _ = devices[chosen].history.insert(forged);
        } else {
            devices[chosen].act(action);
        }
    }
    let mut all = History::new(devices[0].history.context());
    for entry in devices.iter().flat_map(|device| device.history.entries()) {
        all.insert(entry.clone()).unwrap();
    }
    all.entries().cloned().collect()
}

fn cases() -> u32 {
    if std::env::var_os("AEROEDGE_LONG").is_some() {
        5_000
    } else {
        120
    }
}

proptest! {
    #![proptest_config(Config { cases: cases(), ..Config::default() })]

    #[test]
    fn hostile_histories_read_the_same_in_every_order_and_removal_is_strong(seed in any::<u64>()) {
        let entries = hostile_history(seed);
        let mut sorted: Vec<_> = entries.iter().collect();
        let expected = read(&sorted, false);
        prop_assert_eq!(&read(&sorted, true), &expected);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        for looks in [true, false] {
            sorted.shuffle(&mut rng);
            let mut history = History::new(entries[0].context());
            for entry in &sorted {
                history.insert((*entry).clone()).unwrap();
                if looks && rng.random_range(0..2) == 0 {
                    let _ = history.roster();
                }
            }
            prop_assert_eq!(history.len(), entries.len());
            let roster = history.roster().unwrap();
            prop_assert_eq!(&format!("{roster:?}"), &expected);
            removal_is_strong(&history, &roster);
            // Nobody who is out writes now.
            for writer in roster.writers() {
                let everyone = Audience::Everyone.compartment(roster.context());
                let claim = Claim {
                    writer: writer.key,
                    compartment: everyone,
                    seq: aeroedge_ids::Seq(1),
                    epoch: roster.current_epoch(everyone).unwrap(),
                    heads: history.heads(),
                };
                let is_in = roster.active_device(writer.device).is_some_and(|(_, member)| {
                    member.rights.role > Role::ReadOnly
                });
                let counts = history.may_write(&claim, &UnknownChain).is_ok();
                prop_assert_eq!(counts, is_in && writer.ended().is_none());
            }
        }
    }
}
