//! Two devices in one context, the first on a disk that fails, and the things it can be in the middle of when the power goes.

use std::collections::BTreeMap;

use aeroedge_device::{AllTables, Device, Invitation, KeyStore, KeysInMemory, Options, WriteError};
use aeroedge_fault_disk::Disk;
use aeroedge_fault_disk::rusqlite::{self, params};
use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Millis, Seq, UserId, WriterKey};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::entry::EntryRef;
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_protocol::Cursor;
use aeroedge_replica::{CompartmentRule, Merged, Policy};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS note (id TEXT NOT NULL, compartment_id BLOB NOT NULL, title TEXT, PRIMARY KEY (id, compartment_id));
";
const LATER_SCHEMA: &str = "
    ALTER TABLE note ADD COLUMN body TEXT;
    CREATE TABLE tally (id TEXT NOT NULL, compartment_id BLOB NOT NULL, amount INTEGER, PRIMARY KEY (id, compartment_id));
";

/// Whatever stopped an operation; on a disk that has crashed, any error is in order.
pub(crate) type Stopped = Box<dyn std::error::Error + Send + Sync>;

/// One installation and the disk it stands on.
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) keys: KeysInMemory,
    pub(crate) device: Device,
    pub(crate) rng: ChaCha20Rng,
}

impl Machine {
    fn new(number: u8) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
        let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rng));
        let disk = Disk::empty();
        let connection = disk.open("device.db").unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let user = UserId([number; 16]);
        let keys_of_device = Box::new(keys.clone());
        let device = Device::create(connection, keys_of_device, options(false), user, NOW).unwrap();
        Self {
            disk,
            keys,
            device,
            rng,
        }
    }

    /// The installation as it stands on another disk, switched on there.
    pub(crate) fn on(disk: Disk, keys: &KeysInMemory, is_later: bool) -> Result<Self, Stopped> {
        let keys = KeysInMemory::new(keys.load()?);
        let connection = disk.open("device.db")?;
        let device = Device::open(connection, Box::new(keys.clone()), options(is_later), NOW)?;
        Ok(Self {
            disk,
            keys,
            device,
            rng: ChaCha20Rng::seed_from_u64(77),
        })
    }

    /// The same installation on a copy of its disk, as if it had been shut down and copied.
    fn image(&self) -> Self {
        Self::on(self.disk.image(), &self.keys, false).unwrap()
    }

    /// Ends the program: one database is used by one connection at a time.
    fn stop(&mut self) {
        self.device = Self::new(9).device;
    }

    /// Ends whichever program runs, and starts the earlier one.
    pub(crate) fn restart(&mut self) -> Result<(), Stopped> {
        self.stop();
        *self = Self::on(self.disk.clone(), &self.keys, false)?;
        Ok(())
    }

    /// The earlier program ends and the later one starts.
    fn upgrade(&mut self) -> Result<(), Stopped> {
        self.stop();
        let connection = self.disk.open("device.db")?;
        if connection.prepare("SELECT body FROM note").is_err() {
            connection.execute_batch(&format!("BEGIN;{LATER_SCHEMA}COMMIT"))?;
        }
        let keys = Box::new(KeysInMemory::new(self.keys.load()?));
        self.device = Device::open(connection, keys, options(true), NOW)?;
        Ok(())
    }

    /// Writes one row; it is promised to last only when this returns.
    fn note(&mut self, compartment: CompartmentId, id: &str, title: &str) -> Result<(), Stopped> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET title = excluded.title",
                params![id, compartment.0, title],
            )?;
            Ok(())
        })?;
        self.device.make_durable()?;
        Ok(())
    }

    fn write(
        &mut self,
        change: impl FnOnce(&aeroedge_replica::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), WriteError<rusqlite::Error>> {
        self.device.write(NOW, &mut self.rng, change)
    }

    pub(crate) fn title(&self, id: &str) -> Option<String> {
        let mut statement = self
            .device
            .connection()
            .prepare("SELECT title FROM note WHERE id = ?1")
            .unwrap();
        statement.query_row([id], |row| row.get(0)).ok()
    }
}

fn options(is_later: bool) -> Options {
    let table = |name: &str| Merged {
        table: name.into(),
        compartment: CompartmentRule::Column("compartment_id".into()),
        policy: Policy::Record,
    };
    let mut tables = vec![table("note")];
    if is_later {
        tables.push(table("tally"));
    }
    Options {
        tables,
        rights: Box::new(AllTables),
        schema_version: if is_later { 2 } else { 1 },
    }
}

/// The hash of each entry that ever left the device on the failing disk.
pub(crate) type Published = BTreeMap<(CompartmentId, WriterKey, Seq), EntryHash>;

