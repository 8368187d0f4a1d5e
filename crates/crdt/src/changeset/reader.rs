//! Reads a changeset from untrusted bytes, borrowing everything from them.
//!
//! [`Changeset::parse`] checks every byte, so whoever holds a `Changeset` can read its values without errors. Memory
//! grows with what was really read, never with a length that the bytes merely claim.

use std::collections::BTreeSet;

use aeroedge_ids::WriterKey;

use super::Kind;
use crate::hlc::{Hlc, Stamp};
use crate::life::Life;
use crate::msgpack::{MalformedBytes, read_array, read_bytes, read_nil, read_text, read_unsigned};
use crate::value::Value;

/// SQLite knows no table with more columns.
const COLUMNS_MAX: usize = 32_767;

/// The bytes are not a changeset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedChangeset {
    /// Not MessagePack of the expected shape.
    #[error("read a changeset: {0}")]
    Bytes(#[from] MalformedBytes),
    /// The shape is right and the content is not.
    #[error("read a changeset: {0}")]
    Content(&'static str),
    /// A changeset ends before the bytes do, or is too long to be one.
    #[error("read a changeset: {0} bytes do not belong to it")]
    Surplus(usize),
}

/// A table as the writer of the changeset knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames<'a> {
    /// The table.
    pub name: &'a str,
    /// Its key columns, in the order in which rows hold them.
    pub keys: Vec<&'a str>,
    /// The other columns that the blocks use.
    pub columns: Vec<&'a str>,
}

/// Where a row stands in the bytes.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    values: u32,
    end: u32,
}

/// Rows that agree in table, kind, life, stamp and columns.
#[derive(Debug)]
pub struct Block<'a> {
    /// Index into [`Changeset::tables`].
    pub table: usize,
    /// Write or delete.
    pub kind: Kind,
    /// The life of the rows: alive in a write, dead in a delete.
    pub life: Life,
    /// The original stamp of content that was written anew; none stands for the stamp of the entry.
    pub stamp: Option<Stamp>,
    /// The columns written, as indexes into [`TableNames::columns`].
    pub columns: Vec<u16>,
    bytes: &'a [u8],
    spans: Vec<Span>,
}

/// One row of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The key values in canonical form: equal keys have equal bytes.
    pub key: &'a [u8],
    /// The written values in canonical form, one after the other.
    pub values: &'a [u8],
}

/// A changeset whose every byte was checked.
#[derive(Debug)]
pub struct Changeset<'a> {
    /// The dictionary.
    pub tables: Vec<TableNames<'a>>,
    /// What to do, in order.
    pub blocks: Vec<Block<'a>>,
}

impl<'a> Changeset<'a> {
    /// Reads and checks a whole changeset.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedChangeset> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(MalformedChangeset::Surplus(bytes.len()));
        }
        let mut input = bytes;
        expect_array(&mut input, 2)?;
        let mut tables = Vec::new();
        for _ in 0..read_array(&mut input)? {
            tables.push(read_table(&mut input)?);
        }
        let mut blocks = Vec::new();
        for _ in 0..read_array(&mut input)? {
            blocks.push(read_block(&mut input, &tables)?);
        }
        if !input.is_empty() {
            return Err(MalformedChangeset::Surplus(input.len()));
        }
        Ok(Self { tables, blocks })
    }

    /// Only the names of the tables it concerns: enough to judge a right without reading a row.
    pub fn table_names(bytes: &'a [u8]) -> Result<Vec<&'a str>, MalformedChangeset> {
        let mut input = bytes;
        expect_array(&mut input, 2)?;
        let mut names = Vec::new();
        for _ in 0..read_array(&mut input)? {
            names.push(read_table(&mut input)?.name);
        }
        Ok(names)
    }

    /// The number of rows in all blocks.
    pub fn row_count(&self) -> usize {
        self.blocks.iter().map(Block::row_count).sum()
    }
}

impl<'a> Block<'a> {
    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.spans.len()
    }

    /// The rows in the order in which they were written.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> + '_ {
        (0..self.spans.len()).map(|index| self.row(index))
    }

    /// Leaves only the rows that `keep` says yes to.
    pub fn retain_rows(&mut self, mut keep: impl FnMut(Row<'a>) -> bool) {
        let bytes = self.bytes;
        self.spans.retain(|span| keep(span.row(bytes)));
    }

    /// One row by its place.
    ///
    /// # Panics
    /// When `index` is not below [`row_count`](Self::row_count).
    pub fn row(&self, index: usize) -> Row<'a> {
        self.spans[index].row(self.bytes)
    }
}

