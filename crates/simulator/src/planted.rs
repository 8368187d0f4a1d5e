//! Planted mistakes: what a careless driver or a broken disk would do, behind the back of the device.
//!
//! None of this touches the crates under test. Each mistake happens now and then, so that most of a run is sound.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId};
use aeroedge_protocol::{Event, Frontier, Output};
use rand::RngExt;
use rusqlite::{Connection, OptionalExtension, params};

use crate::answer::describe;
use crate::invariant::Broken;
use crate::plan::Bug;
use crate::work::LogPlace;
use crate::world::{World, fault};

impl World {
    /// Mistakes before a question is answered. An event is the answer then.
    pub(crate) fn planted_before(
        &mut self,
        node: usize,
        question: &Output,
    ) -> Result<Option<Event>, Broken> {
        let Output::Apply {
            batch,
            compartment,
            runs,
            ..
        } = question
        else {
            return Ok(None);
        };
        match self.bug {
            Some(Bug::DropBatch) if self.rng.random_bool(0.2) => Ok(Some(Event::Applied {
                batch: *batch,
                declined: Vec::new(),
            })),
            Some(Bug::LoseMergedPosition) if self.rng.random_bool(0.2) => {
                for run in runs {
                    let (compartment, writer) = (*compartment, run.writer);
                    self.tamper_with(node, |connection| {
                        connection.execute(
                            "UPDATE device_log SET merged_seq = merged_seq + 1
                             WHERE compartment = ?1 AND writer = ?2 AND merged_seq = vouched_seq AND merged_seq = ?3",
                            params![compartment.0, writer.0, run.first.0 as i64 - 1],
                        )?;
                        Ok(())
                    })?;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Mistakes after a question was answered.
    pub(crate) fn planted_after(&mut self, node: usize) -> Result<(), Broken> {
        let Some(writer) = self.machines[node].writer() else {
            return Ok(());
        };
        match self.bug {
            Some(Bug::ApplyTwice) if self.rng.random_bool(0.05) => {
                let now = self.clock(node);
                self.tamper_with(node, |connection| {
                    connection.execute(
                        "UPDATE device_log SET merged_seq = 0, merged_hlc = 0 WHERE writer <> ?1",
                        [writer.0],
                    )?;
                    connection.execute("DELETE FROM replica_frontier", [])?;
                    connection.execute("DELETE FROM device_seen WHERE log IN (SELECT log FROM device_log WHERE writer <> ?1)", [writer.0])?;
                    Ok(())
                })?;
                let merged = self.machines[node]
                    .device
                    .as_mut()
                    .map(|device| device.merge_waiting(now));
                match merged {
                    Some(Err(error)) => Err(fault(node, &describe(&error))),
                    _ => Ok(()),
                }
            }
            Some(Bug::CorruptEntry) if self.rng.random_bool(0.01) => {
                self.tamper_with(node, |connection| {
                    let found: Option<(i64, Vec<u8>)> = connection
                        .query_row(
                            "SELECT arrival, bytes FROM device_entry ORDER BY arrival DESC LIMIT 1",
                            [],
                            |row| Ok((row.get(0)?, row.get(1)?)),
                        )
                        .optional()?;
                    if let Some((arrival, mut bytes)) = found {
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 1;
                        connection.execute(
                            "UPDATE device_entry SET bytes = ?2 WHERE arrival = ?1",
                            params![arrival, bytes],
                        )?;
                    }
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }

    /// Takes back the entries of the last transaction and leaves its rows; nobody is told of it.
    pub(crate) fn forget_entries(
        &mut self,
        node: usize,
        before: &[LogPlace],
    ) -> Result<(), Broken> {
        for log in self.own_logs(node)? {
            let Some(old) = before.iter().find(|old| old.number == log.number) else {
                continue;
            };
            let old = *old;
            self.tamper_with(node, |connection| {
                connection.execute(
                    "DELETE FROM device_entry WHERE log = ?1 AND seq > ?2",
                    params![old.number, old.tail.0 as i64],
                )?;
                connection.execute(
                    "UPDATE device_log SET tail_seq = ?2, tail_hash = ?3, merged_seq = ?4, merged_hlc = ?5 WHERE log = ?1",
                    params![
                        old.number,
                        old.tail.0 as i64,
                        old.tail_hash.0,
                        old.merged.0 as i64,
                        old.merged_hlc as i64
                    ],
                )?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Offers and takes every compartment of a context, whoever may read it.
    pub(crate) fn share_too_much(
        &self,
        node: usize,
        context: ContextId,
        compartments: &mut BTreeMap<CompartmentId, Frontier>,
    ) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let Some(roster) = device.roster(context) else {
            return Ok(());
        };
        for compartment in roster.compartments() {
            let frontier = device
                .frontier(compartment.id)
                .map_err(|error| fault(node, &describe(&error)))?;
            compartments.entry(compartment.id).or_insert(frontier);
        }
        Ok(())
    }

    fn tamper_with(
        &self,
        node: usize,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        change(device.connection()).map_err(|error| fault(node, &describe(&error)))
    }
}
