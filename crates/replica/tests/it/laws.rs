//! The merge laws: whatever replicas do, and in whatever causal order, grouping and repetition their changes arrive, those
//! that merged the same changes are equal in every row, clock, tombstone and open conflict.

mod images;
mod operations;
mod schemas;
mod taken_back;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::WriterKey;
use aeroedge_replica::Merged;
use proptest::prelude::*;
use proptest::test_runner::Config;

use self::operations::{Operation, Step, operation};
use self::schemas::{Schema, schema};
use crate::support::{Entry, Peer};

/// Cases per property; more with AEROEDGE_LAW_CASES.
fn cases() -> u32 {
    std::env::var("AEROEDGE_LAW_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(64)
}

fn config() -> Config {
    Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..Config::default()
    }
}

/// A plan for a run: who does what in which order, and seeds for the orders in which others hear of it.
#[derive(Debug, Clone)]
struct Plan {
    schema: Schema,
    peers: usize,
    operations: Vec<Operation>,
    seeds: [u64; 3],
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        schema(),
        2..=4_usize,
        prop::collection::vec(operation(), 1..40),
        any::<[u64; 3]>(),
    )
        .prop_map(|(schema, peers, operations, seeds)| Plan {
            schema,
            peers,
            operations,
            seeds,
        })
}

struct World {
    peers: Vec<Peer>,
    schema: Schema,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let peers = (0..plan.peers)
            .map(|number| new_peer(number as u8 + 1, &plan.schema))
            .collect();
        Self {
            peers,
            schema: plan.schema.clone(),
        }
    }

    fn run(&mut self, operation: &Operation) {
        let count = self.peers.len();
        match operation {
            Operation::Write { peer, steps } => {
                let peer = &mut self.peers[peer % count];
                write(peer, &self.schema, steps);
            }
            Operation::Deliver {
                from,
                to,
                count: upto,
                group,
            } => {
                let (from, to) = (from % count, to % count);
                if from != to {
                    let log = self.peers[from].entries.clone();
                    let upto = log.len() * (*upto as usize + 1) / 8;
                    deliver(&mut self.peers[to], &log[..upto.min(log.len())], *group);
                }
            }
            Operation::Tick { peer, milliseconds } => {
                self.peers[peer % count].now += u64::from(*milliseconds);
            }
        }
    }

    /// Everyone hears everything.
    fn settle(&mut self) {
        for _ in 0..2 {
            for from in 0..self.peers.len() {
                for to in (0..self.peers.len()).rev() {
                    if from != to {
                        let log = self.peers[from].entries.clone();
                        deliver(&mut self.peers[to], &log, 3);
                    }
                }
            }
        }
    }
}

fn new_peer(number: u8, schema: &Schema) -> Peer {
    Peer::new(number, &schema.sql(), &schema.merged())
}

fn write(peer: &mut Peer, schema: &Schema, steps: &[Step]) {
    let before = dump(peer, schema);
    let written = peer.write(|transaction| {
        for step in steps {
            step.run(transaction, schema)?;
        }
        Ok(())
    });
    if written.is_err() {
        assert_eq!(
            dump(peer, schema),
            before,
            "a failed transaction left something behind"
        );
    }
}

fn deliver(peer: &mut Peer, log: &[Entry], group: u8) {
    for entries in log.chunks(usize::from(group) + 1) {
        peer.receive(entries);
    }
}

/// All rows of all tables.
fn dump(peer: &Peer, schema: &Schema) -> String {
    schema
        .tables
        .iter()
        .map(|table| peer.query(&table.dump_sql()) + "\n")
        .collect()
}

fn assert_equal(left: &mut Peer, right: &mut Peer, schema: &Schema) {
    assert_eq!(dump(left, schema), dump(right, schema));
    let equal = left.replica.digest(None).unwrap() == right.replica.digest(None).unwrap();
    assert!(
        equal,
        "equal rows, other history:\n{}\n---\n{}",
        history(left),
        history(right)
    );
}

