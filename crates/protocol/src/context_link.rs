//! One context on one link: who the peer is in it, and which compartments are open.
//!
//! Invariant: no compartment is open before the driver accepted the peer's proof, and one that was closed stays closed
//! for the rest of the link.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::{CompartmentId, DeviceKey};

use crate::control_sync::ControlSync;
use crate::entry_sync::EntrySync;
use crate::event::{Frontier, LinkKind, Signature};
use crate::frame::Channel;
use crate::limits::COMPARTMENTS_MAX;
use crate::reason::CloseReason;

#[derive(Debug)]
pub(crate) struct ContextLink {
    pub(crate) kind: LinkKind,
    /// How this end numbers the context.
    pub(crate) channel: Channel,
    pub(crate) control: ControlSync,
    pub(crate) compartments: BTreeMap<CompartmentId, EntrySync>,
    /// Digests of compartments that this end has not opened, perhaps not yet.
    pub(crate) peer_digests: BTreeMap<CompartmentId, [u8; 32]>,
    closed: BTreeSet<CompartmentId>,
    unsigned: bool,
    peer: PeerProof,
}

#[derive(Debug)]
enum PeerProof {
    Awaited,
    Given(DeviceKey, Signature),
    Asked(DeviceKey),
    Accepted(DeviceKey),
}

impl ContextLink {
    pub(crate) fn new(kind: LinkKind, channel: Channel, salt: [u8; 32]) -> Self {
        Self {
            kind,
            channel,
            control: ControlSync::new(salt),
            compartments: BTreeMap::new(),
            peer_digests: BTreeMap::new(),
            closed: BTreeSet::new(),
            unsigned: kind == LinkKind::Member,
            peer: PeerProof::Awaited,
        }
    }

    /// The channel to prove the own device on, once.
    pub(crate) fn take_unsigned(&mut self) -> Option<Channel> {
        std::mem::take(&mut self.unsigned).then_some(self.channel)
    }

    pub(crate) fn on_proof(
        &mut self,
        device: DeviceKey,
        signature: Signature,
    ) -> Result<(), CloseReason> {
        if !matches!(self.peer, PeerProof::Awaited) {
            return Err(CloseReason::WrongOrder);
        }
        self.peer = PeerProof::Given(device, signature);
        Ok(())
    }

    /// The peer's proof, once, as soon as the control history by which to judge it is in sync.
    pub(crate) fn take_judgeable(&mut self) -> Option<(DeviceKey, Signature)> {
        let PeerProof::Given(device, signature) = self.peer else {
            return None;
        };
        if !self.control.is_in_sync() {
            return None;
        }
        self.peer = PeerProof::Asked(device);
        Some((device, signature))
    }

    /// The driver accepts the peer; false if it was not asked.
    pub(crate) fn accept(&mut self) -> bool {
        match self.peer {
            PeerProof::Asked(device) | PeerProof::Accepted(device) => {
                self.peer = PeerProof::Accepted(device);
                true
            }
            PeerProof::Awaited | PeerProof::Given(..) => false,
        }
    }

    pub(crate) fn accepted_device(&self) -> Option<DeviceKey> {
        match self.peer {
            PeerProof::Accepted(device) => Some(device),
            _ => None,
        }
    }

    /// Closes the compartments that the peer may no longer read.
    pub(crate) fn close_all_but(
        &mut self,
        kept: &BTreeMap<CompartmentId, Frontier>,
    ) -> Vec<EntrySync> {
        let gone: Vec<CompartmentId> = self
            .compartments
            .keys()
            .filter(|compartment| !kept.contains_key(compartment))
            .copied()
            .collect();
        self.closed.extend(&gone);
        gone.iter()
            .filter_map(|compartment| self.compartments.remove(compartment))
            .collect()
    }

    pub(crate) fn may_open(&self, compartment: CompartmentId) -> bool {
        !self.closed.contains(&compartment) && self.compartments.len() < COMPARTMENTS_MAX
    }

    pub(crate) fn was_closed(&self, compartment: CompartmentId) -> bool {
        self.closed.contains(&compartment)
    }
}
