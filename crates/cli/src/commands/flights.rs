//! `aeroedge flight ...`: log, look up, change, add up.

use std::fmt::Write as _;

use aeroedge_api::types::{
    Flight, FlightEntry, FlightFilter, FlightPage, FlightTotals, NewFlight, Order, Paging,
};
use aeroedge_app::explain::Kind;
use aeroedge_app::flights::fields::{self, FieldError};
use aeroedge_aviation::logbook::{Hundredths, Precision, Seconds};
use aeroedge_ids::{ContextId, UserId};
use serde::Serialize;

use super::Bench;
use crate::arguments::{
    AddFlightArguments, EditFlightArguments, FlightCommand, FlightFields, FlightFilterArguments,
    ListFlightArguments,
};
use crate::convert;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::output::{count, pairs, short, table};

pub(super) async fn run(command: &FlightCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        FlightCommand::Add(arguments) => add(arguments, bench).await,
        FlightCommand::List(arguments) => list(arguments, bench),
        FlightCommand::Show { id } => {
            let flight = bench.open()?.desk().flight(id)?;
            bench.output.result(&flight, describe)
        }
        FlightCommand::Edit(arguments) => edit(arguments, bench).await,
        FlightCommand::Delete { id, context } => delete(id, context.as_deref(), bench).await,
        FlightCommand::Totals(filter) => {
            let mut office = bench.open()?;
            let desk = office.desk();
            let pilot = pilot_of(filter, &desk);
            let totals = desk.flight_totals(&filter_of(filter)?, pilot)?;
            bench.output.result(&totals, describe_totals)
        }
    }
}

async fn add(arguments: &AddFlightArguments, bench: &Bench) -> Result<(), Failure> {
    let mut flight = aeroedge_aviation::logbook::Flight::default();
    fill(&mut flight, &arguments.fields)?;
    let new = NewFlight {
        contexts: arguments.contexts.clone(),
        entry: convert::flight_entry(&flight)?,
    };
    let mut office = bench.open()?;
    let created = office.desk().add_flight(&new)?;
    bench.written(&mut office).await?;
    bench
        .output
        .result(&created, |created| format!("logged flight {}", created.id))
}

fn list(arguments: &ListFlightArguments, bench: &Bench) -> Result<(), Failure> {
    let paging = Paging {
        offset: arguments.offset,
        limit: arguments.limit,
        order: if arguments.oldest_first {
            Order::Oldest
        } else {
            Order::Newest
        },
    };
    let filter = filter_of(&arguments.filter)?;
    let mut office = bench.open()?;
    let desk = office.desk();
    let pilot = pilot_of(&arguments.filter, &desk);
    let page = desk.flights(&filter, pilot, paging)?;
    bench.output.result(&page, describe_page)
}

async fn edit(arguments: &EditFlightArguments, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let stands = office.desk().flight(&arguments.id)?;
    let mut flight = convert::flight(&stands.entry)?;
    let mut wrong = Vec::new();
    for option in &arguments.clear {
        let cleared = match FlightFields::named(option.trim_start_matches('-')) {
            Some(field) => fields::clear(&mut flight, field),
            None => Err(FieldError {
                field: option.clone(),
                problem: "is not a field of a flight".to_owned(),
            }),
        };
        wrong.extend(cleared.err());
    }
    if !wrong.is_empty() {
        return Err(wrong_fields(&wrong));
    }
    fill(&mut flight, &arguments.fields)?;
    let entry = convert::flight_entry(&flight)?;
    if entry == stands.entry {
        bench.output.remark("nothing to change");
        return bench.output.result(&stands, describe);
    }
    let changed = office.desk().edit_flight(&stands.id, &entry)?;
    bench.written(&mut office).await?;
    bench.output.result(&changed, describe)
}

async fn delete(id: &str, group: Option<&str>, bench: &Bench) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Deleted {
        id: String,
        /// Groups that hold it no more.
        from: Vec<String>,
        /// Groups that keep it.
        kept: Vec<String>,
    }
    let mut office = bench.open()?;
    let deleted = office.desk().delete_flight(id, group)?;
    bench.written(&mut office).await?;
    let names =
        |groups: &[ContextId]| -> Vec<String> { groups.iter().map(ToString::to_string).collect() };
    let deleted = Deleted {
        from: names(&deleted.from),
        kept: names(&deleted.kept),
        id: deleted.id,
    };
    bench.output.result(&deleted, |deleted| {
        let mut text = format!("deleted flight {}", deleted.id);
        if !deleted.kept.is_empty() {
            let _ = write!(text, "; it stays in {}", deleted.kept.join(", "));
        }
        text
    })
}

