//! Contexts: founding one, inviting into it, joining, and taking in what others did to its membership.
//!
//! Secrets are saved before the entry that relies on them is stored: a crash in between leaves a key nobody knows of, never a
//! member without a key.

use std::error::Error;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, ControlHash, InviteKey, Millis, UserId, WriterKey};
use aeroedge_log::compartment::Division;
use aeroedge_log::context::{self, Entered, Founding, InviteError, InviteTerms, JoinError};
use aeroedge_log::control::{Action, ControlEntry, ControlError, Rights};
use aeroedge_log::history::History;
use aeroedge_log::invite::{InviteLink, PackageError, Secret, Stretch};
use aeroedge_log::roster::{Member, Roster};
use rand::CryptoRng;

use crate::device::{Device, DeviceError};
use crate::merging::HOLD_BACK_MS;
use crate::state::{self, ContextState, InsertAndStoreError};

/// The most keys sealed to others in one control entry.
const WRAPS_MAX: usize = 500;

/// A membership could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Not one of this device's.
    #[error("this device is in no context {0}: list the contexts to see which it is in")]
    UnknownContext(ContextId),
    /// The invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The link is of a context this device is in.
    #[error(
        "you are a member of this context already: an invite is for someone else, or for another device"
    )]
    AlreadyMember,
    /// The keys.
    #[error("the keys could not be saved")]
    Keys(#[source] Box<dyn Error + Send + Sync>),
    /// The database.
    #[error("the membership could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for MembershipError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for MembershipError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}

/// What an invite offers.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// What the joiner sees until the context's own records have arrived.
    pub name: String,
    /// What a new member gets.
    pub rights: Rights,
    /// When it ends; zero for never.
    pub expires: Millis,
    /// How many may join.
    pub uses: u32,
    /// Where to connect, in words that transports understand.
    pub hints: Vec<String>,
}

/// A context as its member sees it.
#[derive(Debug, Clone)]
pub struct ContextSummary {
    /// Its id.
    pub id: ContextId,
    /// Into which compartments it is divided.
    pub division: Division,
    /// The application's word for what it is for.
    pub purpose: String,
    /// What this device's user may do; nothing if removed.
    pub rights: Option<Rights>,
    /// Everybody who was ever in it.
    pub members: Vec<Member>,
}

/// How far a join has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinState {
    /// No device that knows the invite has been met.
    Searching,
    /// The secret is not the one of this invite.
    WrongSecret,
    /// It cannot be: why.
    Refused(String),
    /// This device is a member.
    Joined,
    /// Nobody started to join this context.
    NotStarted,
}

/// What became of control entries from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlReceived {
    /// Something is new.
    pub changed: bool,
    /// This device became a member by it.
    pub joined: bool,
}

/// A join under way: in memory only, so that giving up leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) link: InviteLink,
    secret: Secret,
    stretch: Stretch,
    history: History,
    state: JoinState,
}

