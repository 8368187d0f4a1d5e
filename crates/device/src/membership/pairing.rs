//! Giving all of a person's contexts to a second device of theirs: see [`aeroedge_log::pairing`] for what is said.
//!
//! The two speak as a member and a joiner do, over a place that is no context: what they say travels like control entries, as a set
//! that only grows. It is in memory only, so that giving up leaves nothing behind; nothing is given before the person said so on
//! the old device.

mod guest;
mod host;

use aeroedge_ids::{ContextId, ControlHash, InviteKey, Millis};
use aeroedge_log::pairing::{Message, PairingLink, PairingSecret};
use aeroedge_log::tags::LinkKey;
use aeroedge_protocol::Credential;
use rand::CryptoRng;

use super::{ControlReceived, MembershipError, ReceiveControlError};
use crate::device::Device;
use guest::Guest;
use host::Host;

/// How long a pairing is open, milliseconds.
pub const PAIRING_MS: u64 = 10 * 60 * 1000;
/// The most messages of one pairing that are kept.
const MESSAGES_MAX: usize = 20_000;

/// How far a pairing has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairingState {
    /// There is none.
    None,
    /// The other device has not been met.
    Searching,
    /// Both have been met: do both screens show these six digits?
    Compare(u32),
    /// The person said yes; the contexts are on their way.
    Giving,
    /// The new device has everything.
    Done,
    /// It cannot be; why and what to do.
    Failed(&'static str),
}

/// A pairing could not go on.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// None is under way, or it has not come so far.
    #[error("no second device waits to be let in: start anew on both")]
    NotWaiting,
    /// The person compared something else.
    #[error(
        "these are not the six digits of this pairing: somebody else may have used the code, start anew"
    )]
    OtherDigits,
    /// The new device was in one of the contexts, and was shut out.
    #[error("this device was shut out before: make a new installation on it")]
    WasShutOut,
    /// The new device sent keys that nobody would accept.
    #[error("the new device sent keys that do not hold: start anew on both")]
    BadOffer,
    /// A context could not be given.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// A pairing under way on this device.
#[derive(Debug)]
pub(crate) enum Pairing {
    Host(Box<Host>),
    Guest(Box<Guest>),
}

/// What was said so far, by both.
#[derive(Debug)]
struct Said {
    secret: PairingSecret,
    messages: Vec<(ControlHash, Vec<u8>)>,
}

impl Said {
    fn new(secret: PairingSecret) -> Self {
        Self {
            secret,
            messages: Vec::new(),
        }
    }

    fn say(&mut self, message: &Message, rng: &mut impl CryptoRng) {
        let bytes = message.seal(&self.secret, rng);
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: Vec<u8>) {
        self.messages.push((Message::hash(&bytes), bytes));
    }

    fn knows(&self, bytes: &[u8]) -> bool {
        let hash = Message::hash(bytes);
        self.messages.iter().any(|(known, _)| *known == hash)
    }
}

impl Pairing {
    fn said(&self) -> &Said {
        match self {
            Self::Host(host) => &host.said,
            Self::Guest(guest) => &guest.said,
        }
    }

    fn is_open(&self, now: Millis) -> bool {
        match self {
            Self::Host(host) => now <= host.expires,
            Self::Guest(_) => true,
        }
    }

    pub(crate) fn credential(&self, now: Millis) -> Option<Credential> {
        let secret = &self.said().secret;
        let context = secret.place();
        let link_key = *secret.link_key().as_bytes();
        self.is_open(now).then_some(match self {
            Self::Host(_) => Credential::Invite {
                context,
                invite: InviteKey(link_key),
                link_key,
            },
            Self::Guest(_) => Credential::Joiner { context, link_key },
        })
    }

    pub(crate) fn link_key(&self, now: Millis) -> Option<LinkKey> {
        self.is_open(now).then(|| self.said().secret.link_key())
    }

    pub(super) fn hashes(&self) -> Vec<ControlHash> {
        let messages = self.said().messages.iter();
        messages.map(|(hash, _)| *hash).collect()
    }