/// Sets what was given; every wrong field is told at once, under the name of its option.
fn fill(
    flight: &mut aeroedge_aviation::logbook::Flight,
    given: &FlightFields,
) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (option, field, text) in given.given() {
        if let Err(error) = fields::set(flight, field, text) {
            wrong.push(FieldError {
                field: format!("--{option}"),
                problem: error.problem,
            });
        }
    }
    for text in &given.approaches {
        match fields::approach(text) {
            Ok(approach) => flight.approaches.push(approach),
            Err(error) => wrong.push(FieldError {
                field: "--approach".to_owned(),
                problem: error.problem,
            }),
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong_fields(&wrong))
    }
}

fn wrong_fields(wrong: &[FieldError]) -> Failure {
    let problems: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Failure::new(Kind::Invalid, problems.join("; "), "nothing was changed")
}

fn filter_of(arguments: &FlightFilterArguments) -> Result<FlightFilter, Failure> {
    let date = |option: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| {
                text.parse().map_err(|_| {
                    Failure::new(
                        Kind::Invalid,
                        format!("{option} {text} is not a date"),
                        "write it as in 2026-05-14",
                    )
                })
            })
            .transpose()
    };
    Ok(FlightFilter {
        context: arguments.context.clone(),
        search: arguments.search.clone(),
        tail: arguments.tail.clone(),
        from: date("--since", &arguments.since)?,
        until: date("--until", &arguments.until)?,
    })
}

/// A list without a group is one's own logbook; that of a group is everybody's.
fn pilot_of(arguments: &FlightFilterArguments, desk: &Desk<'_>) -> Option<UserId> {
    let own = arguments.mine || arguments.context.is_none();
    own.then(|| desk.device.user())
}

fn hours(seconds: i64) -> String {
    Seconds(seconds).decimal(Precision::Tenths)
}

fn describe_page(page: &FlightPage) -> String {
    if page.count == 0 {
        return "no flights".to_owned();
    }
    let rows = page.flights.iter().map(|flight| {
        let entry = &flight.entry;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            short(&flight.id).to_owned(),
            entry.date.to_string(),
            or_dash(&entry.tail),
            or_dash(&entry.departure),
            or_dash(&entry.destination),
            hours(entry.total),
            hours(entry.pic),
            entry
                .landings
                .map_or_else(|| "?".to_owned(), |landings| landings.to_string()),
            first_words(entry.remarks.as_deref().unwrap_or_default()),
        ]
    });
    let headings = [
        "id", "date", "tail", "from", "to", "total", "pic", "landings", "remarks",
    ];
    let shown = page.flights.len() as u64;
    let mut text = table(&headings, &[5, 6, 7], rows);
    if shown < page.count {
        let _ = write!(
            text,
            "\n{} to {} of {}; --limit and --offset show others",
            page.offset + 1,
            page.offset + shown,
            count(page.count, "flight")
        );
    }
    text
}

/// As much of a text as fits into a line of a list.
fn first_words(text: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LENGTH_MAX {
        return line;
    }
    let mut short: String = line.chars().take(LENGTH_MAX - 1).collect();
    short.push('…');
    short
}

fn describe(flight: &Flight) -> String {
    let mut lines = vec![
        ("id", flight.id.clone()),
        ("in", flight.contexts.join(", ")),
    ];
    lines.extend(filled(&flight.entry));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = pairs(&lines);
    let mut add = |name: &str, value: String| {
        let _ = write!(text, "\n{name:width$}  {value}");
    };
    for approach in &flight.entry.approaches {
        let words = [&approach.kind, &approach.runway, &approach.airport];
        let mut words: Vec<String> = words.into_iter().flatten().cloned().collect();
        words.extend(approach.count.map(|count| format!("({count})")));
        add("approach", words.join(" "));
    }
    for person in &flight.entry.persons {
        let name = person.who.name.as_deref().unwrap_or("somebody");
        let part = person.part.as_deref().unwrap_or("aboard");
        add("person", format!("{name}, {part}"));
    }
    for field in &flight.entry.custom_fields {
        add(&field.name, field.value.clone());
    }
    text
}

