//! The commands that look after an installation: set-up, exchange, import, history and copies.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// After the clock was ahead and is right again: write what it stamped with the future again at the present
    #[arg(long)]
    pub(crate) repair_clock: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aeroedge init --name 'Avery Example'\n  aeroedge --data /srv/club init --name 'Front Desk' --seal --passphrase-file /run/secrets/club"
)]
pub(crate) struct InitArguments {
    /// Your name, as others shall see it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Seal the keys of this device by a passphrase
    #[arg(long)]
    pub(crate) seal: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints an address with a token; open it in a browser on this computer.\n\nExamples:\n  aeroedge up\n  aeroedge up --api-port 8780 --lan-port 8770"
)]
pub(crate) struct UpArguments {
    /// Port of the page and the HTTP interface on this computer; 0 takes any [default: 8766, or any if that is taken]
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// Port at which other devices reach this one; 0 takes any [default: 8765, or any if that is taken]
    #[arg(long, value_name = "PORT")]
    pub(crate) lan_port: Option<u16>,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) until_input_ends: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices of all groups
    #[command(after_help = "Examples:\n  aeroedge device list\n  aeroedge device list --json")]
    List,
    /// Let a second device of yours in: shows a QR code and the same as text
    #[command(
        after_help = "Run this on a device that has your groups, and `aeroedge device pair` on the new one, in the same network. The code is good once and for ten minutes. Both devices show six digits; say yes only if they are the same. Running it again later hands over what you have joined since.\n\nExamples:\n  aeroedge device add\n  aeroedge device add --write-link /run/user/1000/pairing --yes"
    )]
    Add(AddDeviceArguments),
    /// Make this a second device of yours, with all your groups
    #[command(
        after_help = "Asks for the text that `aeroedge device add` shows on the other device. Makes the installation if there is none yet.\n\nExamples:\n  aeroedge device pair\n  aeroedge device pair --link-file /run/user/1000/pairing\n  wl-paste | aeroedge device pair --link-stdin"
    )]
    Pair(PairArguments),
    /// Shut out a device that was lost or given away, in every group; its person's others stay
    #[command(
        after_help = "Examples:\n  aeroedge device revoke 9c01d4\n  aeroedge device revoke 9c01d4 --yes"
    )]
    Revoke {
        /// Key of the device, or the beginning of it
        device: String,
        #[command(flatten)]
        consent: super::ConsentArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddDeviceArguments {
    /// Write the link to a new file that only you may read, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub(crate) write_link: Option<PathBuf>,
    /// Let the first device in without asking whether the digits are the same
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PairArguments {
    /// Read the link from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "link_stdin")]
    pub(crate) link_file: Option<PathBuf>,
    /// Read the link from the first line of standard input
    #[arg(long, conflicts_with = "passphrase_stdin")]
    pub(crate) link_stdin: bool,
    /// Seal the keys of this device by a passphrase
    #[arg(long)]
    pub(crate) seal: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Import a ForeFlight logbook export
    #[command(
        after_help = "A row that cannot be read never costs a good one; flights that are there already are recognised and left out.\n\nExamples:\n  aeroedge import foreflight logbook.csv --dry-run\n  aeroedge import foreflight logbook.csv\n  aeroedge import foreflight logbook.csv --context Hangar --rows all"
    )]
    Foreflight(ImportForeflightArguments),
    /// Take back a whole import
    #[command(
        after_help = "Examples:\n  aeroedge import undo\n  aeroedge import undo 0197f3a2-4c1e"
    )]
    Undo(ImportUndoArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ImportForeflightArguments {
    /// The file, as ForeFlight exports it
    pub(crate) file: PathBuf,
    /// Report what would happen, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The group that shall hold the flights [default: the personal logbook]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Time zone of the clock times in the file
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) zone: String,
    /// Which rows to report one by one
    #[arg(long, value_enum, default_value = "problems")]
    pub(crate) rows: ReportedRows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReportedRows {
    /// Those that were not imported as they stand
    Problems,
    /// Every one
    All,
    /// None
    None,
}

#[derive(Debug, Args)]
pub(crate) struct ImportUndoArguments {
    /// Id of the import, or the beginning of it [default: the last one]
    pub(crate) id: Option<String>,
    /// Remove also what was edited since
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SyncCommand {
    /// Say whether everything is exchanged, and what waits
    #[command(after_help = "Examples:\n  aeroedge sync status\n  aeroedge sync status --json")]
    Status,
    /// Exchange with whoever can be met, and wait until that is done
    #[command(
        after_help = "Examples:\n  aeroedge sync now\n  aeroedge sync now --timeout 2m\n\nExits with 5 if nobody was met in time."
    )]
    Now(WaitArguments),
    /// List the devices met
    #[command(after_help = "Examples:\n  aeroedge sync peers")]
    Peers,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArguments {
    /// How long to wait: 45s, 2m
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show every change of one row: who, when, what
    #[command(
        after_help = "Examples:\n  aeroedge audit show flight 0197f3a2-4c1e\n  aeroedge audit show aircraft 0197f3a2-4c1e --json"
    )]
    Show {
        /// The table, such as flight or aircraft
        table: String,
        /// Id of the row, or the beginning of it
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "The file is an ordinary SQLite database; FILE.json beside it says what is in it. Keys stay out unless asked for.\n\nExamples:\n  aeroedge export backup.db\n  aeroedge export backup.db --with-keys --key-passphrase-file phrase.txt"
)]
pub(crate) struct ExportArguments {
    /// Where to write it; must not exist
    pub(crate) file: PathBuf,
    /// Put this device's keys into the manifest, sealed by a passphrase, so that the copy can take part again
    #[arg(long)]
    pub(crate) with_keys: bool,
    /// Read the passphrase for those keys from a file instead of a prompt
    #[arg(long, value_name = "FILE", requires = "with_keys")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Checks the manifest first and never replaces an installation. The copy goes on under new writers, so it cannot contradict the device it came from.\n\nExamples:\n  aeroedge --data ~/restored restore backup.db\n  aeroedge --data ~/restored restore backup.db --key-file old/device.key"
)]
pub(crate) struct RestoreArguments {
    /// The exported file; its manifest FILE.json must be beside it
    pub(crate) file: PathBuf,
    /// The key file of the device, if the export carries no keys
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Read the passphrase of the exported keys from a file instead of a prompt
    #[arg(long, value_name = "FILE")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
}

/// Reads `45s`, `30m`, `12h` or `7d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and s, m, h or d, as in 45s or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds_per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    if number == 0 {
        return Err("must be more than nothing".to_owned());
    }
    Ok(Duration::from_secs(u64::from(number) * seconds_per_unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_hours(168)));
        for text in ["", "7", "d", "0s", "-1s", "1.5h", "7é", "99999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
