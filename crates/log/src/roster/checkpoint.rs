//! Checkpoints, and which devices have said that they hold the same state.
//!
//! Only the devices that read a compartment, belong to active members, are neither stale nor recovery sheets and did not
//! enter knowing the checkpoint have to acknowledge it. A device that enters later begins with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ControlHash, DeviceKey, Seq, WriterKey};

use super::reading::Knowledge;
use super::{Device, Rejection, Roster};
use crate::control::{self, DeviceKind, Role};

/// A checkpoint that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The control entry that names it.
    pub entry: ControlHash,
    /// Of which compartment.
    pub compartment: CompartmentId,
    /// The hash of the positions up to which its state goes.
    pub positions: [u8; 32],
    /// The hash of its state.
    pub state: [u8; 32],
    /// In whose log it is sealed.
    pub writer: WriterKey,
    /// The entry with its first part.
    pub first: Seq,
    /// The entry with its last part.
    pub last: Seq,
    /// Who made it.
    pub by: DeviceKey,
    /// The devices that have the same state there, its maker among them, and those that entered knowing it.
    pub acknowledged: BTreeSet<DeviceKey>,
}

pub(super) type Checkpoints = BTreeMap<ControlHash, Arc<Checkpoint>>;

impl Roster {
    /// All checkpoints that count.
    pub fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        self.checkpoints.values().map(Arc::as_ref)
    }

    /// The checkpoint that a control entry names.
    pub fn checkpoint(&self, entry: ControlHash) -> Option<&Checkpoint> {
        self.checkpoints.get(&entry).map(Arc::as_ref)
    }

    /// The devices whose acknowledgement a checkpoint still lacks: with none, what it covers may be dropped.
    pub fn unacknowledged<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
    ) -> impl Iterator<Item = &'a Device> {
        self.audience(checkpoint.compartment)
            .into_iter()
            .filter(|device| device.stale.is_none() && device.kind == DeviceKind::Everyday)
            .filter(|device| !checkpoint.acknowledged.contains(&device.key))
    }

    pub(super) fn make_checkpoint(
        &mut self,
        entry: ControlHash,
        by: DeviceKey,
        role: Role,
        made: &control::Checkpoint,
    ) -> Result<(), Rejection> {
        let user = self.device(by).ok_or(Rejection::NotAMember)?.user;
        if role < Role::Admin || !self.may_read(user, made.compartment) {
            return Err(Rejection::NoRight);
        }
        if self
            .writer(made.writer)
            .is_none_or(|writer| writer.device != by)
        {
            return Err(Rejection::UnknownWriter);
        }
        let checkpoint = Checkpoint {
            entry,
            compartment: made.compartment,
            positions: made.positions,
            state: made.state,
            writer: made.writer,
            first: made.first,
            last: made.last,
            by,
            acknowledged: BTreeSet::from([by]),
        };
        self.checkpoints.insert(entry, Arc::new(checkpoint));
        Ok(())
    }

    /// Those it does not know, or whose compartment the device does not read, are left out.
    pub(super) fn acknowledge(
        &mut self,
        device: DeviceKey,
        checkpoints: &[ControlHash],
    ) -> Result<(), Rejection> {
        let known = self.device(device).ok_or(Rejection::NotAMember)?;
        if known.kind == DeviceKind::Recovery {
            return Err(Rejection::NoRight);
        }
        let user = known.user;
        for entry in checkpoints {
            let Some(checkpoint) = self.checkpoints.get(entry) else {
                continue;
            };
            if self.may_read(user, checkpoint.compartment)
                && let Some(checkpoint) = self.checkpoints.get_mut(entry)
            {
                Arc::make_mut(checkpoint).acknowledged.insert(device);
            }
        }
        Ok(())
    }

    /// A device that enters knowing a checkpoint begins with it.
    pub(super) fn begin_with_checkpoints(
        &mut self,
        since: ControlHash,
        device: DeviceKey,
        knowledge: &impl Knowledge,
    ) {
        for checkpoint in self.checkpoints.values_mut() {
            if knowledge.saw(since, checkpoint.entry) {
                Arc::make_mut(checkpoint).acknowledged.insert(device);
            }
        }
    }
}
