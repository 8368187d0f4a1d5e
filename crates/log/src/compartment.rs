//! The parts of a context by audience, and how their identifiers follow from it.

use aeroedge_ids::{CompartmentId, ContextId, UserId};

use crate::control::Rights;
use crate::seal::sha256;

const DOMAIN: &[u8] = b"aeroedge compartment v1";

/// Who may read a compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Every member.
    Everyone,
    /// Owners, admins, managers, and members with any permission.
    Staff,
    /// One person, and staff.
    Person(UserId),
}

impl Audience {
    /// The compartment that this audience has in `context`.
    pub fn compartment(self, context: ContextId) -> CompartmentId {
        let (kind, user) = self.parts();
        let hash = sha256(&[DOMAIN, &context.0, &[kind], &user.0]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        CompartmentId(id)
    }

    /// Whether a member with these rights belongs to it.
    pub fn includes(self, user: UserId, rights: &Rights) -> bool {
        match self {
            Self::Everyone => true,
            Self::Staff => rights.is_staff(),
            Self::Person(person) => person == user || rights.is_staff(),
        }
    }

    /// The number of the kind, and the person or zeros.
    pub(crate) fn parts(self) -> (u8, UserId) {
        match self {
            Self::Everyone => (0, UserId([0; 16])),
            Self::Staff => (1, UserId([0; 16])),
            Self::Person(user) => (2, user),
        }
    }

    pub(crate) fn from_parts(kind: u8, user: UserId) -> Option<Self> {
        match kind {
            0 if user.0 == [0; 16] => Some(Self::Everyone),
            1 if user.0 == [0; 16] => Some(Self::Staff),
            2 => Some(Self::Person(user)),
            _ => None,
        }
    }
}

/// Into which compartments a context is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Division {
    /// One compartment that every member reads.
    Single,
    /// Everyone, staff, and one for each person.
    Divided,
}

impl Division {
    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Single => 0,
            Self::Divided => 1,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Single),
            1 => Some(Self::Divided),
            _ => None,
        }
    }
}