/// Name and value of the fields that say something.
fn filled(entry: &FlightEntry) -> Vec<(&'static str, String)> {
    let mut lines = vec![("date", entry.date.to_string())];
    macro_rules! texts {
        ($($name:ident $field:expr;)*) => {
            $(if let Some(value) = &$field { lines.push((stringify!($name), value.to_string())); })*
        };
    }
    macro_rules! times {
        ($($name:ident)*) => {
            $(if entry.$name != 0 { lines.push((stringify!($name), hours(entry.$name))); })*
        };
    }
    macro_rules! flags {
        ($($name:ident)*) => {
            $(if entry.$name { lines.push((stringify!($name), "yes".to_owned())); })*
        };
    }
    macro_rules! meters {
        ($($name:ident)*) => {
            $(if let Some(value) = entry.$name { lines.push((stringify!($name), Hundredths(value).to_string())); })*
        };
    }
    texts! {
        tail entry.tail;
        type entry.aircraft_type;
        from entry.departure;
        to entry.destination;
        route entry.route;
        out entry.out_at;
        off entry.off_at;
        on entry.on_at;
        in entry.in_at;
        zone entry.departure_zone;
    }
    meters! { hobbs_start hobbs_end tach_start tach_end distance }
    times! {
        total pic sic picus dual_received dual_given solo cross_country night actual_instrument simulated_instrument
        simulator ground_received ground_given
    }
    texts! {
        takeoffs_day entry.takeoffs_day;
        takeoffs_night entry.takeoffs_night;
        landings entry.landings;
        landings_day entry.landings_day;
        landings_night entry.landings_night;
        full_stops_day entry.full_stops_day;
        full_stops_night entry.full_stops_night;
        holds entry.holds;
        simulator_level entry.simulator_level;
        instructor entry.instructor.name;
        instructor_certificate entry.instructor_certificate;
        instructor_comments entry.instructor_comments;
        safety_pilot entry.safety_pilot.name;
        examiner entry.examiner.name;
        ground_topic entry.ground_topic;
        remarks entry.remarks;
    }
    flags! { flight_review instrument_proficiency_check checkride proficiency_check }
    lines
}

fn describe_totals(totals: &FlightTotals) -> String {
    let seconds = totals
        .seconds
        .iter()
        .filter(|(_, seconds)| **seconds != 0)
        .map(|(name, seconds)| [name.replace('_', " "), hours(*seconds), String::new()]);
    let counts = totals
        .counts
        .iter()
        .filter(|(name, _)| *name != "distance")
        .map(|(name, sum)| {
            let unknown = totals.unknown.get(name).copied().unwrap_or(0);
            let remark = if unknown == 0 {
                String::new()
            } else {
                format!("not recorded for {}", count(unknown, "flight"))
            };
            [name.replace('_', " "), sum.to_string(), remark]
        });
    let first = [
        "flights".to_owned(),
        totals.flights.to_string(),
        String::new(),
    ];
    table(
        &["what", "sum", ""],
        &[1],
        std::iter::once(first).chain(seconds).chain(counts),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_remark_is_cut_at_a_character() {
        let text = "ä".repeat(60);
        assert_eq!(first_words(&text).chars().count(), 40);
        assert_eq!(first_words(" one\n two "), "one two");
    }

    #[test]
    fn every_option_sets_a_field_that_exists() {
        use clap::CommandFactory;
        let command = crate::arguments::Arguments::command();
        let add = command
            .find_subcommand("flight")
            .and_then(|flight| flight.find_subcommand("add"))
            .unwrap();
        let mut seen = 0;
        for argument in add.get_arguments() {
            let Some(field) = argument.get_long().and_then(FlightFields::named) else {
                continue;
            };
            seen += 1;
            let mut flight = aeroedge_aviation::logbook::Flight::default();
            let outcome = fields::clear(&mut flight, field);
            assert!(outcome.is_ok() || field == "date", "{field}");
            if field != "approaches" {
                let problem = fields::set(&mut flight, field, "x").err();
                assert!(
                    problem.is_none_or(|error| !error.problem.contains("not a field")),
                    "{field}"
                );
            }
        }
        assert!(seen > 40, "{seen}");
    }
}
