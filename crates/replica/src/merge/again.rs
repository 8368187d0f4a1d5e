//! Rows made anew from changesets that were merged before: what is taken back leaves no trace.
//!
//! The caller forgets rows and merges, in a causal order, every changeset that counts, restricted to these rows. What it
//! gets equals what a replica has that merged only what counts.

use aeroedge_crdt::hlc::Hlc;

use super::{Incoming, MergeError, Merging, RowSet, open, parse};
use crate::capture::Mode;
use crate::quarantine::{self, joined_names};
use crate::state::Reached;
use crate::storage::StorageError;

impl Merging<'_> {
    /// Whether [`apply`](Self::apply) would take a changeset, without merging it.
    pub fn examine(&self, incoming: &Incoming<'_>) -> Result<(), MergeError> {
        let changes = parse(incoming)?;
        for block in &changes.blocks {
            let local = self.local_table(&changes.tables[block.table]);
            self.check(&changes, block, local, incoming.compartment)?;
        }
        Ok(())
    }

    /// Whether rows of a set belong to no compartment by their key: those of tables without a compartment column, and of tables
    /// that are not known here. Changesets of several compartments may speak of them.
    pub fn any_without_compartment(&self, rows: &RowSet) -> bool {
        rows.tables().any(|(table, keys, _)| {
            self.place_of(table, keys)
                .is_none_or(|place| self.engine.tables.all[place].compartment_key.is_none())
        })
    }

    /// Forgets rows as if nobody had ever written them: content, clocks, tombstones, conflicts, and what waits for the schema.
    ///
    /// [`Replica::changes_since`](crate::Replica::changes_since) does not tell of rows that stay forgotten.
    pub fn forget(&mut self, rows: &RowSet) -> Result<(), MergeError> {
        if self.stopped {
            return Err(MergeError::Stopped);
        }
        self.changed = true;
        self.engine.shared.set_mode(Mode::Internal);
        let forgotten = self.forget_rows(rows);
        self.engine.shared.set_mode(Mode::Closed);
        self.stopped = forgotten.is_err();
        Ok(forgotten?)
    }

    fn forget_rows(&mut self, rows: &RowSet) -> Result<(), StorageError> {
        for (table, names, keys) in rows.tables() {
            let place = self.place_of(table, names);
            for key in keys {
                match place {
                    None => quarantine::forget(self.connection, table, names, key)?,
                    Some(place) => open(
                        &mut self.tables,
                        self.connection,
                        &self.engine.tables,
                        &mut self.engine.memory,
                        place,
                    )?
                    .forget(key)?,
                }
            }
        }
        Ok(())
    }

    /// Merges what a changeset says of the rows in `only`, whether or not it was merged before.
    pub fn apply_again(
        &mut self,
        incoming: &Incoming<'_>,
        only: &RowSet,
    ) -> Result<(), MergeError> {
        if self.stopped {
            return Err(MergeError::Stopped);
        }
        let mut changes = parse(incoming)?;
        only.retain_in(&mut changes);
        self.merge(
            &changes,
            incoming.stamp,
            incoming.compartment,
            Some(incoming.seen),
        )?;
        self.reach(incoming)?;
        Ok(())
    }

    /// Sets the clock back, to go on from `latest`: after everything later was forgotten.
    pub fn turn_back(&mut self, latest: Hlc) {
        self.state.hlc = self.state.hlc.min(latest);
        self.changed = true;
    }

    /// Notes that a writer was merged up to here, unless it was further already.
    fn reach(&mut self, incoming: &Incoming<'_>) -> Result<(), StorageError> {
        let writer = self
            .engine
            .writers
            .number(self.connection, incoming.stamp.writer)?;
        let reached = Reached {
            hlc: incoming.stamp.hlc,
            part: incoming.part,
        };
        let known = self.reached(writer, incoming.compartment)?;
        if known.is_none_or(|known| known < reached) {
            self.reached
                .insert((writer, incoming.compartment), (Some(reached), true));
        }
        self.state.hlc = self.state.hlc.max(incoming.stamp.hlc);
        self.changed = true;
        Ok(())
    }

    /// The merged table of a name and key columns.
    pub(super) fn place_of(&self, table: &str, keys: &str) -> Option<usize> {
        let place = self.engine.tables.by_name(table)?;
        (joined_names(&self.engine.tables.all[place].key_names) == keys).then_some(place)
    }
}
