//! The part of a session that concerns contexts as a whole: which are shared, their control history, who the peer is.
//!
//! Invariant: until the driver accepted the peer's proof, nothing but control entries is exchanged.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId};

use super::{Phase, Session};
use crate::context_link::ContextLink;
use crate::control_sync::Step;
use crate::entry_sync::EntrySync;
use crate::event::{Frontier, LinkKind, Origin, Output};
use crate::frame::{Channel, Frame, Tag};
use crate::reason::{CloseReason, EndReason};

impl Session {
    pub(super) fn on_greet(&mut self, peer_tags: &[Tag]) -> Result<(), CloseReason> {
        let Phase::AwaitGreet {
            transcript,
            greeting,
        } = &self.phase
        else {
            return Err(CloseReason::WrongOrder);
        };
        let transcript = transcript.clone();
        let matches = greeting.matches(peer_tags);
        if matches.is_empty() {
            return Err(CloseReason::NothingInCommon);
        }
        for shared in matches {
            let context = shared.context;
            for channel in shared.peer {
                self.channels.insert(channel, context);
            }
            self.outputs.push_back(Output::Shared {
                context,
                kind: shared.kind,
            });
            self.outputs.push_back(Output::ReadHistory { context });
            if shared.kind == LinkKind::Member {
                let message = transcript.proof_message(self.side, context);
                self.outputs.push_back(Output::Sign { context, message });
            }
            let link = ContextLink::new(shared.kind, shared.own, transcript.salt());
            self.contexts.insert(context, link);
        }
        self.phase = Phase::Open { transcript };
        Ok(())
    }

