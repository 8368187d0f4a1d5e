//! Members and their rights: removing, leaving, other roles, new keys, and invitations that are still open.

use aeroedge_device::{Device, MembershipError};
use aeroedge_ids::{ContextId, InviteKey, Millis, UserId};
use aeroedge_log::control::{Permission, Rights, Role};
use aeroedge_log::roster::Invite as KnownInvite;

use super::{ContextError, ID_PREFIX_MIN, MemberView, leaving, members, names, personal, resolve};

/// An invitation as the members see it.
#[derive(Debug, Clone)]
pub struct InviteView {
    /// Its key: its name in the signed history.
    pub key: InviteKey,
    /// Who made it.
    pub by: UserId,
    /// What they are called.
    pub by_name: Option<String>,
    /// What who joins may do.
    pub rights: Rights,
    /// When it lapses; none never does.
    pub expires: Option<Millis>,
    /// How many may join.
    pub uses: u32,
    /// How many have joined.
    pub joined: u64,
    /// How it stands.
    pub state: InviteState,
}

/// How an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl InviteState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Void => "void",
            Self::Expired => "expired",
            Self::UsedUp => "used up",
        }
    }

    fn of(invite: &KnownInvite, now: Millis) -> Self {
        if !invite.voided.is_empty() {
            Self::Void
        } else if invite.joins.len() as u64 >= u64::from(invite.uses) {
            Self::UsedUp
        } else if invite.expires != Millis(0) && now > invite.expires {
            Self::Expired
        } else {
            Self::Open
        }
    }
}

/// The member that a person means: by id, the beginning of an id, a name, or the beginning of a name.
pub fn resolve_member(
    device: &Device,
    context: ContextId,
    text: &str,
) -> Result<MemberView, ContextError> {
    let wanted = text.trim().to_lowercase();
    let named = |member: &MemberView| member.name.as_deref().unwrap_or_default().to_lowercase();
    let members = members(device, context)?;
    let exact: Vec<&MemberView> = members
        .iter()
        .filter(|member| member.user.to_string() == wanted || named(member) == wanted)
        .collect();
    let close: Vec<&MemberView> = members
        .iter()
        .filter(|member| {
            (wanted.len() >= ID_PREFIX_MIN && member.user.to_string().starts_with(&wanted))
                || (!wanted.is_empty() && named(member).starts_with(&wanted))
        })
        .collect();
    match (&exact[..], &close[..]) {
        ([one], _) | ([], [one]) => Ok((*one).clone()),
        ([], []) => Err(ContextError::UnknownMember(text.trim().to_owned())),
        _ => Err(ContextError::AmbiguousMember(text.trim().to_owned())),
    }
}

/// Shuts a member out with all devices; what they wrote so far stays. Returns whether anything changed.
pub fn remove(
    device: &mut Device,
    context: ContextId,
    user: UserId,
    now: Millis,
) -> Result<bool, ContextError> {
    if user == device.user() {
        return leave(device, context, now);
    }
    Ok(device.remove_member(context, user, now, &mut rand::rng())?)
}

/// Ends this person's membership. Own flights are kept in the personal logbook first.
pub fn leave(device: &mut Device, context: ContextId, now: Millis) -> Result<bool, ContextError> {
    if personal(device).is_ok_and(|personal| personal == context) {
        return Err(ContextError::LeavesPersonal);
    }
    let is_last_owner = device.roster(context).is_some_and(|roster| {
        let mut owners = roster
            .members()
            .filter(|member| member.is_active() && member.rights.role == Role::Owner);
        matches!((owners.next(), owners.next()), (Some(only), None) if only.user == device.user())
    });
    if is_last_owner {
        return Err(MembershipError::LastOwner.into());
    }
    leaving::keep_own(device, context, now)?;
    Ok(device.leave(context, now, &mut rand::rng())?)
}

/// Gives a member another role and these permissions instead of those before. Returns whether anything changed.
pub fn set_role(
    device: &mut Device,
    context: ContextId,
    user: UserId,
    role: Role,
    permissions: &[String],
    now: Millis,
) -> Result<bool, ContextError> {
    let rights = rights_of(role, permissions)?;
    Ok(device.set_role(context, user, rights, now, &mut rand::rng())?)
}

/// Makes new keys for everything in a group that this device reads; every open invitation is void by it.
pub fn rotate(device: &mut Device, context: ContextId, now: Millis) -> Result<u64, ContextError> {
    Ok(device.rotate(context, now, &mut rand::rng())? as u64)
}

/// The invitations of a group that were not used up, the one that lapses last first.
pub fn invites(
    device: &Device,
    context: ContextId,
    now: Millis,
) -> Result<Vec<InviteView>, ContextError> {
    let names = names(device, &[context])?;
    let roster = device
        .roster(context)
        .ok_or_else(|| ContextError::Unknown(context.to_string()))?;
    let mut views: Vec<InviteView> = roster
        .invites()
        .map(|invite| InviteView {
            key: invite.key,
            by: invite.by,
            by_name: names.get(&invite.by).cloned(),
            rights: invite.rights.clone(),
            expires: (invite.expires != Millis(0)).then_some(invite.expires),
            uses: invite.uses,
            joined: invite.joins.len() as u64,
            state: InviteState::of(invite, now),
        })
        .collect();
    views.sort_by_key(|view| {
        (
            view.state != InviteState::Open,
            std::cmp::Reverse(view.expires),
            view.key,
        )
    });
    Ok(views)
}

/// Withdraws an invitation, named by its key or the beginning of it; `None` withdraws every open one. Returns how many were.
pub fn void_invites(
    device: &mut Device,
    context: ContextId,
    which: Option<&str>,
    now: Millis,
) -> Result<u64, ContextError> {
    let known = invites(device, context, now)?;
    let chosen: Vec<&InviteView> = match which {
        None => known
            .iter()
            .filter(|invite| invite.state == InviteState::Open)
            .collect(),
        Some(text) => {
            let wanted = text.trim().to_lowercase();
            let found: Vec<&InviteView> = known
                .iter()
                .filter(|invite| {
                    wanted.len() >= ID_PREFIX_MIN && invite.key.to_string().starts_with(&wanted)
                })
                .collect();
            match found[..] {
                [one] => vec![one],
                [] => return Err(ContextError::UnknownInvite(text.trim().to_owned())),
                _ => return Err(ContextError::AmbiguousInvite(text.trim().to_owned())),
            }
        }
    };
    let mut voided = 0;
    for invite in chosen {
        // A second withdrawal would say nothing new.
        if invite.state != InviteState::Void {
            device.void_invite(context, invite.key, now)?;
            voided += 1;
        }
    }
    Ok(voided)
}

/// A role with permissions by name.
pub(super) fn rights_of(role: Role, permissions: &[String]) -> Result<Rights, ContextError> {
    let mut rights = Rights::of(role);
    for name in permissions {
        let known = aeroedge_aviation::rights::Permission::from_word(name).is_some();
        let permission = Permission::new(name)
            .ok()
            .filter(|_| known)
            .ok_or_else(|| ContextError::Permission(name.clone()))?;
        rights.permissions.insert(permission);
    }
    Ok(rights)
}

/// The group and the member that a person means.
pub fn resolve_both(
    device: &Device,
    context: &str,
    member: &str,
) -> Result<(ContextId, MemberView), ContextError> {
    let context = resolve(device, context)?;
    Ok((context, resolve_member(device, context, member)?))
}
