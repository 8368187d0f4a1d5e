//! `aeroedge context ...`: groups and how to join them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::WaitArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Found a group; its founder is its owner
    #[command(
        after_help = "Examples:\n  aeroedge context create 'Hangar 4 Flying Club' --kind club --home-airport KPAO\n  aeroedge context create 'Three Partners' --kind partnership"
    )]
    Create(CreateArguments),
    /// Invite somebody: prints a link to send and a secret to speak
    #[command(
        after_help = "The link may travel by e-mail or chat; tell the secret by another way. Neither is of use without the other.\n\nExamples:\n  aeroedge context invite 'Hangar 4 Flying Club'\n  aeroedge context invite Hangar --role admin --expires 2d\n  aeroedge context invite Hangar --permission instructor --uses 3 --secret-file spoken.txt"
    )]
    Invite(InviteArguments),
    /// Join a group with a link and the secret that was spoken
    #[command(
        after_help = "Waits until some device of the group is met; any of them will do.\n\nExamples:\n  aeroedge context join 'aeroedge://join?...'\n  aeroedge context join 'aeroedge://join?...' --secret-file spoken.txt --timeout 2m\n  pass show club | aeroedge context join 'aeroedge://join?...' --secret-stdin"
    )]
    Join(JoinArguments),
    /// List the groups of this device
    #[command(after_help = "Examples:\n  aeroedge context list\n  aeroedge context list --json")]
    List,
    /// Put a member out of a group, with all devices
    #[command(
        after_help = "What the member wrote so far stays; new keys are made for everything the member could read.\n\nExamples:\n  aeroedge context remove Hangar 'Robin Example'\n  aeroedge context remove Hangar 4f1d22 --yes"
    )]
    Remove(RemoveArguments),
    /// Give a member another role and other permissions
    #[command(
        after_help = "The permissions named are the ones the member has afterwards; none named means none.\n\nExamples:\n  aeroedge context role Hangar Robin manager\n  aeroedge context role School Robin member --permission instructor --permission billing"
    )]
    Role(RoleArguments),
    /// Make new keys for a group
    #[command(
        after_help = "For when a key may have been seen by others. Every open invitation becomes void.\n\nExamples:\n  aeroedge context rotate Hangar"
    )]
    Rotate {
        /// Name, beginning of the name, or id of the group
        context: String,
    },
    /// Leave a group; your own flights stay in your personal logbook
    #[command(
        after_help = "Examples:\n  aeroedge context leave Hangar\n  aeroedge context leave Hangar --yes"
    )]
    Leave(LeaveArguments),
    /// Invitations that were made, and withdrawing them
    #[command(subcommand)]
    Invites(InvitesCommand),
    /// List the members of a group
    #[command(after_help = "Examples:\n  aeroedge context members Hangar")]
    Members {
        /// Name, beginning of the name, or id of the group
        context: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvitesCommand {
    /// List the invitations of a group; links and secrets are kept nowhere
    #[command(after_help = "Examples:\n  aeroedge context invites list Hangar")]
    List {
        /// Name, beginning of the name, or id of the group
        context: String,
    },
    /// Withdraw an invitation, or all of them
    #[command(
        after_help = "Examples:\n  aeroedge context invites void Hangar 9c01d4\n  aeroedge context invites void Hangar --all"
    )]
    Void {
        /// Name, beginning of the name, or id of the group
        context: String,
        /// Key of the invitation, or the beginning of it
        #[arg(required_unless_present = "all")]
        invite: Option<String>,
        /// Withdraw every one that is open
        #[arg(long, conflicts_with = "invite")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Name, beginning of the name, or id of the group
    pub(crate) context: String,
    /// Name, beginning of the name, or id of the member
    pub(crate) member: String,
    #[command(flatten)]
    pub(crate) consent: ConsentArguments,
}

#[derive(Debug, Args)]
pub(crate) struct LeaveArguments {
    /// Name, beginning of the name, or id of the group
    pub(crate) context: String,
    #[command(flatten)]
    pub(crate) consent: ConsentArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RoleArguments {
    /// Name, beginning of the name, or id of the group
    pub(crate) context: String,
    /// Name, beginning of the name, or id of the member
    pub(crate) member: String,
    /// What the member may do from now on
    #[arg(value_enum)]
    pub(crate) role: Role,
    /// A further permission; may be repeated
    #[arg(long = "permission", value_enum, value_name = "PERMISSION")]
    pub(crate) permissions: Vec<Permission>,
}

/// For what cannot be undone.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentArguments {
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Its name
    pub(crate) name: String,
    /// What kind of group it is
    #[arg(long, value_enum, default_value = "club")]
    pub(crate) kind: ContextKind,
    /// Where it is at home
    #[arg(long, value_name = "AIRPORT")]
    pub(crate) home_airport: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextKind {
    /// One pilot's own
    Personal,
    /// Owners of an aircraft
    Partnership,
    /// A flying club
    Club,
    /// A flight school
    School,
}

#[derive(Debug, Args)]
pub(crate) struct InviteArguments {
    /// Name, beginning of the name, or id of the group
    pub(crate) context: String,
    /// What who joins may do
    #[arg(long, value_enum, default_value = "member")]
    pub(crate) role: Role,
    /// A further permission; may be repeated
    #[arg(long = "permission", value_enum, value_name = "PERMISSION")]
    pub(crate) permissions: Vec<Permission>,
    /// When the invitation lapses: 30m, 12h, 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = super::work::parse_duration)]
    pub(crate) expires: std::time::Duration,
    /// How many may join with it
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) uses: u32,
    /// Choose the secret yourself at a prompt instead of having one made
    #[arg(long, conflicts_with_all = ["secret_file", "secret_stdin"])]
    pub(crate) choose_secret: bool,
    #[command(flatten)]
    pub(crate) secret: SecretArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Holds the group; admins cannot remove an owner
    Owner,
    /// Manages members and devices
    Admin,
    /// Runs the day's business
    Manager,
    /// Takes part
    Member,
    /// Looks on
    Readonly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Permission {
    Instructor,
    Mechanic,
    Dispatcher,
    Billing,
    Scheduler,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// The link of the invitation
    pub(crate) link: String,
    #[command(flatten)]
    pub(crate) secret: SecretArguments,
    #[command(flatten)]
    pub(crate) wait: WaitArguments,
}

/// Where a secret comes from, if not from a prompt.
#[derive(Debug, Clone, Args)]
pub(crate) struct SecretArguments {
    /// Read the secret from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Read the secret from the first line of standard input
    #[arg(long, conflicts_with = "passphrase_stdin")]
    pub(crate) secret_stdin: bool,
}