    pub(super) fn messages(&self, hashes: &[ControlHash], max_bytes: usize) -> Vec<Vec<u8>> {
        let mut bytes = 0;
        let mut found = Vec::new();
        for hash in hashes {
            let known = self.said().messages.iter().find(|(known, _)| known == hash);
            let Some((_, message)) = known else { break };
            bytes += message.len();
            if !found.is_empty() && bytes > max_bytes {
                break;
            }
            found.push(message.clone());
        }
        found
    }
}

impl Device {
    /// Shows a way in for a second device of this person, good once and for ten minutes. An earlier one is void.
    pub fn offer_pairing(&mut self, now: Millis, rng: &mut impl CryptoRng) -> PairingLink {
        let secret = PairingSecret::generate(rng);
        let link = PairingLink {
            secret: secret.clone(),
        };
        let expires = Millis(now.0.saturating_add(PAIRING_MS));
        self.pairing = Some(Pairing::Host(Box::new(Host::new(secret, expires))));
        link
    }

    /// Begins to be let in by another device of the same person.
    pub fn start_pairing(
        &mut self,
        link: PairingLink,
        rng: &mut impl CryptoRng,
    ) -> Result<(), MembershipError> {
        self.refresh()?;
        let guest = Guest::new(link.secret, &self.secrets, rng);
        self.pairing = Some(Pairing::Guest(Box::new(guest)));
        Ok(())
    }

    /// How far the pairing has come.
    pub fn pairing_state(&self, now: Millis) -> PairingState {
        match &self.pairing {
            None => PairingState::None,
            Some(Pairing::Host(host)) => host.state(now),
            Some(Pairing::Guest(guest)) => guest.state.clone(),
        }
    }

    /// The person compared the digits on both screens, on the old device: takes the new one into every context and gives it
    /// what it needs.
    pub fn confirm_pairing(
        &mut self,
        digits: u32,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), PairingError> {
        let Some(Pairing::Host(mut host)) = self.pairing.take() else {
            return Err(PairingError::NotWaiting);
        };
        let outcome = host.give(self, digits, now, rng);
        self.pairing = Some(Pairing::Host(host));
        outcome
    }

    /// Ends the pairing, whatever became of it.
    pub fn end_pairing(&mut self) {
        self.pairing = None;
    }

    /// What takes the place of a context while a pairing is under way.
    pub fn pairing_place(&self) -> Option<ContextId> {
        Some(self.pairing.as_ref()?.said().secret.place())
    }

    pub(super) fn pairing_at(&self, context: ContextId) -> Option<&Pairing> {
        let pairing = self.pairing.as_ref()?;
        (pairing.said().secret.place() == context).then_some(pairing)
    }

    /// Takes in what the other device says.
    pub(super) fn receive_for_pairing(
        &mut self,
        messages: &[Vec<u8>],
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ControlReceived, ReceiveControlError> {
        let Some(mut pairing) = self.pairing.take() else {
            return Ok(ControlReceived::default());
        };
        let mut received = ControlReceived::default();
        let mut outcome = Ok(());
        for bytes in messages {
            if pairing.said().knows(bytes) {
                continue;
            }
            outcome = if pairing.said().messages.len() >= MESSAGES_MAX {
                Err(ReceiveControlError::Refused("too much was said".into()))
            } else {
                match Message::open(&pairing.said().secret, bytes) {
                    Err(error) => Err(ReceiveControlError::Refused(error.to_string())),
                    Ok(message) => match &mut pairing {
                        Pairing::Host(host) => host.hear(self, message, bytes, now, rng),
                        Pairing::Guest(guest) => guest
                            .hear(self, message, bytes, rng)
                            .map(|joined| received.joined |= joined),
                    },
                }
            };
            if outcome.is_err() {
                break;
            }
            received.changed = true;
        }
        self.pairing = Some(pairing);
        outcome.map(|()| received)
    }
}
