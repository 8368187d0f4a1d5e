//! Devices and contexts made with few words. Everything is seeded, so every run makes the same bytes.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Millis, Seq, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{
    Entered, Founding, InviteTerms, JoinError, create, invite, join, start_epoch,
};
use aeroedge_log::control::{
    Action, ControlEntry, Permission, RemoveMember, Rights, Role, SetRole,
};
use aeroedge_log::history::{CannotWrite, Claim, History, Inserted, WritingPoint};
use aeroedge_log::invite::{InviteSeed, Secret, Stretch};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::roster::Rejection;
use aeroedge_log::secrets::DeviceSecrets;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

pub(crate) const SECRET: &str = "lusab-babad-gutih-tugad";

/// One installation in one context.
pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) secrets: DeviceSecrets,
    pub(crate) history: History,
    pub(crate) rng: ChaCha20Rng,
    time: u64,
}

pub(crate) fn rights(role: Role, permissions: &[&str]) -> Rights {
    let permissions = permissions
        .iter()
        .map(|text| Permission::new(text).unwrap())
        .collect();
    Rights { role, permissions }
}

impl Device {
    /// A device that belongs to nothing yet; `number` seeds it and names its user.
    pub(crate) fn new(number: u8, context: ContextId) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
        let secrets = DeviceSecrets::generate(&mut rng);
        Self {
            user: UserId([number; 16]),
            secrets,
            history: History::new(context),
            rng,
            time: 1_700_000_000_000,
        }
    }

    /// A device that has founded a context.
    pub(crate) fn founder(number: u8, division: Division) -> Self {
        let mut device = Self::new(number, ContextId([0; 16]));
        let founding = Founding {
            user: device.user,
            division,
            purpose: "club".to_owned(),
        };
        let now = device.now();
        let entered = create(&device.secrets, &founding, now, &mut device.rng);
        device.history = History::new(entered.context);
        device.enter(entered);
        device
    }

    pub(crate) fn now(&mut self) -> Hlc {
        self.time += 1000;
        Hlc::at(Millis(self.time))
    }

    pub(crate) fn enter(&mut self, entered: Entered) {
        self.secrets.add_writer(entered.context, entered.writer);
        for entry in entered.entries {
            self.insert(entry);
        }
    }

    pub(crate) fn insert(&mut self, entry: ControlEntry) {
        let read = ControlEntry::decode(entry.bytes()).unwrap();
        assert_eq!(
            read, entry,
            "what was signed must read back as it was meant"
        );
        assert!(matches!(
            self.history.insert(read).unwrap(),
            Inserted::Added(_) | Inserted::Known
        ));
    }

    /// Takes in everything that `other` knows.
    pub(crate) fn pull(&mut self, other: &Self) {
        for entry in other.history.unknown_to(&self.history.heads()) {
            self.insert(entry.clone());
        }
        self.time = self.time.max(other.time);
    }

    pub(crate) fn ring(&self) -> KeyRing {
        let mut ring = KeyRing::new(&self.secrets);
        ring.learn(&self.history.roster().unwrap());
        ring
    }

    /// A device that is the same in all but what it does from here on: it does not hear of what the other does.
    pub(crate) fn twin(&self) -> Self {
        let mut history = History::new(self.history.context());
        for entry in self.history.entries() {
            history.insert(entry.clone()).unwrap();
        }
        Self {
            user: self.user,
            secrets: self.secrets.clone(),
            history,
            rng: self.rng.clone(),
            time: self.time,
        }
    }

    /// What this device knows, in the hands of `other`.
    pub(crate) fn twin_as(&self, other: &Self) -> Self {
        Self {
            user: other.user,
            secrets: other.secrets.clone(),
            ..self.twin()
        }
    }

    /// What the device signs with a program that lets it choose what it knew, and when.
    pub(crate) fn forge(&self, knowing: &[ControlHash], at: u64, action: Action) -> ControlEntry {
        let context = self.history.context();
        let hlc = Hlc::at(Millis(at));
        ControlEntry::sign(&self.secrets, context, knowing.to_vec(), hlc, action)
    }

    pub(crate) fn remove(&mut self, user: UserId) -> ControlEntry {
        self.act(Action::RemoveMember(RemoveMember {
            user,
            cut_offs: Vec::new(),
        }))
    }

    pub(crate) fn set_role(&mut self, user: UserId, rights: Rights) -> ControlEntry {
        self.act(Action::SetRole(SetRole {
            user,
            rights,
            cut_offs: Vec::new(),
        }))
    }

    pub(crate) fn rotate(&mut self, audience: Audience) -> ControlEntry {
        let now = self.now();
        let (history, secrets) = (&self.history, &self.secrets);
        let epoch = start_epoch(history, secrets, audience, now, &mut self.rng).unwrap();
        self.insert(epoch.clone());
        epoch
    }

    pub(crate) fn rejection(&self, entry: &ControlEntry) -> Option<Rejection> {
        assert!(self.history.contains(entry.hash()));
        let roster = self.history.roster().unwrap();
        roster.rejected().get(&entry.hash()).copied()
    }

    /// The role of a member that is in.
    pub(crate) fn role_of(&self, user: UserId) -> Option<Role> {
        let roster = self.history.roster().unwrap();
        let member = roster.member(user).filter(|member| member.is_active())?;
        Some(member.rights.role)
    }

    pub(crate) fn act(&mut self, action: Action) -> ControlEntry {
        let now = self.now();
        let entry = aeroedge_log::context::act(&self.history, &self.secrets, now, action);
        self.insert(entry.clone());
        entry
    }

    pub(crate) fn invite(&mut self, rights: Rights, uses: u32) -> InviteSeed {
        let terms = InviteTerms {
            rights,
            expires: Millis(0),
            uses,
        };
        let (ring, now) = (self.ring(), self.now());
        let secret = Secret::typed(SECRET);
        let (entry, seed) = invite(
            &self.history,
            &ring,
            &self.secrets,
            &terms,
            &secret,
            Stretch::FOR_TESTS,
            now,
            &mut self.rng,
        )
        .unwrap();
        self.insert(entry);
        seed
    }

    pub(crate) fn try_join(&mut self, seed: &InviteSeed, secret: &str) -> Result<(), JoinError> {
        let (now, secret) = (self.now(), Secret::typed(secret));
        let stretch = Stretch::FOR_TESTS;
        let entered = join(
            &self.history,
            &self.secrets,
            seed,
            &secret,
            stretch,
            self.user,
            now,
            &mut self.rng,
        )?;
        self.enter(entered);
        Ok(())
    }

    /// A new device that has joined through `self`, and told it.
    pub(crate) fn admit(&mut self, number: u8, rights: Rights) -> Self {
        let seed = self.invite(rights, 1);
        let mut joined = Self::new(number, self.history.context());
        joined.pull(self);
        joined.try_join(&seed, SECRET).unwrap();
        self.pull(&joined);
        joined
    }

    pub(crate) fn compartment(&self, audience: Audience) -> CompartmentId {
        audience.compartment(self.history.context())
    }

    /// The claim of an entry this device would write now.
    pub(crate) fn claim(&self, audience: Audience, seq: u64) -> Claim {
        let compartment = self.compartment(audience);
        let writer = self.secrets.writer(self.history.context()).unwrap().key();
        let roster = self.history.roster().unwrap();
        let epoch = roster.current_epoch(compartment).unwrap();
        Claim {
            writer,
            compartment,
            seq: Seq(seq),
            epoch,
            heads: self.history.heads(),
        }
    }

    /// Where it would write now.
    pub(crate) fn writing_point(&self, audience: Audience) -> Result<WritingPoint, CannotWrite> {
        let writer = self.secrets.writer(self.history.context()).unwrap().key();
        self.history
            .writing_point(&self.ring(), writer, self.compartment(audience))
    }
}
