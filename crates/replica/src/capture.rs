//! Notes, while a transaction runs, which rows of merged tables were touched and what they held before.
//!
//! The hook sees rows one by one, also those that SQLite takes back later when a statement fails or a savepoint is rolled
//! back. It therefore never decides anything: it keeps enough of the old content that the end of the transaction can
//! compare it with the table. A run of inserts is one record, which keeps bulk loads as fast as plain SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aeroedge_crdt::msgpack::{read_unsigned, write_unsigned};
use aeroedge_crdt::value::Value;
use rusqlite::Connection;
use rusqlite::hooks::{
    Action, AuthAction, AuthContext, Authorization, PreUpdateCase, PreUpdateNewValueAccessor,
    PreUpdateOldValueAccessor, TransactionOperation,
};
use rusqlite::types::ValueRef;

use crate::group::SAVEPOINT;
use crate::values::to_value;

/// Who is writing on the connection right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody: writes to merged tables fail.
    Closed,
    /// The application, inside a transaction of the engine.
    Capturing,
    /// The engine itself.
    Internal,
}

/// What the hooks of a connection share with its owner.
#[derive(Debug)]
pub(crate) struct Shared {
    mode: AtomicU8,
    /// Whether a ROLLBACK TO was ever prepared on the connection: its changes are counted although they are gone.
    savepoint_rolled_back: AtomicBool,
    capture: Mutex<Capture>,
    /// Columns by table that some statement of the connection sets: no other column can change in an update.
    settable: Mutex<Settable>,
    settable_grew: AtomicBool,
}

/// Columns by table.
pub(crate) type Settable = BTreeMap<String, BTreeSet<String>>;

impl Shared {
    pub(crate) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Closed,
            1 => Mode::Capturing,
            _ => Mode::Internal,
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    pub(crate) fn savepoint_rolled_back(&self) -> bool {
        self.savepoint_rolled_back.load(Ordering::Relaxed)
    }

    fn settable(&self) -> MutexGuard<'_, Settable> {
        self.settable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the hook which tables to look at.
    pub(crate) fn watch(&self, watched: Vec<Watched>) {
        let mut capture = self.capture();
        capture.watch(watched);
        capture.compare_only(&self.settable());
    }

    /// A statement that sets a column was prepared.
    fn note_settable(&self, table: &str, column: &str) {
        let mut settable = self.settable();
        if settable
            .get(table)
            .is_some_and(|columns| columns.contains(column))
        {
            return;
        }
        settable
            .entry(table.to_owned())
            .or_default()
            .insert(column.to_owned());
        self.settable_grew.store(true, Ordering::Relaxed);
    }

    pub(crate) fn capture(&self) -> MutexGuard<'_, Capture> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the hook looks at one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnRole {
    Key,
    Other,
}

/// A merged table as the hook knows it.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) roles: Vec<ColumnRole>,
    pub(crate) columns: Vec<String>,
    /// Places of the columns that an update may change.
    pub(crate) settable: Vec<usize>,
    /// Places of the key columns in key order.
    pub(crate) keys: Vec<usize>,
    pub(crate) without_rowid: bool,
    /// The key is the row's own number and needs no look.
    pub(crate) integer_key: bool,
    /// The schema alone does not keep NULL and floating-point numbers out of the key.
    pub(crate) loose_key: bool,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// `count` rows from `slot` on were made.
    Insert { count: i64 },
    /// Columns other than the key changed; their old values stand in the arena.
    Update,
    /// The row is gone; all its old values stand in the arena.
    Delete,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// The row's own number; 0 in a table WITHOUT ROWID, whose key then stands in the arena.
    pub(crate) slot: i64,
    pub(crate) kind: EventKind,
    /// Where the old content begins in the arena.
    pub(crate) arena: usize,
}

/// What happened in one table.
#[derive(Debug, Default)]
pub(crate) struct TableCapture {
    pub(crate) events: Vec<Event>,
    pub(crate) arena: Vec<u8>,
}

/// Everything the hook noted in the current transaction.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    watched: Vec<Watched>,
    index_by_name: BTreeMap<String, usize>,
    /// The table of the previous row, because the next one is probably in it too.
    latest: Option<usize>,
    pub(crate) tables: Vec<TableCapture>,
    /// Whether to look at new keys now, because nobody will read them later.
    pub(crate) check_keys: bool,
    /// Rows the hook saw, in whatever table.
    pub(crate) rows_seen: u64,
    /// A key that cannot be one; the transaction must not commit.
    pub(crate) bad_key: Option<String>,
}

