//! `aeroedge audit ...`: who changed what and when.

use aeroedge_app::audit;
use jiff::Timestamp;
use serde::Serialize;

use super::Bench;
use crate::arguments::AuditCommand;
use crate::desk::instant;
use crate::failure::Failure;

#[derive(Debug, Serialize)]
struct History {
    table: String,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    at: Option<Timestamp>,
    context: String,
    user: Option<String>,
    name: Option<String>,
    writer: String,
    seq: u64,
    deleted: bool,
    fields: serde_json::Map<String, serde_json::Value>,
    refused: Option<String>,
}

pub(super) fn run(command: &AuditCommand, bench: &Bench) -> Result<(), Failure> {
    let AuditCommand::Show { table, id } = command;
    let mut office = bench.open()?;
    let bar = bench.output.spinner("reading the signed logs");
    let outcome = audit::history(office.desk().device, table, id, &mut |entries| {
        bar.set_message(format!("reading the signed logs: {entries} entries"));
    });
    bar.finish_and_clear();
    let history = History {
        table: table.clone(),
        changes: outcome?
            .into_iter()
            .map(|change| Change {
                at: instant(change.at),
                context: change.context.to_string(),
                user: change.user.map(|user| user.to_string()),
                name: change.name,
                writer: change.writer.to_string(),
                seq: change.seq,
                deleted: change.fields.is_none(),
                fields: change.fields.unwrap_or_default().into_iter().collect(),
                refused: change.refused,
            })
            .collect(),
    };
    bench.output.result(&history, describe)
}

fn describe(history: &History) -> String {
    let mut lines = Vec::new();
    for change in &history.changes {
        let who = change.name.as_deref().unwrap_or("somebody");
        let when = change
            .at
            .map_or_else(|| "at an unknown time".to_owned(), |at| format!("{at:.0}"));
        let what = if change.deleted { "deleted" } else { "wrote" };
        lines.push(format!(
            "{when}  {who} {what} (entry {} of {})",
            change.seq,
            change.writer.get(..12).unwrap_or(&change.writer)
        ));
        for (field, value) in &change.fields {
            let shown = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // What was never filled is no news.
            if !value.is_null() {
                lines.push(format!("    {field} = {shown}"));
            }
        }
        if let Some(reason) = &change.refused {
            lines.push(format!("    does not count: {reason}"));
        }
    }
    lines.join("\n")
}
