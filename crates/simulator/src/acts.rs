//! What happens on and to single nodes: people write, found, invite and join; machines crash and start again.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_device::{Invitation, JoinState, MembershipError, SealingError, WriteError};
use aeroedge_ids::{CompartmentId, Millis};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{Secret, Stretch};
use aeroedge_protocol::{CloseReason, Event};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::answer::describe;
use crate::checks::compare_row;
use crate::invariant::Broken;
use crate::machine::{LinkId, Machine, Wish};
use crate::oracle::Appended;
use crate::plan::{Bug, SKEW_MAX_MS};
use crate::rows::{Image, read_row};
use crate::standing;
use crate::tables::literal_of;
use crate::work::LogPlace;
use crate::workload::make_up;
use crate::world::{Happening, World, fault};

/// A member who waits longer than this for somebody who knows the invite asks for a new one, milliseconds.
const PATIENCE_MS: u64 = 30_000;

impl World {
    pub(crate) fn found(&mut self, context: usize) -> Result<(), Broken> {
        let node = self.plan.contexts[context].founder;
        let division = self.plan.contexts[context].division;
        let now = self.clock(node);
        let machine = &mut self.machines[node];
        let Some(device) = &mut machine.device else {
            self.soon(500, Happening::Found { context });
            return Ok(());
        };
        let made = device.create_context(division, "club", now, &mut machine.rng);
        let id = match made {
            Ok(id) => id,
            Err(MembershipError::Keys(_)) if machine.keys.has_blown() => {
                self.soon(500, Happening::Found { context });
                return self.crash(node);
            }
            Err(error) => return Err(fault(node, &describe(&error))),
        };
        self.contexts[context] = Some(id);
        self.note(format_args!("node {node} founds {id:?}, {division:?}"));
        self.machines[node].must_sync = true;
        self.work_soon(node);
        Ok(())
    }

    /// Somebody sets the clock of a machine that is off, forwards or backwards, and not right.
    fn set_clock(&mut self, node: usize) {
        if self.machines[node].skew_ms.abs() <= SKEW_MAX_MS {
            let skew_ms = self.rng.random_range(-SKEW_MAX_MS..SKEW_MAX_MS);
            self.machines[node].skew_ms = skew_ms;
            self.note(format_args!(
                "node {node} has its clock set to {skew_ms:+} ms"
            ));
        }
    }

    /// A power cut before the first fsync takes a context away of which nobody has heard.
    fn found_again(&mut self, node: usize) {
        for context in 0..self.contexts.len() {
            let Some(id) = self.contexts[context] else {
                continue;
            };
            let holds = |machine: &Machine| {
                let device = machine.device.as_ref();
                device.is_some_and(|device| device.roster(id).is_some())
            };
            let is_founder = self.plan.contexts[context].founder == node;
            if is_founder && !self.machines.iter().any(holds) {
                self.contexts[context] = None;
                self.soon(200, Happening::Found { context });
            }
        }
    }

    pub(crate) fn invite(&mut self, context: usize, node: usize) -> Result<(), Broken> {
        let again = Happening::Invite { context, node };
        let Some(id) = self.contexts[context] else {
            self.soon(500, again);
            return Ok(());
        };
        if self.is_member(node, context) {
            return Ok(());
        }
        let may_invite: Vec<usize> = self
            .members(context)
            .into_iter()
            .filter(|member| {
                self.role(*member, context)
                    .is_some_and(|role| role >= Role::Admin)
            })
            .collect();
        let Some(inviter) = may_invite.choose(&mut self.rng).copied() else {
            self.soon(500, again);
            return Ok(());
        };
        let role =
            [Role::Member, Role::Member, Role::Manager, Role::Admin][self.rng.random_range(0..4)];
        let now = self.clock(inviter);
        let machine = &mut self.machines[inviter];
        let Some(device) = &mut machine.device else {
            return Ok(());
        };
        let secret = Secret::generate(&mut machine.rng);
        let invitation = Invitation {
            name: "Club".to_owned(),
            rights: Rights::of(role),
            expires: Millis(0),
            uses: 1,
            hints: Vec::new(),
        };
        let made = device.invite(
            id,
            &invitation,
            &secret,
            Stretch::FOR_TESTS,
            now,
            &mut machine.rng,
        );
        let link = match made {
            Ok(link) => link,
            // The keys may still be on their way.
            Err(MembershipError::Invite(_)) => {
                self.soon(500, again);
                return Ok(());
            }
            Err(error) => return Err(fault(inviter, &describe(&error))),
        };
        self.note(format_args!(
            "node {inviter} invites node {node} to {id:?} as {role}"
        ));
        let wrong = self
            .rng
            .random_bool(0.1)
            .then(|| Secret::generate(&mut self.machines[node].rng));
        let since_ms = self.now;
        let wishes = &mut self.machines[node].wishes;
        wishes.retain(|wish| wish.context != context);
        wishes.push(Wish {
            context,
            link,
            secret,
            wrong,
            since_ms,
        });
        // The link is shown once the invite is on the disk.
        self.machines[inviter].must_sync = true;
        self.commit_group(inviter, Vec::new())?;
        self.start_joins(node)
    }