/// Where everything happens.
pub(crate) struct Scene {
    /// On the disk that fails.
    pub(crate) here: Machine,
    /// The neighbour, whose disk is sound.
    pub(crate) there: Machine,
    pub(crate) context: ContextId,
    /// What a row may say after a crash: what was promised last, or what was being written over it. By id.
    pub(crate) promised: BTreeMap<String, Vec<String>>,
    pub(crate) published: Published,
    /// An invite of the neighbour into another context.
    pub(crate) invited: (InviteLink, Secret),
}

impl Scene {
    pub(crate) fn new() -> Self {
        let (mut here, mut there) = (Machine::new(1), Machine::new(2));
        let context = there
            .device
            .create_context(Division::Single, "club", NOW, &mut there.rng)
            .unwrap();
        let (link, secret) = invite(&mut there, context);
        here.device
            .start_join(link, secret, Stretch::FOR_TESTS)
            .unwrap();
        carry_control(&there, &mut here, context).unwrap();
        carry_control(&here, &mut there, context).unwrap();
        let other = there
            .device
            .create_context(Division::Divided, "other", NOW, &mut there.rng)
            .unwrap();
        let invited = invite(&mut there, other);
        let mut scene = Self {
            here,
            there,
            context,
            promised: BTreeMap::new(),
            published: Published::new(),
            invited,
        };
        let compartment = scene.compartment();
        for number in 0..5 {
            scene.note(&format!("old {number}"), "as it was").unwrap();
            let id = format!("theirs {number}");
            scene
                .there
                .note(compartment, &id, &"news ".repeat(400))
                .unwrap();
        }
        scene.send().unwrap();
        scene
    }

    pub(crate) fn image(&self) -> Self {
        Self {
            here: self.here.image(),
            there: self.there.image(),
            context: self.context,
            promised: self.promised.clone(),
            published: self.published.clone(),
            invited: self.invited.clone(),
        }
    }

    pub(crate) fn compartment(&self) -> CompartmentId {
        Audience::Everyone.compartment(self.context)
    }

    fn note(&mut self, id: &str, title: &str) -> Result<(), Stopped> {
        let compartment = self.compartment();
        if let Some(titles) = self.promised.get_mut(id) {
            titles.push(title.into());
        }
        self.here.note(compartment, id, title)?;
        self.promised.insert(id.into(), vec![title.into()]);
        Ok(())
    }

    /// Hands everything durable to the neighbour.
    fn send(&mut self) -> Result<(), Stopped> {
        carry_control(&self.here, &mut self.there, self.context)?;
        let runs = carry(&self.here, &mut self.there, self.context)?;
        for (compartment, writer, seq, hash) in runs {
            let first = *self
                .published
                .entry((compartment, writer, seq))
                .or_insert(hash);
            if first != hash {
                return Err(format!("entry {seq} of {writer:?} left twice, differently").into());
            }
        }
        Ok(())
    }

    /// Takes everything from the neighbour.
    fn receive(&mut self) -> Result<(), Stopped> {
        carry_control(&self.there, &mut self.here, self.context)?;
        carry(&self.there, &mut self.here, self.context)?;
        self.here.device.make_durable()?;
        Ok(())
    }

    /// Goes on as if nothing had been: writes, and exchanges both ways.
    pub(crate) fn go_on(&mut self) -> Result<(), Stopped> {
        self.note("afterwards", "it goes on")?;
        self.send()?;
        self.receive()?;
        self.send()
    }

    /// Goes on, and is equal to the neighbour.
    pub(crate) fn end(&mut self) -> Result<(), Stopped> {
        self.go_on()?;
        let digests = [
            self.here.device.digest(self.context)?,
            self.there.device.digest(self.context)?,
        ];
        if digests[0] != digests[1] {
            return Err("the neighbours are not equal".into());
        }
        Ok(())
    }
}

/// What a device can be in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Writes rows, each made durable and sent on.
    Seal,
    /// Writes a transaction that takes several entries.
    SealParts,
    /// Takes in and merges what another wrote.
    Merge,
    /// Founds a context.
    Found,
    /// Becomes a member of another context.
    Join,
    /// Opens a new writer.
    Renew,
    /// Moves the write-ahead log into the database.
    Checkpoint,
    /// Starts with a later program, whose tables have grown.
    Migrate,
}

impl Operation {
    pub(crate) const ALL: [Self; 8] = [
        Self::Seal,
        Self::SealParts,
        Self::Merge,
        Self::Found,
        Self::Join,
        Self::Renew,
        Self::Checkpoint,
        Self::Migrate,
    ];

