//! What can go wrong with groups, and what to do about it.

use aeroedge_device::{DeviceError, MembershipError, PairingError};
use aeroedge_log::context::InviteError;
use aeroedge_log::invite::{LinkError, WeakSecret};
use aeroedge_log::pairing::PairingLinkError;

use super::NAME_LENGTH_MAX;
use crate::explain::{Explained, Kind};
use crate::write::WriteError;

/// Something about a group could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Nothing of this name or id.
    #[error("there is no group {0:?} on this device")]
    Unknown(String),
    /// Several things of this name.
    #[error("{0:?} names more than one group on this device")]
    Ambiguous(String),
    /// No such member.
    #[error("there is no member {0:?} in this group")]
    UnknownMember(String),
    /// Several members of this name.
    #[error("{0:?} names more than one member of this group")]
    AmbiguousMember(String),
    /// No such device.
    #[error("there is no device {0:?} in the groups of this one")]
    UnknownDevice(String),
    /// Several devices whose keys begin so.
    #[error("{0:?} begins the keys of more than one device")]
    AmbiguousDevice(String),
    /// No such invitation.
    #[error("there is no invitation {0:?} in this group")]
    UnknownInvite(String),
    /// Several invitations whose keys begin so.
    #[error("{0:?} begins the keys of more than one invitation")]
    AmbiguousInvite(String),
    /// Not six digits.
    #[error("these are not six digits")]
    Digits,
    /// Not a pairing link.
    #[error("cannot {0}")]
    PairingLink(#[from] PairingLinkError),
    /// A second device was not let in.
    #[error(transparent)]
    Pairing(PairingError),
    /// It would shut itself out.
    #[error("this is the very device that would be shut out")]
    RevokesItself,
    /// The personal logbook has one member.
    #[error("the personal logbook cannot be left")]
    LeavesPersonal,
    /// Empty or too long.
    #[error("a name must have 1 to {NAME_LENGTH_MAX} characters")]
    Name,
    /// No such permission.
    #[error("{0:?} is not a permission")]
    Permission(String),
    /// The chosen secret would be guessed.
    #[error("cannot {0}")]
    WeakSecret(#[from] WeakSecret),
    /// Not a link.
    #[error("cannot {0}")]
    Link(#[from] LinkError),
    /// The personal logbook is not shared.
    #[error("the personal logbook is for one person")]
    Personal,
    /// The platform said no.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The records could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<aeroedge_aviation_store::StoreError> for ContextError {
    fn from(error: aeroedge_aviation_store::StoreError) -> Self {
        Self::Write(error.into())
    }
}

impl Explained for ContextError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown(_)
            | Self::UnknownMember(_)
            | Self::UnknownDevice(_)
            | Self::UnknownInvite(_) => Kind::NotFound,
            Self::Membership(error) | Self::Pairing(PairingError::Membership(error)) => {
                membership_kind(error)
            }
            Self::Pairing(_) | Self::Personal | Self::RevokesItself | Self::LeavesPersonal => {
                Kind::Refused
            }
            Self::Ambiguous(_)
            | Self::AmbiguousMember(_)
            | Self::AmbiguousDevice(_)
            | Self::AmbiguousInvite(_)
            | Self::Digits
            | Self::PairingLink(_)
            | Self::Name
            | Self::Permission(_)
            | Self::WeakSecret(_)
            | Self::Link(_) => Kind::Invalid,
            Self::Write(error) => error.kind(),
            Self::Device(_) => Kind::Failure,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unknown(_) => "see `aeroedge context list`".to_owned(),
            Self::Ambiguous(_) | Self::AmbiguousMember(_) => {
                "give more of the name, or the id".to_owned()
            }
            Self::UnknownMember(_) => "see `aeroedge context members`".to_owned(),
            Self::UnknownDevice(_) => "see `aeroedge device list`".to_owned(),
            Self::UnknownInvite(_) => "see `aeroedge context invites`".to_owned(),
            Self::AmbiguousDevice(_) | Self::AmbiguousInvite(_) => {
                "give more of the key".to_owned()
            }
            Self::RevokesItself => {
                "do it on another of your devices, or leave the group".to_owned()
            }
            Self::LeavesPersonal => "delete the data folder to give it up".to_owned(),
            Self::Name => "choose another".to_owned(),
            Self::Permission(_) => {
                "take instructor, mechanic, dispatcher, billing or scheduler".to_owned()
            }
            Self::Personal => "found a partnership, a club or a school and invite there".to_owned(),
            Self::Digits => "type them as both devices show them".to_owned(),
            Self::PairingLink(PairingLinkError::Invite) => {
                "use `aeroedge context join` for it".to_owned()
            }
            Self::PairingLink(_) => {
                "run `aeroedge device add` on the other device and take what it shows".to_owned()
            }
            Self::Pairing(_) => "nothing was given".to_owned(),
            Self::Link(_) | Self::Membership(_) | Self::WeakSecret(_) => {
                "nothing was changed".to_owned()
            }
            Self::Write(error) => error.advice(),
            Self::Device(_) => "see `aeroedge doctor`".to_owned(),
        }
    }
}

fn membership_kind(error: &MembershipError) -> Kind {
    match error {
        MembershipError::UnknownContext(_)
        | MembershipError::UnknownMember
        | MembershipError::UnknownDevice
        | MembershipError::UnknownInvite => Kind::NotFound,
        MembershipError::AlreadyMember
        | MembershipError::NotAMember
        | MembershipError::NoRight
        | MembershipError::GrantsTooMuch
        | MembershipError::NeedsRecovery
        | MembershipError::LastOwner
        | MembershipError::Ignored(_)
        | MembershipError::Clock(_)
        | MembershipError::Invite(InviteError::NoRight)
        | MembershipError::Join(_) => Kind::Refused,
        MembershipError::Invite(_) => Kind::Invalid,
        _ => Kind::Failure,
    }
}