impl Span {
    fn row(self, bytes: &[u8]) -> Row<'_> {
        Row {
            key: &bytes[self.start as usize..self.values as usize],
            values: &bytes[self.values as usize..self.end as usize],
        }
    }
}

/// Takes the values of a checked run of values one by one.
///
/// Bytes that were not checked end the iteration where they stop making sense.
#[derive(Debug, Clone)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Row<'a> {
    /// The values of the key columns.
    pub fn key_values(&self) -> Values<'a> {
        Values(self.key)
    }

    /// The values of the written columns.
    pub fn written_values(&self) -> Values<'a> {
        Values(self.values)
    }
}

impl<'a> Values<'a> {
    /// The values that stand one after the other in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        Value::read(&mut self.0).ok()
    }
}

fn expect_array(input: &mut &[u8], expected: usize) -> Result<(), MalformedChangeset> {
    if read_array(input)? == expected {
        Ok(())
    } else {
        Err(MalformedChangeset::Content(
            "an array has the wrong number of members",
        ))
    }
}

fn read_table<'a>(input: &mut &'a [u8]) -> Result<TableNames<'a>, MalformedChangeset> {
    expect_array(input, 3)?;
    let name = read_text(input)?;
    let keys = read_names(input)?;
    let columns = read_names(input)?;
    if keys.is_empty() {
        return Err(MalformedChangeset::Content("a table has no key"));
    }
    let mut seen = BTreeSet::new();
    if !keys.iter().chain(&columns).all(|name| seen.insert(name)) {
        return Err(MalformedChangeset::Content(
            "a table has two columns of one name",
        ));
    }
    Ok(TableNames {
        name,
        keys,
        columns,
    })
}

fn read_names<'a>(input: &mut &'a [u8]) -> Result<Vec<&'a str>, MalformedChangeset> {
    let count = read_array(input)?;
    if count > COLUMNS_MAX {
        return Err(MalformedChangeset::Content("a table has too many columns"));
    }
    let mut names = Vec::new();
    for _ in 0..count {
        let name = read_text(input)?;
        if name.is_empty() || name.contains('\0') {
            return Err(MalformedChangeset::Content("a column has no proper name"));
        }
        names.push(name);
    }
    Ok(names)
}

fn read_block<'a>(
    input: &mut &'a [u8],
    tables: &[TableNames<'a>],
) -> Result<Block<'a>, MalformedChangeset> {
    expect_array(input, 7)?;
    let table = usize::try_from(read_unsigned(input)?)
        .ok()
        .filter(|&index| index < tables.len())
        .ok_or(MalformedChangeset::Content(
            "a block names a table that the dictionary lacks",
        ))?;
    let kind = match read_unsigned(input)? {
        0 => Kind::Write,
        1 => Kind::Delete,
        _ => {
            return Err(MalformedChangeset::Content(
                "a block is neither write nor delete",
            ));
        }
    };
    let life = Life::from_number(read_unsigned(input)?);
    if life == Life::NONE || life > Life::MAX || life.is_alive() != (kind == Kind::Write) {
        return Err(MalformedChangeset::Content(
            "a block has a life that its kind cannot have",
        ));
    }
    let stamp = read_stamp(input)?;
    let columns = read_columns(input, tables[table].columns.len())?;
    if kind == Kind::Delete && !columns.is_empty() {
        return Err(MalformedChangeset::Content("a delete names columns"));
    }
    let count = read_unsigned(input)?;
    let bytes = read_bytes(input)?;
    let mut block = Block {
        table,
        kind,
        life,
        stamp,
        columns,
        bytes,
        spans: Vec::new(),
    };
    let mut rows = bytes;
    let place = |rest: &[u8]| (bytes.len() - rest.len()) as u32;
    for _ in 0..count {
        let start = place(rows);
        for _ in &tables[table].keys {
            Value::read(&mut rows)?;
        }
        let values = place(rows);
        for _ in &block.columns {
            Value::read(&mut rows)?;
        }
        let end = place(rows);
        block.spans.push(Span { start, values, end });
    }
    if count == 0 || !rows.is_empty() {
        return Err(MalformedChangeset::Content(
            "a block holds another number of rows than it says",
        ));
    }
    Ok(block)
}

