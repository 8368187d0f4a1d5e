//! A replica that takes over an image is equal to the one it is of, and stays so.

use std::collections::BTreeMap;

use aeroedge_ids::CompartmentId;
use aeroedge_replica::{ImageError, Replica, Scope};
use proptest::prelude::*;

use super::{Choices, assert_equal, causal_order, config, deliver, finished, new_peer, plan};
use crate::support::Peer;

/// Every compartment of the test's rows, and the default one.
const COMPARTMENTS: [CompartmentId; 2] = [CompartmentId([1; 16]), CompartmentId([2; 16])];

fn scopes() -> Vec<Scope<'static>> {
    let of = |compartment| Scope {
        compartment,
        with_default: false,
        known: &COMPARTMENTS,
    };
    let mut scopes = vec![Scope {
        with_default: true,
        ..of(None)
    }];
    scopes.extend(COMPARTMENTS.map(|compartment| of(Some(compartment))));
    scopes
}

fn images(replica: &mut Replica) -> Vec<Vec<u8>> {
    let scopes = scopes();
    let images = scopes.iter().map(|scope| replica.image(scope).unwrap());
    images.collect()
}

fn take_over(peer: &mut Peer, images: &[Vec<u8>], from: &Peer) {
    let reached = from.seen();
    let taken = peer.replica.merging(|merging| {
        for (scope, image) in scopes().iter().zip(images) {
            merging.forget_all(scope)?;
            merging.apply_image(scope, image, &reached, None)?;
        }
        Ok::<_, ImageError>(())
    });
    taken.unwrap();
    peer.entries.clone_from(&from.entries);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equal_replicas_write_equal_images(plan in plan()) {
        let mut world = finished(&plan);
        let (first, others) = world.peers.split_first_mut().unwrap();
        let images_of_first = images(&mut first.replica);
        for other in others {
            prop_assert!(images(&mut other.replica) == images_of_first);
        }
        let mut observer = new_peer(99, &plan.schema);
        deliver(&mut observer, &causal_order(&first.entries, plan.seeds[0]), 2);
        prop_assert!(images(&mut observer.replica) == images_of_first);
    }

    #[test]
    fn an_image_and_later_changes_come_to_the_same(plan in plan()) {
        let mut world = finished(&plan);
        let first = &mut world.peers[0];
        for seed in plan.seeds {
            let order = causal_order(&first.entries, seed);
            let cut = Choices(seed).below(order.len() + 1);
            let mut source = new_peer(98, &plan.schema);
            deliver(&mut source, &order[..cut], 3);
            let taken = images(&mut source.replica);
            // What is here already has to go.
            let mut newcomer = new_peer(99, &plan.schema);
            deliver(&mut newcomer, &order[..cut / 2], 3);
            take_over(&mut newcomer, &taken, &source);
            assert_equal(&mut source, &mut newcomer, &plan.schema);
            prop_assert!(images(&mut newcomer.replica) == taken);
            deliver(&mut newcomer, &order, 1);
            assert_equal(first, &mut newcomer, &plan.schema);
        }
    }

    #[test]
    fn damaged_images_are_refused_and_leave_nothing(plan in plan(), places in prop::collection::vec(any::<prop::sample::Index>(), 1..40)) {
        let mut world = finished(&plan);
        let taken = images(&mut world.peers[0].replica);
        let mut empty = new_peer(99, &plan.schema);
        let nothing = images(&mut empty.replica);
        for place in places {
            let which = place.index(taken.len());
            let mut damaged = taken[which].clone();
            let place = place.index(damaged.len());
            damaged[place] ^= 1 << (place % 8);
            damaged.truncate(if place % 3 == 0 { place } else { damaged.len() });
            let mut newcomer = new_peer(98, &plan.schema);
            let outcome = newcomer.replica.merging(|merging| {
                merging.apply_image(&scopes()[which], &damaged, &BTreeMap::new(), None)
            });
            if let Err(error) = outcome {
                prop_assert!(!matches!(error, ImageError::Merge(_)), "{error}");
                prop_assert!(images(&mut newcomer.replica) == nothing);
            }
        }
    }
}
