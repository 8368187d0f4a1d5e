//! Who belongs where: people are removed, demoted and promoted, keys are rotated, and what follows from it for everybody.
//!
//! The founder of a context is its only owner here and is never removed, so its roster is the one that counts in the end.

use std::collections::BTreeSet;

use aeroedge_device::{JoinState, MembershipError};
use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, UserId, WriterKey};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::roster::{ReductionScope, Roster};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::answer::describe;
use crate::invariant::Broken;
use crate::world::{World, fault};

/// What an administrator can do to another.
#[derive(Debug, Clone, Copy)]
enum Act {
    Remove,
    Revoke,
    SetRole(Role),
    Rotate,
    Void,
}

impl World {
    /// Somebody with the right to it changes who belongs to a context; two can do so without knowing of each other.
    pub(crate) fn administer(&mut self) -> Result<(), Broken> {
        let founded: Vec<usize> = (0..self.contexts.len())
            .filter(|context| self.contexts[*context].is_some())
            .collect();
        let Some(context) = founded.choose(&mut self.rng).copied() else {
            return Ok(());
        };
        let members = self.members(context);
        let admins: Vec<usize> = members
            .iter()
            .copied()
            .filter(|node| self.role(*node, context) >= Some(Role::Admin))
            .collect();
        let founder = self.plan.contexts[context].founder;
        let targets: Vec<usize> = members
            .into_iter()
            .filter(|node| *node != founder)
            .collect();
        let (Some(admin), Some(target)) = (
            admins.choose(&mut self.rng).copied(),
            targets.choose(&mut self.rng).copied(),
        ) else {
            return Ok(());
        };
        let act = match self.rng.random_range(0..20) {
            0..=4 => Act::Remove,
            5 => Act::Revoke,
            6..=8 => Act::SetRole(Role::ReadOnly),
            9..=11 => Act::SetRole(Role::Member),
            12..=14 => Act::SetRole(Role::Admin),
            15..=17 => Act::Rotate,
            _ => Act::Void,
        };
        self.act(context, admin, target, act)
    }

    fn act(&mut self, context: usize, admin: usize, target: usize, act: Act) -> Result<(), Broken> {
        let (user, key) = (self.machines[target].user, self.device_key(target)?);
        let Some(id) = self.contexts[context] else {
            return Ok(());
        };
        let now = self.clock(admin);
        let machine = &mut self.machines[admin];
        let Some(device) = &mut machine.device else {
            return Ok(());
        };
        let rng = &mut machine.rng;
        let done = match act {
            Act::Remove => device.remove_member(id, user, now, rng),
            Act::Revoke => device.revoke_device(id, key, now, rng),
            Act::SetRole(role) => device.set_role(id, user, Rights::of(role), now, rng),
            Act::Rotate => device.rotate(id, now, rng).map(|started| started > 0),
            Act::Void => match device.open_invites(id, now).first().copied() {
                Some(invite) => device.void_invite(id, invite, now).map(|()| true),
                None => Ok(false),
            },
        };
        match done {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(MembershipError::Keys(_)) if machine.keys.has_blown() => return self.crash(admin),
            Err(MembershipError::Storage(error)) => return Err(fault(admin, &describe(&*error))),
            // No right to it, or no such member: as this device sees it.
            Err(error) => {
                self.figures.refused_acts += 1;
                self.note(format_args!(
                    "node {admin} may not {act:?} node {target}: {error}"
                ));
                return Ok(());
            }
        }
        self.note(format_args!(
            "node {admin} in {id:?}: {act:?} node {target}"
        ));
        self.machines[admin].must_sync = true;
        match act {
            Act::Remove | Act::Revoke => {
                self.figures.removals += 1;
                self.out.insert((context, target));
            }
            Act::SetRole(_) => {
                self.figures.role_changes += 1;
                self.reduced.insert((context, target));
            }
            Act::Rotate => self.figures.rotations += 1,
            Act::Void => self.figures.voids += 1,
        }
        self.work_soon(admin);
        Ok(())
    }

    pub(crate) fn device_key(&self, node: usize) -> Result<DeviceKey, Broken> {
        self.machines[node]
            .device_key()
            .map_err(|error| fault(node, &error))
    }

    /// What the founder of a context knows of it.
    pub(crate) fn reference(&self, context: usize) -> Option<&Roster> {
        let founder = self.plan.contexts[context].founder;
        let device = self.machines[founder].device.as_ref()?;
        device.roster(self.contexts[context]?)
    }

    /// Whether the founder counts the device of a node among the members.
    pub(crate) fn is_counted(&self, context: usize, node: usize) -> bool {
        let Ok(key) = self.device_key(node) else {
            return false;
        };
        self.reference(context)
            .is_some_and(|roster| roster.active_device(key).is_some())
    }

