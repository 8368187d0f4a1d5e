//! A few devices with a small schema, and the ways to move things between them.

use aeroedge_device::{
    AllTables, ContextSummary, Device, Invitation, KeysInMemory, Options, Received, TableRights,
    WriteError,
};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_protocol::{Cursor, Frontier};
use aeroedge_replica::{CompartmentRule, Merged, Policy};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rusqlite::{Connection, params};

pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS note (id TEXT NOT NULL, compartment_id BLOB NOT NULL, title TEXT, body TEXT, PRIMARY KEY (id, compartment_id));
    CREATE TABLE IF NOT EXISTS tally (id TEXT NOT NULL, compartment_id BLOB NOT NULL, amount INTEGER, PRIMARY KEY (id, compartment_id));
";

pub(crate) fn options(rights: Box<dyn TableRights>) -> Options {
    let table = |name: &str| Merged {
        table: name.into(),
        compartment: CompartmentRule::Column("compartment_id".into()),
        policy: Policy::Record,
    };
    Options {
        tables: vec![table("note"), table("tally")],
        rights,
        schema_version: 1,
    }
}

pub(crate) struct Peer {
    pub(crate) device: Device,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) keys: KeysInMemory,
}

impl Peer {
    pub(crate) fn new(number: u8) -> Self {
        Self::with_rights(number, Box::new(AllTables))
    }

    pub(crate) fn with_rights(number: u8, rights: Box<dyn TableRights>) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
        let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rng));
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let user = UserId([number; 16]);
        let device = Device::create(
            connection,
            Box::new(keys.clone()),
            options(rights),
            user,
            NOW,
        )
        .unwrap();
        Self { device, rng, keys }
    }

    /// Another installation with the same keys and the same data, as if its folder had been copied. `number` is what it draws from.
    pub(crate) fn copy(&self, number: u8) -> Self {
        use aeroedge_device::KeyStore;
        let mut connection = Connection::open_in_memory().unwrap();
        rusqlite::backup::Backup::new(self.device.connection(), &mut connection)
            .unwrap()
            .run_to_completion(1000, std::time::Duration::ZERO, None)
            .unwrap();
        let keys = KeysInMemory::new(self.keys.load().unwrap());
        let options = options(Box::new(AllTables));
        let device = Device::open(connection, Box::new(keys.clone()), options, NOW).unwrap();
        Self {
            device,
            rng: ChaCha20Rng::seed_from_u64(u64::from(number)),
            keys,
        }
    }

    pub(crate) fn found(&mut self, division: Division) -> ContextId {
        self.device
            .create_context(division, "club", NOW, &mut self.rng)
            .unwrap()
    }

    pub(crate) fn summary(&self, context: ContextId) -> ContextSummary {
        self.device
            .contexts()
            .into_iter()
            .find(|summary| summary.id == context)
            .unwrap()
    }

    pub(crate) fn invite(
        &mut self,
        context: ContextId,
        role: Role,
        uses: u32,
    ) -> (InviteLink, Secret) {
        let secret = Secret::generate(&mut self.rng);
        let invitation = Invitation {
            name: "Club".into(),
            rights: Rights::of(role),
            expires: Millis(0),
            uses,
            hints: Vec::new(),
        };
        let link = self
            .device
            .invite(
                context,
                &invitation,
                &secret,
                Stretch::FOR_TESTS,
                NOW,
                &mut self.rng,
            )
            .unwrap();
        (link, secret)
    }

    pub(crate) fn write(&mut self, compartment: CompartmentId, id: &str, title: &str) {
        self.try_write(NOW, compartment, id, title).unwrap();
    }

    /// Writes by a clock that may be any.
    pub(crate) fn try_write(
        &mut self,
        now: Millis,
        compartment: CompartmentId,
        id: &str,
        title: &str,
    ) -> Result<usize, WriteError<rusqlite::Error>> {
        let written = self.device.write(now, &mut self.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET title = excluded.title",
                params![id, compartment.0, title],
            )
        })?;
        self.device.make_durable().unwrap();
        Ok(written)
    }

    pub(crate) fn notes(&self) -> Vec<(String, [u8; 16], Option<String>)> {
        self.device
            .connection()
            .prepare("SELECT id, compartment_id, title FROM note ORDER BY id, compartment_id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}

pub(crate) fn everyone(context: ContextId) -> CompartmentId {
    Audience::Everyone.compartment(context)
}

/// Brings the membership of `to` up to what `from` knows.
pub(crate) fn carry_control(from: &Peer, to: &mut Peer, context: ContextId) {
    carry_control_at(from, to, context, NOW);
}

fn carry_control_at(from: &Peer, to: &mut Peer, context: ContextId, now: Millis) {
    let known = to.device.control_hashes(context);
    let missing: Vec<_> = from
        .device
        .control_hashes(context)
        .into_iter()
        .filter(|hash| !known.contains(hash))
        .collect();
    let entries = from.device.control_entries(context, &missing, usize::MAX);
    if !entries.is_empty() {
        to.device
            .receive_control(context, &entries, now, &mut to.rng)
            .unwrap();
    }
}

/// Brings one compartment of `to` up to what `from` has, `max_bytes` at a time.
pub(crate) fn carry(
    from: &Peer,
    to: &mut Peer,
    context: ContextId,
    compartment: CompartmentId,
    max_bytes: usize,
) -> Vec<Received> {
    carry_at(from, to, context, compartment, max_bytes, NOW)
}

fn carry_at(
    from: &Peer,
    to: &mut Peer,
    context: ContextId,
    compartment: CompartmentId,
    max_bytes: usize,
    now: Millis,
) -> Vec<Received> {
    let mut received = Vec::new();
    let mut cursor = Cursor::START;
    let mut known: Frontier = to.device.frontier(compartment).unwrap();
    // As a session does.
    for log in from.device.disagreements(compartment, &known).unwrap() {
        known.remove(&log);
    }
    loop {
        let read = from
            .device
            .read_entries(compartment, &known, cursor, max_bytes)
            .unwrap();
        cursor = read.next;
        if !read.runs.is_empty() {
            received.push(
                to.device
                    .receive_entries(&[(context, compartment, read.runs)], now)
                    .unwrap(),
            );
        }
        if read.exhausted {
            return received;
        }
    }
}

/// Membership and everything both may read, in both directions.
pub(crate) fn synchronise(a: &mut Peer, b: &mut Peer, context: ContextId) {
    synchronise_at(a, b, context, NOW);
}

/// The same when both clocks say `now`.
pub(crate) fn synchronise_at(a: &mut Peer, b: &mut Peer, context: ContextId, now: Millis) {
    carry_control_at(a, b, context, now);
    carry_control_at(b, a, context, now);
    carry_control_at(a, b, context, now);
    for compartment in a.device.compartments(context) {
        if b.device.compartments(context).contains(&compartment) {
            carry_at(a, b, context, compartment, 1 << 20, now);
            carry_at(b, a, context, compartment, 1 << 20, now);
        }
    }
}

/// Two devices in one context, the first its owner.
pub(crate) fn pair(division: Division, role: Role) -> (Peer, Peer, ContextId) {
    let mut owner = Peer::new(1);
    let mut other = Peer::new(2);
    let context = owner.found(division);
    admit(&mut owner, &mut other, context, role);
    (owner, other, context)
}

/// Makes a device a member.
pub(crate) fn admit(owner: &mut Peer, other: &mut Peer, context: ContextId, role: Role) {
    let (link, secret) = owner.invite(context, role, 1);
    other
        .device
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap();
    carry_control(owner, other, context);
    synchronise(owner, other, context);
}