    /// Frames that concern one context and are void once it ended.
    pub(super) fn on_context_frame(&mut self, frame: Frame) -> Result<(), CloseReason> {
        match frame {
            Frame::Withdraw { channel, code } => {
                let Some(context) = self.live(channel)? else {
                    return Ok(());
                };
                self.drop_context(context, EndReason::from_code(code), true)
            }
            Frame::ControlDigest { channel, digest } => {
                self.control_frame(channel, |link, steps| link.control.on_digest(digest, steps))
            }
            Frame::ControlBuckets { channel, buckets } => self
                .control_frame(channel, |link, steps| {
                    link.control.on_buckets(&buckets, steps)
                }),
            Frame::ControlHave { channel, hashes } => {
                self.control_frame(channel, |link, steps| link.control.on_have(hashes, steps))
            }
            Frame::ControlEntries { channel, entries } => self
                .control_frame(channel, |link, steps| {
                    link.control.on_entries(entries, steps)
                }),
            Frame::ControlReceived { channel } => {
                self.control_frame(channel, |link, steps| link.control.on_received(steps))
            }
            Frame::Prove {
                channel,
                device,
                signature,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                if let Some(link) = self.contexts.get_mut(&context) {
                    link.on_proof(device, signature)?;
                }
                self.ask_proof(context);
                Ok(())
            }
            Frame::Digests { channel, digests } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                self.on_digests(context, digests)
            }
            Frame::Frontier {
                channel,
                compartment,
                frontier,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                self.on_peer_frontier((context, compartment), frontier)
            }
            Frame::Advance {
                channel,
                compartment,
                changed,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                self.on_advance((context, compartment), &changed)
            }
            Frame::Pause {
                channel,
                compartment,
                paused,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                let place = (context, compartment);
                if let Some(entries) = self.open_compartment(place)? {
                    entries.paused_by_peer = paused;
                    self.settle(place);
                }
                Ok(())
            }
            _ => Err(CloseReason::WrongOrder),
        }
    }

    /// The context a channel stands for, unless it ended; a channel that never stood for one is an error.
    pub(super) fn live(&self, channel: Channel) -> Result<Option<ContextId>, CloseReason> {
        let context = self.channels.get(&channel).ok_or(CloseReason::WrongOrder)?;
        Ok(self.contexts.contains_key(context).then_some(*context))
    }

    pub(super) fn live_member(&self, channel: Channel) -> Result<Option<ContextId>, CloseReason> {
        let context = self.live(channel)?;
        match context.and_then(|context| self.contexts.get(&context)) {
            Some(link) if link.kind != LinkKind::Member => Err(CloseReason::WrongOrder),
            _ => Ok(context),
        }
    }

    pub(super) fn control_frame(
        &mut self,
        channel: Channel,
        act: impl FnOnce(&mut ContextLink, &mut Vec<Step>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        match self.live(channel)? {
            Some(context) => self.control(context, act),
            None => Ok(()),
        }
    }

    pub(super) fn control(
        &mut self,
        context: ContextId,
        act: impl FnOnce(&mut ContextLink, &mut Vec<Step>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(());
        };
        let mut steps = Vec::new();
        act(link, &mut steps)?;
        let (channel, kind) = (link.channel, link.kind);
        for step in steps {
            match step {
                Step::SendDigest(digest) => self.send(&Frame::ControlDigest { channel, digest }),
                Step::SendBuckets(buckets) => {
                    self.send(&Frame::ControlBuckets { channel, buckets });
                }
                Step::SendHave(hashes) => self.send(&Frame::ControlHave { channel, hashes }),
                Step::SendEntries(entries) => {
                    self.send(&Frame::ControlEntries { channel, entries });
                }
                Step::SendReceived => self.send(&Frame::ControlReceived { channel }),
                Step::Read(hashes) => {
                    let bytes_max = self.limits.control_batch_bytes;
                    self.outputs.push_back(Output::ReadControl {
                        context,
                        hashes,
                        bytes_max,
                    });
                }
                Step::Apply(entries) => {
                    self.outputs.push_back(Output::ApplyControl {
                        context,
                        kind,
                        entries,
                    });
                }
                Step::InSync => self.outputs.push_back(Output::ControlInSync { context }),
            }
        }
        self.ask_proof(context);
        self.settle_all(context);
        Ok(())
    }

    /// Asks the driver to judge the peer once there is something to judge it by.
    pub(super) fn ask_proof(&mut self, context: ContextId) {
        let Phase::Open { transcript } = &self.phase else {
            return;
        };
        let Some(link) = self.contexts.get_mut(&context) else {
            return;
        };
        if let Some((device, signature)) = link.take_judgeable() {
            let message = transcript.proof_message(self.side.other(), context);
            self.outputs.push_back(Output::PeerProof {
                context,
                device,
                message,
                signature,
            });
        }
    }

    pub(super) fn on_accepted(
        &mut self,
        context: ContextId,
        compartments: BTreeMap<CompartmentId, Frontier>,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(());
        };
        if !link.accept() {
            return Ok(());
        }
        let channel = link.channel;
        for entries in link.close_all_but(&compartments) {
            if let Some(reserved) = entries.reading {
                self.sending.release(reserved);
            }
        }
        self.sending.forget(|(place, compartment)| {
            *place == context && !compartments.contains_key(compartment)
        });
        let mut opened = Vec::new();
        let mut answered = Vec::new();
        for (compartment, frontier) in compartments {
            let Some(link) = self.contexts.get_mut(&context) else {
                return Ok(());
            };
            if link.compartments.contains_key(&compartment) {
                self.on_local_frontier((context, compartment), &frontier, Origin::Here)?;
            } else if link.may_open(compartment) {
                let entries = EntrySync::new(frontier);
                opened.push((compartment, entries.digest()));
                if let Some(peer) = link.peer_digests.remove(&compartment) {
                    answered.push((compartment, peer));
                }
                link.compartments.insert(compartment, entries);
            }
        }
        if !opened.is_empty() {
            self.send(&Frame::Digests {
                channel,
                digests: opened,
            });
        }
        for (compartment, peer_digest) in answered {
            self.compare((context, compartment), peer_digest)?;
        }
        Ok(())
    }

    /// This end speaks of the context no more.
    pub(super) fn end_context(
        &mut self,
        context: ContextId,
        reason: EndReason,
    ) -> Result<(), CloseReason> {
        let Some(channel) = self.contexts.get(&context).map(|link| link.channel) else {
            return Ok(());
        };
        self.send(&Frame::Withdraw {
            channel,
            code: reason.code(),
        });
        self.drop_context(context, reason, false)
    }

    pub(super) fn drop_context(
        &mut self,
        context: ContextId,
        reason: EndReason,
        by_peer: bool,
    ) -> Result<(), CloseReason> {
        if let Some(link) = self.contexts.remove(&context) {
            for entries in link.compartments.values() {
                if let Some(reserved) = entries.reading {
                    self.sending.release(reserved);
                }
            }
            self.sending.forget(|(gone, _)| *gone == context);
            self.outputs.push_back(Output::ContextEnded {
                context,
                reason,
                by_peer,
            });
        }
        if self.contexts.is_empty() {
            return Err(CloseReason::NothingInCommon);
        }
        Ok(())
    }
}
