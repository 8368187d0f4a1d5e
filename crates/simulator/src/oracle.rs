//! What every device must come to, worked out from what was written and nothing else.
//!
//! The oracle hears of each local transaction: the rows before and after, and the entries it became. It knows the merge
//! rules in their simplest form and no code of the engine. Whatever set of entries a device has merged, the oracle says
//! which rows it must hold, exactly.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, EntryHash, Seq, WriterKey};
use aeroedge_protocol::Frontier;

use crate::invariant::Broken;
use crate::rows::{Image, RowKey};

/// What one transaction did to one row.
#[derive(Debug, Clone)]
struct Written {
    writer: WriterKey,
    /// The entry that ends the transaction in this compartment.
    last: Seq,
    hlc: Hlc,
    life: u64,
    /// Numbers and values of the columns written.
    cells: Vec<(usize, String)>,
}

/// The entries that a transaction became in one compartment.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    pub(crate) last: Seq,
    pub(crate) hlc: Hlc,
}

/// Everything written anywhere, and what of it was promised to last.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    rows: BTreeMap<RowKey, Vec<Written>>,
    acknowledged: BTreeMap<(CompartmentId, WriterKey), (Seq, EntryHash)>,
    /// The hash of every entry that ever left its device.
    published: BTreeMap<(CompartmentId, WriterKey, Seq), EntryHash>,
}

impl Oracle {
    /// The life of a row and its values on a device that merged so much of the row's compartment.
    pub(crate) fn expected(&self, row: &RowKey, merged: &Frontier) -> (u64, Image) {
        let known: Vec<&Written> = self
            .rows
            .get(row)
            .into_iter()
            .flatten()
            .filter(|written| {
                merged
                    .get(&written.writer)
                    .is_some_and(|seq| *seq >= written.last)
            })
            .collect();
        let life = known
            .iter()
            .map(|written| written.life)
            .max()
            .unwrap_or_default();
        if life.is_multiple_of(2) {
            return (life, None);
        }
        let mut current: Vec<&Written> = known
            .into_iter()
            .filter(|written| written.life == life)
            .collect();
        current.sort_by_key(|written| (written.hlc, written.writer));
        let defaults = row.table().columns.iter();
        let mut values: Vec<String> = defaults.map(|(_, default)| (*default).to_owned()).collect();
        for (column, value) in current.iter().flat_map(|written| &written.cells) {
            values[*column].clone_from(value);
        }
        (life, Some(values))
    }

    /// All rows of a table that a device must hold of a compartment.
    pub(crate) fn expected_table(
        &self,
        table: usize,
        compartment: &str,
        merged: &Frontier,
    ) -> BTreeMap<RowKey, Vec<String>> {
        self.rows
            .keys()
            .filter(|row| row.table == table && row.compartment() == compartment)
            .filter_map(|row| Some((row.clone(), self.expected(row, merged).1?)))
            .collect()
    }

    /// Takes in what a transaction did to a row whose life was `life` before it.
    pub(crate) fn note_row(
        &mut self,
        row: &RowKey,
        life: u64,
        before: &Image,
        after: &Image,
        writer: WriterKey,
        appended: &Appended,
    ) {
        let (life, cells) = match (before, after) {
            (None, None) => return,
            (None, Some(values)) => (life + 1, values.iter().cloned().enumerate().collect()),
            (Some(_), None) => (life + 1, Vec::new()),
            (Some(before), Some(after)) => {
                let cells: Vec<_> = after
                    .iter()
                    .cloned()
                    .enumerate()
                    .filter(|(column, value)| before[*column] != *value)
                    .collect();
                if cells.is_empty() {
                    return;
                }
                (life, cells)
            }
        };
        self.rows.entry(row.clone()).or_default().push(Written {
            writer,
            last: appended.last,
            hlc: appended.hlc,
            life,
            cells,
        });
    }

    /// A device has promised that its log lasts up to here.
    pub(crate) fn acknowledge(
        &mut self,
        compartment: CompartmentId,
        writer: WriterKey,
        seq: Seq,
        hash: EntryHash,
    ) {
        self.acknowledged.insert((compartment, writer), (seq, hash));
    }

    /// How far a log was promised to last.
    pub(crate) fn acknowledged(
        &self,
        compartment: CompartmentId,
        writer: WriterKey,
    ) -> Option<(Seq, EntryHash)> {
        self.acknowledged.get(&(compartment, writer)).copied()
    }

    /// The writers of a compartment to whom something was promised.
    pub(crate) fn writers(&self, compartment: CompartmentId) -> BTreeSet<WriterKey> {
        self.acknowledged
            .keys()
            .filter(|(of, _)| *of == compartment)
            .map(|(_, writer)| *writer)
            .collect()
    }

    /// A power cut took what its device had not promised: forgets what a log holds beyond `tail`.
    pub(crate) fn forget(&mut self, compartment: &str, writer: WriterKey, tail: Seq) {
        for (_, writes) in self
            .rows
            .iter_mut()
            .filter(|(row, _)| row.compartment() == compartment)
        {
            writes.retain(|written| written.writer != writer || written.last <= tail);
        }
    }

    /// An entry leaves its device, or one that relays it.
    pub(crate) fn publish(
        &mut self,
        compartment: CompartmentId,
        writer: WriterKey,
        seq: Seq,
        hash: EntryHash,
    ) -> Result<(), Broken> {
        let first = *self
            .published
            .entry((compartment, writer, seq))
            .or_insert(hash);
        if first == hash {
            Ok(())
        } else {
            Err(Broken::SeqUsedTwice { writer, seq })
        }
    }
}
