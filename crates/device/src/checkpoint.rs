//! The whole merged state of a compartment as canonical bytes, and a device that begins with it instead of the entries.
//!
//! Devices that merged the same entries and know the same membership write the same bytes. Whoever takes them over merges
//! what comes later exactly as those who took every entry, also when a verdict changes: rows are then made anew from the state
//! and the entries after it. It cannot hand on the entries that the state stands for, nor take their verdicts back.

mod form;

use std::collections::BTreeMap;
use std::error::Error;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, EntryCheck, Millis, Seq, WriterKey};
use aeroedge_log::entry::{EntryRef, WriterTag};
use aeroedge_replica::{ImageError, MergeError, Merging, RowSet, Scope};
use rusqlite::{Connection, OptionalExtension, params};

use crate::device::{Device, DeviceError};
use crate::merging::MergingError;
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts;
use form::{Form, FormError, LogState, Mark, hash_of};

/// The state of a compartment at one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateBytes {
    /// Names the point: a hash of the positions in all logs.
    pub positions: [u8; 32],
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub hash: [u8; 32],
}

/// A state was not taken over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LoadStateError {
    /// It was damaged or tampered with.
    #[error(
        "the checkpoint does not match its hash: fetch it again, from another device if that happens twice; nothing was changed"
    )]
    OtherHash,
    /// Its hash is right and this program cannot read it.
    #[error("the checkpoint cannot be read: {0}; update this program")]
    Form(String),
    /// It is of something else.
    #[error("the checkpoint is of another compartment: ask for that of {0}")]
    OtherCompartment(CompartmentId),
    /// This device is not in its context, or may not read it.
    #[error("this device does not read compartment {0}: synchronise the membership first")]
    NotReadable(CompartmentId),
    /// This device has what the state does not.
    #[error(
        "the checkpoint lacks entries that are here of writer {0}: synchronise with a device that has the whole history"
    )]
    Behind(WriterKey),
    /// The engine cannot take it.
    #[error("the checkpoint could not be taken over")]
    Image(#[from] ImageError),
    /// The database.
    #[error("the checkpoint could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<MergeError> for LoadStateError {
    fn from(error: MergeError) -> Self {
        Self::Image(error.into())
    }
}

impl From<rusqlite::Error> for LoadStateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for LoadStateError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<FormError> for LoadStateError {
    fn from(error: FormError) -> Self {
        Self::Form(error.to_string())
    }
}

impl Device {
    /// The state of a compartment as it is merged here.
    pub fn state_bytes(&mut self, compartment: CompartmentId) -> Result<StateBytes, DeviceError> {
        let Some(context) = self.compartments.get(&compartment).copied() else {
            return Err(DeviceError::Engine(
                format!("this device does not read compartment {compartment}").into(),
            ));
        };
        let known: Vec<CompartmentId> = self.compartments.keys().copied().collect();
        let with_default = self.fixed == Some(compartment);
        let image = self
            .replica
            .image(&scope(compartment, with_default, &known))
            .map_err(|error| DeviceError::Engine(Box::new(error)))?;
        let logs = log_states(self.connection(), compartment)?;
        let form = Form {
            context,
            compartment,
            logs,
            image: &image,
        };
        let bytes = form.encode();
        Ok(StateBytes {
            positions: form.positions(),
            hash: hash_of(&bytes),
            bytes,
        })
    }

