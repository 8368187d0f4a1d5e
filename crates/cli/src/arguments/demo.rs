//! `aeroedge demo`: its options.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Everything happens in a temporary folder that is removed at the end.\n\nExamples:\n  aeroedge demo\n  aeroedge demo --exit\n  aeroedge demo --logbook ~/Downloads/logbook.csv\n\nExits with 1 if anything it claims does not hold."
)]
pub(crate) struct DemoArguments {
    /// End by itself instead of keeping the page open
    #[arg(long)]
    pub(crate) exit: bool,
    /// Import your own ForeFlight export instead of a made-up one
    #[arg(long, value_name = "PATH", conflicts_with = "flights")]
    pub(crate) logbook: Option<PathBuf>,
    /// How many flights the made-up logbook has
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) flights: u32,
    /// Keep the folders of the three devices
    #[arg(long)]
    pub(crate) keep: bool,
}
