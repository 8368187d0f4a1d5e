//! Groups: founding one, inviting into it, joining it, and who is in it.
//!
//! Who is a member follows from the signed history alone. Names, which never stand there, are ordinary records of the
//! group and may be missing until they have arrived.

mod devices;
mod error;
mod leaving;
mod pairing;
mod people;

pub use devices::{DeviceView, devices, resolve_device, revoke};
pub use error::ContextError;
pub use leaving::{ended, keep_own};
pub use pairing::{
    PairingOffer, check_pairing_link, confirm_pairing, end_pairing, offer_pairing, pairing_state,
    shown_digits, start_pairing,
};
pub use people::{
    InviteState, InviteView, invites, leave, remove, resolve_both, resolve_member, rotate,
    set_role, void_invites,
};

use std::collections::BTreeMap;

use aeroedge_aviation_store::NewRow;
use aeroedge_aviation_store::contexts::{self as store, MemberCard, Profile};
use aeroedge_aviation_store::tables::Audience as TableAudience;
use aeroedge_device::{ContextSummary, Device, Invitation, MembershipError};
use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use zeroize::Zeroizing;

use crate::installation::audience_of;
use crate::write;

/// Longest name of a group or a person, in characters.
const NAME_LENGTH_MAX: usize = 100;
/// Fewest characters of an id that name it.
const ID_PREFIX_MIN: usize = 6;

/// What kind of group it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// One pilot's own.
    Personal,
    /// Owners of an aircraft.
    Partnership,
    /// A flying club.
    Club,
    /// A flight school.
    School,
}

impl ContextKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Personal, Self::Partnership, Self::Club, Self::School];

    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Partnership => "partnership",
            Self::Club => "club",
            Self::School => "school",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// A school keeps each student's records from the others; in the smaller groups everybody reads everything.
    const fn division(self) -> Division {
        match self {
            Self::Personal | Self::Partnership | Self::Club => Division::Single,
            Self::School => Division::Divided,
        }
    }

    const fn tier(self) -> &'static str {
        match self {
            Self::Personal => "solo",
            Self::Partnership | Self::Club => "small_group",
            Self::School => "organization",
        }
    }
}

/// A group to be founded.
#[derive(Debug, Clone)]
pub struct NewContext {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: ContextKind,
    /// Where it is at home.
    pub home_airport: Option<String>,
    /// What this device's person is called in it; `None` takes the name from the personal logbook.
    pub own_name: Option<String>,
}

/// An invitation to be made.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// What who joins may do.
    pub role: Role,
    /// Further permissions by name.
    pub permissions: Vec<String>,
    /// How many may join.
    pub uses: u32,
    /// For how many milliseconds it is good.
    pub lifetime_millis: u64,
    /// A secret of one's own choice; `None` has one made.
    pub secret: Option<Zeroizing<String>>,
}

/// An invitation: the link may be sent, the secret is spoken.
#[derive(Debug)]
pub struct Invite {
    /// Where and whom to join.
    pub link: String,
    /// What only the invited person shall hear.
    pub secret: Zeroizing<String>,
    /// Until when both are good.
    pub expires: Millis,
}

/// A group as its member sees it.
#[derive(Debug, Clone)]
pub struct ContextView {
    /// Its id.
    pub id: ContextId,
    /// Its name, once it has arrived.
    pub name: Option<String>,
    /// What it is for, once that has arrived.
    pub kind: Option<String>,
    /// What this device's person may do.
    pub role: Option<Role>,
    /// Members that are not removed.
    pub members: u64,
    /// Devices that are not shut out.
    pub devices: u64,
}

/// A person in a group.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// Who.
    pub user: UserId,
    /// Name as the group knows it.
    pub name: Option<String>,
    /// What they may do.
    pub rights: Rights,
    /// Their devices.
    pub devices: Vec<DeviceKey>,
    /// Whether it is this device's person.
    pub own: bool,
}

/// Founds a group; this device's person owns it.
pub fn create(
    device: &mut Device,
    new: &NewContext,
    now: Millis,
) -> Result<ContextId, ContextError> {
    let name = checked_name(&new.name)?;
    let own_name = match &new.own_name {
        Some(own_name) => Some(checked_name(own_name)?),
        None => own_name(device)?,
    };
    let profile = Profile {
        name: Some(name),
        kind: Some(new.kind.as_str().to_owned()),
        tier: Some(new.kind.tier().to_owned()),
        home_airport: new.home_airport.as_deref().map(str::to_uppercase),
    };
    let user = device.user();
    let card = card_of(user, own_name, Role::Owner, now);
    let id = write::found(
        device,
        new.kind.division(),
        new.kind.as_str(),
        now,
        |connection, context| {
            let (profile_id, member_id) = (context.to_string(), user.to_string());
            let row = |id| NewRow {
                id,
                compartment: Audience::Everyone.compartment(context),
                created_by: Some(user),
                now,
            };
            store::insert_profile(connection, row(&profile_id), &profile)?;
            store::insert_member(connection, row(&member_id), &card)
        },
    )?;
    Ok(id)
}

