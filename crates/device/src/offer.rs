//! What goes out: runs of entries a peer lacks, in the order of their arrival here, byte for byte, never past a signed head.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, Seq};
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::{Cursor, Frontier, Run, WireHead};
use rusqlite::{Connection, params};

use crate::stored::{self, LogNumber, LogRow};

/// One answer to "what does this peer lack".
#[derive(Debug, Clone, Default)]
pub struct EntriesRead {
    /// In causal order.
    pub runs: Vec<Run>,
    /// Where to go on.
    pub next: Cursor,
    /// Nothing is left beyond the cursor.
    pub exhausted: bool,
}

/// Runs of the entries between `peer` and what is vouched for here, from `after` on, about `max_bytes` of them (at least one entry).
pub(crate) fn read(
    connection: &Connection,
    compartment: CompartmentId,
    peer: &Frontier,
    after: Cursor,
    max_bytes: usize,
) -> rusqlite::Result<EntriesRead> {
    let mut logs: BTreeMap<LogNumber, (LogRow, Seq)> = BTreeMap::new();
    for row in stored::logs_of(connection, compartment)? {
        let has = held_by_peer(connection, &row, peer)?;
        logs.insert(row.number, (row, has));
    }
    let mut out = EntriesRead {
        next: after,
        exhausted: true,
        ..EntriesRead::default()
    };
    let mut start = i64::MAX;
    let mut unavailable = Vec::new();
    for (row, has) in logs.values().filter(|(row, has)| *has < row.vouched) {
        match stored::arrival(connection, row.number, has.next())? {
            Some(arrival) => start = start.min(arrival),
            // This device began with a state that stands for it: what follows would leave a gap.
            None => unavailable.push(row.number),
        }
    }
    for log in unavailable {
        logs.remove(&log);
    }
    if start == i64::MAX {
        return Ok(out);
    }
    let mut statement = connection.prepare_cached(
        "SELECT arrival, log, seq, bytes FROM device_entry WHERE arrival >= ?1 ORDER BY arrival",
    )?;
    let mut rows = statement.query(params![start.max(after.0 as i64 + 1)])?;
    let mut bytes = 0;
    let mut last_log = None;
    // An entry without a head is read again when it has one, so the cursor stays before the first of them.
    let mut is_held = false;
    while let Some(row) = rows.next()? {
        let arrival = Cursor(row.get::<_, i64>(0)? as u64);
        let number = LogNumber(row.get(1)?);
        let seq = Seq(row.get::<_, i64>(2)? as u64);
        let wanted = logs.get(&number).filter(|(_, has)| seq > *has);
        is_held |= wanted.is_some_and(|(log, _)| seq > log.vouched);
        if let Some((log, _)) = wanted.filter(|(log, _)| seq <= log.vouched) {
            let entry = row.get_ref(3)?.as_blob()?;
            if bytes > 0 && bytes + entry.len() > max_bytes {
                out.exhausted = false;
                break;
            }
            bytes += entry.len();
            if last_log != Some(number) {
                out.runs.push(Run {
                    writer: log.writer,
                    first: seq,
                    entries: Vec::new(),
                    head: None,
                });
                last_log = Some(number);
            }
            if let Some(run) = out.runs.last_mut() {
                run.entries.push(entry.to_vec());
            }
        }
        if !is_held {
            out.next = arrival;
        }
    }
    drop(rows);
    for run in &mut out.runs {
        attach_head(connection, compartment, run)?;
    }
    Ok(out)
}

/// How much of a log the peer has. What is a branch here may be the end of its trunk there, where the fork is not known.
fn held_by_peer(connection: &Connection, log: &LogRow, peer: &Frontier) -> rusqlite::Result<Seq> {
    if let Some(seq) = peer.get(&log.writer) {
        return Ok((*seq).max(log.base()));
    }
    let mut next = log.parent;
    while let Some(number) = next {
        let parent = stored::by_number(connection, number)?;
        if let (Some(seq), Some(check)) = (peer.get(&parent.writer), peer.check(&parent.writer))
            && *seq > log.base()
            && *seq <= log.vouched
            && stored::hash_at(connection, log, *seq)?.is_some_and(|hash| hash.check() == check)
        {
            return Ok(*seq);
        }
        next = parent.parent;
    }
    Ok(log.base())
}

/// Gives the run the last head that falls into it.
fn attach_head(
    connection: &Connection,
    compartment: CompartmentId,
    run: &mut Run,
) -> rusqlite::Result<()> {
    let last = Seq(run.first.0 + run.entries.len() as u64 - 1);
    let Some(log) = stored::find(connection, compartment, run.writer)? else {
        return Ok(());
    };
    run.head = stored::head_within(connection, log.number, last)?.and_then(|(seq, signature)| {
        let index = seq.0.checked_sub(run.first.0)? as usize;
        let hash = EntryRef::parse(run.entries.get(index)?).ok()?.hash();
        Some(WireHead {
            seq,
            hash,
            signature,
        })
    });
    Ok(())
}
