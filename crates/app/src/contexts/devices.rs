//! The devices of all groups, and shutting a lost one out.

use std::collections::BTreeMap;

use aeroedge_device::{Device, MembershipError};
use aeroedge_ids::{ContextId, DeviceKey, Millis, UserId};

use super::{ContextError, ID_PREFIX_MIN, names};

/// A device of some group.
#[derive(Debug, Clone)]
pub struct DeviceView {
    /// Its key.
    pub key: DeviceKey,
    /// Its person.
    pub user: UserId,
    /// The person's name.
    pub name: Option<String>,
    /// The groups it is in.
    pub contexts: Vec<ContextId>,
    /// Whether it is this one.
    pub own: bool,
    /// Whether it was shut out of every group.
    pub revoked: bool,
}

/// The devices of all groups, this one first.
pub fn devices(device: &Device) -> Result<Vec<DeviceView>, ContextError> {
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    let names = names(device, &contexts)?;
    let mut views: BTreeMap<DeviceKey, DeviceView> = BTreeMap::new();
    for context in contexts {
        let Some(roster) = device.roster(context) else {
            continue;
        };
        for known in roster.devices() {
            let view = views.entry(known.key).or_insert_with(|| DeviceView {
                key: known.key,
                user: known.user,
                name: names.get(&known.user).cloned(),
                contexts: Vec::new(),
                own: known.key == device.key(),
                revoked: true,
            });
            if known.revoked.is_none() {
                view.contexts.push(context);
                view.revoked = false;
            }
        }
    }
    let mut views: Vec<DeviceView> = views.into_values().collect();
    views.sort_by(|one, other| {
        (!one.own, &one.name, one.key).cmp(&(!other.own, &other.name, other.key))
    });
    Ok(views)
}

/// The device that a person means, by its key or the beginning of it.
pub fn resolve_device(device: &Device, text: &str) -> Result<DeviceView, ContextError> {
    let wanted = text.trim().to_lowercase();
    let mut found: Vec<DeviceView> = devices(device)?
        .into_iter()
        .filter(|view| wanted.len() >= ID_PREFIX_MIN && view.key.to_string().starts_with(&wanted))
        .collect();
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(ContextError::AmbiguousDevice(text.trim().to_owned())),
        (None, _) => Err(ContextError::UnknownDevice(text.trim().to_owned())),
    }
}

/// Shuts one device out of every group that this one is in too; its person's others stay. Returns how many groups it left.
///
/// It goes on past a group in which this person may not do it, and fails only if none could be left for that reason.
pub fn revoke(device: &mut Device, key: DeviceKey, now: Millis) -> Result<u64, ContextError> {
    if key == device.key() {
        return Err(ContextError::RevokesItself);
    }
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    let mut left = 0;
    let mut refused = None;
    for context in contexts {
        let is_there = device
            .roster(context)
            .is_some_and(|roster| roster.active_device(key).is_some());
        if !is_there {
            continue;
        }
        match device.revoke_device(context, key, now, &mut rand::rng()) {
            Ok(changed) => left += u64::from(changed),
            Err(error @ (MembershipError::NoRight | MembershipError::NotAMember)) => {
                refused = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match refused {
        Some(error) if left == 0 => Err(error.into()),
        _ => Ok(left),
    }
}
