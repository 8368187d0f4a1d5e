//! Writes that are committed together: nothing is seen before the commit, each fails alone, a crash takes all of the group.

use aeroedge_device::{AllTables, Device, KeysInMemory, WriteError};
use aeroedge_ids::{CompartmentId, Seq, UserId};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_log::entry::EntryRef;
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_protocol::{Cursor, Frontier, Run};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rusqlite::{Connection, params};

use crate::club::{NOW, Peer, SCHEMA, admit, carry, everyone, options, pair, synchronise};

/// What happens next on the device that writes.
#[derive(Debug, Clone)]
enum Act {
    /// Rows of some compartments in one transaction, and whether it ends well.
    Write {
        rows: Vec<(usize, u8)>,
        ending: Ending,
    },
    /// A row too long for one entry.
    WriteMuch,
    /// Nothing is held back any more.
    Commit,
    /// The other device writes, and it arrives.
    Receive(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Well,
    Error,
    /// Rows of a compartment that there is not, beside good ones.
    Nowhere,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let rows = || prop::collection::vec((0..4_usize, 0..9_u8), 1..5);
    let ending =
        prop_oneof![5 => Just(Ending::Well), 1 => Just(Ending::Error), 1 => Just(Ending::Nowhere)];
    let act = prop_oneof![
        20 => (rows(), ending).prop_map(|(rows, ending)| Act::Write { rows, ending }),
        1 => Just(Act::WriteMuch),
        4 => Just(Act::Commit),
        2 => any::<u8>().prop_map(Act::Receive),
    ];
    prop::collection::vec(act, 1..25)
}

fn write_rows(
    peer: &mut Peer,
    rows: &[(CompartmentId, u8)],
    title: &str,
    ending: Ending,
) -> Result<(), WriteError<rusqlite::Error>> {
    peer.device.write(NOW, &mut peer.rng, |tx| {
        let mut insert = tx.prepare_cached(
            "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET title = excluded.title",
        )?;
        for (compartment, id) in rows {
            insert.execute(params![format!("n{id}"), compartment.0, title])?;
        }
        match ending {
            Ending::Well => Ok(()),
            Ending::Error => Err(rusqlite::Error::QueryReturnedNoRows),
            Ending::Nowhere => insert
                .execute(params!["nowhere", [0xee_u8; 16], title])
                .map(|_| ()),
        }
    })
}

/// Everything a device offers of a compartment.
fn offered(peer: &Peer, compartment: CompartmentId) -> Vec<Run> {
    peer.device
        .read_entries(
            compartment,
            &Frontier::new(),
            Cursor::START,
            usize::MAX >> 1,
        )
        .unwrap()
        .runs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn others_get_what_succeeded_and_nothing_else(acts in acts()) {
        let (mut owner, mut member, context) = pair(Division::Divided, Role::Admin);
        let compartments = owner.device.compartments(context);
        let place = |index: usize| compartments[index % compartments.len()];
        let mut expected = std::collections::BTreeMap::new();
        owner.device.begin_group();
        for (number, act) in acts.iter().enumerate() {
            let title = format!("{number}");
            match act {
                Act::Write { rows, ending } => {
                    let rows: Vec<_> = rows.iter().map(|(index, id)| (place(*index), *id)).collect();
                    let written = write_rows(&mut owner, &rows, &title, *ending);
                    prop_assert_eq!(written.is_ok(), *ending == Ending::Well);
                    if written.is_ok() {
                        for (compartment, id) in rows {
                            expected.insert((format!("n{id}"), compartment.0), Some(title.clone()));
                        }
                    }
                }
                Act::WriteMuch => {
                    let compartment = place(number);
                    owner.device.write(NOW, &mut owner.rng, |tx| {
                        for row in 0..12 {
                            tx.execute(
                                "INSERT OR REPLACE INTO note(id, compartment_id, body) VALUES (?1, ?2, ?3)",
                                params![format!("much{row}"), compartment.0, format!("{number}").repeat(60_000)],
                            )?;
                        }
                        Ok::<_, rusqlite::Error>(())
                    }).unwrap();
                    for row in 0..12 {
                        expected.insert((format!("much{row}"), compartment.0), None);
                    }
                }
                Act::Commit => {
                    owner.device.end_group().unwrap();
                    owner.device.begin_group();
                }
                Act::Receive(id) => {
                    member.write(everyone(context), &format!("of the other {id}"), &title);
                    carry(&member, &mut owner, context, everyone(context), 1 << 20);
                    expected.insert((format!("of the other {id}"), everyone(context).0), Some(title));
                }
            }
            for compartment in &compartments {
                for run in offered(&owner, *compartment) {
                    // Nothing is offered beyond a head, and no head stands in the middle of a transaction.
                    prop_assert_eq!(run.head.map(|head| head.seq), Some(run.last()));
                    let last = run.entries.last().unwrap();
                    prop_assert!(!EntryRef::parse(last).unwrap().more_parts());
                }
            }
        }
        owner.device.make_durable().unwrap();
        synchronise(&mut owner, &mut member, context);
        let notes: std::collections::BTreeMap<_, _> = member
            .notes()
            .into_iter()
            .map(|(id, compartment, title)| ((id, compartment), title))
            .collect();
        prop_assert_eq!(notes, expected);
        prop_assert_eq!(owner.device.digest(context).unwrap(), member.device.digest(context).unwrap());
        for compartment in &compartments {
            // One log of the writer, gapless, and later stamps at later numbers.
            let mut stamps = std::collections::BTreeMap::new();
            for run in offered(&owner, *compartment) {
                for bytes in &run.entries {
                    let entry = EntryRef::parse(bytes).unwrap();
                    let (seq, stamp) = stamps.insert(run.writer, (entry.seq(), entry.hlc())).unwrap_or_default();
                    prop_assert_eq!(entry.seq(), seq.next());
                    prop_assert!(entry.hlc() >= stamp);
                }
            }
        }
    }
}

/// An installation in a file, opened again as after a crash.
struct Restarting {
    folder: tempfile::TempDir,
    keys: KeysInMemory,
}

impl Restarting {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: KeysInMemory::new(DeviceSecrets::generate(&mut rng)),
        }
    }

    fn start(&self) -> Peer {
        let connection = Connection::open(self.folder.path().join("device.db")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
            .unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let device = Device::create(
            connection,
            Box::new(self.keys.clone()),
            options(Box::new(AllTables)),
            UserId([1; 16]),
            NOW,
        );
        Peer {
            device: device.unwrap(),
            rng: ChaCha20Rng::seed_from_u64(3),
            keys: self.keys.clone(),
        }
    }
}

