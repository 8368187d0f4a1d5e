//! The epoch keys that a device can open, found anew from the history and its own secret.
//!
//! Nothing here is stored. A key enters the ring only when it matches the commitment of its epoch.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ControlHash, SealingKey};
use rand::CryptoRng;

use crate::compartment::Audience;
use crate::control::EpochWraps;
use crate::keys::{EpochKey, SealingSecret, Wrap};
use crate::roster::{Compartment, Epoch, Roster};
use crate::secrets::DeviceSecrets;
use crate::tags::LinkKey;

/// The keys of one device in one context.
#[derive(Debug, Clone)]
pub struct KeyRing {
    keys: BTreeMap<ControlHash, EpochKey>,
    /// What wraps can be opened with: the device's own secret, and those of staff epochs.
    secrets: BTreeMap<SealingKey, SealingSecret>,
}

/// The epochs under which members still recognise each other: a device that misses more rotations than this finds nobody.
pub const LINK_KEYS_MAX: usize = 512;

impl KeyRing {
    /// A ring that can open what is sealed to the device itself.
    pub fn new(secrets: &DeviceSecrets) -> Self {
        let own = (secrets.sealing_key(), secrets.sealing().clone());
        Self {
            keys: BTreeMap::new(),
            secrets: BTreeMap::from([own]),
        }
    }

    /// Opens whatever the roster holds for this device, directly or through staff epochs. Returns the epochs that were
    /// not in the ring before.
    pub fn learn(&mut self, roster: &Roster) -> Vec<ControlHash> {
        let mut learned = Vec::new();
        loop {
            let mut opened: Vec<(&Epoch, EpochKey)> = Vec::new();
            for epoch in roster
                .epochs()
                .filter(|epoch| !self.keys.contains_key(&epoch.hash))
            {
                if let Some(key) = self.open(roster, epoch) {
                    opened.push((epoch, key));
                }
            }
            if opened.is_empty() {
                return learned;
            }
            for (epoch, key) in opened {
                let audience = roster
                    .compartment(epoch.compartment)
                    .map(|compartment| compartment.audience);
                if audience == Some(Audience::Staff) {
                    self.secrets.insert(epoch.sealing, key.sealing());
                }
                self.keys.insert(epoch.hash, key);
                learned.push(epoch.hash);
            }
        }
    }

    fn open(&self, roster: &Roster, epoch: &Epoch) -> Option<EpochKey> {
        let scope = epoch.scope(roster.context());
        self.secrets.iter().find_map(|(recipient, secret)| {
            epoch
                .wraps
                .get(recipient)?
                .iter()
                .find_map(|wrap| wrap.open(secret, &scope).ok())
        })
    }

    /// The key of an epoch that a control entry started.
    pub fn key(&self, epoch: ControlHash) -> Option<&EpochKey> {
        self.keys.get(&epoch)
    }

    /// The key of an epoch given by its parts, ascending: see [`Compartment::parts_of`] and
    /// [`crate::history::Author::epochs`].
    pub fn combined_key(&self, parts: &[ControlHash]) -> Option<EpochKey> {
        match parts {
            [] => None,
            [epoch] => self.key(*epoch).cloned(),
            parts => {
                let keys: Option<Vec<_>> = parts.iter().map(|part| self.key(*part)).collect();
                keys.map(EpochKey::combine)
            }
        }
    }

    /// The epoch in which to write to a compartment and its key; `None` while the key has not arrived.
    pub fn current(
        &self,
        roster: &Roster,
        compartment: CompartmentId,
    ) -> Option<(ControlHash, EpochKey)> {
        let compartment = roster.compartment(compartment)?;
        Some((
            compartment.current_epoch()?,
            self.combined_key(&compartment.current)?,
        ))
    }

    /// The keys under which members announce themselves on a network, each with the epoch it follows from: those of the
    /// current epochs of the compartment of everyone and of the one before, as far as the ring holds them.
    pub fn announced_keys(&self, roster: &Roster) -> Vec<(ControlHash, LinkKey)> {
        let Some(everyone) = roster.compartment_of(Audience::Everyone) else {
            return Vec::new();
        };
        let before = everyone
            .epochs
            .iter()
            .rev()
            .find(|epoch| !everyone.current.contains(epoch));
        self.link_keys_of(everyone.current.iter().chain(before))
    }

