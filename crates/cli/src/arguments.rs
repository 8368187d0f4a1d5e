//! Every word of the command line, with help and examples.
//!
//! No argument ever carries a secret: those come from a prompt, a file or standard input, because arguments are visible to
//! every program on the computer.

mod context;
mod demo;
mod flight;
mod work;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use context::{
    ConsentArguments, ContextCommand, CreateArguments, InviteArguments, InvitesCommand,
    JoinArguments, LeaveArguments, RemoveArguments, Role, RoleArguments, SecretArguments,
};
pub(crate) use demo::DemoArguments;
pub(crate) use flight::{
    AddFlightArguments, AircraftAddArguments, AircraftCommand, EditFlightArguments, FlightCommand,
    FlightFields, FlightFilterArguments, ListFlightArguments,
};
pub(crate) use work::{
    AddDeviceArguments, AuditCommand, DeviceCommand, DoctorArguments, ExportArguments,
    ImportCommand, ImportForeflightArguments, ImportUndoArguments, InitArguments, PairArguments,
    ReportedRows, RestoreArguments, SyncCommand, UpArguments, WaitArguments,
};

const EXAMPLES: &str = "\
Examples:
  aeroedge init --name 'Avery Example'
  aeroedge flight add --date 2026-05-14 --tail N738VU --from KPAO --to KSQL --total 1.4 --pic 1.4 --landings 3
  aeroedge import foreflight logbook.csv --dry-run
  aeroedge context create 'Hangar 4 Flying Club' --kind club
  aeroedge up

Exit codes:
  0  done
  1  failed, for a reason told on standard error
  2  the arguments or a value in them are wrong; nothing was changed
  3  what was named is not there
  4  refused: no right to it, a wrong secret, or a guard against losing data
  5  nobody answered in time
  6  the data is of a newer program, or damaged

With --json, results are one JSON document on standard output, and an error is
{\"error\":{\"code\":...,\"message\":...,\"advice\":...}} on standard error.";

/// One logbook on several devices, with nothing but a local network.
#[derive(Debug, Parser)]
#[command(name = "aeroedge", version, about, after_help = EXAMPLES, max_term_width = 100, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArguments {
    /// The data folder of the installation [default: aeroedge in the user's data folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "AEROEDGE_DATA",
        hide_env_values = true
    )]
    pub(crate) data: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase that seals this device's keys from a file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_stdin"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the passphrase that seals this device's keys from the first line of standard input
    #[arg(long, global = true)]
    pub(crate) passphrase_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an installation: keys, a database and a personal logbook
    Init(InitArguments),
    /// Run this device: meet the others, serve the page and the HTTP interface, until Ctrl-C
    Up(UpArguments),
    /// Clubs, schools, partnerships: groups that share data
    #[command(subcommand)]
    Context(ContextCommand),
    /// The devices of the groups this one belongs to
    #[command(subcommand)]
    Device(DeviceCommand),
    /// The logbook
    #[command(subcommand)]
    Flight(FlightCommand),
    /// The aircraft
    #[command(subcommand)]
    Aircraft(AircraftCommand),
    /// Take in other programs' files
    #[command(subcommand)]
    Import(ImportCommand),
    /// How this device stands with the others
    #[command(subcommand)]
    Sync(SyncCommand),
    /// Who changed what and when
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write a copy of everything to a file, with a manifest beside it
    Export(ExportArguments),
    /// Make an installation from an export
    Restore(RestoreArguments),
    /// Say what is wrong with this installation, and what to do
    #[command(
        after_help = "Examples:\n  aeroedge doctor\n  aeroedge --data /srv/club doctor --json\n\nExits with 1 if something must be done."
    )]
    Doctor(DoctorArguments),
    /// Show three devices of one club finding each other, on this computer
    Demo(DemoArguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.has_subcommands() {
                for inner in command.get_subcommands() {
                    check(inner, &path);
                }
            } else {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    help.contains("Examples:") && help.contains("aeroedge "),
                    "{path}"
                );
            }
        }
        check(&Arguments::command(), "");
    }

    #[test]
    fn no_option_takes_a_secret_as_its_value() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let secret = ["secret", "passphrase", "password", "token"]
                    .iter()
                    .any(|word| name.contains(word));
                if secret && argument.get_action().takes_values() {
                    assert!(name.ends_with("_file"), "{} --{name}", command.get_name());
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }
}
