//! Epochs, the keys sealed to devices, and what a new key or a removal means for open invites.

use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_ids::{ControlHash, UserId};

use super::{Audience, Author, ControlEntry, Knowledge, Rejection, Role, Roster, StartEpoch};
use crate::control::EpochWraps;
use crate::roster::{Compartment, Epoch, Invite};

impl Roster {
    /// Whoever reads a compartment may start its first epoch, and a new one after someone was shut out of it; admins at
    /// any time. What the author knew decides, so those who start one at once all may.
    pub(super) fn start_epoch(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        started: &StartEpoch,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let id = started.audience.compartment(self.context);
        let compartment = self
            .compartments
            .get(&id)
            .ok_or(Rejection::UnknownCompartment)?;
        let hash = entry.hash();
        let knows = |earlier: &&ControlHash| knowledge.saw(hash, **earlier);
        let is_reader = compartment.audience.includes(author.user, &author.rights);
        let is_first = !compartment.epochs.iter().any(|epoch| knows(&epoch));
        let is_needed = || {
            let mut known = compartment.exposures.iter().filter(knows);
            known.any(|exposure| {
                let mut epochs = compartment.epochs.iter().filter(knows);
                !epochs.any(|epoch| knowledge.saw(*epoch, *exposure))
            })
        };
        if !is_reader || !(author.rights.role >= Role::Admin || is_first || is_needed()) {
            return Err(Rejection::NoRight);
        }
        self.keep_epoch(hash, started);
        if let Some(compartment) = self.compartments.get_mut(&id) {
            let compartment = Arc::make_mut(compartment);
            compartment
                .current
                .retain(|earlier| !knowledge.saw(hash, *earlier));
            compartment.current.push(hash);
            compartment.current.sort_unstable();
            compartment.epochs.push(hash);
            compartment
                .exposed_by
                .retain(|exposure| !knowledge.saw(hash, *exposure));
        }
        // The packages of open invites lack the new key.
        let lacks = |invite: &Invite| match started.audience {
            Audience::Everyone => true,
            Audience::Staff => invite.rights.is_staff(),
            Audience::Person(_) => false,
        };
        if !is_first {
            self.withdraw(entry, author, lacks, knowledge);
            for invite in self.invites.values_mut() {
                if lacks(invite) && knowledge.saw(hash, invite.entry) {
                    let invite = Arc::make_mut(invite);
                    if !invite.voided.contains(&hash) {
                        invite.voided.push(hash);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes note of an epoch's key, also of one that is never current: entries may have been sealed under it.
    pub(super) fn keep_epoch(&mut self, hash: ControlHash, started: &StartEpoch) {
        let mut epoch = Epoch {
            hash,
            compartment: started.audience.compartment(self.context),
            commitment: started.commitment,
            sealing: started.sealing,
            wraps: BTreeMap::new(),
        };
        for wrap in &started.wraps {
            epoch
                .wraps
                .entry(wrap.recipient)
                .or_default()
                .push(wrap.clone());
        }
        self.epochs.insert(hash, Arc::new(epoch));
    }

    /// Wraps prove themselves against the commitment when they are opened; those for unknown epochs are left out.
    pub(super) fn wrap_keys(&mut self, epochs: &[EpochWraps]) {
        for EpochWraps { epoch, wraps } in epochs {
            let Some(epoch) = self.epochs.get_mut(epoch) else {
                continue;
            };
            let epoch = Arc::make_mut(epoch);
            for wrap in wraps {
                let known = epoch.wraps.entry(wrap.recipient).or_default();
                if !known.contains(wrap) {
                    known.push(wrap.clone());
                }
            }
        }
    }

    /// Withdraws the known invites that the author has power over: no join by them stands that the author did not know.
    pub(super) fn withdraw(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        concerns: impl Fn(&Invite) -> bool,
        knowledge: &impl Knowledge,
    ) {
        let hash = entry.hash();
        for invite in self.invites.values_mut() {
            if concerns(invite) && may_withdraw(author, invite) && knowledge.saw(hash, invite.entry)
            {
                let invite = Arc::make_mut(invite);
                invite.voided.push(hash);
                invite.withdrawn.push(hash);
            }
        }
    }

    pub(super) fn add_compartment(&mut self, audience: Audience) {
        let id = audience.compartment(self.context);
        self.compartments.entry(id).or_insert_with(|| {
            Arc::new(Compartment {
                id,
                audience,
                epochs: Vec::new(),
                current: Vec::new(),
                exposed_by: Vec::new(),
                exposures: Vec::new(),
            })
        });
    }

    pub(super) fn audiences_of(&self, user: UserId) -> Vec<Audience> {
        self.readable_by(user)
            .map(|compartment| compartment.audience)
            .collect()
    }

    pub(super) fn expose(&mut self, by: ControlHash, audiences: &[Audience]) {
        for audience in audiences {
            let id = audience.compartment(self.context);
            if let Some(compartment) = self.compartments.get_mut(&id) {
                let compartment = Arc::make_mut(compartment);
                compartment.exposed_by.push(by);
                compartment.exposures.push(by);
            }
        }
    }
}

/// An invite is withdrawn by whoever made it, and by admins who might have made it.
pub(super) fn may_withdraw(author: &Author, invite: &Invite) -> bool {
    let role = author.rights.role;
    author.user == invite.by || (role >= Role::Admin && role.may_grant(&invite.rights))
}
