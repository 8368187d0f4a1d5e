//! One row of the aircraft table.

use crate::logbook::Aircraft;

use super::columns::{AircraftColumn as Column, Header};
use super::flight_row::parse_toggle;
use super::report::Problem;
use super::rows::Row;

/// Categories by the first words of the app's class names.
const CATEGORIES: &[&str] = &[
    "airplane",
    "rotorcraft",
    "glider",
    "lighter_than_air",
    "powered_lift",
    "powered_parachute",
    "weight_shift_control",
];

/// Reads a row, or tells everything that is wrong with it.
pub(super) fn parse(header: &Header<Column>, row: &Row) -> Result<Aircraft, Vec<Problem>> {
    let mut problems = Vec::new();
    let text = |column| {
        header
            .cell(row, column)
            .map(|cell| cell.text.to_owned())
            .filter(|text| !text.is_empty())
    };
    let mut toggle = |column| {
        let cell = header.cell(row, column)?;
        if cell.text.is_empty() {
            return None;
        }
        let value = parse_toggle(cell.text);
        if value.is_none() {
            let why = "is neither TRUE nor FALSE";
            problems.push(Problem::cell(cell.name, cell.text, why));
        }
        value
    };
    let complex = toggle(Column::Complex);
    let high_performance = toggle(Column::HighPerformance);
    let pressurized = toggle(Column::Pressurized);
    let technically_advanced = toggle(Column::TechnicallyAdvanced);
    let Some(tail) = text(Column::AircraftId) else {
        problems.push(Problem::row("has no AircraftID"));
        return Err(problems);
    };
    let year = header.cell(row, Column::Year).and_then(|cell| {
        if cell.text.is_empty() {
            return None;
        }
        let year = crate::logbook::parse_count(cell.text)
            .ok()
            .filter(|year| (1903..=2199).contains(year));
        if year.is_none() {
            let why = "is not a year of manufacture";
            problems.push(Problem::cell(cell.name, cell.text, why));
        }
        year
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let class = text(Column::Class);
    let gear = text(Column::Gear);
    Ok(Aircraft {
        tail,
        make: text(Column::Make),
        model: text(Column::Model),
        type_designator: text(Column::TypeCode),
        category: text(Column::Category).or_else(|| category_of(class.as_deref()?)),
        engine_count: class
            .as_deref()
            .filter(|class| class.contains("single_engine"))
            .map(|_| 1),
        class,
        equipment: text(Column::Equipment),
        tailwheel: gear.as_deref().map(|gear| gear.contains("tailwheel")),
        gear,
        engine: text(Column::Engine),
        complex,
        high_performance,
        technically_advanced,
        pressurized,
        year,
        serial: None,
        custom_fields: header.custom_fields(row),
    })
}

fn category_of(class: &str) -> Option<String> {
    CATEGORIES
        .iter()
        .find(|category| class.starts_with(*category))
        .map(|category| (*category).to_owned())
}