impl Capture {
    fn watch(&mut self, watched: Vec<Watched>) {
        self.index_by_name = watched
            .iter()
            .enumerate()
            .map(|(index, table)| (table.name.clone(), index))
            .collect();
        self.tables
            .resize_with(watched.len(), TableCapture::default);
        self.watched = watched;
        self.latest = None;
    }

    /// Compares in updates only what some statement sets.
    fn compare_only(&mut self, settable: &Settable) {
        for table in &mut self.watched {
            let Some(columns) = settable.get(&table.name) else {
                continue;
            };
            table.settable = (0..table.columns.len())
                .filter(|&place| columns.contains(&table.columns[place]))
                .collect();
        }
    }

    /// Forgets the previous transaction.
    pub(crate) fn clear(&mut self) {
        for table in &mut self.tables {
            table.events.clear();
            table.arena.clear();
            table.arena.shrink_to(1 << 20);
            table.events.shrink_to(1 << 16);
        }
        self.rows_seen = 0;
        self.bad_key = None;
    }

    fn note(&mut self, database: &str, name: &str, case: &PreUpdateCase) {
        self.rows_seen += 1;
        if database != "main" {
            return;
        }
        let index = match self.latest {
            Some(index) if self.watched[index].name == name => index,
            _ => match self.index_by_name.get(name) {
                Some(&index) => index,
                None => return,
            },
        };
        self.latest = Some(index);
        let watched = &self.watched[index];
        let table = &mut self.tables[index];
        let valid = match case {
            PreUpdateCase::Insert(new) => table.insert(watched, new, self.check_keys),
            PreUpdateCase::Delete(old) => {
                table.delete(watched, old);
                true
            }
            PreUpdateCase::Update {
                old_value_accessor,
                new_value_accessor,
            } => table.update(
                watched,
                old_value_accessor,
                new_value_accessor,
                self.check_keys,
            ),
            PreUpdateCase::Unknown => true,
        };
        if !valid {
            self.bad_key.get_or_insert_with(|| watched.name.clone());
        }
    }
}

impl TableCapture {
    fn insert(&mut self, watched: &Watched, new: &PreUpdateNewValueAccessor, check: bool) -> bool {
        let arena = self.arena.len();
        let slot = if watched.without_rowid {
            0
        } else {
            new.get_new_row_id()
        };
        let mut valid = true;
        if watched.without_rowid || (check && watched.loose_key) {
            for &place in &watched.keys {
                let value = new
                    .get_new_column_value(place as i32)
                    .unwrap_or(ValueRef::Null);
                valid &= !matches!(value, ValueRef::Null | ValueRef::Real(_));
                if watched.without_rowid {
                    to_value(value).write(&mut self.arena);
                }
            }
        }
        if !watched.without_rowid
            && let Some(Event {
                slot: first,
                kind: EventKind::Insert { count },
                ..
            }) = self.events.last_mut()
            && first.checked_add(*count) == Some(slot)
        {
            *count += 1;
            return valid;
        }
        self.events.push(Event {
            slot,
            kind: EventKind::Insert { count: 1 },
            arena,
        });
        valid
    }

    fn delete(&mut self, watched: &Watched, old: &PreUpdateOldValueAccessor) {
        let arena = self.arena.len();
        let slot = if watched.without_rowid {
            0
        } else {
            old.get_old_row_id()
        };
        if watched.without_rowid {
            write_key(&mut self.arena, watched, old);
        }
        for place in 0..watched.roles.len() {
            to_value(old_value(old, place)).write(&mut self.arena);
        }
        self.events.push(Event {
            slot,
            kind: EventKind::Delete,
            arena,
        });
    }

