//! `aeroedge aircraft ...`.

use aeroedge_api::types::{AircraftEntry, AircraftList, NewAircraft};

use super::Bench;
use crate::arguments::{AircraftAddArguments, AircraftCommand};
use crate::failure::Failure;
use crate::output::{short, table};

pub(super) async fn run(command: &AircraftCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        AircraftCommand::Add(arguments) => add(arguments, bench).await,
        AircraftCommand::List { context } => {
            let list = bench.open()?.desk().aircraft(context.as_deref())?;
            bench.output.result(&list, describe)
        }
    }
}

async fn add(arguments: &AircraftAddArguments, bench: &Bench) -> Result<(), Failure> {
    // A switch that is not given says nothing, rather than no.
    let said = |given: bool| given.then_some(true);
    let new = NewAircraft {
        context: arguments.context.clone(),
        entry: AircraftEntry {
            tail: arguments.tail.trim().to_uppercase(),
            make: arguments.make.clone(),
            model: arguments.model.clone(),
            type_designator: arguments.type_designator.clone(),
            category: arguments.category.clone(),
            class: arguments.class.clone(),
            year: arguments.year,
            serial: arguments.serial.clone(),
            tailwheel: said(arguments.tailwheel),
            complex: said(arguments.complex),
            high_performance: said(arguments.high_performance),
            ..AircraftEntry::default()
        },
    };
    let mut office = bench.open()?;
    let created = office.desk().add_aircraft(&new)?;
    bench.written(&mut office).await?;
    bench
        .output
        .result(&created, |created| format!("added aircraft {}", created.id))
}

fn describe(list: &AircraftList) -> String {
    if list.aircraft.is_empty() {
        return "no aircraft".to_owned();
    }
    let rows = list.aircraft.iter().map(|aircraft| {
        let entry = &aircraft.entry;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            short(&aircraft.id).to_owned(),
            entry.tail.clone(),
            or_dash(&entry.type_designator),
            or_dash(&entry.make),
            or_dash(&entry.model),
            or_dash(&entry.class),
            short(&aircraft.context).to_owned(),
        ]
    });
    table(
        &["id", "tail", "type", "make", "model", "class", "context"],
        &[],
        rows,
    )
}