    /// The nodes that are to be in a context in the end: those of the plan that nobody shut out.
    pub(crate) fn staying(&self, context: usize) -> Vec<usize> {
        self.members(context)
            .into_iter()
            .filter(|node| !self.out.contains(&(context, *node)) || self.is_counted(context, *node))
            .collect()
    }

    /// Whether a node always read the same of a context, so that nothing it may no longer read lies in its database.
    pub(crate) fn is_whole(&self, node: usize) -> bool {
        (0..self.contexts.len()).all(|context| {
            !self.out.contains(&(context, node)) && !self.reduced.contains(&(context, node))
        })
    }

    /// Whether anybody ever changed who belongs where.
    pub(crate) fn is_administered(&self) -> bool {
        self.plan.administer_every_ms < u64::MAX
    }

    /// Notes whose admission did not stand, through no fault of their own.
    // FIXME: they should be able to join again; a device refuses to while it holds the context.
    pub(crate) fn note_if_stranded(&mut self, node: usize) {
        for context in 0..self.contexts.len() {
            if !self.out.contains(&(context, node)) && self.is_stranded(node, context) {
                self.figures.stranded += 1;
                self.stranded.insert(node);
                self.out.insert((context, node));
            }
        }
    }

    /// Whether a node has joined a context and learned that it is no member after all.
    pub(crate) fn is_stranded(&self, node: usize, context: usize) -> bool {
        let (Some(device), Some(id)) = (&self.machines[node].device, self.contexts[context]) else {
            return false;
        };
        let user = self.machines[node].user;
        device
            .roster(id)
            .is_some_and(|roster| roster.member(user).is_none_or(|member| !member.is_active()))
    }

    /// The compartments of contexts that a node knows itself to be out of: what its tables still hold of them is its own affair.
    pub(crate) fn compartments_left(&self, node: usize) -> BTreeSet<CompartmentId> {
        (0..self.contexts.len())
            .filter(|context| self.is_stranded(node, *context))
            .flat_map(|context| self.compartments(context))
            .map(|(_, compartment)| compartment)
            .collect()
    }

    /// Whether a node thinks it is a member.
    pub(crate) fn is_member(&self, node: usize, context: usize) -> bool {
        let (Some(id), Some(device)) = (self.contexts[context], &self.machines[node].device) else {
            return false;
        };
        device.join_state(id) == JoinState::Joined
    }

    pub(crate) fn role(&self, node: usize, context: usize) -> Option<Role> {
        let device = self.machines[node].device.as_ref()?;
        let roster = device.roster(self.contexts[context]?)?;
        let member = roster.member(self.machines[node].user)?;
        member.is_active().then_some(member.rights.role)
    }

    /// An entry may be refused only where rights were taken from its writer, or its writer was never admitted.
    pub(crate) fn may_be_refused(
        &self,
        node: usize,
        context: ContextId,
        writer: WriterKey,
    ) -> bool {
        let Some(device) = &self.machines[node].device else {
            return false;
        };
        let Some(roster) = device.roster(context) else {
            return false;
        };
        match roster.writer(writer) {
            None => true,
            Some(writer) => {
                let is_stranded = self
                    .stranded
                    .iter()
                    .any(|node| self.machines[*node].user == writer.user);
                is_stranded
                    || roster
                        .reductions()
                        .any(|reduction| reduction.concerns(writer))
            }
        }
    }

    /// Nothing that somebody who is shut out wrote past the cut-off is in the tables of a node.
    pub(crate) fn check_cut_offs(&self, node: usize) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let standing = self.standing(node)?;
        for id in self.contexts.iter().flatten() {
            let Some(roster) = device.roster(*id) else {
                continue;
            };
            let gone: BTreeSet<UserId> = roster
                .members()
                .filter(|member| !member.is_active())
                .map(|member| member.user)
                .collect();
            for reduction in roster.reductions() {
                let ReductionScope::User(user) = reduction.scope else {
                    continue;
                };
                if reduction.remaining.is_some() || !gone.contains(&user) {
                    continue;
                }
                for log in self.logs(node)?.iter().filter(|log| log.context == *id) {
                    let is_theirs = roster
                        .writer(log.writer)
                        .is_some_and(|writer| reduction.concerns(writer));
                    if !is_theirs {
                        continue;
                    }
                    let cut_offs = reduction.cut_offs.get(&(log.writer, log.compartment));
                    let cut_offs = cut_offs.into_iter().flatten();
                    let counts_to = cut_offs.map(|cut_off| cut_off.seq.0).max().unwrap_or(0);
                    for seq in counts_to + 1..=log.merged.0 {
                        let name = self.entry_name(node, log, aeroedge_ids::Seq(seq))?;
                        let stands = standing.get(&log.compartment);
                        if stands.is_some_and(|stands| stands.contains(&name)) {
                            return Err(Broken::ShutOutWrote {
                                node,
                                writer: log.writer,
                                seq: aeroedge_ids::Seq(seq),
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
