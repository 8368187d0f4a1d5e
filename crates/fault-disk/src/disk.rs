//! What lies on the disk, what of it is safe, and what a power cut leaves.
//!
//! Invariant: the durable bytes of a file change at an fsync of that file only; everything since then is a list of changes that a
//! power cut may drop, cut short or apply out of order, in sectors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rusqlite::{Connection, OpenFlags};

use crate::vfs;

/// The unit that a disk writes as a whole, bytes.
pub(crate) const SECTOR: usize = 512;

/// What the power cut, or the kill, does to what was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Only the program dies: the system writes out everything it was given.
    Killed,
    /// All of it is gone.
    Lost,
    /// Each file keeps its changes up to some moment, and of the last one some sectors.
    Torn(u64),
    /// Each file keeps some sectors of any of its changes.
    Reordered(u64),
}

/// A disk with files on it. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// Ends the disk's registration when its last handle goes.
#[derive(Debug)]
struct Shared {
    number: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        vfs::forget(self.number);
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    files: BTreeMap<String, File>,
    steps: u64,
    crash_at: Option<u64>,
    crashed: bool,
    room: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// As the running system sees it; nothing once deleted.
    now: Option<Vec<u8>>,
    /// As the last fsync left it; nothing if none has.
    durable: Option<Vec<u8>>,
    /// Since then, in order.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
    Delete,
}

/// Why an operation did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The machine is off.
    Crashed,
    /// There is no room.
    Full,
    /// There is no such file.
    Missing,
}

impl Disk {
    /// A disk without files.
    pub fn empty() -> Self {
        Self::with_files(BTreeMap::new())
    }

    fn with_files(files: BTreeMap<String, File>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        vfs::attach(number, Arc::clone(&state));
        Self {
            shared: Arc::new(Shared { number, state }),
        }
    }