    /// Begins a compartment with a state that has this hash. What is here of the compartment already must be part of it.
    pub fn load_state(
        &mut self,
        compartment: CompartmentId,
        bytes: &[u8],
        hash: &[u8; 32],
        now: Millis,
    ) -> Result<(), LoadStateError> {
        if hash_of(bytes) != *hash {
            return Err(LoadStateError::OtherHash);
        }
        let form = Form::decode(bytes)?;
        if form.compartment != compartment {
            return Err(LoadStateError::OtherCompartment(compartment));
        }
        self.refresh()?;
        if self.compartments.get(&compartment) != Some(&form.context) {
            return Err(LoadStateError::NotReadable(compartment));
        }
        let known: Vec<CompartmentId> = self.compartments.keys().copied().collect();
        let with_default = self.fixed == Some(compartment);
        let scope = scope(compartment, with_default, &known);
        self.own_logs.forget();
        self.vectors.clear();
        self.took_in = true;
        self.replica.merging(|engine| {
            let connection = engine.connection();
            check_covers(connection, &form)?;
            engine.forget_all(&scope)?;
            let reached = form.logs.iter().map(|log| (log.name, log.latest()));
            let reached: BTreeMap<WriterKey, Hlc> = reached.collect();
            let named = engine.apply_image(&scope, form.image, &reached, None)?;
            // A stamp that no entry of the state carries would beat whatever comes later.
            if named
                .iter()
                .any(|(writer, hlc)| reached.get(writer).is_none_or(|upto| hlc > upto))
            {
                return Err(LoadStateError::Form("it holds stamps of no entry".into()));
            }
            store(connection, &form, bytes)?;
            Ok(())
        })?;
        self.merge_waiting(now)
            .map_err(|error| LoadStateError::Storage(Box::new(error)))?;
        Ok(())
    }
}

fn scope(compartment: CompartmentId, with_default: bool, known: &[CompartmentId]) -> Scope<'_> {
    Scope {
        compartment: Some(compartment),
        with_default,
        known,
    }
}

/// Refuses a state that lacks something which is here.
fn check_covers(connection: &Connection, form: &Form<'_>) -> Result<(), LoadStateError> {
    for log in stored::logs_of(connection, form.compartment)? {
        let place = form.logs.binary_search_by_key(&log.writer, |log| log.name);
        let known = place.ok().map(|place| &form.logs[place]);
        let is_covered = log.tail == Seq::NONE
            || known.is_some_and(|known| {
                known
                    .marks
                    .get(log.tail.0 as usize - 1)
                    .is_some_and(|mark| mark.check == log.tail_hash.check())
            });
        if !is_covered {
            return Err(LoadStateError::Behind(log.writer));
        }
    }
    Ok(())
}