    pub(crate) fn run(self, scene: &mut Scene) -> Result<(), Stopped> {
        match self {
            Self::Seal => {
                scene.note("new", "one row")?;
                scene.send()?;
                scene.note("new", "the same row")?;
                scene.note("old 1", "changed")?;
                scene.send()
            }
            Self::SealParts => {
                let compartment = scene.compartment();
                scene.here.write(|transaction| {
                    for number in 0..6 {
                        transaction.execute(
                            "INSERT OR REPLACE INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)",
                            params![format!("part {number}"), compartment.0, filling(number)],
                        )?;
                    }
                    Ok(())
                })?;
                scene.here.device.make_durable()?;
                for number in 0..6 {
                    scene
                        .promised
                        .insert(format!("part {number}"), vec![filling(number)]);
                }
                scene.send()
            }
            Self::Merge => scene.receive(),
            Self::Found => {
                let here = &mut scene.here;
                here.device
                    .create_context(Division::Divided, "mine", NOW, &mut here.rng)?;
                here.device.make_durable()?;
                Ok(())
            }
            Self::Join => {
                let (link, secret) = scene.invited.clone();
                let context = link.context;
                if scene.here.device.roster(context).is_none() {
                    scene
                        .here
                        .device
                        .start_join(link, secret, Stretch::FOR_TESTS)?;
                }
                carry_control(&scene.there, &mut scene.here, context)?;
                scene.here.device.make_durable()?;
                carry_control(&scene.here, &mut scene.there, context)?;
                Ok(())
            }
            Self::Renew => {
                let here = &mut scene.here;
                here.device.open_new_writer(NOW, &mut here.rng)?;
                here.device.make_durable()?;
                scene.note("under a new writer", "hello")?;
                scene.send()
            }
            Self::Checkpoint => {
                scene.note("before", "the move")?;
                let connection = scene.here.device.connection();
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
                scene.note("after", "the move")?;
                scene.send()
            }
            Self::Migrate => {
                scene.here.upgrade()?;
                scene.there.upgrade()?;
                let compartment = scene.compartment();
                scene.here.write(|transaction| {
                    transaction.execute(
                        "INSERT OR REPLACE INTO tally VALUES ('one', ?1, 1)",
                        [compartment.0],
                    )?;
                    Ok(())
                })?;
                scene.here.device.make_durable()?;
                scene.send()
            }
        }
    }
}

fn filling(number: u64) -> String {
    // Does not compress, so that it takes several entries.
    let mut rng = ChaCha20Rng::seed_from_u64(number);
    let mut bytes = vec![0; 60_000];
    rand_chacha::rand_core::Rng::fill_bytes(&mut rng, &mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(byte % 94 + 32))
        .collect()
}

fn invite(by: &mut Machine, context: ContextId) -> (InviteLink, Secret) {
    let secret = Secret::generate(&mut by.rng);
    let invitation = Invitation {
        name: "Club".into(),
        rights: Rights::of(Role::Admin),
        expires: Millis(0),
        uses: 1,
        hints: Vec::new(),
    };
    let link = by
        .device
        .invite(
            context,
            &invitation,
            &secret,
            Stretch::FOR_TESTS,
            NOW,
            &mut by.rng,
        )
        .unwrap();
    (link, secret)
}

fn carry_control(from: &Machine, to: &mut Machine, context: ContextId) -> Result<(), Stopped> {
    let known = to.device.control_hashes(context);
    let mut missing = from.device.control_hashes(context);
    missing.retain(|hash| !known.contains(hash));
    let entries = from.device.control_entries(context, &missing, usize::MAX);
    if !entries.is_empty() {
        to.device
            .receive_control(context, &entries, NOW, &mut to.rng)?;
        to.device.merge_waiting(NOW)?;
    }
    Ok(())
}

/// Hands everything on; returns what went over.
fn carry(
    from: &Machine,
    to: &mut Machine,
    context: ContextId,
) -> Result<Vec<(CompartmentId, WriterKey, Seq, EntryHash)>, Stopped> {
    let compartment = Audience::Everyone.compartment(context);
    let mut gone = Vec::new();
    let known = to.device.frontier(compartment)?;
    let mut cursor = Cursor::START;
    loop {
        let read = from
            .device
            .read_entries(compartment, &known, cursor, 1 << 20)?;
        cursor = read.next;
        for run in &read.runs {
            for (place, bytes) in run.entries.iter().enumerate() {
                let hash = EntryRef::parse(bytes)
                    .map_err(|error| error.to_string())?
                    .hash();
                gone.push((
                    compartment,
                    run.writer,
                    Seq(run.first.0 + place as u64),
                    hash,
                ));
            }
        }
        let received = to
            .device
            .receive_entries(&[(context, compartment, read.runs)], NOW)?;
        if let Some((writer, reason)) = received.declined.first() {
            return Err(format!("entries of {writer:?} are declined: {reason}").into());
        }
        if let Some((writer, seq, reason)) = received.merged.refused.first() {
            return Err(format!("entry {seq} of {writer:?} is refused: {reason}").into());
        }
        if read.exhausted {
            return Ok(gone);
        }
    }
}
