//! The old device: it says who it is, and gives once its person has compared the digits.

use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::context::{self, DeviceOffer};
use aeroedge_log::control::{AddDevice, ControlEntry, DeviceKind, NewWriter};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::pairing::{
    self, CONTEXTS_MAX, Message, NewDevice, PART_BYTES_MAX, PairingSecret, Part, Welcome,
};
use rand::CryptoRng;

use super::{PairingError, PairingState, Said};
use crate::device::Device;
use crate::membership::{MembershipError, ReceiveControlError, acts};

/// The side that has the contexts.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) said: Said,
    pub(super) expires: Millis,
    welcome: Option<Welcome>,
    offer: Option<(NewDevice, Vec<[u8; 64]>)>,
    is_given: bool,
    is_done: bool,
    failed: Option<&'static str>,
}

impl Host {
    pub(super) fn new(secret: PairingSecret, expires: Millis) -> Self {
        Self {
            said: Said::new(secret),
            expires,
            welcome: None,
            offer: None,
            is_given: false,
            is_done: false,
            failed: None,
        }
    }

    pub(super) fn state(&self, now: Millis) -> PairingState {
        if self.is_done {
            return PairingState::Done;
        }
        if let Some(reason) = self.failed {
            return PairingState::Failed(reason);
        }
        if now > self.expires {
            return PairingState::Failed("its ten minutes are over: start anew on both devices");
        }
        match (&self.welcome, &self.offer) {
            _ if self.is_given => PairingState::Giving,
            (Some(welcome), Some((new, _))) => {
                PairingState::Compare(pairing::code(&self.said.secret, welcome, new))
            }
            _ => PairingState::Searching,
        }
    }

    pub(super) fn hear(
        &mut self,
        device: &Device,
        message: Message,
        bytes: &[u8],
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), ReceiveControlError> {
        let refused = |why: &str| Err(ReceiveControlError::Refused(why.to_owned()));
        if now > self.expires || self.failed.is_some() {
            return refused("this pairing is over");
        }
        match message {
            // One use: who comes second is not let in, and does not disturb who came first.
            Message::Commit(_) if self.welcome.is_some() => {
                refused("the pairing code was used by another device already")
            }
            Message::Commit(commitment) => {
                let mut nonce = [0; 32];
                rng.fill_bytes(&mut nonce);
                let welcome = Welcome {
                    commitment,
                    user: device.user,
                    contexts: contexts_of(device),
                    nonce,
                };
                self.said.keep(bytes.to_vec());
                self.said.say(&Message::Welcome(welcome.clone()), rng);
                self.welcome = Some(welcome);
                Ok(())
            }
            Message::Offer { new, proofs } => {
                let Some(welcome) = &self.welcome else {
                    return refused("an offer before anything else");
                };
                if self.offer.is_some() {
                    return refused("the pairing code was used by another device already");
                }
                if new.commitment() != welcome.commitment || proofs.len() != welcome.contexts.len()
                {
                    self.failed = Some(
                        "the new device did not keep to what it had said: start anew, with a new code",
                    );
                    return refused("the offer is not the one that was announced");
                }
                self.said.keep(bytes.to_vec());
                self.offer = Some((new, proofs));
                Ok(())
            }
            Message::Received if self.is_given => {
                self.said.keep(bytes.to_vec());
                self.is_done = true;
                Ok(())
            }
            _ => refused("not for this side of a pairing"),
        }
    }

    /// Takes the new device into every context of the welcome, and says what it needs to know.
    pub(super) fn give(
        &mut self,
        device: &mut Device,
        digits: u32,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), PairingError> {
        match self.state(now) {
            PairingState::Compare(expected) if expected == digits => {}
            PairingState::Compare(_) => {
                self.failed = Some("the digits were not the same: start anew, with a new code");
                return Err(PairingError::OtherDigits);
            }
            _ => return Err(PairingError::NotWaiting),
        }
        let (Some(welcome), Some((new, proofs))) = (&self.welcome, &self.offer) else {
            return Err(PairingError::NotWaiting);
        };
        for (context, proof) in welcome.contexts.iter().zip(proofs) {
            admit(device, *context, new, *proof, now, rng)?;
        }
        let place = self.said.secret.place();
        let (key, wrap) = pairing::grant(place, new.sealing, rng).ok_or(PairingError::BadOffer)?;
        let parts: Vec<Vec<u8>> = parts_of(device, &welcome.contexts)
            .iter()
            .map(|part| part.seal(&key, rng))
            .collect();
        let grant = Message::Grant {
            commitment: key.commitment(),
            wrap,
            parts: parts.len() as u32,
        };
        self.said.say(&grant, rng);
        for part in parts {
            self.said.say(&Message::Part(part), rng);
        }
        self.is_given = true;
        Ok(())
    }
}

/// The contexts in which this device still is.
fn contexts_of(device: &Device) -> Vec<ContextId> {
    device
        .contexts
        .iter()
        .filter(|(_, state)| {
            state
                .roster
                .active_device(device.secrets.device())
                .is_some()
        })
        .map(|(id, _)| *id)
        .take(CONTEXTS_MAX)
        .collect()
}

fn admit(
    device: &mut Device,
    context: ContextId,
    new: &NewDevice,
    proof: [u8; 64],
    now: Millis,
    rng: &mut impl CryptoRng,
) -> Result<(), PairingError> {
    let user = device.user;
    let added = AddDevice {
        user,
        device: new.device,
        sealing: new.sealing,
        writer: NewWriter {
            key: new.writer,
            proof: new.writer_proof,
        },
        kind: DeviceKind::Everyday,
        device_proof: proof,
        wraps: Vec::new(),
    };
    device.act_in(context, now, |acts| {
        let roster = acts.roster()?;
        match roster.device(new.device) {
            Some(known) if known.user == user && known.revoked.is_none() => return Ok(Ok(())),
            Some(_) => return Ok(Err(PairingError::WasShutOut)),
            None => {}
        }
        let mut ring = KeyRing::new(acts.secrets);
        ring.learn(&roster);
        let stamp = acts.next_stamp();
        let offer = DeviceOffer { added };
        let entry = context::add_device(acts.history, &ring, acts.secrets, offer, stamp, rng)
            .ok_or(MembershipError::UnknownContext(context))?;
        // Signatures that others refuse make it no entry at all.
        if ControlEntry::decode(entry.bytes()).is_err() {
            return Ok(Err(PairingError::BadOffer));
        }
        if let Some(rejection) = acts.history.would_reject(&entry) {
            return Err(acts::refused(rejection));
        }
        acts.add(entry)?;
        Ok(Ok(()))
    })?
}

/// The histories in pieces that travel well.
fn parts_of(device: &Device, contexts: &[ContextId]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for context in contexts {
        let Some(state) = device.contexts.get(context) else {
            continue;
        };
        let mut bytes = usize::MAX;
        for entry in state.history.entries() {
            let length = entry.bytes().len();
            match parts.last_mut() {
                Some(part) if part.context == *context && bytes + length <= PART_BYTES_MAX => {
                    part.entries.push(entry.bytes().to_vec());
                    bytes += length;
                }
                _ => {
                    bytes = length;
                    parts.push(Part {
                        number: parts.len() as u32,
                        context: *context,
                        entries: vec![entry.bytes().to_vec()],
                    });
                }
            }
        }
    }
    parts
}
