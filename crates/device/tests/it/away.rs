//! A device that was away for a year: what was deleted stays deleted, and nothing it wrote is lost.

use aeroedge_device::Device;
use aeroedge_ids::Millis;
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_replica::ConflictFilter;
use rusqlite::types::Value;

use crate::club::{NOW, Peer, admit, everyone, synchronise, synchronise_at};

const DAY: u64 = 24 * 3_600_000;

fn execute(peer: &mut Peer, now: Millis, sql: &str) {
    let written = peer
        .device
        .write(now, &mut peer.rng, |tx| tx.execute_batch(sql));
    written.unwrap();
    peer.device.make_durable().unwrap();
}

fn ids(device: &Device) -> Vec<String> {
    device
        .connection()
        .prepare("SELECT id FROM note WHERE id NOT LIKE 'day %' ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn what_was_deleted_in_a_year_stays_deleted_and_what_was_written_away_is_there() {
    let mut owner = Peer::new(1);
    let mut friend = Peer::new(2);
    let mut away = Peer::new(3);
    let context = owner.found(Division::Single);
    admit(&mut owner, &mut friend, context, Role::Member);
    admit(&mut owner, &mut away, context, Role::Member);
    let compartment = everyone(context);
    for id in [
        "deleted",
        "edited and deleted",
        "edited by both",
        "read only",
    ] {
        owner.write(compartment, id, "at the start");
    }
    synchronise(&mut owner, &mut friend, context);
    synchronise(&mut owner, &mut away, context);

    // The last days before the silence: written, and never sent.
    let soon = Millis(NOW.0 + 3 * DAY);
    away.try_write(soon, compartment, "written away", "new")
        .unwrap();
    away.try_write(soon, compartment, "edited and deleted", "still of use")
        .unwrap();
    away.try_write(soon, compartment, "edited by both", "by the one away")
        .unwrap();

    let mut now = NOW;
    for day in 1..=365 {
        now = Millis(NOW.0 + day * DAY);
        let writer = if day % 2 == 0 {
            &mut owner
        } else {
            &mut friend
        };
        writer
            .try_write(now, compartment, &format!("day {}", day % 30), "as usual")
            .unwrap();
        if day == 100 {
            execute(
                &mut friend,
                now,
                "DELETE FROM note WHERE id IN ('deleted', 'edited and deleted')",
            );
            friend
                .try_write(now, compartment, "edited by both", "by the others")
                .unwrap();
        }
        if day % 10 == 0 {
            synchronise_at(&mut owner, &mut friend, context, now);
        }
    }
    synchronise_at(&mut owner, &mut friend, context, now);
    synchronise_at(&mut friend, &mut away, context, now);
    synchronise_at(&mut owner, &mut friend, context, now);

    for peer in [&mut owner, &mut friend, &mut away] {
        assert_eq!(
            ids(&peer.device),
            ["edited by both", "read only", "written away"]
        );
        let conflicts = peer.device.conflicts(ConflictFilter::default()).unwrap();
        let mut lost: Vec<_> = conflicts
            .into_iter()
            .map(|conflict| (conflict.key[0].clone(), conflict.losing))
            .collect();
        lost.sort_by_key(|(key, _)| format!("{key:?}"));
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            lost,
            [
                (text("edited and deleted"), text("still of use")),
                (text("edited by both"), text("by the one away")),
            ]
        );
    }
    let digest = owner.device.engine_digest().unwrap();
    assert_eq!(friend.device.engine_digest().unwrap(), digest);
    assert_eq!(away.device.engine_digest().unwrap(), digest);
}
