//! Roles and permissions: coarse and stable, because they are baked into history.
//!
//! A role says what a member may do to the context itself. Permissions are words of the application; the only thing
//! this crate reads in them is that a member who has any belongs to staff.

use std::collections::BTreeSet;
use std::fmt;

use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};

/// What a member may do to the context. Ordered: a greater role may do all that a smaller one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads and writes nothing.
    ReadOnly,
    /// Reads and writes.
    Member,
    /// Also invites members.
    Manager,
    /// Also changes roles, removes members below owner and starts epochs at will.
    Admin,
    /// May do everything.
    Owner,
}

impl Role {
    /// Every role, from the smallest.
    pub const ALL: [Self; 5] = [
        Self::ReadOnly,
        Self::Member,
        Self::Manager,
        Self::Admin,
        Self::Owner,
    ];

    /// The word for it on screens and command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "readonly",
            Self::Member => "member",
            Self::Manager => "manager",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role that [`Role::name`] calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it may change, remove and shut out members of another role.
    pub fn outranks(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => other < Self::Owner,
            Self::Manager | Self::Member | Self::ReadOnly => false,
        }
    }

    /// Whether it may give these rights to others, by invite or by setting their role.
    pub fn may_grant(self, rights: &Rights) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => rights.role <= Self::Admin,
            Self::Manager => rights.role <= Self::Member && rights.permissions.is_empty(),
            Self::Member | Self::ReadOnly => false,
        }
    }

    fn code(self) -> u64 {
        self as u64
    }

    fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word of the application that a member's rights may depend on: 1 to 32 of `a` to `z`, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission(String);

/// The text is not a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use {0:?} as a permission: 1 to 32 of a to z, digits, _ and - are allowed")]
pub struct PermissionError(String);

impl Permission {
    /// The most permissions one member can have.
    pub const COUNT_MAX: usize = 16;

    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, PermissionError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PermissionError(text.chars().take(40).collect()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role with permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What may be done to the context.
    pub role: Role,
    /// What the application grants besides.
    pub permissions: BTreeSet<Permission>,
}

impl Rights {
    /// A role without permissions.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            permissions: BTreeSet::new(),
        }
    }

    /// Whether the holder reads the staff compartment: owners, admins, managers, and members with any permission.
    pub fn is_staff(&self) -> bool {
        self.role >= Role::Manager || (self.role == Role::Member && !self.permissions.is_empty())
    }

    /// Whether `self` allows something that `other` does not.
    pub(crate) fn exceeds(&self, other: &Self) -> bool {
        self.role > other.role || !self.permissions.is_subset(&other.permissions)
    }

    /// What both allow.
    pub(crate) fn limited_to(&self, other: &Self) -> Self {
        Self {
            role: self.role.min(other.role),
            permissions: self
                .permissions
                .intersection(&other.permissions)
                .cloned()
                .collect(),
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.uint(self.role.code());
        writer.array(self.permissions.len());
        for permission in &self.permissions {
            writer.text(permission.as_str());
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = Role::from_code(reader.uint()?).ok_or(DecodeError::OutOfRange("role"))?;
        let mut permissions = Vec::new();
        for _ in 0..reader.array_up_to(Permission::COUNT_MAX, "number of permissions")? {
            let permission = Permission::new(reader.text()?)
                .map_err(|_| DecodeError::Expected("a permission"))?;
            permissions.push(permission);
        }
        if !strictly_ascending(&permissions) {
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self {
            role,
            permissions: permissions.into_iter().collect(),
        })
    }
}
