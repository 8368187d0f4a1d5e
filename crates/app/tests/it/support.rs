//! An installation in a temporary folder, and a flight to log.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use std::collections::BTreeSet;
use std::fs;

use aeroedge_app::contexts::{self, NewInvite};
use aeroedge_app::folder::DataFolder;
use aeroedge_app::installation::Installation;
use aeroedge_aviation::logbook::{Flight, Seconds};
use aeroedge_device::Touched;
use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_log::control::Role;
use aeroedge_protocol::Cursor;
use rusqlite::types::Value;
use tempfile::TempDir;

/// Later than the program was built, whenever that was.
pub(crate) const NOW: Millis = Millis(4_000_000_000_000);

pub(crate) fn installation() -> (TempDir, Installation) {
    installation_of("Avery Example")
}

pub(crate) fn installation_of(name: &str) -> (TempDir, Installation) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    let installation = Installation::create(&path, Some(name), None, NOW).unwrap();
    (place, installation)
}

pub(crate) fn reopened(place: &TempDir) -> Installation {
    let folder = DataFolder::open(&place.path().join("data")).unwrap();
    Installation::open(folder, None, NOW).unwrap()
}

pub(crate) fn flight() -> Flight {
    Flight {
        date: jiff::civil::date(2026, 5, 14),
        tail: Some("N738VU".into()),
        departure: Some("KPAO".into()),
        total: Seconds(5040),
        landings: Some(3),
        ..Flight::default()
    }
}

/// Lets `joiner` in by link and secret.
pub(crate) fn admit(
    member: &mut Installation,
    joiner: &mut Installation,
    context: ContextId,
    role: Role,
) {
    let new = NewInvite {
        role,
        permissions: Vec::new(),
        uses: 1,
        lifetime_millis: 3_600_000,
        secret: None,
    };
    let invite = contexts::invite(&mut member.device, &context.to_string(), &new, NOW).unwrap();
    contexts::start_join(&mut joiner.device, &invite.link, &invite.secret).unwrap();
    exchange(member, joiner, context, NOW);
    exchange(member, joiner, context, NOW);
    assert!(joiner.device.roster(context).is_some());
}

/// Membership first, then what both may read, both ways. Gives the rows that changed at `one`.
pub(crate) fn exchange(
    one: &mut Installation,
    other: &mut Installation,
    context: ContextId,
    now: Millis,
) -> Vec<Touched> {
    carry_control(one, other, context, now);
    carry_control(other, one, context, now);
    let readable = |installation: &Installation| -> BTreeSet<CompartmentId> {
        installation
            .device
            .compartments(context)
            .into_iter()
            .collect()
    };
    let shared: Vec<CompartmentId> = readable(one)
        .intersection(&readable(other))
        .copied()
        .collect();
    let mut arrived = Vec::new();
    for compartment in shared {
        carry(one, other, context, compartment, now);
        arrived.extend(carry(other, one, context, compartment, now));
    }
    arrived
}

pub(crate) fn carry_control(
    from: &Installation,
    to: &mut Installation,
    context: ContextId,
    now: Millis,
) {
    let known = to.device.control_hashes(context);
    let mut missing = from.device.control_hashes(context);
    missing.retain(|hash| !known.contains(hash));
    let entries = from.device.control_entries(context, &missing, usize::MAX);
    if !entries.is_empty() {
        to.device
            .receive_control(context, &entries, now, &mut rand::rng())
            .unwrap();
    }
}

pub(crate) fn carry(
    from: &Installation,
    to: &mut Installation,
    context: ContextId,
    compartment: CompartmentId,
    now: Millis,
) -> Vec<Touched> {
    let known = to.device.frontier(compartment).unwrap();
    let mut cursor = Cursor::START;
    let mut touched = Vec::new();
    loop {
        let read = from
            .device
            .read_entries(compartment, &known, cursor, 1 << 20)
            .unwrap();
        cursor = read.next;
        if !read.runs.is_empty() {
            let batch = [(context, compartment, read.runs)];
            let received = to.device.receive_entries(&batch, now).unwrap();
            assert!(received.declined.is_empty(), "{received:?}");
            assert!(received.merged.refused.is_empty(), "{received:?}");
            touched.extend(received.touched);
        }
        if read.exhausted {
            to.device.make_durable().unwrap();
            return touched;
        }
    }
}

/// Puts one row that says `canary` in every column that takes text into each of these tables.
pub(crate) fn plant(installation: &mut Installation, rows: &[(&str, CompartmentId, &str)]) {
    installation
        .device
        .write(NOW, &mut rand::rng(), |tx| {
            for (table, compartment, canary) in rows {
                let columns: Vec<(String, String)> = tx
                    .prepare(&format!("PRAGMA table_info({table})"))?
                    .query_map([], |row| Ok((row.get(1)?, row.get(2)?)))?
                    .collect::<Result<_, _>>()?;
                let filled: Vec<(&str, Value)> = columns
                    .iter()
                    .filter_map(|(name, kind)| match (name.as_str(), kind.as_str()) {
                        ("compartment_id", _) => Some((&name[..], compartment.0.to_vec().into())),
                        (_, "TEXT") => Some((&name[..], (*canary).to_owned().into())),
                        _ => None,
                    })
                    .collect();
                let names: Vec<&str> = filled.iter().map(|(name, _)| *name).collect();
                let places = vec!["?"; names.len()].join(", ");
                tx.execute(
                    &format!(
                        "INSERT INTO {table} ({}) VALUES ({places})",
                        names.join(", ")
                    ),
                    rusqlite::params_from_iter(filled.into_iter().map(|(_, value)| value)),
                )?;
            }
            Ok::<_, rusqlite::Error>(())
        })
        .unwrap();
    installation.device.make_durable().unwrap();
}

/// Whether the bytes that an installation keeps on the disk hold a text anywhere.
pub(crate) fn keeps(installation: &Installation, text: &str) -> bool {
    fs::read_dir(installation.folder.path())
        .unwrap()
        .any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
}