fn card_of(user: UserId, name: Option<String>, role: Role, now: Millis) -> MemberCard {
    MemberCard {
        user: Some(user),
        name,
        role: Some(role.name().to_owned()),
        joined_at: Some(now),
        status: Some("active".to_owned()),
    }
}

/// Tells a group what this device's person is called, unless it knows. Does nothing for who may not write there.
pub fn introduce(
    device: &mut Device,
    context: ContextId,
    own_name: Option<String>,
    now: Millis,
) -> Result<(), ContextError> {
    let user = device.user();
    let everyone = Audience::Everyone.compartment(context);
    let known = store::members(device.connection(), &[everyone])?
        .iter()
        .any(|card| card.value.user == Some(user));
    let Some(rights) = own_rights(device, context) else {
        return Ok(());
    };
    if known || rights.role == Role::ReadOnly {
        return Ok(());
    }
    let name = match own_name {
        Some(name) => Some(name),
        None => self::own_name(device)?,
    };
    let card = card_of(user, name, rights.role, now);
    // The same on every device of this person, so that two of them write one row.
    let id = user.to_string();
    write::write(device, now, |connection| {
        let row = NewRow {
            id: &id,
            compartment: everyone,
            created_by: Some(user),
            now,
        };
        store::insert_member(connection, row, &card)
    })?;
    Ok(())
}

/// Introduces this device's person to every group that does not know them yet.
pub fn introduce_everywhere(device: &mut Device, now: Millis) -> Result<(), ContextError> {
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    for context in contexts {
        introduce(device, context, None, now)?;
    }
    Ok(())
}

/// Makes an invitation.
pub fn invite(
    device: &mut Device,
    context: &str,
    new: &NewInvite,
    now: Millis,
) -> Result<Invite, ContextError> {
    let id = resolve(device, context)?;
    let view = view(device, id)?;
    if view.kind.as_deref() == Some(ContextKind::Personal.as_str()) {
        return Err(ContextError::Personal);
    }
    let secret = match &new.secret {
        Some(chosen) => Secret::chosen(chosen)?,
        None => Secret::generate(&mut rand::rng()),
    };
    let rights = people::rights_of(new.role, &new.permissions)?;
    let expires = Millis(now.0.saturating_add(new.lifetime_millis));
    let invitation = Invitation {
        name: view.name.unwrap_or_default(),
        rights,
        expires,
        uses: new.uses,
        hints: Vec::new(),
    };
    let link = device.invite(
        id,
        &invitation,
        &secret,
        Stretch::FORMAT,
        now,
        &mut rand::rng(),
    )?;
    Ok(Invite {
        link: link.to_text(),
        secret: secret.spoken(),
        expires,
    })
}

/// Reads a link and refuses one that leads to a group this device is in already.
pub fn check_link(device: &Device, link: &str) -> Result<InviteLink, ContextError> {
    let link = InviteLink::parse(link)?;
    if device.roster(link.context).is_some() {
        return Err(MembershipError::AlreadyMember.into());
    }
    Ok(link)
}

/// Begins to join; whoever is met and knows the invitation lets this device in.
pub fn start_join(
    device: &mut Device,
    link: &str,
    secret: &str,
) -> Result<InviteLink, ContextError> {
    let link = check_link(device, link)?;
    device.start_join(link.clone(), Secret::typed(secret), Stretch::FORMAT)?;
    Ok(link)
}

/// The groups of this device, the personal one first, then by name.
pub fn list(device: &Device) -> Result<Vec<ContextView>, ContextError> {
    let mut views = device
        .contexts()
        .into_iter()
        .map(|summary| view_of(device, &summary))
        .collect::<Result<Vec<_>, _>>()?;
    views.sort_by(|one, other| {
        let rank = |view: &ContextView| view.kind.as_deref() != Some("personal");
        (rank(one), &one.name, one.id).cmp(&(rank(other), &other.name, other.id))
    });
    Ok(views)
}

/// One group.
pub fn view(device: &Device, context: ContextId) -> Result<ContextView, ContextError> {
    let summary = device
        .contexts()
        .into_iter()
        .find(|summary| summary.id == context)
        .ok_or_else(|| ContextError::Unknown(context.to_string()))?;
    view_of(device, &summary)
}

fn view_of(device: &Device, summary: &ContextSummary) -> Result<ContextView, ContextError> {
    let everyone = Audience::Everyone.compartment(summary.id);
    let profile = store::profiles(device.connection(), &[everyone])?
        .into_iter()
        .next()
        .map(|record| record.value)
        .unwrap_or_default();
    let devices = device.roster(summary.id).map_or(0, |roster| {
        roster
            .devices()
            .filter(|device| device.revoked.is_none())
            .count()
    });
    Ok(ContextView {
        id: summary.id,
        name: profile.name,
        kind: profile
            .kind
            .or_else(|| (!summary.purpose.is_empty()).then(|| summary.purpose.clone())),
        role: summary.rights.as_ref().map(|rights| rights.role),
        members: summary
            .members
            .iter()
            .filter(|member| member.is_active())
            .count() as u64,
        devices: devices as u64,
    })
}

