//! The new device: it says what it is, waits, and enters all contexts in one transaction.

use std::collections::BTreeMap;

use aeroedge_ids::{ContextId, UserId};
use aeroedge_log::context;
use aeroedge_log::control::ControlEntry;
use aeroedge_log::history::History;
use aeroedge_log::keys::{EpochKey, WriterSecret};
use aeroedge_log::pairing::{self, Message, NewDevice, PairingSecret, Part, Welcome};
use aeroedge_log::secrets::DeviceSecrets;
use rand::CryptoRng;

use super::{PairingState, Said};
use crate::device::Device;
use crate::membership::{MembershipError, ReceiveControlError};
use crate::state;

const USED: &str = "another device used this code first: make a new one";
const OTHER_PERSON: &str =
    "this installation belongs to somebody else: pair an empty data folder instead";
const DAMAGED: &str = "what the other device gave does not hold: start anew on both";

/// The side that has nothing yet.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(super) said: Said,
    pub(super) state: PairingState,
    new: NewDevice,
    writer: WriterSecret,
    welcome: Option<Welcome>,
    key: Option<EpochKey>,
    parts_expected: usize,
    /// Sealed, as they came.
    parts: Vec<Vec<u8>>,
}

impl Guest {
    pub(super) fn new(
        secret: PairingSecret,
        secrets: &DeviceSecrets,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let writer = secrets
            .writer_in_use()
            .cloned()
            .unwrap_or_else(|| WriterSecret::generate(rng));
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let new = NewDevice {
            device: secrets.device(),
            sealing: secrets.sealing_key(),
            writer: writer.key(),
            writer_proof: writer.prove(secrets.device()),
            nonce,
        };
        let mut said = Said::new(secret);
        said.say(&Message::Commit(new.commitment()), rng);
        Self {
            said,
            state: PairingState::Searching,
            new,
            writer,
            welcome: None,
            key: None,
            parts_expected: usize::MAX,
            parts: Vec::new(),
        }
    }

    /// Returns whether this device is in the contexts now.
    pub(super) fn hear(
        &mut self,
        device: &mut Device,
        message: Message,
        bytes: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<bool, ReceiveControlError> {
        if matches!(self.state, PairingState::Failed(_) | PairingState::Done) {
            return Ok(false);
        }
        self.said.keep(bytes.to_vec());
        match message {
            Message::Commit(_) => self.state = PairingState::Failed(USED),
            Message::Welcome(welcome) if welcome.commitment != self.new.commitment() => {
                self.state = PairingState::Failed(USED);
            }
            Message::Welcome(welcome) if self.welcome.is_none() => {
                if !device.contexts.is_empty() && welcome.user != device.user {
                    self.state = PairingState::Failed(OTHER_PERSON);
                    return Ok(false);
                }
                let proofs = welcome
                    .contexts
                    .iter()
                    .map(|context| self.prove(device, *context, welcome.user, rng))
                    .collect();
                let offer = Message::Offer {
                    new: self.new,
                    proofs,
                };
                self.said.say(&offer, rng);
                let digits = pairing::code(&self.said.secret, &welcome, &self.new);
                self.welcome = Some(welcome);
                self.state = PairingState::Compare(digits);
            }
            Message::Grant {
                commitment,
                wrap,
                parts,
            } if self.key.is_none() => {
                let place = self.said.secret.place();
                self.key = pairing::granted(place, device.secrets.sealing(), commitment, &wrap);
                if self.key.is_none() {
                    self.state = PairingState::Failed(DAMAGED);
                    return Ok(false);
                }
                self.parts_expected = parts as usize;
                self.state = PairingState::Giving;
            }
            Message::Part(part) => self.parts.push(part),
            _ => {}
        }
        if self.key.is_none() || self.parts.len() < self.parts_expected {
            return Ok(false);
        }
        match self.enter(device) {
            Ok(true) => {
                self.said.say(&Message::Received, rng);
                self.state = PairingState::Done;
                Ok(true)
            }
            Ok(false) => {
                self.state = PairingState::Failed(DAMAGED);
                Ok(false)
            }
            Err(error) => Err(ReceiveControlError::Storage(Box::new(error))),
        }
    }

    fn prove(
        &self,
        device: &Device,
        context: ContextId,
        user: UserId,
        rng: &mut impl CryptoRng,
    ) -> [u8; 64] {
        let mut secrets = device.secrets.clone();
        // The offer names the writer in use, which on a new device is the one drawn for this pairing.
        secrets.add_writer(context, self.writer.clone());
        let (offer, _) = context::offer_device(&secrets, context, user, rng);
        offer.added.device_proof
    }

    /// Enters every context, all or none. `false` if what was given does not hold.
    fn enter(&self, device: &mut Device) -> Result<bool, MembershipError> {
        let (Some(key), Some(welcome)) = (&self.key, &self.welcome) else {
            return Ok(false);
        };
        let Some(histories) = self.histories(key, welcome) else {
            return Ok(false);
        };
        for context in &welcome.contexts {
            let is_member = histories.get(context).is_some_and(|history| {
                history.roster().is_some_and(|roster| {
                    roster
                        .active_device(self.new.device)
                        .is_some_and(|(_, member)| member.user == welcome.user)
                })
            });
            if !is_member {
                return Ok(false);
            }
        }
        device.enter_as(welcome.user, &self.writer, &histories)?;
        Ok(true)
    }

    fn histories(&self, key: &EpochKey, welcome: &Welcome) -> Option<BTreeMap<ContextId, History>> {
        let mut parts = self
            .parts
            .iter()
            .map(|part| Part::open(key, part).ok())
            .collect::<Option<Vec<Part>>>()?;
        parts.sort_by_key(|part| part.number);
        let mut histories = BTreeMap::new();
        for part in parts {
            if !welcome.contexts.contains(&part.context) {
                return None;
            }
            let history = histories
                .entry(part.context)
                .or_insert_with(|| History::new(part.context));
            for bytes in &part.entries {
                history.insert(ControlEntry::decode(bytes).ok()?).ok()?;
            }
        }
        Some(histories)
    }
}

impl Device {
    /// Becomes a device of `user` in these contexts: secrets first, then the histories, in one transaction.
    fn enter_as(
        &mut self,
        user: UserId,
        writer: &WriterSecret,
        histories: &BTreeMap<ContextId, History>,
    ) -> Result<(), MembershipError> {
        self.took_in = true;
        let is_new = self.contexts.is_empty();
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = (|| -> Result<(), MembershipError> {
            let mut secrets = self.key_store.load().map_err(MembershipError::Keys)?;
            for context in histories.keys() {
                if secrets.writer(*context).is_none() {
                    secrets.add_writer(*context, writer.clone());
                }
            }
            self.key_store
                .save(&secrets)
                .map_err(MembershipError::Keys)?;
            if is_new {
                connection.execute(
                    "UPDATE device_meta SET value = ?1 WHERE name = 'user'",
                    [user.0],
                )?;
            }
            for entry in histories.values().flat_map(History::entries) {
                state::store(connection, entry)?;
            }
            Ok(())
        })();
        connection.execute_batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })?;
        outcome?;
        self.user = user;
        self.read_control()?;
        Ok(())
    }
}