impl Device {
    /// Founds a context; this device's user becomes its owner.
    pub fn create_context(
        &mut self,
        division: Division,
        purpose: &str,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ContextId, MembershipError> {
        self.refresh()?;
        let founding = Founding {
            user: self.user,
            division,
            purpose: purpose.to_owned(),
        };
        let entered = context::create(&self.secrets, &founding, self.next_control_stamp(now), rng);
        self.enter(entered, Vec::new())
    }

    /// Offers membership in a context.
    pub fn invite(
        &mut self,
        context: ContextId,
        invitation: &Invitation,
        secret: &Secret,
        stretch: Stretch,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<InviteLink, MembershipError> {
        self.refresh()?;
        let hlc = self.next_control_stamp(now);
        let state = self.state(context)?;
        let terms = InviteTerms {
            rights: invitation.rights.clone(),
            expires: invitation.expires,
            uses: invitation.uses,
        };
        let (entry, seed) = context::invite(
            &state.history,
            &state.keys,
            &self.secrets,
            &terms,
            secret,
            stretch,
            hlc,
            rng,
        )?;
        self.add_own(context, entry)?;
        Ok(InviteLink {
            context,
            name: invitation.name.clone(),
            seed,
            hints: invitation.hints.clone(),
        })
    }

    /// Begins to join: from now on [`Device::credentials`] lets sessions find a device that knows the invite.
    pub fn start_join(
        &mut self,
        link: InviteLink,
        secret: Secret,
        stretch: Stretch,
    ) -> Result<(), MembershipError> {
        self.refresh()?;
        if self.contexts.contains_key(&link.context) {
            return Err(MembershipError::AlreadyMember);
        }
        let context = link.context;
        let joining = Joining {
            link,
            secret,
            stretch,
            history: History::new(context),
            state: JoinState::Searching,
        };
        self.joining.insert(context, joining);
        Ok(())
    }

    /// How far a join has come.
    pub fn join_state(&self, context: ContextId) -> JoinState {
        match self.joining.get(&context) {
            Some(joining) => joining.state.clone(),
            None if self.contexts.contains_key(&context) => JoinState::Joined,
            None => JoinState::NotStarted,
        }
    }

    /// Gives up joining. Nothing was stored.
    pub fn cancel_join(&mut self, context: ContextId) {
        self.joining.remove(&context);
    }

    /// The contexts this device is in.
    pub fn contexts(&self) -> Vec<ContextSummary> {
        self.contexts
            .iter()
            .map(|(id, state)| ContextSummary {
                id: *id,
                division: state.roster.division(),
                purpose: state.roster.purpose().to_owned(),
                rights: state.rights(self.user).cloned(),
                members: state.roster.members().cloned().collect(),
            })
            .collect()
    }

    /// What the signed history of a context says.
    pub fn roster(&self, context: ContextId) -> Option<&Roster> {
        self.contexts.get(&context).map(|state| &*state.roster)
    }

    /// Who stands behind a writer in a context.
    pub fn user_of(&self, context: ContextId, writer: WriterKey) -> Option<UserId> {
        Some(self.roster(context)?.writer(writer)?.user)
    }

    /// The hash of every control entry held of a context, parents first; the list only grows at its end.
    pub fn control_hashes(&self, context: ContextId) -> Vec<ControlHash> {
        let held = self.history_held(context).into_iter();
        held.flat_map(History::entries)
            .map(ControlEntry::hash)
            .collect()
    }

    /// What is known of a context, as a member or while joining: whoever tells what it holds must be able to hand it on.
    fn history_held(&self, context: ContextId) -> Option<&History> {
        match self.joining.get(&context) {
            Some(joining) => Some(&joining.history),
            None => self.contexts.get(&context).map(|state| &state.history),
        }
    }

    /// Control entries by hash, until `max_bytes` are reached, but at least one.
    pub fn control_entries(
        &self,
        context: ContextId,
        hashes: &[ControlHash],
        max_bytes: usize,
    ) -> Vec<Vec<u8>> {
        let Some(history) = self.history_held(context) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in hashes.iter().map_while(|hash| history.get(*hash)) {
            bytes += entry.bytes().len();
            if !entries.is_empty() && bytes > max_bytes {
                break;
            }
            entries.push(entry.bytes().to_vec());
        }
        entries
    }

    /// Takes in control entries of a context this device is in, or wants to join.
    pub fn receive_control(
        &mut self,
        context: ContextId,
        entries: &[Vec<u8>],
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ControlReceived, ReceiveControlError> {
        self.took_in = true;
        let mut decoded = Vec::with_capacity(entries.len());
        for bytes in entries {
            decoded.push(ControlEntry::decode(bytes)?);
        }
        if self.joining.contains_key(&context) {
            return self.receive_for_join(context, decoded, now, rng);
        }
        self.refresh()?;
        let Some(state) = self.contexts.get_mut(&context) else {
            return Err(ReceiveControlError::UnknownContext(context));
        };
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut changed = false;
        let store = || -> Result<(), InsertAndStoreError> {
            for entry in decoded {
                changed |= state::insert(connection, &mut state.history, entry)?;
            }
            Ok(())
        };
        if let Err(error) = store() {
            connection.execute_batch("ROLLBACK")?;
            self.reload()?;
            return Err(ReceiveControlError::Refused(error.to_string()));
        }
        connection.execute_batch("COMMIT")?;
        if changed {
            self.reread(context)?;
            self.pay_owed_wraps(context, now, rng)?;
        }
        Ok(ControlReceived {
            changed,
            joined: false,
        })
    }

    fn receive_for_join(
        &mut self,
        context: ContextId,
        entries: Vec<ControlEntry>,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ControlReceived, ReceiveControlError> {
        let hlc = self.next_control_stamp(now);
        let Some(joining) = self.joining.get_mut(&context) else {
            return Ok(ControlReceived::default());
        };
        for entry in entries {
            joining
                .history
                .insert(entry)
                .map_err(|error| ReceiveControlError::Refused(error.to_string()))?;
        }
        if joining.state == JoinState::WrongSecret {
            return Ok(ControlReceived::default());
        }
        let attempt = context::join(
            &joining.history,
            &self.secrets,
            &joining.link.seed,
            &joining.secret,
            joining.stretch,
            self.user,
            hlc,
            rng,
        );
        match attempt {
            Ok(entered) => {
                let known = self.joining.remove(&context).map(|joining| joining.history);
                let known = known
                    .iter()
                    .flat_map(|history| history.entries().cloned())
                    .collect();
                self.enter(entered, known)
                    .map_err(|error| ReceiveControlError::Storage(Box::new(error)))?;
                return Ok(ControlReceived {
                    changed: true,
                    joined: true,
                });
            }
            Err(JoinError::NoHistory | JoinError::UnknownInvite) => {}
            Err(JoinError::Package(PackageError::WrongSecret)) => {
                joining.state = JoinState::WrongSecret;
            }
            Err(error) => joining.state = JoinState::Refused(error.to_string()),
        }
        Ok(ControlReceived {
            changed: true,
            joined: false,
        })
    }

    /// Becomes a member: saves the writer's secret, then stores the entries that others gave us and our own.
    fn enter(
        &mut self,
        entered: Entered,
        known: Vec<ControlEntry>,
    ) -> Result<ContextId, MembershipError> {
        // A membership that a power cut took back could not be gained again: others would know it already.
        self.took_in = true;
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = (|| -> Result<(), MembershipError> {
            let mut secrets = self.key_store.load().map_err(MembershipError::Keys)?;
            secrets.add_writer(entered.context, entered.writer);
            self.key_store
                .save(&secrets)
                .map_err(MembershipError::Keys)?;
            for entry in known.iter().chain(&entered.entries) {
                state::store(connection, entry)?;
            }
            Ok(())
        })();
        connection.execute_batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })?;
        outcome?;
        self.read_control()?;
        Ok(entered.context)
    }

    /// Adds an entry of this device's own.
    fn add_own(&mut self, context: ContextId, entry: ControlEntry) -> Result<(), MembershipError> {
        self.took_in = true;
        state::store(self.replica.connection(), &entry)?;
        self.read_control()?;
        debug_assert!(
            self.contexts
                .get(&context)
                .is_some_and(|state| state.history.contains(entry.hash()))
        );
        Ok(())
    }

    /// Seals keys to members who should have them and lack them.
    fn pay_owed_wraps(
        &mut self,
        context: ContextId,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), ReceiveControlError> {
        let hlc = self.next_control_stamp(now);
        let Some(state) = self.contexts.get(&context) else {
            return Ok(());
        };
        if state.keys.owed(&state.roster) == 0 {
            return Ok(());
        }
        let owed = context::wrap_owed(
            &state.history,
            &state.keys,
            &self.secrets,
            WRAPS_MAX,
            hlc,
            rng,
        );
        if let Some(entry) = owed {
            self.add_own(context, entry)
                .map_err(|error| ReceiveControlError::Storage(Box::new(error)))?;
        }
        Ok(())
    }

    /// Reads one context anew after its history grew in memory.
    fn reread(&mut self, context: ContextId) -> Result<(), DeviceError> {
        if let Some(state) = self.contexts.remove(&context)
            && let Some(state) = ContextState::derive(state.history, &self.secrets)
        {
            self.contexts.insert(context, state);
        }
        self.control_read = self.connection().query_row(
            "SELECT coalesce(max(arrival), 0) FROM device_control",
            [],
            |row| row.get(0),
        )?;
        self.index_compartments();
        Ok(())
    }

    /// Forgets what is in memory and reads the stored histories again.
    fn reload(&mut self) -> Result<(), DeviceError> {
        self.contexts.clear();
        self.control_read = 0;
        self.read_control()
    }

    pub(crate) fn state(&self, context: ContextId) -> Result<&ContextState, MembershipError> {
        self.contexts
            .get(&context)
            .ok_or(MembershipError::UnknownContext(context))
    }

    /// Later than everything in any history here, so that an act never sorts before what its author knew. Stamps from a future
    /// that no honest clock shows do not count: anyone may stamp an act, and one from the end of time would drag every later
    /// act, and so every join, past the end of its invite.
    pub(crate) fn next_control_stamp(&self, now: Millis) -> Hlc {
        let known = self
            .contexts
            .values()
            .map(|state| &state.history)
            .chain(self.joining.values().map(|joining| &joining.history))
            .flat_map(|history| {
                history
                    .heads()
                    .into_iter()
                    .filter_map(|head| history.get(head))
            })
            .map(ControlEntry::hlc)
            .filter(|hlc| hlc.time().0.saturating_sub(now.0) <= HOLD_BACK_MS)
            .max()
            .unwrap_or(Hlc::ZERO);
        known.tick(now)
    }

    /// The invites of a context that may still be used.
    pub fn open_invites(&self, context: ContextId, now: Millis) -> Vec<InviteKey> {
        self.roster(context)
            .into_iter()
            .flat_map(Roster::invites)
            .filter(|invite| invite.is_open(now))
            .map(|invite| invite.key)
            .collect()
    }

    /// Withdraws an invite.
    pub fn void_invite(
        &mut self,
        context: ContextId,
        invite: InviteKey,
        now: Millis,
    ) -> Result<(), MembershipError> {
        self.refresh()?;
        let hlc = self.next_control_stamp(now);
        let state = self.state(context)?;
        let entry = context::act(
            &state.history,
            &self.secrets,
            hlc,
            Action::VoidInvite(invite),
        );
        self.add_own(context, entry)
    }
}

/// Control entries were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveControlError {
    /// Not one of this device's.
    #[error("this device is in no context {0}")]
    UnknownContext(ContextId),
    /// Not control entries, or not signed by who they say.
    #[error("the peer sent something that is not a signed control entry")]
    Malformed(#[from] ControlError),
    /// They do not belong here.
    #[error("the peer's control entries do not fit: {0}")]
    Refused(String),
    /// The database.
    #[error("the control entries could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for ReceiveControlError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for ReceiveControlError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}