    /// Opens or makes a database on this disk, in WAL mode.
    pub fn open(&self, name: &str) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let path = format!("{}/{name}", self.shared.number);
        let connection = Connection::open_with_flags_and_vfs(path, flags, vfs::NAME)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection)
    }

    /// The writes, fsyncs, truncations and deletions so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The power goes at the step after so many more; what that step would have written may be torn, and nothing works after it.
    pub fn crash_after(&self, steps: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.steps + steps + 1);
    }

    /// Whether the power has gone.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk has room for so many bytes in all, or for any number.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// The bytes on the disk.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Another disk with the same files, all of them durable: an image of a machine that was shut down.
    pub fn image(&self) -> Self {
        let files = self.state().files.clone();
        Self::with_files(
            files
                .into_iter()
                .filter_map(|(name, file)| Some((name, File::durable(file.now?))))
                .collect(),
        )
    }

    /// What is found when the power comes back.
    pub fn after(&self, loss: Loss) -> Self {
        let files = self.state().files.clone();
        Self::with_files(
            files
                .into_iter()
                .filter_map(|(name, file)| Some((name, File::durable(file.survivor(loss)?))))
                .collect(),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn used(&self) -> u64 {
        let lengths = self.files.values().filter_map(|file| file.now.as_ref());
        lengths.map(|bytes| bytes.len() as u64).sum()
    }

    fn file(&mut self, name: &str) -> Result<&mut File, Failed> {
        self.files.get_mut(name).ok_or(Failed::Missing)
    }

    /// Counts a step; `Ok(false)` if it is the one at which the power goes.
    fn step(&mut self) -> Result<bool, Failed> {
        if self.crashed {
            return Err(Failed::Crashed);
        }
        self.steps += 1;
        self.crashed = self.crash_at == Some(self.steps);
        Ok(!self.crashed)
    }

    pub(crate) fn create(&mut self, name: &str) -> Result<(), Failed> {
        if self.crashed {
            return Err(Failed::Crashed);
        }
        let file = self.files.entry(name.to_owned()).or_default();
        file.now.get_or_insert_with(Vec::new);
        Ok(())
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| file.now.is_some())
    }

    pub(crate) fn length(&self, name: &str) -> Result<u64, Failed> {
        if self.crashed {
            return Err(Failed::Crashed);
        }
        let file = self.files.get(name).and_then(|file| file.now.as_ref());
        Ok(file.ok_or(Failed::Missing)?.len() as u64)
    }

    /// Fills `target` from `offset` on; returns how many bytes there were.
    pub(crate) fn read(
        &self,
        name: &str,
        offset: usize,
        target: &mut [u8],
    ) -> Result<usize, Failed> {
        if self.crashed {
            return Err(Failed::Crashed);
        }
        let file = self.files.get(name).and_then(|file| file.now.as_ref());
        let bytes = file.ok_or(Failed::Missing)?;
        let there = bytes.get(offset..).unwrap_or_default();
        let length = there.len().min(target.len());
        target[..length].copy_from_slice(&there[..length]);
        target[length..].fill(0);
        Ok(length)
    }

    pub(crate) fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Failed> {
        let used = self.used();
        let grows = (offset + bytes.len()).saturating_sub(self.length(name)? as usize) as u64;
        if self
            .room
            .is_some_and(|room| grows > 0 && used + grows > room)
        {
            return Err(Failed::Full);
        }
        self.change(
            name,
            Change::Write {
                offset,
                bytes: bytes.to_vec(),
            },
        )
    }

    pub(crate) fn truncate(&mut self, name: &str, length: usize) -> Result<(), Failed> {
        self.change(name, Change::Truncate(length))
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Failed> {
        self.change(name, Change::Delete)
    }

    fn change(&mut self, name: &str, change: Change) -> Result<(), Failed> {
        let happens = self.step()?;
        let file = self.file(name)?;
        if happens {
            change.apply(&mut file.now);
        }
        // Also at the last step: some of it may have reached the disk.
        file.pending.push(change);
        if happens {
            Ok(())
        } else {
            Err(Failed::Crashed)
        }
    }

    pub(crate) fn sync(&mut self, name: &str) -> Result<(), Failed> {
        if !self.step()? {
            return Err(Failed::Crashed);
        }
        let file = self.file(name)?;
        file.durable.clone_from(&file.now);
        file.pending.clear();
        Ok(())
    }
}

impl Change {
    fn apply(&self, file: &mut Option<Vec<u8>>) {
        match self {
            Self::Delete => *file = None,
            Self::Truncate(length) => file.get_or_insert_with(Vec::new).resize(*length, 0),
            Self::Write { offset, bytes } => write_at(file, *offset, bytes),
        }
    }

    /// Applies some sectors of it.
    fn apply_partly(&self, file: &mut Option<Vec<u8>>, rng: &mut ChaCha12Rng) {
        let Self::Write { offset, bytes } = self else {
            if rng.random_bool(0.5) {
                self.apply(file);
            }
            return;
        };
        let mut start = 0;
        while start < bytes.len() {
            // Up to the next border between sectors of the disk.
            let end = (((offset + start) / SECTOR + 1) * SECTOR - offset).min(bytes.len());
            if rng.random_bool(0.5) {
                write_at(file, offset + start, &bytes[start..end]);
            }
            start = end;
        }
    }
}

fn write_at(file: &mut Option<Vec<u8>>, offset: usize, bytes: &[u8]) {
    let file = file.get_or_insert_with(Vec::new);
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl File {
    fn durable(bytes: Vec<u8>) -> Self {
        Self {
            now: Some(bytes.clone()),
            durable: Some(bytes),
            pending: Vec::new(),
        }
    }

    fn survivor(&self, loss: Loss) -> Option<Vec<u8>> {
        let mut file = self.durable.clone();
        match loss {
            Loss::Killed => return self.now.clone(),
            Loss::Lost => {}
            Loss::Torn(seed) => {
                let mut rng = ChaCha12Rng::seed_from_u64(seed);
                let whole = rng.random_range(0..=self.pending.len());
                for change in &self.pending[..whole] {
                    change.apply(&mut file);
                }
                if let Some(torn) = self.pending.get(whole) {
                    torn.apply_partly(&mut file, &mut rng);
                }
            }
            Loss::Reordered(seed) => {
                let mut rng = ChaCha12Rng::seed_from_u64(seed);
                for change in &self.pending {
                    change.apply_partly(&mut file, &mut rng);
                }
            }
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> State {
        let mut state = State::default();
        state.create("a").unwrap();
        state.write("a", 0, &[1; 1024]).unwrap();
        state.sync("a").unwrap();
        state.write("a", 0, &[2; 1024]).unwrap();
        state.write("a", 1024, &[3; 1024]).unwrap();
        state
    }

    #[test]
    fn what_was_synced_survives_and_nothing_else_has_to() {
        let file = written().files["a"].clone();
        assert_eq!(file.survivor(Loss::Lost), Some(vec![1; 1024]));
        assert_eq!(file.survivor(Loss::Killed).unwrap().len(), 2048);
    }

    #[test]
    fn reordering_can_keep_the_later_change_without_the_earlier() {
        let file = written().files["a"].clone();
        let later_alone = (0..100).any(|seed| {
            let bytes = file.survivor(Loss::Reordered(seed)).unwrap();
            bytes.len() == 2048 && bytes[..1024] == [1; 1024] && bytes[1536..] == [3; 512]
        });
        assert!(later_alone);
    }

    #[test]
    fn tearing_never_keeps_a_later_change_without_the_whole_earlier_one() {
        let file = written().files["a"].clone();
        for seed in 0..100 {
            let bytes = file.survivor(Loss::Torn(seed)).unwrap();
            if bytes.len() > 1024 {
                assert_eq!(bytes[..1024], [2; 1024]);
            }
        }
    }

    #[test]
    fn nothing_works_after_the_power_went() {
        let mut state = written();
        state.crash_at = Some(state.steps + 1);
        assert_eq!(state.write("a", 0, &[9; 10]), Err(Failed::Crashed));
        assert_eq!(state.sync("a"), Err(Failed::Crashed));
        assert_eq!(state.read("a", 0, &mut [0; 4]), Err(Failed::Crashed));
    }

    #[test]
    fn a_full_disk_refuses_growth_and_takes_overwrites() {
        let mut state = written();
        state.room = Some(2048);
        assert_eq!(state.write("a", 2040, &[9; 10]), Err(Failed::Full));
        assert_eq!(state.write("a", 0, &[9; 10]), Ok(()));
    }
}