    /// The keys by which members recognise each other: those of the last [`LINK_KEYS_MAX`] epochs of the compartment of
    /// everyone, as far as the ring holds them. A device that was away while keys were replaced knows old ones only, and
    /// must be found by those. Whoever was shut out knows them too: being recognised proves nothing.
    pub fn link_keys(&self, roster: &Roster) -> Vec<(ControlHash, LinkKey)> {
        let Some(everyone) = roster.compartment_of(Audience::Everyone) else {
            return Vec::new();
        };
        let first = everyone.epochs.len().saturating_sub(LINK_KEYS_MAX);
        self.link_keys_of(&everyone.epochs[first..])
    }

    fn link_keys_of<'a>(
        &self,
        epochs: impl IntoIterator<Item = &'a ControlHash>,
    ) -> Vec<(ControlHash, LinkKey)> {
        epochs
            .into_iter()
            .filter_map(|epoch| Some((*epoch, self.key(*epoch)?.link_key())))
            .collect()
    }

    /// Seals keys in the ring to those who should have them and lack them, at most `limit` wraps, ascending by epoch:
    /// what [`crate::control::Action::WrapKeys`] takes.
    pub fn owed_wraps(
        &self,
        roster: &Roster,
        limit: usize,
        rng: &mut impl CryptoRng,
    ) -> Vec<EpochWraps> {
        let mut left = limit;
        let mut owed = Vec::new();
        for (hash, key) in &self.keys {
            let Some(epoch) = roster.epoch(*hash) else {
                continue;
            };
            let Some(compartment) = roster.compartment(epoch.compartment) else {
                continue;
            };
            let mut recipients = recipients(roster, compartment, |recipient| {
                epoch.wraps.contains_key(&recipient)
            });
            recipients.truncate(left);
            let wraps = wrap_to(key, roster, epoch.compartment, &recipients, rng);
            left -= wraps.len();
            if !wraps.is_empty() {
                owed.push(EpochWraps {
                    epoch: *hash,
                    wraps,
                });
            }
        }
        owed
    }

    /// How many wraps are owed that this ring could make.
    pub fn owed(&self, roster: &Roster) -> usize {
        self.keys
            .keys()
            .filter_map(|hash| roster.epoch(*hash))
            .filter_map(|epoch| Some((epoch, roster.compartment(epoch.compartment)?)))
            .map(|(epoch, compartment)| {
                recipients(roster, compartment, |recipient| {
                    epoch.wraps.contains_key(&recipient)
                })
                .len()
            })
            .sum()
    }
}

/// Whom the key of an epoch of `compartment` must still be sealed to, ascending.
///
/// Every device of the audience itself. For one person's compartment the staff are served by one wrap to the staff
/// epoch; while that is a combination, which has no key to seal to, by one for each staff device.
pub(crate) fn recipients(
    roster: &Roster,
    compartment: &Compartment,
    has: impl Fn(SealingKey) -> bool,
) -> Vec<SealingKey> {
    let mut recipients = Vec::new();
    let staff = match compartment.audience {
        Audience::Person(_) => roster.compartment_of(Audience::Staff),
        Audience::Everyone | Audience::Staff => None,
    };
    let served_by_epoch = staff.is_some_and(|staff| {
        let mut sealing = staff
            .epochs
            .iter()
            .filter_map(|epoch| roster.epoch(*epoch))
            .map(|epoch| epoch.sealing);
        let is_served = sealing.any(&has);
        if let ([epoch], false) = (staff.current.as_slice(), is_served) {
            recipients.extend(roster.epoch(*epoch).map(|epoch| epoch.sealing));
        }
        is_served || !recipients.is_empty()
    });
    match compartment.audience {
        Audience::Person(person) if served_by_epoch => {
            let own = roster.devices().filter(|device| device.user == person);
            recipients.extend(
                own.filter(|device| roster.active_device(device.key).is_some())
                    .map(|device| device.sealing),
            );
        }
        _ => recipients.extend(
            roster
                .audience(compartment.id)
                .iter()
                .map(|device| device.sealing),
        ),
    }
    recipients.retain(|recipient| !has(*recipient));
    recipients.sort_unstable();
    recipients.dedup();
    recipients
}

/// Seals `key` to each recipient in order. One whose key is unusable is left out: it would lock out itself only.
pub(crate) fn wrap_to(
    key: &EpochKey,
    roster: &Roster,
    compartment: CompartmentId,
    recipients: &[SealingKey],
    rng: &mut impl CryptoRng,
) -> Vec<Wrap> {
    let scope = crate::keys::WrapScope {
        context: roster.context(),
        compartment,
        commitment: key.commitment(),
    };
    recipients
        .iter()
        .filter_map(|recipient| Wrap::seal(key, *recipient, &scope, rng).ok())
        .collect()
}
