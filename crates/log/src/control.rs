//! One signed act in the history of a context: who did what, knowing which earlier acts.
//!
//! A [`ControlEntry`] exists only with a valid signature and with every proof inside it checked; whether its author had
//! the right to do it is for the reading of the whole history to say ([`crate::roster`]).

mod action;
mod role;

pub use action::{
    Action, AddDevice, BRANCHES_MAX, CHECKPOINTS_MAX, CUT_OFFS_MAX, Checkpoint, CutOff,
    DeclareStale, DeviceKind, EpochWraps, Genesis, InviteOffer, Join, NewWriter, RemoveMember,
    RevokeDevice, SetRole, StartEpoch,
};
pub use role::{Permission, PermissionError, Rights, Role};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, ControlHash, DeviceKey};

use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};
use crate::keys::is_signed_by;
use crate::seal::sha256;
use crate::secrets::DeviceSecrets;

/// The version of the control format that this crate writes and reads.
pub const VERSION: u8 = 1;
/// The longest control entry, bytes.
pub const LENGTH_MAX: usize = 1 << 20;
/// The most earlier entries one entry may name.
pub const PARENTS_MAX: usize = 64;

const DOMAIN: &[u8] = b"aeroedge control v1";
const SIGNATURE_LENGTH: usize = 64;

/// A signed act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlEntry {
    bytes: Vec<u8>,
    hash: ControlHash,
    context: ContextId,
    parents: Vec<ControlHash>,
    author: DeviceKey,
    hlc: Hlc,
    action: Action,
}

/// The bytes are not a control entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Longer than [`LENGTH_MAX`].
    #[error("read a control entry of {0} bytes: the limit is 1 MiB")]
    TooLong(usize),
    /// Written by a newer program.
    #[error("read a control entry of format version {0}: update this program")]
    Version(u8),
    /// Not what the format says.
    #[error("read the control entry")]
    Malformed(#[from] DecodeError),
    /// The author did not sign these bytes.
    #[error("verify the control entry: its author did not sign it")]
    Signature,
    /// A key it introduces, or the invite it uses, did not consent.
    #[error("verify the control entry: the {0} did not agree to it")]
    Proof(&'static str),
    /// Only the first entry has no parents and no context.
    #[error("accept a control entry that names no predecessors, or a first entry that names some")]
    Parents,
}

impl ControlEntry {
    /// Signs an act. `parents` are the heads of the history as the author knows it; a first entry has none and all
    /// zeros for its context.
    pub fn sign(
        secrets: &DeviceSecrets,
        context: ContextId,
        mut parents: Vec<ControlHash>,
        hlc: Hlc,
        action: Action,
    ) -> Self {
        parents.sort_unstable();
        parents.dedup();
        let author = secrets.device();
        let mut writer = Writer::default();
        writer.array(7);
        writer.uint(u64::from(VERSION));
        writer.bin(&context.0);
        writer.array(parents.len());
        for parent in &parents {
            writer.bin(&parent.0);
        }
        writer.bin(&author.0);
        writer.uint(hlc.to_bits());
        writer.uint(u64::from(action.number()));
        writer.bin(&action.encode());
        let mut bytes = writer.bytes;
        let signature = secrets.sign(&[DOMAIN, &bytes].concat());
        bytes.extend_from_slice(&signature);
        Self {
            hash: ControlHash(sha256(&[&bytes])),
            bytes,
            context,
            parents,
            author,
            hlc,
            action,
        }
        .in_its_own_context()
    }

    /// Reads an entry and verifies its signature and proofs.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let entry = Self::decode_stored(bytes)?;
        let (payload, signature) = bytes.split_at(bytes.len() - SIGNATURE_LENGTH);
        let signature = signature.try_into().map_err(|_| ControlError::Signature)?;
        if !is_signed_by(&entry.author.0, &[DOMAIN, payload].concat(), signature) {
            return Err(ControlError::Signature);
        }
        entry.action.verify_proofs(entry.context, entry.author)?;
        Ok(entry)
    }

    /// Reads an entry that [`ControlEntry::decode`] accepted before, without verifying it again. For entries from one's
    /// own storage only.
    pub fn decode_stored(bytes: &[u8]) -> Result<Self, ControlError> {
        if bytes.len() > LENGTH_MAX {
            return Err(ControlError::TooLong(bytes.len()));
        }
        let length = bytes
            .len()
            .checked_sub(SIGNATURE_LENGTH)
            .ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(&bytes[..length]);
        reader.array_of(7)?;
        let version = reader.uint8("version")?;
        if version != VERSION {
            return Err(ControlError::Version(version));
        }
        let context = ContextId(reader.bytes()?);
        let mut parents = Vec::new();
        for _ in 0..reader.array_up_to(PARENTS_MAX, "number of parents")? {
            parents.push(ControlHash(reader.bytes()?));
        }
        if !strictly_ascending(&parents) {
            return Err(DecodeError::NotCanonical.into());
        }
        let author = DeviceKey(reader.bytes()?);
        let hlc = Hlc::from_bits(reader.uint()?);
        let number = reader.uint32("action number")?;
        let action = Action::decode(number, reader.bin()?)?;
        reader.finish()?;
        let is_first = matches!(action, Action::Genesis(_));
        if parents.is_empty() != is_first || (context == ContextId([0; 16])) != is_first {
            return Err(ControlError::Parents);
        }
        let hash = ControlHash(sha256(&[bytes]));
        Ok(Self {
            bytes: bytes.to_vec(),
            hash,
            context,
            parents,
            author,
            hlc,
            action,
        }
        .in_its_own_context())
    }

    /// A first entry cannot name the context that is named after it.
    fn in_its_own_context(mut self) -> Self {
        if matches!(self.action, Action::Genesis(_)) {
            let mut id = [0; 16];
            id.copy_from_slice(&self.hash.0[..16]);
            self.context = ContextId(id);
        }
        self
    }

    /// As it is stored and sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: its name.
    pub fn hash(&self) -> ControlHash {
        self.hash
    }

    /// The context it belongs to; for a first entry the one it founds.
    pub fn context(&self) -> ContextId {
        self.context
    }

    /// The heads its author knew, ascending.
    pub fn parents(&self) -> &[ControlHash] {
        &self.parents
    }

    /// The device that signed it.
    pub fn author(&self) -> DeviceKey {
        self.author
    }

    /// When, by the author's clock. It orders concurrent entries and proves nothing.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// What it does.
    pub fn action(&self) -> &Action {
        &self.action
    }
}
