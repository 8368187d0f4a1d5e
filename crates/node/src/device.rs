//! The database of a real device behind the [`Store`] of a node.
//!
//! Nothing is decided here: questions are handed on, answers and refusals translated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_device::{
    Declined, Device, PeerAcceptError, PeerRefused, ReceiveControlError, Touched,
};
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, Millis, WriterKey};
use aeroedge_log::tags::LinkKey;
use aeroedge_protocol::{Credential, Cursor, EndReason, Frontier, LinkKind, Run, Signature};

use crate::beacon::Tags;
use crate::engine::clock;
use crate::store::{
    ControlReceived, EntriesRead, JoinState, Judgement, Received, Store, StoreError,
};

/// Rows that changed by one round of merging.
#[derive(Debug, Clone)]
pub struct MergedRows {
    /// The contexts whose entries were merged.
    pub contexts: Vec<ContextId>,
    /// The rows, by table.
    pub tables: Vec<Touched>,
}

/// The keys behind the tags of an announcement, and those by which others are recognised.
struct Announced {
    own: Vec<LinkKey>,
    known: Vec<LinkKey>,
}

impl Tags for Announced {
    fn tags(&self, nonce: &[u8; 16]) -> Vec<[u8; 8]> {
        self.own.iter().map(|key| key.announce(nonce).0).collect()
    }

    fn recognises(&self, nonce: &[u8; 16], tags: &[[u8; 8]]) -> bool {
        self.known
            .iter()
            .any(|key| tags.contains(&key.announce(nonce).0))
    }
}

impl Store for Device {
    type Touched = MergedRows;

    fn device(&self) -> DeviceKey {
        self.key()
    }

    fn credentials(&mut self) -> Result<Vec<Credential>, StoreError> {
        Ok(Device::credentials(self, clock()))
    }

    fn tags(&mut self) -> Result<Arc<dyn Tags>, StoreError> {
        let now = clock();
        Ok(Arc::new(Announced {
            own: self.announced_keys(now),
            known: self.link_keys(now),
        }))
    }

    fn sign(&mut self, message: &[u8]) -> Result<Signature, StoreError> {
        Ok(Device::sign(self, message))
    }

    fn contexts(&mut self) -> Result<Vec<(ContextId, usize)>, StoreError> {
        let contexts = Device::contexts(self);
        // What two devices of one person say while they are paired travels like a context's history.
        let place = self.pairing_place();
        Ok(contexts
            .into_iter()
            .map(|context| context.id)
            .chain(place)
            .map(|context| (context, self.control_hashes(context).len()))
            .collect())
    }

    fn history(&mut self, context: ContextId) -> Result<Arc<[ControlHash]>, StoreError> {
        Ok(self.control_hashes(context).into())
    }

