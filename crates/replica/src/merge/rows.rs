//! Rows by table and key: which of them to forget, and of which to merge the changes anew.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::changeset::{Changeset, MalformedChangeset, TableNames};

use crate::quarantine::joined_names;

/// A set of rows, also of tables that are not known here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    /// Keys by the name of the table and the names of its key columns.
    by_table: BTreeMap<(String, String), BTreeSet<Vec<u8>>>,
}

impl RowSet {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every row that a changeset writes or deletes.
    pub fn add(&mut self, changes: &[u8]) -> Result<(), MalformedChangeset> {
        let changes = Changeset::parse(changes)?;
        for block in &changes.blocks {
            let keys = self
                .by_table
                .entry(name(&changes.tables[block.table]))
                .or_default();
            for row in block.rows() {
                if !keys.contains(row.key) {
                    keys.insert(row.key.to_vec());
                }
            }
        }
        Ok(())
    }

    /// Adds one row; `names` are those of the key columns, each followed by a line feed.
    pub(crate) fn add_key(&mut self, table: &str, names: &str, key: Vec<u8>) {
        self.by_table
            .entry((table.to_owned(), names.to_owned()))
            .or_default()
            .insert(key);
    }

    /// Adds the rows of another set.
    pub fn extend(&mut self, other: Self) {
        for (table, keys) in other.by_table {
            self.by_table.entry(table).or_default().extend(keys);
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.by_table.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_table.values().all(BTreeSet::is_empty)
    }

    /// The tables with the names of their key columns, each followed by a line feed, and the keys.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<Vec<u8>>)> {
        self.by_table
            .iter()
            .map(|((table, names), keys)| (table.as_str(), names.as_str(), keys))
    }

    /// The rows of one table.
    pub(super) fn keys_of(&self, table: &str, names: &str) -> Option<&BTreeSet<Vec<u8>>> {
        self.by_table.get(&(table.to_owned(), names.to_owned()))
    }

    /// Leaves only rows of this set in a changeset.
    pub(super) fn retain_in(&self, changes: &mut Changeset<'_>) {
        let names: Vec<_> = changes
            .tables
            .iter()
            .map(|table| self.by_table.get(&name(table)))
            .collect();
        for block in &mut changes.blocks {
            let wanted = names[block.table];
            block.retain_rows(|row| wanted.is_some_and(|keys| keys.contains(row.key)));
        }
        changes.blocks.retain(|block| block.row_count() > 0);
    }
}

fn name(table: &TableNames<'_>) -> (String, String) {
    (table.name.to_owned(), joined_names(&table.keys))
}
