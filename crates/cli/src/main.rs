//! `aeroedge`: one logbook on several devices, with nothing but a local network.
//!
//! The program only reads arguments, asks for secrets and prints. What is done stands in the application's use cases.
//!
//! Reading order: `arguments` what can be asked for, `commands` what is done then, `desk` the use cases in the types of the
//! HTTP interface, `program` the same behind a running node, `serve` and `running` the two ends of that interface.

mod arguments;
mod commands;

mod convert;
mod desk;
mod program;

mod running;
mod serve;

mod demo;

mod failure;
mod output;
mod secrets;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.global.json;
    match commands::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(json);
            failure.exit_code()
        }
    }
}