    fn control_entries(
        &mut self,
        context: ContextId,
        hashes: &[ControlHash],
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Device::control_entries(self, context, hashes, bytes_max))
    }

    fn receive_control(
        &mut self,
        context: ContextId,
        _: LinkKind,
        entries: Vec<Vec<u8>>,
        now: Millis,
    ) -> Result<ControlReceived, StoreError> {
        match Device::receive_control(self, context, &entries, now, &mut rand::rng()) {
            Ok(_) => Ok(ControlReceived::Stored),
            Err(ReceiveControlError::Storage(error)) => Err(error),
            Err(ReceiveControlError::UnknownContext(_)) => {
                Ok(ControlReceived::Refused(EndReason::UnknownDevice))
            }
            Err(error) => {
                tracing::warn!(%context, %error, "control entries refused");
                Ok(ControlReceived::Refused(EndReason::ControlRefused))
            }
        }
    }

    fn judge(
        &mut self,
        context: ContextId,
        device: DeviceKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<Judgement, StoreError> {
        let reason = match self.accept_peer(context, device, message, signature) {
            Ok(compartments) => return Ok(Judgement::Accepted(compartments)),
            Err(PeerAcceptError::Device(error)) => return Err(error.into()),
            Err(PeerAcceptError::Refused(PeerRefused::FalseProof)) => EndReason::BadProof,
            Err(PeerAcceptError::Refused(PeerRefused::NotHere | PeerRefused::NotAMember)) => {
                let known = self
                    .roster(context)
                    .is_some_and(|roster| roster.device(device).is_some());
                if known {
                    EndReason::Revoked
                } else {
                    EndReason::UnknownDevice
                }
            }
        };
        Ok(Judgement::Refused(reason))
    }

    fn compartments(&mut self, context: ContextId) -> Result<Vec<CompartmentId>, StoreError> {
        Ok(Device::compartments(self, context))
    }

    fn frontier(&mut self, compartment: CompartmentId) -> Result<Frontier, StoreError> {
        Ok(Device::frontier(self, compartment)?)
    }

    fn read_entries(
        &mut self,
        compartment: CompartmentId,
        peer: &Frontier,
        after: Cursor,
        bytes_max: usize,
    ) -> Result<EntriesRead, StoreError> {
        let read = Device::read_entries(self, compartment, peer, after, bytes_max)?;
        Ok(EntriesRead {
            runs: read.runs,
            next: read.next,
            exhausted: read.exhausted,
        })
    }

    fn compare_frontier(
        &mut self,
        compartment: CompartmentId,
        peer: &Frontier,
    ) -> Result<Vec<WriterKey>, StoreError> {
        Ok(Device::compare_frontier(self, compartment, peer)?)
    }

    fn receive_entries(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        now: Millis,
    ) -> Result<Received<MergedRows>, StoreError> {
        Ok(translated(Device::receive_entries(self, batches, now)?))
    }

    fn settle(&mut self, now: Millis) -> Result<Received<MergedRows>, StoreError> {
        if let Err(error) = self.start_overdue_epochs(now, &mut rand::rng()) {
            tracing::warn!(%error, "new keys that are due could not be made");
        }
        if let Err(error) = self.tend_copies(now, &mut rand::rng()) {
            tracing::warn!(%error, "another copy of this device could not be dealt with");
        }
        Ok(translated(self.merge_waiting(now)?))
    }

    fn begin_group(&mut self) {
        Device::begin_group(self);
    }

    fn end_group(&mut self) -> Result<(), StoreError> {
        Ok(Device::end_group(self)?)
    }

    fn make_durable(&mut self) -> Result<bool, StoreError> {
        Ok(Device::make_durable(self)?)
    }

    fn refresh(&mut self) -> Result<bool, StoreError> {
        Ok(Device::refresh(self)?)
    }

    fn joins(&mut self) -> Vec<(ContextId, JoinState)> {
        let credentials = Device::credentials(self, clock());
        let joining = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Joiner { context, .. } => Some(*context),
                Credential::Member { .. } | Credential::Invite { .. } => None,
            });
        joining
            .filter_map(|context| {
                use aeroedge_device::JoinState as Known;
                let state = match self.join_state(context) {
                    Known::Searching => JoinState::Searching,
                    Known::WrongSecret => JoinState::WrongSecret,
                    Known::Refused(reason) => JoinState::Refused(reason),
                    Known::Joined | Known::NotStarted => return None,
                };
                Some((context, state))
            })
            .collect()
    }

    fn is_own(&self, context: ContextId, writer: WriterKey) -> bool {
        let writer = self
            .roster(context)
            .and_then(|roster| roster.writer(writer));
        writer.is_some_and(|writer| writer.device == self.key())
    }
}

fn translated(received: aeroedge_device::Received) -> Received<MergedRows> {
    for (writer, reason) in &received.declined {
        tracing::warn!(%writer, %reason, "entries declined");
    }
    for (writer, seq, reason) in &received.merged.refused {
        tracing::warn!(%writer, %seq, reason, "entry refused");
    }
    for writer in &received.forked {
        tracing::warn!(%writer, "the log is forked: its writer signed two stories");
    }
    let forked = !received.forked.is_empty();
    let parted = received
        .declined
        .iter()
        .any(|(_, reason)| *reason == Declined::OtherStory);
    let tables: BTreeSet<String> = received
        .touched
        .iter()
        .map(|touched| touched.table.clone())
        .collect();
    let any = !tables.is_empty();
    let contexts: BTreeSet<ContextId> = received.merged.contexts.iter().copied().collect();
    Received {
        changed: received.changed.into_iter().collect::<BTreeMap<_, _>>(),
        declined: received
            .declined
            .into_iter()
            .map(|(writer, _)| writer)
            .collect(),
        forked,
        parted,
        contexts,
        tables,
        touched: any.then_some(MergedRows {
            contexts: received.merged.contexts,
            tables: received.touched,
        }),
    }
}
