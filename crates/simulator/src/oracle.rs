//! What every device must come to, worked out from what was written and nothing else.
//!
//! The oracle hears of each local transaction: the rows before and after, and the entries it became. It knows the merge
//! rules in their simplest form and no code of the engine. Whatever set of entries a device has merged, the oracle says
//! which rows it must hold, exactly.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, EntryHash, Seq, WriterKey};

use crate::invariant::Broken;
use crate::rows::{Image, RowKey};

/// Names an entry, whichever log it stands in: the beginning of its salt, of which no two are equal.
pub(crate) type EntryName = [u8; 16];

/// What one transaction did to one row.
#[derive(Debug, Clone)]
struct Written {
    /// The machine it was written on.
    node: usize,
    writer: WriterKey,
    /// The entry that ends the transaction in this compartment.
    last: EntryName,
    hlc: Hlc,
    life: u64,
    /// Numbers and values of the columns written.
    cells: Vec<(usize, String)>,
}

/// The entries that a transaction became in one compartment.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    pub(crate) node: usize,
    pub(crate) writer: WriterKey,
    pub(crate) last: EntryName,
    pub(crate) hlc: Hlc,
}

/// The last entry of a log that its machine promised to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promised {
    pub(crate) node: usize,
    pub(crate) writer: WriterKey,
    pub(crate) seq: Seq,
    pub(crate) entry: EntryName,
}

/// Everything written anywhere, and what of it was promised to last.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    rows: BTreeMap<RowKey, Vec<Written>>,
    promised: BTreeMap<(CompartmentId, usize, WriterKey), Promised>,
    /// The hash of every entry that ever left its device.
    published: BTreeMap<(CompartmentId, WriterKey, Seq), EntryHash>,
}

impl Oracle {
    /// The life of a row and its values on a device whose tables hold these entries of the row's compartment.
    pub(crate) fn expected(&self, row: &RowKey, merged: &BTreeSet<EntryName>) -> (u64, Image) {
        let known: Vec<&Written> = self
            .rows
            .get(row)
            .into_iter()
            .flatten()
            .filter(|written| merged.contains(&written.last))
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
        merged: &BTreeSet<EntryName>,
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
            node: appended.node,
            writer: appended.writer,
            last: appended.last,
            hlc: appended.hlc,
            life,
            cells,
        });
    }

    /// A machine has promised that its log lasts up to here.
    pub(crate) fn promise(&mut self, compartment: CompartmentId, promised: Promised) {
        self.promised
            .insert((compartment, promised.node, promised.writer), promised);
    }

    /// What was promised of a compartment, by whichever machine.
    pub(crate) fn promises(&self, compartment: CompartmentId) -> impl Iterator<Item = &Promised> {
        self.promised
            .iter()
            .filter(move |((of, _, _), _)| *of == compartment)
            .map(|(_, promised)| promised)
    }

    /// A power cut took what a machine had not promised: all it wrote itself that is not among what it kept.
    pub(crate) fn forget(&mut self, node: usize, kept: &BTreeSet<EntryName>) {
        for writes in self.rows.values_mut() {
            writes.retain(|written| written.node != node || kept.contains(&written.last));
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