fn read_stamp(input: &mut &[u8]) -> Result<Option<Stamp>, MalformedChangeset> {
    if read_nil(input) {
        return Ok(None);
    }
    expect_array(input, 2)?;
    let hlc = Hlc::from_bits(read_unsigned(input)?);
    let writer = WriterKey::try_from(read_bytes(input)?)
        .map_err(|_| MalformedChangeset::Content("a writer key does not have 32 bytes"))?;
    Ok(Some(Stamp { hlc, writer }))
}

fn read_columns(input: &mut &[u8], known: usize) -> Result<Vec<u16>, MalformedChangeset> {
    let count = read_array(input)?;
    if count > known {
        return Err(MalformedChangeset::Content(
            "a block writes more columns than its table has",
        ));
    }
    let mut columns = Vec::new();
    let mut used = vec![false; known];
    for _ in 0..count {
        let index = read_unsigned(input)?;
        match usize::try_from(index)
            .ok()
            .and_then(|index| used.get_mut(index))
        {
            Some(used) if !*used => *used = true,
            _ => {
                return Err(MalformedChangeset::Content(
                    "a block writes a column twice or one that the dictionary lacks",
                ));
            }
        }
        columns.push(index as u16);
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::super::ChangesetWriter;
    use super::*;

    const NAMES: [&str; 3] = ["name", "phone", "note"];

    fn sample() -> Vec<u8> {
        let mut writer = ChangesetWriter::new();
        let table = writer.table("contact", &["id"]);
        for id in 0..3 {
            let row = writer.row(table, Kind::Write, Life::FIRST, None, &[2, 0], |column| {
                NAMES[usize::from(column)]
            });
            Value::Integer(id).write(row);
            Value::Null.write(row);
            Value::Text(b"Amelia").write(row);
        }
        let stamp = Stamp {
            hlc: Hlc::from_bits(9),
            writer: WriterKey([7; 32]),
        };
        let row = writer.row(
            table,
            Kind::Delete,
            Life::from_number(2),
            Some(stamp),
            &[],
            |_| "",
        );
        Value::Integer(5).write(row);
        writer.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sample();
        let changes = Changeset::parse(&bytes).unwrap();
        assert_eq!(changes.row_count(), 4);
        assert_eq!(changes.tables[0].columns, ["note", "name"]);
        let [writes, deletes] = &changes.blocks[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(writes.columns, [0, 1]);
        let row = writes.row(2);
        assert!(row.key_values().eq([Value::Integer(2)]));
        assert!(
            row.written_values()
                .eq([Value::Null, Value::Text(b"Amelia")])
        );
        assert_eq!(deletes.kind, Kind::Delete);
        assert_eq!(deletes.stamp.unwrap().hlc, Hlc::from_bits(9));
    }

    #[test]
    fn rows_that_are_not_wanted_are_left_out() {
        let bytes = sample();
        let mut changes = Changeset::parse(&bytes).unwrap();
        let wanted = Value::Integer(1).to_bytes();
        changes.blocks[0].retain_rows(|row| row.key == wanted);
        assert_eq!(changes.blocks[0].row_count(), 1);
        assert_eq!(changes.blocks[0].row(0).key, wanted);
    }

    #[test]
    fn a_changeset_cut_anywhere_is_refused() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            assert!(Changeset::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn no_flipped_byte_causes_a_panic() {
        let bytes = sample();
        for place in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] ^= mask;
                if let Ok(changes) = Changeset::parse(&damaged) {
                    for row in changes.blocks.iter().flat_map(Block::rows) {
                        assert_eq!(row.key_values().count(), 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut bytes = vec![
            0x92, 0x91, 0x93, 0xa1, b't', 0x91, 0xa1, b'k', 0x90, 0x91, 0x97, 0, 0, 1, 0xc0, 0x90,
        ];
        bytes.extend_from_slice(&[
            0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc4, 0,
        ]);
        assert!(Changeset::parse(&bytes).is_err());
    }
}
