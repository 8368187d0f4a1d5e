//! The invariants: what every node must satisfy at every moment, and what all of them must satisfy in the end.

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_device::HOLD_BACK_MS;
use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq};
use aeroedge_log::entry::EntryRef;
use aeroedge_log::head::Head;
use rusqlite::{Connection, OptionalExtension, params};

use crate::answer::describe;
use crate::invariant::Broken;
use crate::machine::true_time;
use crate::oracle::Promised;
use crate::plan::SKEW_MAX_MS;
use crate::rows::{RowKey, read_table};
use crate::standing;
use crate::tables::{COMPARTMENT, TABLES, literal_of};
use crate::work::LogPlace;
use crate::world::{World, fault};

impl World {
    /// Everything that must hold on a node whatever it has heard so far.
    pub(crate) fn check_node(&self, node: usize) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        if device.is_rejudge_due() {
            // Its tables follow a moment later.
            return Ok(());
        }
        let connection = device.connection();
        let logs = self.logs(node)?;
        let own = self.machines[node].writer();
        for log in &logs {
            let may_hold = device.compartments(log.context).contains(&log.compartment)
                || self.machines[node].readable.contains(&log.compartment);
            if !may_hold {
                return Err(Broken::Leaked {
                    node,
                    compartment: log.compartment,
                    what: "entries",
                });
            }
            let is_own = Some(log.writer) == own;
            check_log(node, connection, log, is_own)?;
        }
        self.check_refused(node, connection, &logs)?;
        self.check_cut_offs(node)?;
        self.check_clock(node, connection)?;
        self.check_tables(node, connection)
    }

    /// Nothing is refused but what its writer had no right to.
    fn check_refused(
        &self,
        node: usize,
        connection: &Connection,
        logs: &[LogPlace],
    ) -> Result<(), Broken> {
        let refused: Vec<(i64, i64, String)> = connection
            .prepare_cached("SELECT log, seq, reason FROM device_refused")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .map_err(|error| fault(node, &describe(&error)))?;
        for (number, seq, reason) in refused {
            let log = logs.iter().find(|log| log.number == number);
            if !log.is_some_and(|log| self.may_be_refused(node, log.context, log.writer)) {
                return Err(Broken::Refused {
                    node,
                    seq: Seq(seq as u64),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// What is stamped too far ahead is not merged, and so moves nobody's clock.
    fn check_clock(&self, node: usize, connection: &Connection) -> Result<(), Broken> {
        if self.plan.skews_ms[node] > SKEW_MAX_MS {
            return Ok(());
        }
        let stamp: i64 = connection
            .query_row("SELECT hlc FROM replica_state", [], |row| row.get(0))
            .map_err(|error| fault(node, &describe(&error)))?;
        let now = true_time(self.now);
        let ahead_ms = Hlc::from_bits(stamp as u64).time().0.saturating_sub(now.0);
        if ahead_ms > SKEW_MAX_MS as u64 + HOLD_BACK_MS {
            return Err(Broken::ClockDragged { node, ahead_ms });
        }
        Ok(())
    }

    /// The tables hold what was merged, cell by cell, and nothing else.
    fn check_tables(&self, node: usize, connection: &Connection) -> Result<(), Broken> {
        let failed = |error: rusqlite::Error| fault(node, &describe(&error));
        let mut merged = self.standing(node)?;
        let left = self.compartments_left(node);
        merged.retain(|compartment, _| !left.contains(compartment));
        for (compartment, merged) in &merged {
            let literal = literal_of(*compartment);
            for number in 0..TABLES.len() {
                let found = read_table(connection, number, &literal).map_err(failed)?;
                let expected = self.oracle.expected_table(number, &literal, merged);
                if found == expected {
                    continue;
                }
                for row in found.keys().chain(expected.keys()) {
                    compare_row(node, row, found.get(row), expected.get(row))?;
                }
            }
        }
        let known: Vec<String> = merged
            .keys()
            .chain(&left)
            .map(|compartment| literal_of(*compartment))
            .collect();
        for table in TABLES {
            let stray: Option<Vec<u8>> = connection
                .query_row(
                    &format!(
                        "SELECT {COMPARTMENT} FROM {} WHERE {COMPARTMENT} NOT IN ({}) LIMIT 1",
                        table.name,
                        known.join(", ")
                    ),
                    [],
                    |row| row.get(0),
                )
                .optional()
                .map_err(failed)?;
            if let Some(stray) = stray {
                let mut compartment = [0; 16];
                let length = stray.len().min(16);
                compartment[..length].copy_from_slice(&stray[..length]);
                return Err(Broken::Leaked {
                    node,
                    compartment: CompartmentId(compartment),
                    what: "rows",
                });
            }
        }
        Ok(())
    }

    /// A device that is no member holds nothing of a context.
    pub(crate) fn check_stranger(&self, node: usize, context: ContextId) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        for table in ["device_control", "device_log"] {
            let sql = format!("SELECT count(*) FROM {table} WHERE context = ?1");
            let count: i64 = device
                .connection()
                .query_row(&sql, [context.0], |row| row.get(0))
                .map_err(|error| fault(node, &describe(&error)))?;
            if count > 0 {
                return Err(Broken::StrangerHolds { node, context });
            }
        }
        Ok(())
    }

    /// What a node promised to keep it has.
    pub(crate) fn check_acknowledged(&self, node: usize) -> Result<(), Broken> {
        for context in 0..self.contexts.len() {
            for (_, compartment) in self.compartments(context) {
                for promised in self.oracle.promises(compartment) {
                    if promised.node == node {
                        self.check_kept(node, compartment, promised)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_kept(
        &self,
        node: usize,
        compartment: CompartmentId,
        promised: &Promised,
    ) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let (connection, seq) = (device.connection(), promised.seq);
        match standing::holds(connection, compartment, seq, &promised.entry) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Broken::AcknowledgedLost {
                node,
                writer: promised.writer,
                seq,
            }),
            Err(error) => Err(fault(node, &describe(&error))),
        }
    }

    /// Why the nodes are not equal yet, if they are not.
    pub(crate) fn unequal(&self) -> Result<Option<String>, Broken> {
        let mut logs_by_node = Vec::new();
        for node in 0..self.machines.len() {
            if !self.is_up(node) {
                return Ok(Some(format!("node {node} is off")));
            }
            // Whoever was shut out knocks again and again, and somebody is always about to answer.
            if self.out.is_empty() && !self.machines[node].questions.is_empty() {
                return Ok(Some(format!("node {node} is at work")));
            }
            logs_by_node.push(self.logs(node)?);
        }
        for (number, context) in self.contexts.iter().enumerate() {
            let Some(id) = context else {
                return Ok(Some(format!("context {number} is not founded")));
            };
            if let Some(reason) = self.unequal_in(number, *id, &logs_by_node) {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    fn unequal_in(
        &self,
        number: usize,
        id: ContextId,
        logs_by_node: &[Vec<LogPlace>],
    ) -> Option<String> {
        let mut control: Option<(usize, std::collections::BTreeSet<_>)> = None;
        let mut frontiers: BTreeMap<CompartmentId, (usize, BTreeMap<_, Seq>)> = BTreeMap::new();
        for node in self.staying(number) {
            let device = self.machines[node].device.as_ref()?;
            if device.roster(id).is_none() || !self.is_counted(number, node) {
                return Some(format!("node {node} has not joined {id:?}"));
            }
            let hashes = device.control_hashes(id).into_iter().collect();
            match &control {
                None => control = Some((node, hashes)),
                Some((_, first)) if *first == hashes => {}
                Some((other, _)) => {
                    return Some(format!(
                        "nodes {other} and {node} hold different histories of {id:?}"
                    ));
                }
            }
            for log in logs_by_node[node].iter().filter(|log| log.context == id) {
                if !device.compartments(id).contains(&log.compartment) {
                    continue;
                }
                if (log.tail, log.tail) != (log.vouched, log.merged) {
                    let waiting = device.waiting().get(&(log.compartment, log.writer));
                    return Some(format!(
                        "node {node} has not merged {:?}: {log:?}, {waiting:?}",
                        log.writer
                    ));
                }
            }
            for compartment in device.compartments(id) {
                let frontier: BTreeMap<_, _> = logs_by_node[node]
                    .iter()
                    .filter(|log| log.compartment == compartment && log.tail > Seq::NONE)
                    // Entries of somebody whose admission does not stand count nowhere and need not travel.
                    .filter(|log| {
                        let reference = self.reference(number);
                        reference.is_some_and(|roster| roster.writer(log.writer).is_some())
                    })
                    .map(|log| (log.writer, log.tail))
                    .collect();
                match frontiers.get(&compartment) {
                    None => drop(frontiers.insert(compartment, (node, frontier))),
                    Some((_, first)) if *first == frontier => {}
                    Some((other, first)) => {
                        return Some(format!(
                            "nodes {other} and {node} hold different entries of {compartment:?}: {first:?} and {frontier:?}"
                        ));
                    }
                }
            }
        }
        None
    }

    /// Everything that must hold on every node, and everything anybody promised.
    pub(crate) fn check_all(&mut self) -> Result<(), Broken> {
        for node in 0..self.machines.len() {
            self.check_node(node)?;
            for context in 0..self.contexts.len() {
                let Some(id) = self.contexts[context] else {
                    continue;
                };
                if !self.members(context).contains(&node) {
                    self.check_stranger(node, id)?;
                    continue;
                }
                let readable = self.machines[node]
                    .device
                    .as_ref()
                    .map(|device| device.compartments(id))
                    .unwrap_or_default();
                for compartment in readable {
                    for promised in self.oracle.promises(compartment) {
                        let is_whole = !self.stranded.contains(&promised.node)
                            && !self.out.contains(&(context, promised.node))
                            && !self.reduced.contains(&(context, promised.node));
                        if promised.node == node || (is_whole && self.is_counted(context, node)) {
                            self.check_kept(node, compartment, promised)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What lies behind the tables is equal too: open conflicts and tombstones of each compartment, and where two nodes
    /// read the same compartments the whole engine's state.
    pub(crate) fn check_equal(&mut self) -> Result<(), Broken> {
        let mut seen: BTreeMap<(CompartmentId, &'static str), (usize, Vec<String>)> =
            BTreeMap::new();
        for context in 0..self.contexts.len() {
            let Some(id) = self.contexts[context] else {
                continue;
            };
            for node in self.staying(context) {
                let Some(device) = &self.machines[node].device else {
                    continue;
                };
                let failed = |error: rusqlite::Error| fault(node, &describe(&error));
                for compartment in device.compartments(id) {
                    let literal = literal_of(compartment);
                    let conflicts = conflicts(device.connection(), &literal).map_err(failed)?;
                    let graves = graves(device.connection(), &literal).map_err(failed)?;
                    for (what, lines) in [("open conflicts", conflicts), ("tombstones", graves)] {
                        match seen.get(&(compartment, what)) {
                            None => drop(seen.insert((compartment, what), (node, lines))),
                            Some((_, first)) if *first == lines => {}
                            Some((left, first)) => {
                                return Err(Broken::Differ {
                                    left: *left,
                                    right: node,
                                    what: format!(
                                        "{what} of {compartment:?}: {}",
                                        difference(first, &lines)
                                    ),
                                });
                            }
                        }
                    }
                }
            }
        }
        self.figures.conflicts = seen
            .iter()
            .filter(|((_, what), _)| *what == "open conflicts")
            .map(|(_, (_, lines))| lines.len() as u64)
            .sum();
        self.check_digests()
    }

    fn check_digests(&mut self) -> Result<(), Broken> {
        let mut groups: BTreeMap<Vec<CompartmentId>, (usize, aeroedge_replica::Digest)> =
            BTreeMap::new();
        let mut counted: BTreeMap<CompartmentId, u64> = BTreeMap::new();
        for node in 0..self.machines.len() {
            if !self.is_whole(node) {
                continue;
            }
            let Some(device) = &mut self.machines[node].device else {
                continue;
            };
            let failed = |error: &dyn std::error::Error| fault(node, &describe(error));
            let contexts = self.contexts.iter().flatten();
            let readable: Vec<_> = contexts.flat_map(|id| device.compartments(*id)).collect();
            for compartment in &readable {
                let mut rows = 0;
                for number in 0..TABLES.len() {
                    rows += read_table(device.connection(), number, &literal_of(*compartment))
                        .map_err(|error| failed(&error))?
                        .len() as u64;
                }
                counted.insert(*compartment, rows);
            }
            let digest = device.engine_digest().map_err(|error| failed(&error))?;
            match groups.get(&readable) {
                None => drop(groups.insert(readable, (node, digest))),
                Some((_, first)) if *first == digest => {}
                Some((left, first)) => {
                    let what = if first.content == digest.content {
                        "clocks or what lies behind the tables"
                    } else {
                        "the content of their tables"
                    };
                    return Err(Broken::Differ {
                        left: *left,
                        right: node,
                        what: what.to_owned(),
                    });
                }
            }
        }
        self.figures.rows = counted.values().sum();
        for (compartments, (node, digest)) in groups {
            self.note(format_args!(
                "node {node} and its like read {} compartments, {} rows, {}",
                compartments.len(),
                digest.rows,
                crate::trace::Short(digest.history)
            ));
        }
        Ok(())
    }
}

/// The chain holds from the first entry to the tail, and the newest head is the writer's.
fn check_log(
    node: usize,
    connection: &Connection,
    log: &LogPlace,
    is_own: bool,
) -> Result<(), Broken> {
    let failed = |error: rusqlite::Error| fault(node, &describe(&error));
    let broken = |seq: Seq, reason: &str| Broken::BrokenLog {
        node,
        writer: log.writer,
        seq,
        reason: reason.to_owned(),
    };
    let mut statement = connection
        .prepare_cached("SELECT seq, bytes FROM device_entry WHERE log = ?1 ORDER BY seq")
        .map_err(failed)?;
    let mut rows = statement.query([log.number]).map_err(failed)?;
    let (mut seq, mut hash) = (Seq::NONE, EntryHash([0; 32]));
    let mut vouched_hash = hash;
    while let Some(row) = rows.next().map_err(failed)? {
        seq = seq.next();
        let bytes: Vec<u8> = row.get(1).map_err(failed)?;
        let entry = EntryRef::parse(&bytes).map_err(|error| broken(seq, &error.to_string()))?;
        let is_next = row.get::<_, i64>(0).map_err(failed)? as u64 == seq.0
            && entry.seq() == seq
            && entry.previous() == hash
            && (entry.context(), entry.compartment(), entry.writer())
                == (log.context, log.compartment, log.writer);
        if !is_next {
            return Err(broken(seq, "the entry does not follow the one before"));
        }
        hash = entry.hash();
        if seq == log.vouched {
            vouched_hash = hash;
        }
    }
    if (seq, hash) != (log.tail, log.tail_hash) {
        return Err(broken(seq, "the chain does not end at the tail"));
    }
    if log.vouched > log.tail || (!is_own && log.merged > log.vouched) {
        return Err(broken(log.vouched, "the positions are not in order"));
    }
    if is_own && log.merged != log.tail {
        return Err(broken(log.merged, "an own entry is not merged"));
    }
    if log.vouched == Seq::NONE {
        return Ok(());
    }
    let signature: Option<[u8; 64]> = connection
        .prepare_cached("SELECT signature FROM device_head WHERE log = ?1 AND seq = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![log.number, log.vouched.0 as i64], |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    let head = signature.map(|signature| Head {
        compartment: log.compartment,
        writer: log.writer,
        seq: log.vouched,
        hash: vouched_hash,
        signature,
    });
    match head {
        Some(head) if head.verify().is_ok() => Ok(()),
        _ => Err(broken(log.vouched, "no true head vouches for it")),
    }
}

/// A row is what the oracle says.
pub(crate) fn compare_row(
    node: usize,
    row: &RowKey,
    found: Option<&Vec<String>>,
    expected: Option<&Vec<String>>,
) -> Result<(), Broken> {
    if found == expected {
        return Ok(());
    }
    let shown = |values: Option<&Vec<String>>| {
        let shown = values.map_or("absent".to_owned(), |values| values.join(", "));
        shown.chars().take(200).collect()
    };
    Err(Broken::RowDiffers {
        node,
        row: row.to_string(),
        found: shown(found),
        expected: shown(expected),
    })
}

fn difference(left: &[String], right: &[String]) -> String {
    let only_left = left.iter().find(|line| !right.contains(line));
    let only_right = right.iter().find(|line| !left.contains(line));
    format!("only one has {only_left:?}, only the other has {only_right:?}")
}

fn conflicts(connection: &Connection, compartment: &str) -> rusqlite::Result<Vec<String>> {
    lines(
        connection,
        &format!(
            "SELECT t.name || ' ' || quote(c.key) || ' ' || c.life || ' ' || c.hlc || ' ' || quote(w.key) || ' ' || quote(c.cells)
             FROM replica_conflict c JOIN replica_table t ON t.id = c.tbl JOIN replica_writer w ON w.number = c.writer
             WHERE instr(c.key, {compartment}) > 0 ORDER BY 1"
        ),
    )
}

fn graves(connection: &Connection, compartment: &str) -> rusqlite::Result<Vec<String>> {
    let mut graves = Vec::new();
    let tables = lines(
        connection,
        "SELECT id || ' ' || name FROM replica_table ORDER BY name",
    )?;
    for table in &tables {
        let Some((id, name)) = table.split_once(' ') else {
            continue;
        };
        graves.extend(lines(
            connection,
            &format!(
                "SELECT '{name} ' || quote(g.key) || ' ' || g.life || ' ' || g.hlc || ' ' || quote(w.key)
                 FROM replica_grave_{id} g JOIN replica_writer w ON w.number = g.writer
                 WHERE instr(g.key, {compartment}) > 0 ORDER BY 1"
            ),
        )?);
    }
    Ok(graves)
}

fn lines(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(sql)?
        .query_map([], |row| row.get(0))?
        .collect()
}
