//! Collects the rows of one transaction into changesets, one series of parts per compartment.

use std::collections::BTreeMap;

use aeroedge_crdt::changeset::{ChangesetWriter, Kind, Values};
use aeroedge_crdt::hlc::Stamp;
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value;
use aeroedge_ids::CompartmentId;

use crate::tables::Table;

/// A part is closed before it grows beyond this, so that what carries it stays below 256 KiB.
pub(crate) const PART_LENGTH: usize = 248 << 10;

#[derive(Debug, Default)]
struct Parts {
    done: Vec<Vec<u8>>,
    open: ChangesetWriter,
}

/// Changesets under construction.
#[derive(Debug)]
pub(crate) struct Encoder {
    parts: BTreeMap<Option<CompartmentId>, Parts>,
    part_length: usize,
    pub(crate) rows: u64,
}

/// A row to encode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncodedRow<'a> {
    pub(crate) kind: Kind,
    pub(crate) life: Life,
    pub(crate) stamp: Option<Stamp>,
    /// Numbers of the columns written.
    pub(crate) columns: &'a [u16],
    /// The key in canonical form.
    pub(crate) key: &'a [u8],
    /// The values of `columns` in canonical form.
    pub(crate) values: &'a [u8],
}

impl Encoder {
    pub(crate) fn new(part_length: usize) -> Self {
        Self {
            parts: BTreeMap::new(),
            part_length,
            rows: 0,
        }
    }

    pub(crate) fn row(
        &mut self,
        compartment: Option<CompartmentId>,
        table: &Table,
        row: EncodedRow<'_>,
    ) {
        self.rows += 1;
        let parts = self.parts.entry(compartment).or_default();
        let length = row.key.len() + row.values.len() + 2 * row.columns.len() + 96;
        if !parts.open.is_empty() && parts.open.length() + length > self.part_length {
            parts.done.push(std::mem::take(&mut parts.open).finish());
        }
        let index = parts.open.table(&table.name, &table.key_names);
        let out = parts.open.row(
            index,
            row.kind,
            row.life,
            row.stamp,
            row.columns,
            |number| table.column_name(number),
        );
        out.extend_from_slice(row.key);
        out.extend_from_slice(row.values);
    }

    /// The changesets, by compartment.
    pub(crate) fn finish(self) -> Vec<(Option<CompartmentId>, Vec<Vec<u8>>)> {
        let close = |mut parts: Parts| {
            if !parts.open.is_empty() {
                parts.done.push(parts.open.finish());
            }
            parts.done
        };
        self.parts
            .into_iter()
            .map(|(compartment, parts)| (compartment, close(parts)))
            .collect()
    }
}

/// The compartment that a key names; an error when its column does not hold 16 bytes.
pub(crate) fn compartment_of(
    table: &Table,
    key: &[u8],
) -> Result<Option<CompartmentId>, NotACompartment> {
    let Some(place) = table.compartment_key else {
        return Ok(None);
    };
    match Values::of(key).nth(place) {
        Some(Value::Blob(bytes)) => CompartmentId::try_from(bytes)
            .map(Some)
            .map_err(|_| NotACompartment),
        _ => Err(NotACompartment),
    }
}

/// The compartment column of a row does not hold 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotACompartment;
