//! What is taken back leaves no trace, and what counts again is there as if it had always counted.

use aeroedge_ids::WriterKey;
use aeroedge_replica::{Incoming, MergeError, RowSet};
use proptest::prelude::*;

use super::{Choices, Plan, assert_equal, causal_order, config, finished, new_peer, plan};
use crate::laws::schemas::Schema;
use crate::support::{Entry, Peer};

/// Makes the rows of the entries that changed sides anew from those that count.
fn rejudge(peer: &mut Peer, changed: &[Entry], counting: &[Entry]) {
    let mut rows = RowSet::new();
    for entry in changed {
        for changes in entry.parts.iter().flat_map(|(_, parts)| parts) {
            rows.add(changes).unwrap();
        }
    }
    peer.replica
        .merging(|merging| {
            merging.forget(&rows)?;
            for entry in counting {
                let seen = |writer: &WriterKey| entry.seen.get(writer).copied().unwrap_or_default();
                for (compartment, parts) in &entry.parts {
                    for (part, changes) in parts.iter().enumerate() {
                        let incoming = Incoming {
                            stamp: entry.stamp,
                            part: part as u32,
                            compartment: *compartment,
                            seen: &seen,
                            changes,
                        };
                        merging.examine(&incoming)?;
                        merging.apply_again(&incoming, &rows)?;
                    }
                }
            }
            Ok::<_, MergeError>(())
        })
        .unwrap();
}

fn split(entries: &[Entry], seed: u64) -> (Vec<Entry>, Vec<Entry>) {
    let mut choices = Choices(seed);
    entries.iter().cloned().partition(|_| choices.below(3) > 0)
}

/// A schema of an older program, which has no place for some of what arrives.
fn narrower(schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    if schema.tables.len() > 1 {
        schema.tables.pop();
    }
    for table in &mut schema.tables {
        table.columns.pop();
    }
    schema
}

fn check(peer: &mut Peer, all: &[Entry], plan: &Plan, schema: &Schema) {
    let [seed, ..] = plan.seeds;
    let (counting, refused) = split(all, seed);
    let counting = causal_order(&counting, plan.seeds[1]);
    rejudge(peer, &refused, &counting);
    let mut fresh = new_peer(99, schema);
    fresh.receive(&counting);
    assert_equal(&mut fresh, peer, schema);
    // The verdict is taken back in turn.
    rejudge(peer, &refused, &causal_order(all, plan.seeds[2]));
    let mut fresh = new_peer(98, schema);
    fresh.receive(all);
    assert_equal(&mut fresh, peer, schema);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_taken_back_leaves_no_trace(plan in plan()) {
        let mut world = finished(&plan);
        let all = causal_order(&world.peers[0].entries, plan.seeds[2]);
        // Also where some of it was written by the replica itself.
        check(&mut world.peers[0], &all, &plan, &plan.schema);
    }

    #[test]
    fn nothing_stays_in_quarantine_either(plan in plan()) {
        let world = finished(&plan);
        let schema = narrower(&plan.schema);
        let mut old = new_peer(97, &schema);
        let all = causal_order(&world.peers[0].entries, plan.seeds[2]);
        old.receive(&all);
        check(&mut old, &all, &plan, &schema);
    }
}