fn history(peer: &mut Peer) -> String {
    let conflicts = peer
        .replica
        .conflicts(aeroedge_replica::ConflictFilter {
            with_equal: true,
            ..Default::default()
        })
        .unwrap();
    format!("{conflicts:#?}")
}

/// A deterministic stream of choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

/// All entries in some order in which nothing comes before what its writer had seen.
fn causal_order(entries: &[Entry], seed: u64) -> Vec<Entry> {
    let mut choices = Choices(seed);
    let mut waiting = entries.to_vec();
    let mut order: Vec<Entry> = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<usize> = (0..waiting.len())
            .filter(|&index| {
                let entry = &waiting[index];
                waiting
                    .iter()
                    .all(|other| !had_seen(entry, other.stamp.writer, other.stamp.hlc))
            })
            .collect();
        let chosen = ready[choices.below(ready.len())];
        order.push(waiting.remove(chosen));
    }
    order
}

fn had_seen(entry: &Entry, writer: WriterKey, hlc: Hlc) -> bool {
    if writer == entry.stamp.writer {
        return hlc < entry.stamp.hlc;
    }
    entry.seen.get(&writer).is_some_and(|seen| hlc <= *seen)
}

fn finished(plan: &Plan) -> World {
    let mut world = World::new(plan);
    for operation in &plan.operations {
        world.run(operation);
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_that_heard_everything_are_equal(plan in plan()) {
        let mut world = finished(&plan);
        let (first, others) = world.peers.split_first_mut().unwrap();
        for other in others {
            assert_equal(first, other, &plan.schema);
        }
    }

    #[test]
    fn order_grouping_and_repetition_make_no_difference(plan in plan()) {
        let mut world = finished(&plan);
        let first = &mut world.peers[0];
        for seed in plan.seeds {
            let mut observer = new_peer(99, &plan.schema);
            let order = causal_order(&first.entries, seed);
            let mut choices = Choices(seed);
            let mut done = 0;
            while done < order.len() {
                let next = (done + 1 + choices.below(4)).min(order.len());
                // Some of what came before comes again.
                let again = done - choices.below(done + 1);
                observer.receive(&order[again..next]);
                done = next;
            }
            assert_equal(first, &mut observer, &plan.schema);
        }
    }

    #[test]
    fn states_make_tables_equal_too(plan in plan()) {
        let mut world = World::new(&plan);
        let mut follower = new_peer(98, &plan.schema);
        let mut latecomer = new_peer(97, &plan.schema);
        let mut version = 0;
        for (index, operation) in plan.operations.iter().enumerate() {
            world.run(operation);
            if index % 3 == 0 {
                version = pull(&mut world.peers[0], &mut follower, version);
                assert_eq!(dump(&world.peers[0], &plan.schema), dump(&follower, &plan.schema));
            }
            if index % 7 == 0 {
                let count = world.peers.len();
                pull(&mut world.peers[index % count], &mut latecomer, 0);
            }
        }
        world.settle();
        pull(&mut world.peers[0], &mut follower, version);
        for peer in &mut world.peers {
            pull(peer, &mut latecomer, 0);
        }
        assert_eq!(dump(&world.peers[0], &plan.schema), dump(&follower, &plan.schema));
        assert_eq!(dump(&world.peers[0], &plan.schema), dump(&latecomer, &plan.schema));
        // What was taken over as a state goes on as a state.
        let mut third = new_peer(96, &plan.schema);
        pull(&mut latecomer, &mut third, 0);
        assert_eq!(dump(&world.peers[0], &plan.schema), dump(&third, &plan.schema));
    }
}

fn pull(from: &mut Peer, to: &mut Peer, version: u64) -> u64 {
    let changes = from.replica.changes_since(version).unwrap();
    to.replica.merge_state(&changes).unwrap();
    changes.version
}

/// Declarations of the tables of a schema.
fn declarations(schema: &Schema) -> Vec<Merged> {
    schema
        .tables
        .iter()
        .map(schemas::TableSpec::merged)
        .collect()
}
