//! Contexts, members, devices and how to join.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which program answers, for which device and person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Version of the program.
    pub version: String,
    /// The device's public key, in hexadecimal.
    pub device: String,
    /// The person's identifier, in hexadecimal.
    pub user: String,
    /// The person's name, if it was given.
    pub name: Option<String>,
}

/// What a member may do, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the context; cannot be removed by admins.
    Owner,
    /// Manages members and devices.
    Admin,
    /// Runs the day's business.
    Manager,
    /// Takes part.
    Member,
    /// Looks on.
    Readonly,
}

/// A group that shares data: personal, partnership, club or school.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// Identifier, in hexadecimal.
    pub id: String,
    /// Its name; null until the first data has arrived.
    pub name: Option<String>,
    /// personal, partnership, club or school; null until the first data has arrived.
    pub kind: Option<String>,
    /// The role of this device's person; null if the person is no longer a member.
    pub role: Option<Role>,
    /// How many members.
    pub members: u64,
    /// How many devices.
    pub devices: u64,
}

/// The contexts of this device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContextList {
    /// The personal one first, then by name.
    pub contexts: Vec<Context>,
}

/// A context to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContext {
    /// Its name.
    #[schema(example = "Hangar 4 Flying Club")]
    pub name: String,
    /// personal, partnership, club or school.
    #[schema(example = "club")]
    pub kind: String,
}

/// An invitation to be made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// The role of who joins with it.
    pub role: Role,
    /// Named permissions: instructor, mechanic, dispatcher, billing, scheduler.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// How many may join with it, 1 to 1000.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    pub uses: u32,
    /// After how many seconds it lapses; null means a week.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
    /// A secret of one's own choice; null lets the program offer a strong one.
    #[serde(default)]
    pub secret: Option<String>,
}

/// Prints the fields that are no secret: a link opens half of an invite, the secret the other.
macro_rules! debug_without_secrets {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_secrets! {
    NewInvite { role, permissions, uses, lifetime_seconds }
    Invite { expires_at }
    NewJoin {}
}

fn one() -> u32 {
    1
}

/// An invitation. The link may be sent; the secret is spoken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// Where and whom to join.
    pub link: String,
    /// What only the invited person shall hear.
    pub secret: String,
    /// When it lapses.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A context to be joined.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJoin {
    /// The link of the invitation.
    pub link: String,
    /// The spoken secret.
    pub secret: String,
}

/// How far joining has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Join {
    /// The context to be joined.
    pub context: String,
    /// How far it has come.
    pub state: JoinState,
    /// One sentence for the person who waits.
    pub detail: String,
}

/// How far joining has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinState {
    /// Looking for a device of that context.
    Searching,
    /// The secret does not fit the link; nothing was kept.
    WrongSecret,
    /// The members' devices refuse it, for the reason in `detail`.
    Refused,
    /// This device is a member.
    Joined,
}

/// A person in a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The person's identifier, in hexadecimal.
    pub user: String,
    /// Name as the context knows it.
    pub name: Option<String>,
    /// What the person may do.
    pub role: Role,
    /// Named permissions.
    pub permissions: Vec<String>,
    /// Public keys of the person's devices, in hexadecimal.
    pub devices: Vec<String>,
    /// Whether it is this device's person.
    pub own: bool,
}

/// The members of one context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    /// Owners first, then by name.
    pub members: Vec<Member>,
}

/// What a member may do from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRights {
    /// The role.
    pub role: Role,
    /// Named permissions, instead of those before: instructor, mechanic, dispatcher, billing, scheduler.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// How an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// Somebody may still join with it.
    Open,
    /// It was withdrawn, or new keys were made since.
    Void,
    /// Its time is over.
    Expired,
    /// As many joined as may.
    UsedUp,
}

/// An invitation as the members see it; the link and the secret are nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownInvite {
    /// Its key, in hexadecimal.
    pub key: String,
    /// Who made it.
    pub by: String,
    /// What they are called.
    pub by_name: Option<String>,
    /// The role of who joins with it.
    pub role: Role,
    /// Named permissions of who joins with it.
    pub permissions: Vec<String>,
    /// When it lapses; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// How many may join.
    pub uses: u32,
    /// How many have joined.
    pub joined: u64,
    /// How it stands.
    pub state: InviteState,
}

/// The invitations of one context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteList {
    /// Open ones first.
    pub invites: Vec<KnownInvite>,
}

/// What an act on a context or a device changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// How many memberships, keys, invitations or groups; 0 if everything stood like this already.
    pub changed: u64,
}

/// An installation that belongs to a member of some context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Public key, in hexadecimal.
    pub key: String,
    /// Its person.
    pub user: String,
    /// The person's name.
    pub name: Option<String>,
    /// The contexts it belongs to.
    pub contexts: Vec<String>,
    /// Whether it is the one that answers.
    pub own: bool,
    /// Whether it was shut out.
    pub revoked: bool,
}

/// The devices this one knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceList {
    /// This one first.
    pub devices: Vec<Device>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_link_nor_secret_is_printed() {
        let join = NewJoin {
            link: "aeroedge://join?k=half".into(),
            secret: "whispered".into(),
        };
        let printed = format!("{join:?}");
        assert!(
            !printed.contains("half") && !printed.contains("whispered"),
            "{printed}"
        );
    }
}
