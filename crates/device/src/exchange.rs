//! What a session asks of a device: who it is, what it has, and to take in what the peer sent.

use std::collections::BTreeMap;
use std::error::Error;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, Millis, UserId, WriterKey};
use aeroedge_log::keys::is_signed_by;
use aeroedge_log::tags::LinkKey;
use aeroedge_protocol::{Credential, Cursor, Frontier, Run};
use aeroedge_replica::Touched;

use crate::device::{Device, DeviceError};
use crate::forks;
use crate::intake::{self, Declined, Writers};
use crate::merging::{Merged, MergingError, Pass, Waiting};
use crate::offer::{self, EntriesRead};
use crate::rejudge;
use crate::state::{self, ContextState};
use crate::stored;
use crate::verdicts;

/// A device on the other end may not share a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// This device is not in it itself.
    #[error("this device is not in that context")]
    NotHere,
    /// The signature is not the device's.
    #[error("the peer did not prove to be the device it says")]
    FalseProof,
    /// The roster does not have it, or not any more.
    #[error("the peer's device is not a member's")]
    NotAMember,
}

/// What became of a batch.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Vouched positions that moved, by compartment.
    pub changed: BTreeMap<CompartmentId, Frontier>,
    /// Logs of which no more is taken from this source.
    pub declined: Vec<(WriterKey, Declined)>,
    /// Writers that turned out to have signed two stories: what is offered of them has other names now, so sessions begin anew.
    pub forked: Vec<WriterKey>,
    /// Somebody else went on under a writer of this installation.
    pub own_grew: bool,
    /// Which entries reached the tables.
    pub merged: Merged,
    /// Which rows changed by it.
    pub touched: Vec<Touched>,
}

