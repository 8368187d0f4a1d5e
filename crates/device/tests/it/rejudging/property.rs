//! Random acts and administration, heard of in random order: devices end as one that heard of the administration first.

use aeroedge_device::{Place, TableRights};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Action, RemoveMember, RevokeDevice, Rights, Role, SetRole};
use proptest::prelude::*;
use proptest::test_runner::Config;
use rusqlite::params;

use super::{act, cut_offs, state, writer_of};
use crate::club::{NOW, Peer, admit, carry, carry_control};

/// Cases; more with AEROEDGE_LAW_CASES.
fn config() -> Config {
    let cases = std::env::var("AEROEDGE_LAW_CASES").ok();
    Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(16),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    }
}

/// Tallies are for administrators: a demotion takes them away and leaves the rest.
struct Tallies;

impl TableRights for Tallies {
    fn may_write(&self, table: &str, _: Place, _: UserId, rights: &Rights) -> bool {
        table == "note" || rights.role >= Role::Admin
    }
}

/// Who: 0 the owner, 1 and 2 those who may lose rights, 3 one who keeps them.
#[derive(Debug, Clone)]
enum Step {
    Write {
        by: usize,
        table: bool,
        row: u8,
        staff: bool,
    },
    Delete {
        by: usize,
        row: u8,
        staff: bool,
    },
    /// Data travel, with or without the membership.
    Hear {
        from: usize,
        to: usize,
        control: bool,
        bytes: usize,
    },
    Administer {
        whom: usize,
        what: u8,
        upto: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_usize, any::<bool>(), 0..3_u8, any::<bool>())
            .prop_map(|(by, table, row, staff)| Step::Write { by, table, row, staff }),
        2 => (0..4_usize, 0..3_u8, any::<bool>())
            .prop_map(|(by, row, staff)| Step::Delete { by, row, staff }),
        6 => (0..4_usize, 0..4_usize, prop::bool::weighted(0.3), 1..2000_usize)
            .prop_map(|(from, to, control, bytes)| Step::Hear { from, to, control, bytes }),
        2 => (1..3_usize, 0..6_u8, 0..6_u64)
            .prop_map(|(whom, what, upto)| Step::Administer { whom, what, upto }),
    ]
}

struct World {
    peers: Vec<Peer>,
    context: ContextId,
    time: u64,
}

impl World {
    fn new() -> Self {
        let peer = |number| Peer::with_rights(number, Box::new(Tallies));
        let mut owner = peer(1);
        let context = owner.found(Division::Divided);
        let mut peers = Vec::new();
        for (number, role) in [
            (2, Role::Admin),
            (3, Role::Admin),
            (4, Role::Admin),
            (5, Role::Admin),
        ] {
            let mut other = peer(number);
            admit(&mut owner, &mut other, context, role);
            peers.push(other);
        }
        peers.insert(0, owner);
        for place in 1..peers.len() {
            let (owner, others) = peers.split_first_mut().unwrap();
            carry_control(owner, &mut others[place - 1], context);
        }
        Self {
            peers,
            context,
            time: NOW.0,
        }
    }

    fn compartment(&self, staff: bool) -> CompartmentId {
        let audience = if staff {
            Audience::Staff
        } else {
            Audience::Everyone
        };
        audience.compartment(self.context)
    }

    fn two(&mut self, from: usize, to: usize) -> (&Peer, &mut Peer) {
        assert_ne!(from, to);
        if from < to {
            let (left, right) = self.peers.split_at_mut(to);
            (&left[from], &mut right[0])
        } else {
            let (left, right) = self.peers.split_at_mut(from);
            (&right[0], &mut left[to])
        }
    }

