//! What each command does: open the installation, call the use case, print.
//!
//! A command works the same whether a node runs on the data folder or not. It writes to the database itself, makes that
//! durable and tells the node, if there is one, to send it at once.

mod aircraft;
mod audit;
mod care;
mod contexts;
mod copies;
mod flights;
pub(crate) mod imports;
mod node_access;
mod pairing;
mod people;
pub(crate) mod sync;

use std::path::PathBuf;
use std::process::ExitCode;

use aeroedge_app::explain::Kind;
use aeroedge_app::folder::DataFolder;
use aeroedge_app::installation::{Installation, needs_passphrase};

use crate::arguments::{Arguments, Command, GlobalArguments};
use crate::demo;
use crate::desk::{self, Desk};
use crate::failure::{Doing, Failure};
use crate::output::Output;
use crate::running::Client;
use crate::secrets;
use node_access::NodeAccess;

/// Carries out what the command line asks for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "start the program".into())?;
    let bench = Bench {
        output: Output::new(arguments.global.json),
        global: arguments.global,
    };
    let outcome = runtime.block_on(carry_out(arguments.command, &bench));
    // A read from a terminal that nobody answers must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

async fn carry_out(command: Command, bench: &Bench) -> Result<ExitCode, Failure> {
    match command {
        Command::Init(arguments) => care::init(&arguments, bench)?,
        Command::Up(arguments) => crate::serve::up(&arguments, bench).await?,
        Command::Context(command) => contexts::run(&command, bench).await?,
        Command::Device(command) => people::devices(&command, bench).await?,
        Command::Flight(command) => flights::run(&command, bench).await?,
        Command::Aircraft(command) => aircraft::run(&command, bench).await?,
        Command::Import(command) => imports::run(&command, bench).await?,
        Command::Sync(command) => sync::run(&command, bench).await?,
        Command::Audit(command) => audit::run(&command, bench)?,
        Command::Export(arguments) => copies::export(&arguments, bench)?,
        Command::Restore(arguments) => copies::restore(&arguments, bench)?,
        Command::Doctor(arguments) => return care::doctor(&arguments, bench).await,
        Command::Demo(arguments) => demo::run(&arguments, bench.output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What every command needs: where the data is and how to print.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) output: Output,
    pub(crate) global: GlobalArguments,
}

impl Bench {
    /// Where the data is.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.global.data {
            return Ok(path.clone());
        }
        let home = |variable| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        home("XDG_DATA_HOME")
            .or_else(|| home("HOME").map(|home| home.join(".local/share")))
            .map(|base| base.join("aeroedge"))
            .ok_or_else(|| {
                Failure::new(
                    Kind::Invalid,
                    "this user has no home folder",
                    "name a data folder with --data",
                )
            })
    }

    /// Opens the installation, asking for its passphrase if it has one.
    pub(crate) fn open(&self) -> Result<Office, Failure> {
        let folder = DataFolder::open(&self.path()?)?;
        let passphrase = if needs_passphrase(&folder)? {
            Some(secrets::passphrase(&self.global)?)
        } else {
            None
        };
        let passphrase = passphrase.as_ref().map(|text| text.as_str());
        let installation = Installation::open(folder, passphrase, desk::now())?;
        Ok(Office { installation })
    }

    /// Makes what was written durable, and has it sent at once if a node runs.
    pub(crate) async fn written(&self, office: &mut Office) -> Result<(), Failure> {
        office
            .installation
            .device
            .make_durable()
            .doing(|| "wait until the disk has what was written".into())?;
        if let Some(node) = Client::find(&office.installation.folder).await {
            node.poke().await;
        }
        Ok(())
    }

    /// A node on this installation: the one that runs, or one for the time of this command.
    pub(crate) async fn node(&self, office: Office) -> Result<NodeAccess, Failure> {
        NodeAccess::open(office).await
    }
}

/// An open installation.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) installation: Installation,
}

impl Office {
    /// The use cases, now.
    pub(crate) fn desk(&mut self) -> Desk<'_> {
        Desk::new(&mut self.installation.device)
    }
}