fn store(connection: &Connection, form: &Form<'_>, bytes: &[u8]) -> rusqlite::Result<()> {
    for state in &form.logs {
        let mut log = stored::find_or_start(
            connection,
            form.context,
            form.compartment,
            state.name,
            &WriterTag::of(&state.name).0,
        )?;
        (log.tail, log.tail_hash) = (state.seq, state.hash);
        (log.vouched, log.vouched_hash) = (state.seq, state.hash);
        log.merged = state.seq;
        log.merged_hlc = state.latest();
        log.save(connection)?;
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO device_past(log, seq, latest, mark) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (place, mark) in state.marks.iter().enumerate() {
            insert.execute(params![
                log.number.0,
                place as i64 + 1,
                mark.latest.to_bits() as i64,
                mark.check.0
            ])?;
        }
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO device_base(compartment, state) VALUES (?1, ?2)")?
        .execute(params![form.compartment.0, bytes])?;
    restore_seen(connection, form)
}

/// Notes what writers had seen as of the state, in place of what is noted.
fn restore_seen(connection: &Connection, form: &Form<'_>) -> rusqlite::Result<()> {
    let mut rows = Vec::with_capacity(form.logs.len());
    for state in &form.logs {
        rows.push(stored::find(connection, form.compartment, state.name)?);
    }
    for (state, row) in form.logs.iter().zip(&rows) {
        let Some(row) = row else {
            continue;
        };
        verdicts::forget_seen(connection, row.number)?;
        for (other, seq) in &state.seen {
            if let Some(Some(found)) = rows.get(*other) {
                let upto = form.logs[*other]
                    .marks
                    .get((seq.0 as usize).saturating_sub(1));
                let hlc = upto.map_or_else(|| form.logs[*other].latest(), |mark| mark.latest);
                stored::set_seen(connection, row.number, found.number, *seq, hlc)?;
            }
        }
        for (tag, seq) in &state.unmet {
            verdicts::set_unmet(connection, row.number, *tag, *seq)?;
        }
    }
    Ok(())
}

/// What is known of an entry that a state stands for.
pub(crate) fn past(
    connection: &Connection,
    log: LogNumber,
    seq: Seq,
) -> rusqlite::Result<Option<(Hlc, EntryCheck)>> {
    connection
        .prepare_cached("SELECT latest, mark FROM device_past WHERE log = ?1 AND seq = ?2")?
        .query_row(params![log.0, seq.0 as i64], |row| {
            let latest = Hlc::from_bits(row.get::<_, i64>(0)? as u64);
            Ok((latest, EntryCheck(row.get(1)?)))
        })
        .optional()
}

/// Begins to make rows of a compartment anew: from the state, if it began with one. Returns where each log of the state ends.
pub(crate) fn restore(
    engine: &mut Merging<'_>,
    compartment: CompartmentId,
    rows: &RowSet,
) -> Result<BTreeMap<WriterKey, (Seq, Hlc)>, MergingError> {
    let connection = engine.connection();
    let base: Option<Vec<u8>> = connection
        .prepare_cached("SELECT state FROM device_base WHERE compartment = ?1")?
        .query_row([compartment.0], |row| row.get(0))
        .optional()?;
    let Some(base) = base else {
        return Ok(BTreeMap::new());
    };
    // It was read when it was stored.
    let Ok(form) = Form::decode(&base) else {
        return Ok(BTreeMap::new());
    };
    // Only rows of a scope are asked for, so the scope need not be told apart once more.
    let scope = Scope {
        compartment: Some(compartment),
        with_default: true,
        known: &[],
    };
    let applied = engine.apply_image(&scope, form.image, &BTreeMap::new(), Some(rows));
    match applied {
        Ok(_) => {}
        Err(ImageError::Merge(error)) => return Err(error.into()),
        // An older program than the one that took it over.
        Err(_) => return Err(MergeError::Stopped.into()),
    }
    restore_seen(connection, &form)?;
    let ends = form.logs.iter();
    Ok(ends
        .map(|log| (log.name, (log.seq, log.latest())))
        .collect())
}

/// The logs of a compartment as far as they are merged, by name.
fn log_states(
    connection: &Connection,
    compartment: CompartmentId,
) -> rusqlite::Result<Vec<LogState>> {
    let mut rows: Vec<LogRow> = stored::logs_of(connection, compartment)?;
    rows.retain(|row| row.merged > Seq::NONE);
    rows.sort_by_key(|row| row.writer);
    let place_of: BTreeMap<i64, usize> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (row.number.0, place))
        .collect();
    let mut states = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut state = LogState {
            name: row.writer,
            seq: row.merged,
            hash: row.tail_hash,
            marks: Vec::new(),
            seen: Vec::new(),
            unmet: Vec::new(),
        };
        let mut latest = Hlc::ZERO;
        for seq in (1..=row.merged.0).map(Seq) {
            let bytes = stored::entry(connection, row.number, seq)?;
            let entry = bytes
                .as_deref()
                .and_then(|bytes| EntryRef::parse(bytes).ok());
            let mark = match entry {
                Some(entry) => {
                    state.hash = entry.hash();
                    Some((entry.hlc(), entry.hash().check()))
                }
                None => past(connection, row.number, seq)?,
            };
            let (hlc, check) = mark.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            latest = latest.max(hlc);
            state.marks.push(Mark { latest, check });
        }
        // Of an entry that a state stands for only the next one has the whole hash, or the end of the log.
        if row.merged == row.tail {
            state.hash = row.tail_hash;
        } else if let Some(next) = stored::entry(connection, row.number, row.merged.next())?
            && let Ok(next) = EntryRef::parse(&next)
        {
            state.hash = next.previous();
        }
        let mut seen = connection
            .prepare_cached("SELECT other, seq FROM device_seen WHERE log = ?1 ORDER BY other")?;
        let lines = seen.query_map([row.number.0], |line| {
            Ok((line.get::<_, i64>(0)?, Seq(line.get::<_, i64>(1)? as u64)))
        })?;
        for line in lines {
            let (other, seq) = line?;
            if let Some(place) = place_of.get(&other) {
                state.seen.push((*place, seq));
            }
        }
        state.seen.sort_unstable();
        let mut unmet = connection
            .prepare_cached("SELECT tag, seq FROM device_unmet WHERE log = ?1 ORDER BY tag")?;
        let lines = unmet.query_map([row.number.0], |line| {
            Ok((WriterTag(line.get(0)?), Seq(line.get::<_, i64>(1)? as u64)))
        })?;
        state.unmet = lines.collect::<Result<_, _>>()?;
        states.push(state);
    }
    Ok(states)
}
