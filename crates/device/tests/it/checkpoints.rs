//! A device that begins with the state of a compartment is equal to those that took every entry, and stays so.

use aeroedge_device::LoadStateError;
use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use proptest::prelude::*;
use rusqlite::params;

use crate::club::{NOW, Peer, admit, everyone, synchronise_at};

const CHANGES: &[&str] = &[
    "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET title = excluded.title",
    "INSERT INTO note(id, compartment_id, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = excluded.body",
    "DELETE FROM note WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
    "INSERT INTO tally(id, compartment_id, amount) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET amount = excluded.amount",
    "DELETE FROM tally WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
];

/// What happens next: who writes what, and who meets whom afterwards.
#[derive(Debug, Clone)]
struct Step {
    peer: usize,
    change: usize,
    row: u8,
    value: i64,
    meets: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    (
        0..3_usize,
        0..CHANGES.len(),
        0..4_u8,
        0..1000_i64,
        prop::option::weighted(0.4, 0..3_usize),
    )
        .prop_map(|(peer, change, row, value, meets)| Step {
            peer,
            change,
            row,
            value,
            meets,
        })
}

struct Group {
    peers: Vec<Peer>,
    context: ContextId,
    compartment: CompartmentId,
    now: Millis,
}

impl Group {
    /// Three who work, and as many newcomers who have seen nothing but the membership.
    fn new(newcomers: u8) -> (Self, Vec<Peer>) {
        let mut owner = Peer::new(1);
        let context = owner.found(Division::Single);
        let mut others: Vec<Peer> = (2..4 + newcomers)
            .map(|number| {
                let mut peer = Peer::new(number);
                admit(&mut owner, &mut peer, context, Role::Member);
                peer
            })
            .collect();
        let newcomers = others.split_off(2);
        let mut peers = vec![owner];
        peers.extend(others);
        let mut group = Self {
            peers,
            context,
            compartment: everyone(context),
            now: NOW,
        };
        group.settle();
        (group, newcomers)
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.now = Millis(self.now.0 + 1000);
            let peer = &mut self.peers[step.peer];
            let id = format!("row {}", step.row);
            let written = peer.device.write(self.now, &mut peer.rng, |tx| {
                tx.execute(
                    CHANGES[step.change],
                    params![id, self.compartment.0, step.value],
                )
            });
            written.unwrap();
            peer.device.make_durable().unwrap();
            if let Some(other) = step.meets.filter(|other| *other != step.peer) {
                self.meet(step.peer, other);
            }
        }
    }

    fn meet(&mut self, one: usize, other: usize) {
        let [one, other] = self.peers.get_disjoint_mut([one, other]).unwrap();
        synchronise_at(one, other, self.context, self.now);
    }

    fn settle(&mut self) {
        for (one, other) in [(0, 1), (1, 2), (0, 1), (0, 2)] {
            self.meet(one, other);
        }
    }
}

fn assert_same(left: &mut Peer, right: &mut Peer) {
    assert_eq!(left.notes(), right.notes());
    assert_eq!(
        left.device.engine_digest().unwrap(),
        right.device.engine_digest().unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_begins_with_a_state_stays_equal(
        before in prop::collection::vec(step(), 1..30),
        after in prop::collection::vec(step(), 1..30),
    ) {
        let (mut group, mut newcomers) = Group::new(1);
        let mut newcomer = newcomers.pop().unwrap();
        group.run(&before);
        let compartment = group.compartment;
        // Not everything has to be everywhere: the state is that of one device.
        let taken = group.peers[1].device.state_bytes(compartment).unwrap();
        newcomer.device.load_state(compartment, &taken.bytes, &taken.hash, group.now).unwrap();
        assert_same(&mut group.peers[1], &mut newcomer);
        prop_assert_eq!(newcomer.device.state_bytes(compartment).unwrap(), taken);

        group.run(&after);
        group.settle();
        let settled = group.peers[0].device.state_bytes(compartment).unwrap();
        for peer in &mut group.peers {
            prop_assert!(peer.device.state_bytes(compartment).unwrap() == settled);
        }
        synchronise_at(&mut group.peers[0], &mut newcomer, group.context, group.now);
        assert_same(&mut group.peers[0], &mut newcomer);
        prop_assert!(newcomer.device.state_bytes(compartment).unwrap() == settled);

        // A member who goes takes with it what it wrote and nobody had when it went; the newcomer makes its rows anew from the state.
        group.run(&[Step { peer: 2, change: 0, row: 1, value: -1, meets: None }]);
        synchronise_at(&mut group.peers[2], &mut newcomer, group.context, group.now);
        let gone = group.peers[2].device.user();
        let owner = &mut group.peers[0];
        owner.device.remove_member(group.context, gone, group.now, &mut owner.rng).unwrap();
        synchronise_at(&mut group.peers[0], &mut newcomer, group.context, group.now);
        for peer in [&mut group.peers[0], &mut newcomer] {
            peer.device.merge_waiting(group.now).unwrap();
        }
        synchronise_at(&mut group.peers[0], &mut newcomer, group.context, group.now);
        assert_same(&mut group.peers[0], &mut newcomer);
        // And writes like everybody else.
        let write = newcomer.try_write(group.now, compartment, "row 2", "by the newcomer");
        write.unwrap();
        synchronise_at(&mut group.peers[0], &mut newcomer, group.context, group.now);
        assert_same(&mut group.peers[0], &mut newcomer);
    }
}

#[test]
fn a_state_that_does_not_match_its_hash_changes_nothing() {
    let (mut group, mut newcomers) = Group::new(1);
    let mut newcomer = newcomers.pop().unwrap();
    let compartment = group.compartment;
    group.peers[0].write(compartment, "a", "here");
    let taken = group.peers[0].device.state_bytes(compartment).unwrap();
    let nothing = newcomer.device.engine_digest().unwrap();
    let mut damaged = taken.bytes.clone();
    damaged[taken.bytes.len() / 2] ^= 1;
    let error = newcomer
        .device
        .load_state(compartment, &damaged, &taken.hash, NOW)
        .unwrap_err();
    assert!(matches!(error, LoadStateError::OtherHash));
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(newcomer.device.engine_digest().unwrap(), nothing);
    assert!(newcomer.device.frontier(compartment).unwrap().is_empty());
    // With the right bytes it goes on as if nothing had been.
    newcomer
        .device
        .load_state(compartment, &taken.bytes, &taken.hash, NOW)
        .unwrap();
    assert_eq!(newcomer.notes().len(), 1);
}

#[test]
fn a_state_that_lacks_what_is_here_is_refused() {
    let (mut group, _) = Group::new(0);
    let compartment = group.compartment;
    group.peers[0].write(compartment, "a", "here");
    let taken = group.peers[0].device.state_bytes(compartment).unwrap();
    group.peers[1].write(compartment, "b", "not in the state");
    let before = group.peers[1].device.engine_digest().unwrap();
    let error = group.peers[1]
        .device
        .load_state(compartment, &taken.bytes, &taken.hash, NOW)
        .unwrap_err();
    assert!(matches!(error, LoadStateError::Behind(_)), "{error}");
    assert_eq!(group.peers[1].device.engine_digest().unwrap(), before);
    assert_eq!(group.peers[1].notes().len(), 1);
}
