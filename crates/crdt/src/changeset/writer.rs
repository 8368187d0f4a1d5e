//! Builds a changeset row by row. The dictionary names a column only once a block uses it.

use super::Kind;
use crate::hlc::Stamp;
use crate::life::Life;
use crate::msgpack::{write_array, write_bytes, write_nil, write_text, write_unsigned};

/// A table in the dictionary of the changeset being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableIndex(usize);

#[derive(Debug)]
struct DictionaryTable {
    name: String,
    keys: Vec<String>,
    columns: Vec<String>,
    /// Position in the dictionary by the caller's number of the column.
    positions: Vec<Option<u32>>,
}

#[derive(Debug, PartialEq)]
struct OpenBlock {
    table: usize,
    kind: Kind,
    life: Life,
    stamp: Option<Stamp>,
    columns: Vec<u16>,
}

/// A changeset under construction.
#[derive(Debug, Default)]
pub struct ChangesetWriter {
    tables: Vec<DictionaryTable>,
    dictionary_length: usize,
    blocks: Vec<u8>,
    block_count: usize,
    open: Option<OpenBlock>,
    rows: Vec<u8>,
    row_count: u64,
}

impl ChangesetWriter {
    /// An empty changeset.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no row was written yet.
    pub fn is_empty(&self) -> bool {
        self.block_count == 0 && self.row_count == 0
    }

    /// Bytes that [`finish`](Self::finish) would return about now; never less than 16 below the truth per open block.
    pub fn length(&self) -> usize {
        self.dictionary_length + self.blocks.len() + self.rows.len()
    }

    /// The place of a table in the dictionary, made on first use.
    pub fn table(&mut self, name: &str, keys: &[impl AsRef<str>]) -> TableIndex {
        if let Some(index) = self.tables.iter().position(|table| table.name == name) {
            return TableIndex(index);
        }
        self.dictionary_length +=
            name.len() + keys.iter().map(|key| key.as_ref().len() + 5).sum::<usize>() + 16;
        self.tables.push(DictionaryTable {
            name: name.to_owned(),
            keys: keys.iter().map(|key| key.as_ref().to_owned()).collect(),
            columns: Vec::new(),
            positions: Vec::new(),
        });
        TableIndex(self.tables.len() - 1)
    }

    /// Starts a row; the caller appends the values of the key columns and of `columns`, in this order, to what it gets.
    ///
    /// `columns` are the caller's own numbers of columns, `name` tells the name of one that the dictionary lacks.
    pub fn row<'n>(
        &mut self,
        table: TableIndex,
        kind: Kind,
        life: Life,
        stamp: Option<Stamp>,
        columns: &[u16],
        name: impl Fn(u16) -> &'n str,
    ) -> &mut Vec<u8> {
        let fits = self.open.as_ref().is_some_and(|open| {
            open.table == table.0
                && open.kind == kind
                && open.life == life
                && open.stamp == stamp
                && open.columns == columns
        });
        if !fits {
            self.close_block();
            for &column in columns {
                self.name_column(table, column, &name);
            }
            self.open = Some(OpenBlock {
                table: table.0,
                kind,
                life,
                stamp,
                columns: columns.to_vec(),
            });
        }
        self.row_count += 1;
        &mut self.rows
    }

    /// The bytes of the changeset.
    pub fn finish(mut self) -> Vec<u8> {
        self.close_block();
        let mut out = Vec::with_capacity(self.length() + 16);
        write_array(&mut out, 2);
        write_array(&mut out, self.tables.len());
        for table in &self.tables {
            write_array(&mut out, 3);
            write_text(&mut out, &table.name);
            write_array(&mut out, table.keys.len());
            for key in &table.keys {
                write_text(&mut out, key);
            }
            write_array(&mut out, table.columns.len());
            for column in &table.columns {
                write_text(&mut out, column);
            }
        }
        write_array(&mut out, self.block_count);
        out.extend_from_slice(&self.blocks);
        out
    }

    fn name_column<'n>(&mut self, table: TableIndex, column: u16, name: &impl Fn(u16) -> &'n str) {
        let table = &mut self.tables[table.0];
        let place = usize::from(column);
        if table.positions.len() <= place {
            table.positions.resize(place + 1, None);
        }
        if table.positions[place].is_none() {
            table.positions[place] = Some(table.columns.len() as u32);
            let name = name(column);
            self.dictionary_length += name.len() + 5;
            table.columns.push(name.to_owned());
        }
    }

    fn close_block(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let out = &mut self.blocks;
        write_array(out, 7);
        write_unsigned(out, open.table as u64);
        write_unsigned(
            out,
            match open.kind {
                Kind::Write => 0,
                Kind::Delete => 1,
            },
        );
        write_unsigned(out, open.life.number());
        match open.stamp {
            None => write_nil(out),
            Some(stamp) => {
                write_array(out, 2);
                write_unsigned(out, stamp.hlc.to_bits());
                write_bytes(out, stamp.writer.as_bytes());
            }
        }
        write_array(out, open.columns.len());
        let positions = &self.tables[open.table].positions;
        for column in open.columns {
            let position = positions[usize::from(column)].unwrap_or_default();
            write_unsigned(out, u64::from(position));
        }
        write_unsigned(out, self.row_count);
        write_bytes(out, &self.rows);
        self.rows.clear();
        self.row_count = 0;
        self.block_count += 1;
    }
}
