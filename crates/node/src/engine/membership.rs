//! Who may be spoken to of what: proofs, and what follows when a history, a roster or a credential changes.
//!
//! A session learns of a change from whatever source it comes. One that could now speak of more begins anew; one whose
//! peer may hear less is told at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_ids::{ContextId, DeviceKey};
use aeroedge_protocol::{Credential, EndReason, Event, Signature};

use super::{Accepted, Spoken, Thread};
use crate::jobs::{LinkId, ToLink};
use crate::status::Notice;
use crate::store::{JoinState, Judgement, Store, StoreError};

impl<S: Store> Thread<S> {
    pub(super) fn judge(
        &mut self,
        link: LinkId,
        context: ContextId,
        device: DeviceKey,
        message: Vec<u8>,
        signature: Signature,
    ) -> Result<(), StoreError> {
        // A copy of this very installation is a peer like others: each has to hear what the other wrote.
        let judgement = if device == self.store.device() && self.peers.leads_back(link) {
            Judgement::Refused(EndReason::Done)
        } else {
            self.store.judge(context, device, &message, &signature)?
        };
        match judgement {
            Judgement::Refused(reason) => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.accepted.remove(&context);
                }
                self.tell(link, Event::EndContext { context, reason });
            }
            Judgement::Accepted(compartments) => {
                let accepted = Accepted {
                    device,
                    message,
                    signature,
                    compartments: compartments.keys().copied().collect(),
                };
                if let Some(state) = self.links.get_mut(&link) {
                    state.accepted.insert(context, accepted);
                    let _ = state.events.send(ToLink::Accepted {
                        context,
                        device,
                        compartments,
                    });
                }
            }
        }
        Ok(())
    }

    /// Tells sessions what became of the control history, whoever changed it.
    pub(super) fn look_at_control(&mut self) {
        if let Err(error) = self.compare_control() {
            tracing::error!(%error, "reading the control history");
        }
    }

    fn compare_control(&mut self) -> Result<(), StoreError> {
        let mut grown = Vec::new();
        for (context, length) in self.store.contexts()? {
            if self.control.insert(context, length) != Some(length) {
                grown.push(context);
            }
        }
        for context in &grown {
            let hashes = self.store.history(*context)?;
            for state in self.links.values() {
                let event = Event::History {
                    context: *context,
                    hashes: Arc::clone(&hashes),
                };
                let _ = state.events.send(ToLink::Event(event));
            }
            self.judge_again(*context)?;
            self.peers.notify(Notice::Membership(*context));
        }
        let joined = self.compare_joins();
        if joined || !grown.is_empty() {
            self.compare_credentials()?;
        }
        Ok(())
    }

    /// Tells how far joining has come; whether anything changed.
    fn compare_joins(&mut self) -> bool {
        let joins: BTreeMap<ContextId, JoinState> = self.store.joins().into_iter().collect();
        if joins == self.joins {
            return false;
        }
        for (context, state) in &joins {
            let before = self.joins.get(context);
            if before == Some(state) {
                continue;
            }
            if before.is_some() && *state == JoinState::Searching {
                // Another secret: who was asked before has to be asked anew.
                for link in self.links.values_mut() {
                    link.spoken
                        .retain(|spoken| !(spoken.joining && spoken.context == *context));
                }
            }
            self.peers.notify(Notice::Join(*context, state.clone()));
        }
        for context in self.joins.keys() {
            // What is no longer being joined was joined, or was given up by the caller, who knows.
            if !joins.contains_key(context) && self.control.contains_key(context) {
                self.peers.notify(Notice::Join(*context, JoinState::Joined));
            }
        }
        self.joins = joins;
        true
    }

    /// A roster changed: who was accepted may be no longer, or may read more or less than before.
    fn judge_again(&mut self, context: ContextId) -> Result<(), StoreError> {
        let accepted: Vec<(LinkId, Accepted)> = self
            .links
            .iter_mut()
            .filter_map(|(link, state)| Some((*link, state.accepted.remove(&context)?)))
            .collect();
        for (
            link,
            Accepted {
                device,
                message,
                signature,
                ..
            },
        ) in accepted
        {
            self.judge(link, context, device, message, signature)?;
        }
        Ok(())
    }

    /// A session speaks of what there was when it began; one that could now speak of more begins anew.
    pub(super) fn compare_credentials(&mut self) -> Result<(), StoreError> {
        let credentials = self.store.credentials()?;
        let spoken: Vec<Spoken> = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Member { context, .. } => Some(Spoken {
                    context: *context,
                    joining: false,
                }),
                Credential::Joiner { context, .. } => Some(Spoken {
                    context: *context,
                    joining: true,
                }),
                // Who holds an invite comes on a link of its own.
                Credential::Invite { .. } => None,
            })
            .collect();
        self.credentials = credentials;
        self.spoken = spoken;
        for state in self.links.values_mut() {
            let more = self
                .spoken
                .iter()
                .any(|spoken| !state.spoken.contains(spoken));
            let given_up = state
                .spoken
                .iter()
                .any(|spoken| spoken.joining && !self.spoken.contains(spoken));
            if more || given_up {
                state.spoken.clone_from(&self.spoken);
                let _ = state.events.send(ToLink::Restart);
            }
        }
        self.tags.send_replace(self.store.tags()?);
        Ok(())
    }
}