    fn update(
        &mut self,
        watched: &Watched,
        old: &PreUpdateOldValueAccessor,
        new: &PreUpdateNewValueAccessor,
        check: bool,
    ) -> bool {
        let arena = self.arena.len();
        if watched.without_rowid {
            write_key(&mut self.arena, watched, old);
        }
        let mut rekeyed = !watched.without_rowid && old.get_old_row_id() != new.get_new_row_id();
        let mut changed = false;
        for &place in &watched.settable {
            let role = watched.roles[place];
            if role == ColumnRole::Key && watched.integer_key {
                continue;
            }
            let before = old_value(old, place);
            let after = new
                .get_new_column_value(place as i32)
                .unwrap_or(ValueRef::Null);
            if before == after {
                continue;
            }
            if role == ColumnRole::Key {
                rekeyed = true;
                break;
            }
            changed = true;
            write_unsigned(&mut self.arena, place as u64);
            to_value(before).write(&mut self.arena);
        }
        if rekeyed {
            self.arena.truncate(arena);
            self.delete(watched, old);
            return self.insert(watched, new, check);
        }
        if changed {
            // Ends the list: no table has that many columns.
            write_unsigned(&mut self.arena, END_OF_LIST);
            let slot = if watched.without_rowid {
                0
            } else {
                old.get_old_row_id()
            };
            self.events.push(Event {
                slot,
                kind: EventKind::Update,
                arena,
            });
        } else {
            self.arena.truncate(arena);
        }
        true
    }
}

const END_OF_LIST: u64 = 0xffff;

fn old_value(old: &PreUpdateOldValueAccessor, place: usize) -> ValueRef<'_> {
    old.get_old_column_value(place as i32)
        .unwrap_or(ValueRef::Null)
}

fn write_key(arena: &mut Vec<u8>, watched: &Watched, old: &PreUpdateOldValueAccessor) {
    for &place in &watched.keys {
        to_value(old_value(old, place)).write(arena);
    }
}

/// Takes the key that stands first in the notes of a table WITHOUT ROWID.
pub(crate) fn take_key<'a>(notes: &mut &'a [u8], key_columns: usize) -> &'a [u8] {
    let before = *notes;
    for _ in 0..key_columns {
        if Value::read(notes).is_err() {
            break;
        }
    }
    &before[..before.len() - notes.len()]
}

/// Takes the next changed column of an update: its place and its old value.
pub(crate) fn take_changed<'a>(notes: &mut &'a [u8]) -> Option<(usize, Value<'a>)> {
    let place = read_unsigned(notes)
        .ok()
        .filter(|&place| place != END_OF_LIST)?;
    Some((place as usize, Value::read(notes).ok()?))
}

/// Connects the hooks of a connection to a fresh shared state.
pub(crate) fn attach(connection: &mut Connection) -> Result<Arc<Shared>, rusqlite::Error> {
    let shared = Arc::new(Shared {
        mode: AtomicU8::new(Mode::Closed as u8),
        savepoint_rolled_back: AtomicBool::new(false),
        capture: Mutex::new(Capture::default()),
        settable: Mutex::default(),
        settable_grew: AtomicBool::new(false),
    });
    let for_hook = Arc::clone(&shared);
    connection.preupdate_hook(Some(
        move |_: Action, database: &str, table: &str, case: &PreUpdateCase| {
            if for_hook.mode() == Mode::Capturing {
                let mut capture = for_hook.capture();
                if for_hook.settable_grew.swap(false, Ordering::Relaxed) {
                    capture.compare_only(&for_hook.settable());
                }
                capture.note(database, table, case);
            }
        },
    ))?;
    let for_authorizer = Arc::clone(&shared);
    connection.authorizer(Some(move |context: AuthContext<'_>| match context.action {
        AuthAction::Savepoint { .. } if for_authorizer.mode() == Mode::Internal => {
            Authorization::Allow
        }
        AuthAction::Savepoint {
            savepoint_name: SAVEPOINT,
            ..
        } => Authorization::Deny,
        AuthAction::Savepoint {
            operation: TransactionOperation::Rollback,
            ..
        } => {
            for_authorizer
                .savepoint_rolled_back
                .store(true, Ordering::Relaxed);
            Authorization::Allow
        }
        AuthAction::Update {
            table_name,
            column_name,
        } => {
            if context.database_name == Some("main") && !table_name.starts_with("replica_") {
                for_authorizer.note_settable(table_name, column_name);
            }
            Authorization::Allow
        }
        // BEGIN and COMMIT belong to the engine while it runs a transaction.
        AuthAction::Transaction { .. } if for_authorizer.mode() == Mode::Capturing => {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }))?;
    Ok(shared)
}