#[test]
fn a_crash_amid_a_group_loses_what_was_not_acknowledged_and_reuses_no_number() {
    let disk = Restarting::new();
    let mut owner = disk.start();
    let mut member = Peer::new(2);
    let context = owner.found(Division::Single);
    admit(&mut owner, &mut member, context, Role::Member);
    let here = everyone(context);
    let mut expected = Vec::new();
    for round in 0..5_u8 {
        owner.device.begin_group();
        for id in 0..3 {
            let title = format!("kept {round}");
            write_rows(&mut owner, &[(here, id)], &title, Ending::Well).unwrap();
        }
        assert!(owner.device.make_durable().unwrap());
        synchronise(&mut owner, &mut member, context);
        owner.device.begin_group();
        for id in 0..3 + round {
            write_rows(&mut owner, &[(here, id)], "lost", Ending::Well).unwrap();
        }
        // The process ends here: its connection closes in the middle of a transaction.
        drop(owner);
        owner = disk.start();
        expected = (0..3)
            .map(|id| (format!("n{id}"), here.0, Some(format!("kept {round}"))))
            .collect();
        assert_eq!(owner.notes(), expected);
        assert!(!owner.device.make_durable().unwrap());
    }
    synchronise(&mut owner, &mut member, context);
    assert_eq!(member.notes(), expected);
    let frontier = member.device.frontier(here).unwrap();
    assert_eq!(frontier.values().max(), Some(&Seq(15)));
    write_rows(&mut owner, &[(here, 0)], "after", Ending::Well).unwrap();
    owner.device.make_durable().unwrap();
    let received = carry(&owner, &mut member, context, here, 1 << 20);
    assert!(received.iter().all(|received| received.declined.is_empty()));
    assert_eq!(member.notes()[0].2.as_deref(), Some("after"));
}

#[test]
fn a_group_that_sqlite_rolled_back_says_so_and_the_next_one_works() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let here = everyone(context);
    owner.write(here, "a", "before");
    owner.device.begin_group();
    write_rows(&mut owner, &[(here, 1)], "lost", Ending::Well).unwrap();
    let ended = owner.device.write(NOW, &mut owner.rng, |tx| {
        tx.execute(
            "INSERT OR ROLLBACK INTO note(id, compartment_id) VALUES ('a', ?1)",
            [here.0],
        )
    });
    assert!(ended.is_err());
    for _ in 0..2 {
        let refused = write_rows(&mut owner, &[(here, 2)], "refused", Ending::Well);
        assert!(
            matches!(refused, Err(WriteError::Storage(_))),
            "{refused:?}"
        );
    }
    let error = owner.device.end_group().unwrap_err().to_string();
    assert!(error.contains("run it again"), "{error}");
    assert_eq!(owner.notes().len(), 1);
    owner.device.begin_group();
    write_rows(&mut owner, &[(here, 3)], "kept", Ending::Well).unwrap();
    assert!(owner.device.make_durable().unwrap());
    synchronise(&mut owner, &mut member, context);
    assert_eq!(member.notes(), owner.notes());
    assert_eq!(member.notes().len(), 2);
}

#[test]
fn what_cannot_happen_amid_a_group_commits_it_first() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let here = everyone(context);
    owner.device.begin_group();
    write_rows(&mut owner, &[(here, 1)], "held back", Ending::Well).unwrap();
    let _ = owner.invite(context, Role::Member, 1);
    // Its head was signed with it, so it can be offered, and is told of.
    synchronise(&mut owner, &mut member, context);
    assert_eq!(member.notes().len(), 1);
    write_rows(&mut owner, &[(here, 2)], "held back", Ending::Well).unwrap();
    member.write(here, "m", "of the other");
    carry(&member, &mut owner, context, here, 1 << 20);
    assert_eq!(owner.notes().len(), 3);
    assert!(owner.device.make_durable().unwrap());
    assert!(!owner.device.make_durable().unwrap());
}
