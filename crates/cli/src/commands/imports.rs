//! `aeroedge import ...`: other programs' files.

use std::fmt::Write as _;

use aeroedge_app::imports;
use aeroedge_aviation::foreflight::{Outcome, Table};
use aeroedge_aviation::logbook::Precision;
use serde::{Deserialize, Serialize};

use super::Bench;
use crate::arguments::{
    ImportCommand, ImportForeflightArguments, ImportUndoArguments, ReportedRows,
};
use crate::failure::Failure;
use crate::output::{count, short};

/// What an import did, or would do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImportResult {
    /// What undo names; empty in a dry run.
    pub(crate) import: String,
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// Flights added.
    pub(crate) flights_added: u64,
    /// Flights that were there already.
    pub(crate) flights_known: u64,
    /// Rows that could not be read.
    pub(crate) flights_skipped: u64,
    /// Aircraft added.
    pub(crate) aircraft_added: u64,
    /// What the added flights add up to, in decimal hours.
    pub(crate) total_hours: String,
    /// The same in whole seconds.
    pub(crate) total_seconds: i64,
    /// About the file as a whole.
    pub(crate) notes: Vec<String>,
    /// Counts that the file does not carry at all; they stay unknown.
    pub(crate) absent_counts: Vec<String>,
    /// Rows of the file, as many as were asked for.
    pub(crate) rows: Vec<RowResult>,
}

/// What became of a row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RowResult {
    /// Its number, as a spreadsheet counts.
    pub(crate) row: u32,
    /// aircraft or flights.
    pub(crate) table: String,
    /// imported, known or skipped.
    pub(crate) outcome: String,
    /// Why, or what was noticed.
    pub(crate) remarks: Vec<String>,
}

pub(super) async fn run(command: &ImportCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        ImportCommand::Foreflight(arguments) => foreflight(arguments, bench).await,
        ImportCommand::Undo(arguments) => undo(arguments, bench).await,
    }
}

async fn foreflight(arguments: &ImportForeflightArguments, bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let desk = office.desk();
    let group = desk.group(arguments.context.as_deref())?;
    let bar = bench.output.bar("rows imported", 0);
    let outcome = imports::foreflight(
        desk.device,
        &arguments.file,
        group,
        &arguments.zone,
        arguments.dry_run,
        desk.now,
        &mut |done, rows| {
            bar.set_length(rows);
            bar.set_position(done);
            if done == rows {
                bar.set_message("sealing");
            }
        },
    );
    bar.finish_and_clear();
    let report = outcome?;
    if !arguments.dry_run {
        bench.written(&mut office).await?;
    }
    let rows = report
        .report
        .rows
        .iter()
        .map(|row| {
            let (outcome, remarks) = match &row.outcome {
                Outcome::Imported { notes } => {
                    ("imported", notes.iter().map(ToString::to_string).collect())
                }
                Outcome::SkippedDuplicate => ("known", Vec::new()),
                Outcome::Rejected { problems } => (
                    "skipped",
                    problems.iter().map(ToString::to_string).collect(),
                ),
            };
            RowResult {
                row: row.row,
                table: match row.table {
                    Table::Aircraft => "aircraft",
                    Table::Flights => "flights",
                }
                .to_owned(),
                outcome: outcome.to_owned(),
                remarks,
            }
        })
        .filter(|row| match arguments.rows {
            ReportedRows::All => true,
            ReportedRows::None => false,
            ReportedRows::Problems => row.outcome == "skipped" || !row.remarks.is_empty(),
        })
        .collect();
    let result = ImportResult {
        import: if arguments.dry_run {
            String::new()
        } else {
            report.batch_id
        },
        dry_run: arguments.dry_run,
        flights_added: report.imported,
        flights_known: report.duplicates,
        flights_skipped: report.rejected,
        aircraft_added: report.aircraft,
        total_hours: report.totals.total.decimal(Precision::Tenths),
        total_seconds: report.totals.total.0,
        notes: report.report.notes,
        absent_counts: report.report.absent_counts,
        rows,
    };
    bench.output.result(&result, describe)
}

async fn undo(arguments: &ImportUndoArguments, bench: &Bench) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct UndoResult {
        import: String,
        flights_removed: u64,
        aircraft_removed: u64,
        kept: Vec<KeptRow>,
    }
    #[derive(Serialize)]
    struct KeptRow {
        table: String,
        id: String,
        label: String,
        why: String,
    }
    let mut office = bench.open()?;
    let desk = office.desk();
    let undone = imports::undo(
        desk.device,
        arguments.id.as_deref(),
        arguments.force,
        desk.now,
    )?;
    bench.written(&mut office).await?;
    let result = UndoResult {
        import: undone.batch.id,
        flights_removed: undone.report.flights,
        aircraft_removed: undone.report.aircraft,
        kept: undone
            .report
            .kept
            .into_iter()
            .map(|kept| KeptRow {
                table: kept.table.to_owned(),
                id: kept.id,
                label: kept.label,
                why: kept.why.to_owned(),
            })
            .collect(),
    };
    bench.output.result(&result, |result| {
        let mut text = format!(
            "took back import {}: {} and {} removed",
            short(&result.import),
            count(result.flights_removed, "flight"),
            aircraft(result.aircraft_removed)
        );
        for kept in &result.kept {
            let _ = write!(text, "\nkept {} {}: {}", kept.table, kept.label, kept.why);
        }
        text
    })
}

fn aircraft(number: u64) -> String {
    format!("{number} aircraft")
}

fn describe(result: &ImportResult) -> String {
    let mut text = format!(
        "{} {}, {} hours; {} known already, {} skipped, {} new",
        if result.dry_run {
            "would import"
        } else {
            "imported"
        },
        count(result.flights_added, "flight"),
        result.total_hours,
        count(result.flights_known, "flight"),
        count(result.flights_skipped, "row"),
        aircraft(result.aircraft_added)
    );
    for note in &result.notes {
        let _ = write!(text, "\nnote: {note}");
    }
    if !result.absent_counts.is_empty() {
        let _ = write!(
            text,
            "\nnote: the file does not carry {}; they stay unknown",
            result.absent_counts.join(", ")
        );
    }
    for row in &result.rows {
        let _ = write!(text, "\nrow {} ({}): {}", row.row, row.table, row.outcome);
        if !row.remarks.is_empty() {
            let _ = write!(text, ", {}", row.remarks.join("; "));
        }
    }
    if !result.dry_run && result.flights_added > 0 {
        let _ = write!(
            text,
            "\ntake it back with `aeroedge import undo {}`",
            short(&result.import)
        );
    }
    text
}
