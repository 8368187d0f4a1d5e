//! One node's computer: its disk, its keys, its clock, and while it runs its device and the sessions of its links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex};

use aeroedge_device::{Device, DeviceError, KeyStore, KeysInMemory};
use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, UserId, WriterKey};
use aeroedge_log::invite::{InviteLink, Secret};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_protocol::{Frontier, Output, Session, Signature};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::tables::{SCHEMA, options};

/// The true time at the beginning of every run, milliseconds since 1970.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// The true time so long after the beginning.
pub(crate) fn true_time(now_ms: u64) -> Millis {
    Millis(BEGIN_MS + now_ms)
}

/// Names a link for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u32);

impl std::fmt::Display for LinkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// A proof that held, kept to be judged again when the roster changes.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) device: DeviceKey,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) compartments: BTreeSet<CompartmentId>,
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) session: Session,
    /// Contexts it began with, and whether as a joiner.
    pub(crate) spoken: BTreeSet<(ContextId, bool)>,
    pub(crate) accepted: BTreeMap<ContextId, Accepted>,
    /// When it is looked at next.
    pub(crate) wake: Option<u64>,
}

/// A join that was asked for and is not done.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) context: usize,
    pub(crate) link: InviteLink,
    pub(crate) secret: Secret,
    /// What is typed first, by mistake.
    pub(crate) wrong: Option<Secret>,
    pub(crate) since_ms: u64,
}

/// A key file whose machine may crash right after it was written.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile {
    pub(crate) keys: KeysInMemory,
    fuse: Arc<Mutex<Fuse>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fuse {
    Whole,
    /// The next write of the file is the last thing the machine does.
    Armed,
    Blown,
}

impl KeyFile {
    pub(crate) fn arm(&self) {
        if let Ok(mut fuse) = self.fuse.lock() {
            *fuse = Fuse::Armed;
        }
    }

    /// Whether the machine has crashed over it. Tells so once.
    pub(crate) fn has_blown(&self) -> bool {
        self.fuse.lock().is_ok_and(|mut fuse| {
            let blown = *fuse == Fuse::Blown;
            if blown {
                *fuse = Fuse::Whole;
            }
            blown
        })
    }
}

impl KeyStore for KeyFile {
    fn load(&self) -> Result<DeviceSecrets, Box<dyn Error + Send + Sync>> {
        self.keys.load()
    }

    fn save(&mut self, secrets: &DeviceSecrets) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.keys.save(secrets)?;
        let mut fuse = self.fuse.lock().map_err(|_| "the fuse is gone")?;
        if *fuse == Fuse::Armed {
            *fuse = Fuse::Blown;
            return Err("the machine crashed".into());
        }
        Ok(())
    }
}

/// The machine of one node.
pub(crate) struct Machine {
    pub(crate) keys: KeyFile,
    pub(crate) user: UserId,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) skew_ms: i64,
    /// Nothing while it is off.
    pub(crate) device: Option<Device>,
    /// What is on the disk while it is off.
    pub(crate) disk: Option<Connection>,
    /// What certainly is on the disk after a power cut; nothing until the first fsync.
    pub(crate) durable: Option<Connection>,
    /// A later state that could be on the disk as well.
    pub(crate) perhaps: Option<Connection>,
    pub(crate) talks: BTreeMap<LinkId, Talk>,
    pub(crate) questions: VecDeque<(LinkId, Output)>,
    /// Vouched positions the sessions know of.
    pub(crate) told: BTreeMap<CompartmentId, Frontier>,
    /// Lengths of the control histories the sessions know of.
    pub(crate) control_told: BTreeMap<ContextId, usize>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) work_is_due: bool,
    /// Something was stored that has to be on the disk before anybody hears of it.
    pub(crate) must_sync: bool,
    /// Every compartment it could ever read.
    pub(crate) readable: BTreeSet<CompartmentId>,
    /// Steps until it crashes.
    pub(crate) crash_in: Option<u32>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    /// A new installation, switched on.
    pub(crate) fn new(number: usize, seed: u64, skew_ms: i64) -> Result<Self, DeviceError> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ number as u64);
        let keys = KeyFile {
            keys: KeysInMemory::new(DeviceSecrets::generate(&mut rng)),
            fuse: Arc::new(Mutex::new(Fuse::Whole)),
        };
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(SCHEMA)?;
        let user = UserId(rng.random());
        let mut machine = Self {
            keys,
            user,
            rng,
            skew_ms,
            device: None,
            disk: None,
            durable: None,
            perhaps: None,
            talks: BTreeMap::new(),
            questions: VecDeque::new(),
            told: BTreeMap::new(),
            control_told: BTreeMap::new(),
            wishes: Vec::new(),
            work_is_due: false,
            must_sync: false,
            readable: BTreeSet::new(),
            crash_in: None,
        };
        let device = Device::create(
            connection,
            Box::new(machine.keys.clone()),
            options(),
            user,
            machine.clock(0),
        )?;
        machine.durable = Some(copy(device.connection())?);
        machine.device = Some(device);
        Ok(machine)
    }

    /// What its clock shows.
    pub(crate) fn clock(&self, now_ms: u64) -> Millis {
        Millis(true_time(now_ms).0.saturating_add_signed(self.skew_ms))
    }

    /// The public name of its installation.
    pub(crate) fn device_key(&self) -> Result<DeviceKey, String> {
        match self.keys.load() {
            Ok(secrets) => Ok(secrets.device()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The author of everything it writes.
    pub(crate) fn writer(&self) -> Option<WriterKey> {
        let secrets = self.keys.load().ok()?;
        Some(secrets.writer_in_use()?.key())
    }

    /// Whatever was committed may be on the disk now, and whatever came before certainly is.
    pub(crate) fn fsync(&mut self) -> Result<(), DeviceError> {
        if let Some(device) = &self.device {
            self.durable = Some(copy(device.connection())?);
            self.perhaps = None;
            self.must_sync = false;
        }
        Ok(())
    }

    /// Switches it off. A power cut leaves what was durable or a later state; anything else what was committed.
    pub(crate) fn switch_off(&mut self, power_cut: bool) -> Result<&'static str, DeviceError> {
        let Some(device) = self.device.take() else {
            return Ok("was off");
        };
        self.talks.clear();
        self.questions.clear();
        self.told.clear();
        self.control_told.clear();
        self.work_is_due = false;
        self.must_sync = false;
        self.crash_in = None;
        let (kept, how) = match (&self.perhaps, &self.durable) {
            (Some(perhaps), _) if power_cut && self.rng.random_bool(0.4) => {
                (copy(perhaps)?, "power cut, some commits survive")
            }
            (_, Some(durable)) if power_cut => (copy(durable)?, "power cut"),
            _ => (copy(device.connection())?, "killed"),
        };
        if power_cut {
            self.durable = Some(copy(&kept)?);
            self.perhaps = None;
        }
        self.disk = Some(kept);
        Ok(how)
    }

    /// Switches it on again.
    pub(crate) fn switch_on(&mut self, now_ms: u64) -> Result<(), DeviceError> {
        let Some(disk) = self.disk.take() else {
            return Ok(());
        };
        let device = Device::open(
            disk,
            Box::new(self.keys.clone()),
            options(),
            self.clock(now_ms),
        )?;
        self.device = Some(device);
        Ok(())
    }
}

/// A copy of a database in memory, of what is committed.
pub(crate) fn copy(from: &Connection) -> Result<Connection, rusqlite::Error> {
    let mut to = Connection::open_in_memory()?;
    Backup::new(from, &mut to)?.step(-1)?;
    Ok(to)
}
