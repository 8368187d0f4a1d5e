//! `aeroedge context remove | role | rotate | leave | invites` and `aeroedge device ...`: who is in, and with what.

use aeroedge_api::types::{Changed, DeviceList, InviteList, InviteState, NewRights};

use super::contexts::{role, role_word, word};
use super::{Bench, pairing};
use crate::arguments::{
    DeviceCommand, InvitesCommand, LeaveArguments, RemoveArguments, RoleArguments,
};
use crate::failure::Failure;
use crate::output::{short, table};
use crate::secrets::consent;

pub(super) async fn remove(arguments: &RemoveArguments, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let desk = office.desk();
    let (group, member) =
        aeroedge_app::contexts::resolve_both(desk.device, &arguments.context, &arguments.member)?;
    let group = aeroedge_app::contexts::view(desk.device, group)?;
    let name = member.name.unwrap_or_else(|| member.user.to_string());
    let group = group.name.unwrap_or_else(|| group.id.to_string());
    consent(
        &format!("Put {name} out of {group}? What they wrote so far stays."),
        arguments.consent.yes,
    )?;
    let changed = office
        .desk()
        .remove_member(&arguments.context, &member.user.to_string())?;
    bench.written(&mut office).await?;
    bench.output.result(&changed, |_| {
        format!("{name} is out of {group}; new keys are in use")
    })
}

pub(super) async fn change_role(arguments: &RoleArguments, bench: &Bench) -> Result<(), Failure> {
    let rights = NewRights {
        role: role(arguments.role),
        permissions: arguments
            .permissions
            .iter()
            .map(|given| word(*given))
            .collect(),
    };
    let mut office = bench.open()?;
    let changed = office
        .desk()
        .set_role(&arguments.context, &arguments.member, &rights)?;
    bench.written(&mut office).await?;
    bench.output.result(&changed, |changed| {
        let with = if rights.permissions.is_empty() {
            String::new()
        } else {
            format!(" with {}", rights.permissions.join(", "))
        };
        let verb = if changed.changed > 0 {
            "is now"
        } else {
            "was already"
        };
        format!(
            "{} {verb} {}{with}",
            arguments.member,
            role_word(rights.role)
        )
    })
}

pub(super) async fn rotate(context: &str, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let changed = office.desk().rotate(context)?;
    bench.written(&mut office).await?;
    bench.output.result(&changed, |changed: &Changed| {
        format!(
            "made {} new keys; open invitations are void",
            changed.changed
        )
    })
}

pub(super) async fn leave(arguments: &LeaveArguments, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let desk = office.desk();
    let group = aeroedge_app::contexts::resolve(desk.device, &arguments.context)?;
    let view = aeroedge_app::contexts::view(desk.device, group)?;
    let name = view.name.unwrap_or_else(|| group.to_string());
    consent(
        &format!("Leave {name}? Your own flights stay in your personal logbook."),
        arguments.consent.yes,
    )?;
    let changed = office.desk().leave(&group.to_string())?;
    bench.written(&mut office).await?;
    bench.output.result(&changed, |changed: &Changed| {
        if changed.changed > 0 {
            format!("you have left {name}; your own flights are in your personal logbook")
        } else {
            format!("you were out of {name} already")
        }
    })
}

pub(super) async fn invites(command: &InvitesCommand, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    match command {
        InvitesCommand::List { context } => {
            let list = office.desk().invites(context)?;
            bench.output.result(&list, describe_invites)
        }
        InvitesCommand::Void {
            context, invite, ..
        } => {
            let changed = office.desk().void_invites(context, invite.as_deref())?;
            bench.written(&mut office).await?;
            bench
                .output
                .result(&changed, |changed: &Changed| match changed.changed {
                    0 => "no invitation was open".to_owned(),
                    1 => "1 invitation is withdrawn".to_owned(),
                    count => format!("{count} invitations are withdrawn"),
                })
        }
    }
}

pub(super) async fn devices(command: &DeviceCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        DeviceCommand::List => {
            let list = bench.open()?.desk().devices()?;
            bench.output.result(&list, describe_devices)
        }
        DeviceCommand::Add(arguments) => pairing::add(arguments, bench).await,
        DeviceCommand::Pair(arguments) => pairing::pair(arguments, bench).await,
        DeviceCommand::Revoke {
            device,
            consent: given,
        } => revoke(device, given.yes, bench).await,
    }
}

async fn revoke(device: &str, yes: bool, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let found = aeroedge_app::contexts::resolve_device(office.desk().device, device)?;
    let key = found.key.to_string();
    let of = found.name.unwrap_or_else(|| found.user.to_string());
    consent(
        &format!(
            "Shut out device {} of {of}, everywhere and for good?",
            short(&key)
        ),
        yes,
    )?;
    let changed = office.desk().revoke_device(&key)?;
    bench.written(&mut office).await?;
    bench
        .output
        .result(&changed, |changed: &Changed| match changed.changed {
            0 => format!("device {} was shut out already", short(&key)),
            1 => format!("device {} is shut out of 1 group", short(&key)),
            count => format!("device {} is shut out of {count} groups", short(&key)),
        })
}

fn describe_invites(list: &InviteList) -> String {
    let rows = list.invites.iter().map(|invite| {
        [
            short(&invite.key).to_owned(),
            invite.by_name.clone().unwrap_or_else(|| "-".to_owned()),
            role_word(invite.role).to_owned(),
            invite.permissions.join(", "),
            format!("{} of {}", invite.joined, invite.uses),
            invite
                .expires_at
                .map_or_else(|| "never".to_owned(), |expires| format!("{expires:.0}")),
            match invite.state {
                InviteState::Open => "open",
                InviteState::Void => "void",
                InviteState::Expired => "expired",
                InviteState::UsedUp => "used up",
            }
            .to_owned(),
        ]
    });
    table(
        &["key", "by", "role", "permissions", "joined", "lapses", ""],
        &[],
        rows,
    )
}

fn describe_devices(list: &DeviceList) -> String {
    let rows = list.devices.iter().map(|device| {
        [
            short(&device.key).to_owned(),
            device.name.clone().unwrap_or_else(|| "-".to_owned()),
            device.contexts.len().to_string(),
            match (device.own, device.revoked) {
                (true, _) => "this one",
                (false, true) => "shut out",
                (false, false) => "",
            }
            .to_owned(),
        ]
    });
    table(&["key", "of", "contexts", ""], &[2], rows)
}