    /// Begins every join that was asked for and is not under way.
    fn start_joins(&mut self, node: usize) -> Result<(), Broken> {
        let machine = &mut self.machines[node];
        let Some(device) = &mut machine.device else {
            return Ok(());
        };
        for wish in &machine.wishes {
            let secret = wish.wrong.as_ref().unwrap_or(&wish.secret);
            match device.start_join(wish.link.clone(), secret.clone(), Stretch::FOR_TESTS) {
                Ok(()) | Err(MembershipError::AlreadyMember) => {}
                Err(error) => return Err(fault(node, &describe(&error))),
            }
        }
        Ok(())
    }

    /// What a node does from time to time: see how its joins come along, merge what only waited for the clock.
    pub(crate) fn look(&mut self, node: usize) -> Result<(), Broken> {
        if !self.is_up(node) {
            return Ok(());
        }
        let mut restart = false;
        let mut ask_again = Vec::new();
        let wishes = std::mem::take(&mut self.machines[node].wishes);
        let mut kept = Vec::new();
        for mut wish in wishes {
            let Some(device) = &mut self.machines[node].device else {
                break;
            };
            let id = wish.link.context;
            match device.join_state(id) {
                JoinState::Joined => continue,
                JoinState::WrongSecret if wish.wrong.take().is_some() => {
                    device.cancel_join(id);
                    self.figures.wrong_secrets += 1;
                    self.check_stranger(node, id)?;
                    restart = true;
                }
                JoinState::WrongSecret => return Err(fault(node, "the right secret is refused")),
                // Withdrawn, or its maker was shut out.
                JoinState::Refused(_) if self.is_administered() => {
                    self.figures.stale_invites += 1;
                    ask_again.push(wish.context);
                }
                JoinState::Refused(reason) => {
                    return Err(fault(node, &format!("a good invite is refused: {reason}")));
                }
                JoinState::Searching | JoinState::NotStarted => {
                    if self.healing && self.now > wish.since_ms + PATIENCE_MS {
                        // The invite may have gone with its maker's power cut.
                        ask_again.push(wish.context);
                        wish.since_ms = self.now;
                    }
                }
            }
            kept.push(wish);
        }
        self.machines[node].wishes = kept;
        if restart {
            self.give_up_joining(node)?;
            self.start_joins(node)?;
        }
        for context in ask_again {
            let machine = &mut self.machines[node];
            if let (Some(device), Some(id)) = (&mut machine.device, self.contexts[context]) {
                device.cancel_join(id);
            }
            machine.wishes.retain(|wish| wish.context != context);
            self.give_up_joining(node)?;
            self.at(self.now, Happening::Invite { context, node });
        }
        self.note_if_stranded(node);
        let now = self.clock(node);
        if let Some(device) = &mut self.machines[node].device {
            device
                .merge_waiting(now)
                .map_err(|error| fault(node, &describe(&error)))?;
        }
        if !self.healing && self.rng.random_bool(0.05) {
            self.check_node(node)?;
        }
        self.commit_group(node, Vec::new())
    }