    fn run(&mut self, step: &Step) {
        self.time += 1;
        let now = Millis(self.time);
        match *step {
            Step::Write {
                by,
                table,
                row,
                staff,
            } => {
                let place = self.compartment(staff);
                let title = format!("at {}", now.0 - NOW.0);
                let peer = &mut self.peers[by];
                // One who lost the right and knows it cannot.
                let _ = peer.device.write(now, &mut peer.rng, |tx| {
                    if table {
                        tx.execute(
                            "INSERT INTO tally VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET amount = excluded.amount",
                            params![row.to_string(), place.0, now.0 as i64],
                        )
                    } else if now.0.is_multiple_of(3) {
                        tx.execute(
                            "UPDATE note SET body = ?3 WHERE id = ?1 AND compartment_id = ?2",
                            params![row.to_string(), place.0, title],
                        )
                    } else {
                        tx.execute(
                            "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)
                             ON CONFLICT DO UPDATE SET title = excluded.title",
                            params![row.to_string(), place.0, title],
                        )
                    }
                });
                peer.device.make_durable().unwrap();
            }
            Step::Delete { by, row, staff } => {
                let place = self.compartment(staff);
                let peer = &mut self.peers[by];
                let _ = peer.device.write(now, &mut peer.rng, |tx| {
                    tx.execute(
                        "DELETE FROM note WHERE id = ?1 AND compartment_id = ?2",
                        params![row.to_string(), place.0],
                    )
                });
                peer.device.make_durable().unwrap();
            }
            Step::Hear {
                from,
                to,
                control,
                bytes,
            } => {
                if from != to {
                    self.hear(from, to, control, bytes);
                }
            }
            Step::Administer { whom, what, upto } => self.administer(whom, what, upto),
        }
    }

    fn hear(&mut self, from: usize, to: usize, control: bool, bytes: usize) {
        let context = self.context;
        let compartments = [self.compartment(false), self.compartment(true)];
        let (from, to) = self.two(from, to);
        if control {
            carry_control(from, to, context);
        }
        for compartment in compartments {
            if to.device.compartments(context).contains(&compartment) {
                carry(from, to, context, compartment, bytes);
            }
        }
    }

    fn administer(&mut self, whom: usize, what: u8, upto: u64) {
        let context = self.context;
        let (owner, others) = self.peers.split_first_mut().unwrap();
        let whom = &others[whom - 1];
        let cut_offs = cut_offs(owner, whom, context, upto);
        let user = whom.device.user();
        let role = |role| {
            let rights = Rights::of(role);
            Action::SetRole(SetRole {
                user,
                rights,
                cut_offs: cut_offs.clone(),
            })
        };
        let action = match what {
            0 => Action::RemoveMember(RemoveMember { user, cut_offs }),
            1 => role(Role::ReadOnly),
            2 => role(Role::Member),
            3 => role(Role::Admin),
            4 => Action::CloseWriter {
                writer: writer_of(whom, context),
                cut_offs,
            },
            _ => Action::RevokeDevice(RevokeDevice {
                device: whom.device.key(),
                cut_offs,
            }),
        };
        act(owner, context, action);
    }

    /// Everybody hears everything; those who were shut out are heard and hear of the membership only.
    fn settle(&mut self, upto: usize) {
        let count = upto;
        for _ in 0..3 {
            for to in 0..count {
                for from in 0..count {
                    if from != to {
                        self.hear(from, to, true, 1 << 20);
                    }
                }
            }
        }
    }
}

fn check(steps: &[Step]) {
    let mut world = World::new();
    let context = world.context;
    for step in steps {
        world.run(step);
    }
    world.settle(4);
    // The last device hears of the membership before it hears of anything else.
    {
        let (owner, fresh) = world.two(0, 4);
        carry_control(owner, fresh, context);
    }
    world.hear(3, 4, true, 700);
    world.hear(0, 4, true, 700);
    world.settle(5);
    let mut states = Vec::new();
    for place in [4, 0, 3] {
        states.push(state(&mut world.peers[place], context));
    }
    assert_eq!(states[1], states[0], "the owner and a newcomer");
    assert_eq!(states[2], states[0], "a member and a newcomer");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn devices_end_as_one_that_heard_of_the_administration_first(steps in prop::collection::vec(step(), 4..40)) {
        check(&steps);
    }
}