/// The batch could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The database.
    #[error("the entries could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for ReceiveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for ReceiveError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl Device {
    /// What this device may speak of on a link.
    pub fn credentials(&self, now: Millis) -> Vec<Credential> {
        let mut credentials = Vec::new();
        for (context, state) in &self.contexts {
            let mut link_keys: Vec<_> = state
                .keys
                .link_keys(&state.roster)
                .iter()
                .map(|(_, key)| *key.as_bytes())
                .collect();
            link_keys.reverse();
            if !link_keys.is_empty() {
                credentials.push(Credential::Member {
                    context: *context,
                    link_keys,
                });
            }
            for invite in self.open_invites(*context, now) {
                let link_key = *LinkKey::of_invite(invite).as_bytes();
                credentials.push(Credential::Invite {
                    context: *context,
                    invite,
                    link_key,
                });
            }
        }
        for (context, joining) in &self.joining {
            let link_key = *LinkKey::of_invite(joining.link.seed.key()).as_bytes();
            credentials.push(Credential::Joiner {
                context: *context,
                link_key,
            });
        }
        credentials.extend(
            self.pairing
                .as_ref()
                .and_then(|pairing| pairing.credential(now)),
        );
        credentials
    }

    /// Tags for an announcement: members and holders of an invite recognise them, nobody else.
    pub fn discovery_tags(&self, nonce: &[u8], now: Millis) -> Vec<[u8; 8]> {
        self.announced_keys(now)
            .iter()
            .map(|key| key.announce(nonce).0)
            .collect()
    }

    /// Whether an announcement is of a device that shares something with this one.
    pub fn recognises(&self, nonce: &[u8], tags: &[[u8; 8]], now: Millis) -> bool {
        self.link_keys(now)
            .iter()
            .any(|key| tags.contains(&key.announce(nonce).0))
    }

    /// The keys under which this device announces itself on a network.
    pub fn announced_keys(&self, now: Millis) -> Vec<LinkKey> {
        self.keys_on_networks(now, |state| state.keys.announced_keys(&state.roster))
    }

    /// The keys by which this device recognises others on a network: those announced, and older ones, which a device that
    /// was away may still announce itself under.
    pub fn link_keys(&self, now: Millis) -> Vec<LinkKey> {
        self.keys_on_networks(now, |state| state.keys.link_keys(&state.roster))
    }

    fn keys_on_networks(
        &self,
        now: Millis,
        of_member: impl Fn(&ContextState) -> Vec<(ControlHash, LinkKey)>,
    ) -> Vec<LinkKey> {
        let mut keys = Vec::new();
        for (context, state) in &self.contexts {
            keys.extend(of_member(state).into_iter().map(|(_, key)| key));
            keys.extend(
                self.open_invites(*context, now)
                    .into_iter()
                    .map(LinkKey::of_invite),
            );
        }
        keys.extend(
            self.joining
                .values()
                .map(|joining| LinkKey::of_invite(joining.link.seed.key())),
        );
        keys.extend(
            self.pairing
                .as_ref()
                .and_then(|pairing| pairing.link_key(now)),
        );
        keys
    }

    /// Proves this device on a link.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secrets.sign(message)
    }

    /// Checks a peer's proof; returns the compartments both may read, each with what is here of it.
    pub fn accept_peer(
        &self,
        context: ContextId,
        peer: DeviceKey,
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<BTreeMap<CompartmentId, Frontier>, PeerAcceptError> {
        let state = self.contexts.get(&context).ok_or(PeerRefused::NotHere)?;
        if !is_signed_by(&peer.0, message, signature) {
            return Err(PeerRefused::FalseProof.into());
        }
        let (_, member) = state
            .roster
            .active_device(peer)
            .ok_or(PeerRefused::NotAMember)?;
        let mut shared = BTreeMap::new();
        for compartment in state.readable(self.user) {
            if state.roster.may_read(member.user, compartment) {
                shared.insert(compartment, self.frontier(compartment)?);
            }
        }
        Ok(shared)
    }

    /// The compartments of a context that this device may read.
    pub fn compartments(&self, context: ContextId) -> Vec<CompartmentId> {
        self.contexts
            .get(&context)
            .map(|state| state.readable(self.user))
            .unwrap_or_default()
    }

    /// What is durable and vouched for of a compartment.
    pub fn frontier(&self, compartment: CompartmentId) -> Result<Frontier, DeviceError> {
        Ok(stored::frontier(self.connection(), compartment)?)
    }

    /// What a peer with this frontier lacks, in order of arrival.
    pub fn read_entries(
        &self,
        compartment: CompartmentId,
        peer: &Frontier,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<EntriesRead, DeviceError> {
        Ok(offer::read(
            self.connection(),
            compartment,
            peer,
            after,
            max_bytes,
        )?)
    }

    /// Stores what a peer sent and merges what can be merged, in one transaction.
    pub fn receive_entries(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        now: Millis,
    ) -> Result<Received, ReceiveError> {
        self.refresh()?;
        let is_perhaps_own = |run: &Run| {
            self.secrets.writer_by_key(run.writer).is_some()
                || self.user_of_any(run.writer).is_none()
        };
        if batches
            .iter()
            .any(|(_, _, runs)| runs.iter().any(is_perhaps_own))
        {
            self.sign_before()?;
        }
        self.took_in = true;
        let received = self.merge_pass(batches, now)?;
        if received.own_grew {
            self.note_growth(now);
            self.look_for_copies()?;
        }
        Ok(received)
    }

    /// Merges what waited and waits no longer, and takes back what may not stand: call it after control entries arrived or were
    /// made here, and when a clock has caught up.
    pub fn merge_waiting(&mut self, now: Millis) -> Result<Received, ReceiveError> {
        if !self.is_rejudge_due() && stored::unmerged(self.connection())?.is_empty() {
            return Ok(Received::default());
        }
        self.merge_pass(&[], now)
    }

    /// Whether control entries are known whose consequences for the rows have not been drawn yet.
    pub fn is_rejudge_due(&self) -> bool {
        self.control_read != self.control_judged
    }

    fn merge_pass(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        now: Millis,
    ) -> Result<Received, ReceiveError> {
        self.commit_held_back()?;
        self.own_logs.forget();
        loop {
            match self.try_merge_pass(batches, now) {
                Ok(received) => {
                    self.control_judged = self.control_read;
                    return Ok(received);
                }
                Err(PassError::Overtaken) => {
                    self.vectors.clear();
                    self.read_control()?;
                }
                Err(error) => {
                    self.vectors.clear();
                    return Err(ReceiveError::Storage(Box::new(error)));
                }
            }
        }
    }

    fn try_merge_pass(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        now: Millis,
    ) -> Result<Received, PassError> {
        let mut received = Received::default();
        let control_read = self.control_read;
        let (contexts, readable, secrets) = (&self.contexts, &self.compartments, &self.secrets);
        let is_own = |writer: WriterKey| secrets.writer_by_key(writer).is_some();
        let (opener, vectors) = (&mut self.opener, &mut self.vectors);
        let mut pass = Pass::new(contexts, &*self.rights, opener, vectors, now);
        let outcome = self.replica.merging(|engine| -> Result<(), PassError> {
            let connection = engine.connection();
            // Another process may have taken in control entries a moment ago; judged without them, entries would count for good.
            if state::newest(connection)? != control_read {
                return Err(PassError::Overtaken);
            }
            if verdicts::judged_control(connection)? != control_read {
                rejudge::run(&mut pass, engine, &is_own)?;
                verdicts::set_judged_control(connection, control_read)?;
            }
            let mut cuts = Vec::new();
            for (context, compartment, runs) in batches {
                // A compartment of another context, or one this device may not read, is none of a peer's business.
                let Some(state) = contexts
                    .get(context)
                    .filter(|_| readable.get(compartment) == Some(context))
                else {
                    continue;
                };
                let writers = Writers {
                    known: &|writer| state.roster.writer(writer).is_some(),
                    own: &is_own,
                    covered: &|writer, seq, hash| {
                        state.roster.reductions().any(|reduction| {
                            let listed = reduction.cut_offs.get(&(writer, *compartment));
                            listed
                                .into_iter()
                                .flatten()
                                .any(|cut_off| seq == cut_off.seq && hash == cut_off.hash)
                        })
                    },
                };
                let stored = intake::store(
                    connection,
                    *context,
                    *compartment,
                    &writers,
                    runs,
                    &mut pass.in_hand,
                )?;
                received
                    .changed
                    .entry(*compartment)
                    .or_default()
                    .copy_all(&stored.changed);
                received.declined.extend(stored.declined);
                for writer in &stored.continued {
                    let reason = "a copy of this device went on under it";
                    forks::set_spent(engine.connection(), *writer, reason)?;
                    received.own_grew = true;
                    // What was written here has seen more since it was last looked up.
                    pass.vectors.clear();
                }
                for cut in stored.cuts {
                    received.forked.push(cut.signer);
                    if cut.was_merged {
                        cuts.push(cut.branch);
                    }
                }
            }
            if !cuts.is_empty() {
                forks::rename_rows(&mut pass, engine, &cuts)?;
            }
            pass.run(engine, &is_own)?;
            Ok(())
        })?;
        received.merged = std::mem::take(&mut pass.merged);
        received.touched = outcome.touched;
        let waiting = std::mem::take(&mut pass.waiting);
        self.waiting = waiting;
        Ok(received)
    }

    /// Who stands behind a writer, in whatever context.
    fn user_of_any(&self, writer: WriterKey) -> Option<UserId> {
        let known = |state: &ContextState| Some(state.roster.writer(writer)?.user);
        self.contexts.values().find_map(known)
    }

    /// What the logs of this device wait for, by compartment and writer, as of the last pass.
    pub fn waiting(&self) -> &BTreeMap<(CompartmentId, WriterKey), Waiting> {
        &self.waiting
    }
}

/// A peer was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PeerAcceptError {
    /// For good.
    #[error(transparent)]
    Refused(#[from] PeerRefused),
    /// The database could not say.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("another process changed the membership meanwhile")]
    Overtaken,
    #[error(transparent)]
    Merging(#[from] MergingError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Engine(#[from] aeroedge_replica::MergeError),
}