    /// Ends the sessions that speak of a join: the next attempt begins with nothing, and so do its sessions.
    fn give_up_joining(&mut self, node: usize) -> Result<(), Broken> {
        let talks = self.machines[node].talks.iter();
        let links: Vec<LinkId> = talks
            .filter(|(_, talk)| talk.spoken.iter().any(|(_, joining)| *joining))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.tell(node, link, Event::Close(CloseReason::Done))?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, node: usize) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let compartments: BTreeMap<String, CompartmentId> = self
            .contexts
            .iter()
            .flatten()
            .flat_map(|context| device.compartments(*context))
            .map(|compartment| (literal_of(compartment), compartment))
            .collect();
        if compartments.is_empty() {
            return Ok(());
        }
        let literals: Vec<String> = compartments.keys().cloned().collect();
        let work = make_up(&mut self.rng, &literals);
        let before_logs = self.logs(node)?;
        let standing_before = self.standing(node)?;
        let now = self.clock(node);
        let machine = &mut self.machines[node];
        let Some(device) = &mut machine.device else {
            return Ok(());
        };
        let written = device.write(now, &mut machine.rng, |transaction| {
            let read = || -> rusqlite::Result<Vec<Image>> {
                work.rows
                    .iter()
                    .map(|row| read_row(transaction, row))
                    .collect()
            };
            let before = read()?;
            for statement in &work.statements {
                transaction.execute_batch(statement)?;
            }
            Ok((before, read()?))
        });
        let (before, after): (Vec<Image>, Vec<Image>) = match written {
            Ok(images) => images,
            Err(WriteError::Refused(
                SealingError::CannotWrite(_) | SealingError::ShutOut | SealingError::OutOfReach,
            )) => {
                self.figures.refused_writes += 1;
                return Ok(());
            }
            Err(WriteError::Application(error)) => {
                let error: rusqlite::Error = error;
                return Err(fault(node, &describe(&error)));
            }
            Err(error) => return Err(fault(node, &describe(&error))),
        };
        self.figures.writes += 1;
        let logs = self.own_logs(node)?;
        let forgotten = self.bug == Some(Bug::ForgetToSeal) && self.rng.random_bool(0.1);
        if forgotten {
            return self.forget_entries(node, &before_logs);
        }
        for (row, (before, after)) in work.rows.iter().zip(before.iter().zip(&after)) {
            let Some(compartment) = compartments.get(row.compartment()) else {
                continue;
            };
            let nothing = BTreeSet::new();
            let held = standing_before.get(compartment).unwrap_or(&nothing);
            let (life, expected) = self.oracle.expected(row, held);
            compare_row(node, row, before.as_ref(), expected.as_ref())?;
            if before == after {
                continue;
            }
            let grown = logs.iter().find(|log| {
                log.compartment == *compartment
                    && before_logs
                        .iter()
                        .all(|old| old.number != log.number || old.tail < log.tail)
            });
            let Some(log) = grown else {
                return Err(Broken::RowWithoutEntry {
                    node,
                    row: row.to_string(),
                });
            };
            let appended = Appended {
                node,
                writer: log.writer,
                last: self.entry_name(node, log, log.tail)?,
                hlc: Hlc::from_bits(log.merged_hlc),
            };
            self.oracle.note_row(row, life, before, after, &appended);
        }
        let total: u64 = logs.iter().map(|log| log.tail.0).sum();
        self.note(format_args!(
            "node {node} writes {} statements, own entries {total}",
            work.statements.len()
        ));
        self.work_soon(node);
        Ok(())
    }

    pub(crate) fn crash_any(&mut self) -> Result<(), Broken> {
        let up: Vec<usize> = (0..self.machines.len())
            .filter(|node| self.is_up(*node))
            .collect();
        let Some(node) = up.choose(&mut self.rng).copied() else {
            return Ok(());
        };
        if self.rng.random_bool(0.2) {
            self.machines[node].keys.arm();
            return Ok(());
        }
        if self.rng.random_bool(0.7) {
            let steps = self.rng.random_range(0..6);
            self.machines[node].crash_in = Some(steps);
            return Ok(());
        }
        self.crash(node)
    }

    pub(crate) fn crash(&mut self, node: usize) -> Result<(), Broken> {
        let power_cut = self.rng.random_ratio(self.plan.power_cuts_of_ten, 10);
        let before = self.own_logs(node)?;
        let how = self.machines[node]
            .switch_off(power_cut)
            .map_err(|error| fault(node, &describe(&error)))?;
        self.note(format_args!("node {node} is off: {how}"));
        if power_cut {
            self.figures.power_cuts += 1;
            self.forget_lost(node, &before)?;
        } else {
            self.figures.kills += 1;
        }
        let links: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.ends.contains(&node))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.cut(link)?;
        }
        // Mostly back soon, sometimes away for long.
        let away = if self.rng.random_bool(0.2) {
            25_000
        } else {
            1_500
        };
        self.soon(away, Happening::Restart { node });
        Ok(())
    }

    /// Takes what a power cut took out of the oracle; it may only be what nobody was promised.
    fn forget_lost(&mut self, node: usize, before: &[LogPlace]) -> Result<(), Broken> {
        let Some(disk) = &self.machines[node].disk else {
            return Ok(());
        };
        let failed = |error: rusqlite::Error| fault(node, &describe(&error));
        let kept = crate::work::read_logs(disk).map_err(failed)?;
        let entries = standing::held(disk).map_err(failed)?;
        for log in before {
            let tail = kept
                .iter()
                .find(|kept| (kept.compartment, kept.writer) == (log.compartment, log.writer))
                .map_or(aeroedge_ids::Seq::NONE, |kept| kept.tail);
            self.figures.lost_commits += log.tail.0.saturating_sub(tail.0);
        }
        self.oracle.forget(node, &entries);
        Ok(())
    }

    pub(crate) fn restart(&mut self, node: usize) -> Result<(), Broken> {
        if self.is_up(node) {
            return Ok(());
        }
        let now = self.now;
        if !self.healing && self.rng.random_bool(0.3) {
            self.set_clock(node);
        }
        self.machines[node]
            .switch_on(now)
            .map_err(|error| fault(node, &describe(&error)))?;
        self.note(format_args!("node {node} is on again"));
        // What the history says of entries may have been learned a moment before the crash.
        let clock = self.clock(node);
        if let Some(device) = &mut self.machines[node].device
            && device.is_rejudge_due()
        {
            device
                .merge_waiting(clock)
                .map_err(|error| fault(node, &describe(&error)))?;
        }
        self.check_acknowledged(node)?;
        self.check_node(node)?;
        self.found_again(node);
        self.start_joins(node)?;
        self.commit_group(node, Vec::new())
    }
}
