//! After an upgrade: what waited for the schema goes into its tables as if they had always been there.
//!
//! Cells in quarantine do not know their conflicts, because nobody knew their policy. So the rows concerned are made anew from
//! the log, in one transaction. A crash before it leaves them waiting for the next start.

use std::collections::BTreeMap;

use aeroedge_ids::Millis;
use aeroedge_replica::RowSet;

use crate::device::{Device, DeviceError};
use crate::merging::{MergingError, Pass};
use crate::rejudge;
use crate::stored;

impl Device {
    /// Makes rows anew of which the tables can hold more now than when it came.
    pub(crate) fn release_quarantine(&mut self, now: Millis) -> Result<(), DeviceError> {
        let engine_error = |error| DeviceError::Engine(Box::new(error));
        let rows = self.replica.rows_ready().map_err(engine_error)?;
        if rows.is_empty() {
            return Ok(());
        }
        let (opener, vectors) = (&mut self.opener, &mut self.vectors);
        let mut pass = Pass::new(&self.contexts, &*self.rights, opener, vectors, now);
        let outcome = self.replica.merging(|engine| -> Result<(), MergingError> {
            let mut changed: BTreeMap<_, RowSet> = BTreeMap::new();
            for log in stored::all(engine.connection())? {
                changed.entry(log.compartment).or_default();
            }
            // Every compartment is gone through, whichever of them stands first.
            if let Some(mut first) = changed.first_entry() {
                first.get_mut().extend(rows);
            }
            rejudge::make_anew(&mut pass, engine, changed)
        });
        self.vectors.clear();
        outcome.map_err(|error| DeviceError::Engine(Box::new(error)))?;
        Ok(())
    }
}
