//! `aeroedge context ...`: groups, who is in them and how to join.

use std::fmt::Write as _;
use std::time::Duration;

use aeroedge_api::types::{
    Context, ContextList, Invite, Join, JoinState, MemberList, NewContext, NewInvite, NewJoin,
    Role as ApiRole,
};
use aeroedge_app::explain::Kind;
use clap::ValueEnum;
use tokio::time::{Instant, sleep};

use super::{Bench, people};
use crate::arguments::{ContextCommand, CreateArguments, InviteArguments, JoinArguments, Role};
use crate::failure::Failure;
use crate::output::{short, table};
use crate::secrets;

const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn run(command: &ContextCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        ContextCommand::Create(arguments) => create(arguments, bench).await,
        ContextCommand::Invite(arguments) => invite(arguments, bench).await,
        ContextCommand::Join(arguments) => join(arguments, bench).await,
        ContextCommand::List => {
            let list = bench.open()?.desk().contexts()?;
            bench.output.result(&list, describe_contexts)
        }
        ContextCommand::Members { context } => {
            let list = bench.open()?.desk().members(context)?;
            bench.output.result(&list, describe_members)
        }
        ContextCommand::Remove(arguments) => people::remove(arguments, bench).await,
        ContextCommand::Role(arguments) => people::change_role(arguments, bench).await,
        ContextCommand::Rotate { context } => people::rotate(context, bench).await,
        ContextCommand::Leave(arguments) => people::leave(arguments, bench).await,
        ContextCommand::Invites(command) => people::invites(command, bench).await,
    }
}

async fn create(arguments: &CreateArguments, bench: &Bench) -> Result<(), Failure> {
    let new = NewContext {
        name: arguments.name.clone(),
        kind: word(arguments.kind),
    };
    let mut office = bench.open()?;
    let created = office
        .desk()
        .create_context(&new, arguments.home_airport.as_deref())?;
    bench.written(&mut office).await?;
    bench.output.result(&created, |created| {
        format!(
            "{} is founded, context {}",
            arguments.name,
            short(&created.id)
        )
    })
}

async fn invite(arguments: &InviteArguments, bench: &Bench) -> Result<(), Failure> {
    let chosen = if arguments.choose_secret {
        Some(secrets::choose(
            "Secret to speak",
            "leave --choose-secret away and have one made",
        )?)
    } else {
        secrets::given(&arguments.secret)?
    };
    let new = NewInvite {
        role: role(arguments.role),
        permissions: arguments
            .permissions
            .iter()
            .map(|given| word(*given))
            .collect(),
        uses: arguments.uses,
        lifetime_seconds: Some(arguments.expires.as_secs()),
        secret: chosen.as_deref().cloned(),
    };
    let mut office = bench.open()?;
    let invite = office.desk().invite(&arguments.context, &new)?;
    bench.written(&mut office).await?;
    bench.output.result(&invite, |invite: &Invite| {
        let mut text = format!(
            "Send this link:\n\n  {}\n\nTell this secret by another way, best by voice:\n\n  {}\n",
            invite.link, invite.secret
        );
        if let Some(expires) = invite.expires_at {
            let _ = write!(text, "\nBoth are good until {expires:.0}.");
        }
        text
    })
}

async fn join(arguments: &JoinArguments, bench: &Bench) -> Result<(), Failure> {
    // The link is checked before anybody is asked for a secret.
    let mut office = bench.open()?;
    office.desk().check_link(&arguments.link)?;
    let secret = secrets::invitation(&arguments.secret)?;
    let new = NewJoin {
        link: arguments.link.clone(),
        secret: secret.to_string(),
    };
    let node = bench.node(office).await?;
    let spinner = bench
        .output
        .spinner("looking for a device of the group on this network");
    let joined = wait_for_join(&node, &new, arguments.wait.timeout).await;
    spinner.finish_and_clear();
    node.end().await;
    let joined = joined?;
    bench.output.result(&joined, |joined| {
        if joined.detail.is_empty() {
            format!("joined context {}", short(&joined.context))
        } else {
            joined.detail.clone()
        }
    })
}

async fn wait_for_join(
    node: &super::NodeAccess,
    new: &NewJoin,
    patience: Duration,
) -> Result<Join, Failure> {
    let began = Instant::now();
    let mut join = node.join(new).await?;
    loop {
        match join.state {
            JoinState::Joined => return Ok(join),
            JoinState::WrongSecret => {
                return Err(Failure::new(
                    Kind::Refused,
                    "the secret does not belong to this link",
                    "ask for the secret again and retry; nothing was kept",
                ));
            }
            JoinState::Refused => {
                return Err(Failure::new(
                    Kind::Refused,
                    format!("the group refuses: {}", join.detail),
                    "ask for a new invitation",
                ));
            }
            JoinState::Searching => {}
        }
        if began.elapsed() > patience {
            node.cancel_join(&join.context).await?;
            return Err(Failure::new(
                Kind::Unreachable,
                format!(
                    "no device of the group was met within {} s",
                    patience.as_secs()
                ),
                "start `aeroedge up` on a device of the group in this network, then retry; nothing was kept",
            ));
        }
        sleep(LOOK_AGAIN).await;
        join = node.join_state(&join.context).await?;
    }
}

pub(super) fn word(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

pub(super) const fn role(role: Role) -> ApiRole {
    match role {
        Role::Owner => ApiRole::Owner,
        Role::Admin => ApiRole::Admin,
        Role::Manager => ApiRole::Manager,
        Role::Member => ApiRole::Member,
        Role::Readonly => ApiRole::Readonly,
    }
}

pub(super) const fn role_word(role: ApiRole) -> &'static str {
    match role {
        ApiRole::Owner => "owner",
        ApiRole::Admin => "admin",
        ApiRole::Manager => "manager",
        ApiRole::Member => "member",
        ApiRole::Readonly => "readonly",
    }
}

fn describe_contexts(list: &ContextList) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = list.contexts.iter().map(|context: &Context| {
        [
            short(&context.id).to_owned(),
            or_dash(&context.name),
            or_dash(&context.kind),
            context.role.map_or("none", role_word).to_owned(),
            context.members.to_string(),
            context.devices.to_string(),
        ]
    });
    table(
        &["id", "name", "kind", "your role", "members", "devices"],
        &[4, 5],
        rows,
    )
}

fn describe_members(list: &MemberList) -> String {
    let rows = list.members.iter().map(|member| {
        [
            short(&member.user).to_owned(),
            member.name.clone().unwrap_or_else(|| "-".to_owned()),
            role_word(member.role).to_owned(),
            member.permissions.join(", "),
            member.devices.len().to_string(),
            if member.own { "you" } else { "" }.to_owned(),
        ]
    });
    table(
        &["id", "name", "role", "permissions", "devices", ""],
        &[4],
        rows,
    )
}
