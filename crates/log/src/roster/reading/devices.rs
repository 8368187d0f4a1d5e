//! Devices and writers: adding, shutting out, closing, and waiting no longer.

use aeroedge_ids::{ControlHash, DeviceKey, UserId, WriterKey};

use super::{Author, ControlEntry, CutOff, DeviceKind, Knowledge, Rejection, Roster};
use crate::control::{AddDevice, DeclareStale, NewWriter, RevokeDevice};
use crate::entry::WriterTag;
use crate::roster::{Device, ReductionScope, Writer};

impl Roster {
    pub(super) fn add_device(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        added: &AddDevice,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        if added.user != author.user {
            return Err(Rejection::NoRight);
        }
        // Else whoever finds a phone would make a sheet of their own.
        if added.kind == DeviceKind::Recovery
            && author.kind != DeviceKind::Recovery
            && self.has_recovery(added.user)
        {
            return Err(Rejection::NeedsRecovery);
        }
        if self.devices.contains_key(&added.device) || self.is_writer_taken(&added.writer.key) {
            return Err(Rejection::AlreadyThere);
        }
        let device = Device::new(
            added.device,
            added.user,
            added.sealing,
            entry.hash(),
            added.kind,
        );
        self.introduce_device(device, knowledge);
        self.introduce_writer(device.since, &device, added.writer.key, None);
        self.wrap_keys(&added.wraps);
        Ok(())
    }

    /// The user of a device that the author of an act knew and knew not to be shut out, and that the author may
    /// administer.
    fn administered(
        &self,
        entry: &ControlEntry,
        author: &Author,
        key: DeviceKey,
        knowledge: &impl Knowledge,
    ) -> Result<UserId, Rejection> {
        let knows = |earlier| knowledge.saw(entry.hash(), earlier);
        let device = self
            .devices
            .get(&key)
            .filter(|device| knows(device.since))
            .ok_or(Rejection::UnknownDevice)?;
        if self.reductions.iter().any(|reduction| {
            reduction.scope == ReductionScope::Device(key) && knows(reduction.entry)
        }) {
            return Err(Rejection::UnknownDevice);
        }
        let (rights, _) = self.known(entry, device.user, knowledge)?;
        Self::may_administer(author, device.user, rights.role)?;
        if self.is_above(entry, author, device.user, knowledge) {
            return Err(Rejection::NoRight);
        }
        if author.user == device.user
            && device.kind == DeviceKind::Recovery
            && author.kind != DeviceKind::Recovery
        {
            return Err(Rejection::NeedsRecovery);
        }
        Ok(device.user)
    }

    pub(super) fn revoke_device(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        revoked: &RevokeDevice,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let key = revoked.device;
        let user = self.administered(entry, author, key, knowledge)?;
        let lost = self.audiences_of(user);
        self.expose(entry.hash(), &lost);
        self.reduce(
            entry,
            author,
            ReductionScope::Device(key),
            None,
            &revoked.cut_offs,
        );
        if let Some(device) = self.devices.get_mut(&key) {
            device.revoked.get_or_insert(entry.hash());
        }
        self.withdraw(entry, author, |_| true, knowledge);
        Ok(())
    }

    /// Nobody is shut out by it: only the logs that the device has now are cut off, and nobody waits for it.
    pub(super) fn declare_stale(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        declared: &DeclareStale,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let key = declared.device;
        self.administered(entry, author, key, knowledge)?;
        let known = self.devices.get(&key).and_then(|device| device.stale);
        if known.is_some_and(|stale| knowledge.saw(entry.hash(), stale)) {
            return Err(Rejection::UnknownDevice);
        }
        self.reduce(
            entry,
            author,
            ReductionScope::Stale(key),
            None,
            &declared.cut_offs,
        );
        if let Some(device) = self.devices.get_mut(&key) {
            device.stale.get_or_insert(entry.hash());
        }
        for writer in self.writers.values_mut() {
            if writer.device == key && writer.outdated.is_none() {
                writer.outdated = Some(entry.hash());
            }
        }
        Ok(())
    }

    pub(super) fn open_writer(
        &mut self,
        entry: &ControlEntry,
        device: DeviceKey,
        opened: &NewWriter,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        if self.is_writer_taken(&opened.key) {
            return Err(Rejection::AlreadyThere);
        }
        // A device that has heard that nobody waits for it returns with its new writer.
        let outdated = self
            .reductions
            .iter()
            .filter(|reduction| reduction.scope == ReductionScope::Stale(device))
            .map(|reduction| reduction.entry)
            .find(|stale| !knowledge.saw(entry.hash(), *stale));
        let device = self.devices.get_mut(&device).ok_or(Rejection::NotAMember)?;
        if outdated.is_none() {
            device.stale = None;
        }
        let device = *device;
        self.introduce_writer(entry.hash(), &device, opened.key, outdated);
        Ok(())
    }

    /// A user's own writer may be closed again: whoever closes it names the branches they know.
    pub(super) fn close_writer(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        key: WriterKey,
        cut_offs: &[CutOff],
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let knows = |earlier| knowledge.saw(entry.hash(), earlier);
        let writer = self
            .writers
            .get(&key)
            .filter(|writer| knows(writer.since))
            .ok_or(Rejection::UnknownWriter)?;
        let user = writer.user;
        if author.user != user {
            let is_closed = self.reductions.iter().any(|reduction| {
                reduction.scope == ReductionScope::Writer(key)
                    && reduction.by != user
                    && knows(reduction.entry)
            });
            if is_closed {
                return Err(Rejection::UnknownWriter);
            }
            let (rights, _) = self.known(entry, user, knowledge)?;
            Self::may_administer(author, user, rights.role)?;
            if self.is_above(entry, author, user, knowledge) {
                return Err(Rejection::NoRight);
            }
        }
        self.reduce(entry, author, ReductionScope::Writer(key), None, cut_offs);
        if let Some(writer) = self.writers.get_mut(&key) {
            writer.closed.get_or_insert(entry.hash());
        }
        Ok(())
    }

    fn has_recovery(&self, user: UserId) -> bool {
        self.devices.values().any(|device| {
            device.user == user && device.kind == DeviceKind::Recovery && device.revoked.is_none()
        })
    }

    /// Whether the writer is here, or one that entries would call by the same tag.
    pub(super) fn is_writer_taken(&self, writer: &WriterKey) -> bool {
        let tag = WriterTag::of(writer);
        self.writers.contains_key(writer) || self.tags.contains_key(&tag)
    }

    pub(super) fn introduce_device(&mut self, device: Device, knowledge: &impl Knowledge) {
        self.devices.insert(device.key, device);
        self.begin_with_checkpoints(device.since, device.key, knowledge);
    }

    pub(super) fn introduce_writer(
        &mut self,
        since: ControlHash,
        device: &Device,
        key: WriterKey,
        outdated: Option<ControlHash>,
    ) {
        let writer = Writer {
            key,
            device: device.key,
            user: device.user,
            since,
            closed: None,
            outdated,
        };
        self.tags.insert(WriterTag::of(&key), key);
        self.writers.insert(key, writer);
    }
}
