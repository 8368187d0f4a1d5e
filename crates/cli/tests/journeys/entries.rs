//! Every entry that any device ever held, by its place: the proof that no number of a log was used twice.
//!
//! Read from the files of all devices while their nodes run or lie dead; an entry that a device lost again still counts.

use std::collections::BTreeMap;

use aeroedge_log::entry::EntryRef;
use rusqlite::{Connection, OpenFlags};

use crate::machine::Machine;

/// Which entry stands where, over all devices and all times.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The hash by (compartment, writer, seq).
    hashes: BTreeMap<(Vec<u8>, Vec<u8>, i64), [u8; 32]>,
}

impl Entries {
    /// Takes note of what these devices hold; fails on a place that held another entry before, here or anywhere.
    #[track_caller]
    pub(crate) fn note_all(&mut self, machines: &[&Machine<'_>]) {
        for machine in machines {
            let file = machine.data().join("aeroedge.db");
            if !file.exists() {
                continue;
            }
            // A dead process may have left a log beside the file that only a writer can play back.
            let connection =
                Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
            connection
                .busy_timeout(std::time::Duration::from_secs(10))
                .unwrap();
            let mut statement = connection
                .prepare(
                    "SELECT compartment, writer, seq, bytes FROM device_entry JOIN device_log USING (log)",
                )
                .unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let place: (Vec<u8>, Vec<u8>, i64) = (
                    row.get(0).unwrap(),
                    row.get(1).unwrap(),
                    row.get(2).unwrap(),
                );
                let bytes: Vec<u8> = row.get(3).unwrap();
                let entry = EntryRef::parse(&bytes).expect("what is stored is an entry");
                assert_eq!(entry.seq().0 as i64, place.2, "it stands at its own number");
                let hash = entry.hash().0;
                let known = *self.hashes.entry(place.clone()).or_insert(hash);
                assert_eq!(known, hash, "two entries at one place of a log: {place:?}");
            }
        }
        assert!(!self.hashes.is_empty(), "every device wrote something");
    }
}