/// The group that a person means: by id, the beginning of an id, a name, or the beginning of a name, whatever its case.
pub fn resolve(device: &Device, text: &str) -> Result<ContextId, ContextError> {
    let text = text.trim();
    let views = list(device)?;
    let wanted = text.to_lowercase();
    let by_id = |view: &ContextView| {
        wanted.len() >= ID_PREFIX_MIN && view.id.to_string().starts_with(&wanted)
    };
    let named = |view: &ContextView| view.name.as_deref().unwrap_or_default().to_lowercase();
    let exact: Vec<&ContextView> = views
        .iter()
        .filter(|view| view.id.to_string() == wanted || named(view) == wanted)
        .collect();
    let close: Vec<&ContextView> = views
        .iter()
        .filter(|view| by_id(view) || (!wanted.is_empty() && named(view).starts_with(&wanted)))
        .collect();
    match (&exact[..], &close[..]) {
        ([one], _) | ([], [one]) => Ok(one.id),
        ([], []) => Err(ContextError::Unknown(text.to_owned())),
        _ => Err(ContextError::Ambiguous(text.to_owned())),
    }
}

/// The personal logbook of this device's person.
pub fn personal(device: &Device) -> Result<ContextId, ContextError> {
    device
        .contexts()
        .iter()
        .find(|context| context.purpose == ContextKind::Personal.as_str())
        .map(|context| context.id)
        .ok_or_else(|| ContextError::Unknown(ContextKind::Personal.as_str().to_owned()))
}

/// The members of a group, those with more to say first, then by name.
pub fn members(device: &Device, context: ContextId) -> Result<Vec<MemberView>, ContextError> {
    let names = names(device, &[context])?;
    let roster = device
        .roster(context)
        .ok_or_else(|| ContextError::Unknown(context.to_string()))?;
    let mut members: Vec<MemberView> = roster
        .members()
        .filter(|member| member.is_active())
        .map(|member| MemberView {
            user: member.user,
            name: names.get(&member.user).cloned(),
            rights: member.rights.clone(),
            devices: roster
                .devices()
                .filter(|device| device.user == member.user && device.revoked.is_none())
                .map(|device| device.key)
                .collect(),
            own: member.user == device.user(),
        })
        .collect();
    let rank = |role: Role| Role::ALL.iter().position(|known| *known == role);
    members.sort_by(|one, other| {
        (rank(one.rights.role), &one.name, one.user).cmp(&(
            rank(other.rights.role),
            &other.name,
            other.user,
        ))
    });
    Ok(members)
}

/// What people are called, as the groups know it.
pub fn names(
    device: &Device,
    contexts: &[ContextId],
) -> Result<BTreeMap<UserId, String>, ContextError> {
    let compartments: Vec<CompartmentId> = contexts
        .iter()
        .map(|context| Audience::Everyone.compartment(*context))
        .collect();
    let cards = store::members(device.connection(), &compartments)?;
    Ok(cards
        .into_iter()
        .filter_map(|card| Some((card.value.user?, card.value.name?)))
        .collect())
}

/// What this device's person is called.
pub fn own_name(device: &Device) -> Result<Option<String>, ContextError> {
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    Ok(names(device, &contexts)?.remove(&device.user()))
}

/// Where a new row of a table about this device's person lives in a group.
pub(crate) fn compartment_for(
    device: &Device,
    context: ContextId,
    table: &str,
) -> Result<CompartmentId, ContextError> {
    let roster = device
        .roster(context)
        .ok_or_else(|| ContextError::Unknown(context.to_string()))?;
    let audience = match (roster.division(), audience_of(table)) {
        (Division::Single, _) | (_, TableAudience::Everyone) => Audience::Everyone,
        (_, TableAudience::Staff) => Audience::Staff,
        (_, TableAudience::PersonAndStaff | TableAudience::OfItsOwner) => {
            Audience::Person(device.user())
        }
    };
    Ok(audience.compartment(context))
}

/// The compartments of some groups that this device reads, with the group of each.
pub(crate) fn readable(
    device: &Device,
    contexts: &[ContextId],
) -> BTreeMap<CompartmentId, ContextId> {
    contexts
        .iter()
        .filter_map(|context| Some((*context, device.roster(*context)?)))
        .flat_map(|(context, roster)| {
            roster
                .readable_by(device.user())
                .map(move |compartment| (compartment.id, context))
        })
        .collect()
}

/// The compartments of all groups that this device reads, with the group of each.
pub(crate) fn readable_everywhere(device: &Device) -> BTreeMap<CompartmentId, ContextId> {
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    readable(device, &contexts)
}

fn own_rights(device: &Device, context: ContextId) -> Option<Rights> {
    let member = device.roster(context)?.member(device.user())?;
    member.is_active().then(|| member.rights.clone())
}

fn checked_name(name: &str) -> Result<String, ContextError> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        return Err(ContextError::Name);
    }
    Ok(name.to_owned())
}
