//! What a command prints: text for people, or one JSON document for programs, never both.
//!
//! Results go to standard output; progress and remarks to standard error, so that a pipe carries nothing else.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::{Doing, Failure};

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: as JSON the value itself, else what `text` makes of it.
    pub(crate) fn result<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(value).doing(|| "write the result as JSON".into())?
        } else {
            text(value)
        };
        print(text.trim_end())
    }

    /// Tells a person something that is not the result.
    pub(crate) fn remark(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// A bar for work of a known length; invisible where nobody looks.
    pub(crate) fn bar(self, what: &'static str, length: u64) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} % {human_pos}/{human_len}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length)
            .with_style(style)
            .with_message(what)
    }

    /// A sign of life for work of unknown length.
    pub(crate) fn spinner(self, what: impl Into<String>) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(what.into());
        spinner.enable_steady_tick(std::time::Duration::from_millis(120));
        spinner
    }
}

/// One line or more on standard output. A reader who has seen enough closes the pipe; that is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).doing(|| "write to standard output".into())
        }
        _ => Ok(()),
    }
}

/// A table of plain columns; numbers stand right.
pub(crate) fn table<Row: IntoIterator<Item = String>>(
    headings: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Row>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.set_content_arrangement(if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    for row in rows {
        table.add_row(row);
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Name and value, one line each, values in a column.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    lines.join("\n")
}

/// `1 flight`, `2 flights`.
pub(crate) fn count(number: u64, singular: &str) -> String {
    if number == 1 {
        format!("1 {singular}")
    } else {
        format!("{number} {singular}s")
    }
}

/// The beginning of an identifier that people type and read.
pub(crate) fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_trailing_spaces_and_aligns_numbers() {
        let text = table(
            &["tail", "hours"],
            &[1],
            [["N1", "1.5"], ["N738VU", "12.0"]].map(|row| row.map(str::to_owned)),
        );
        assert_eq!(text, "TAIL    HOURS\nN1        1.5\nN738VU   12.0");
    }

    #[test]
    fn one_thing_is_not_things() {
        assert_eq!(count(1, "flight"), "1 flight");
        assert_eq!(count(0, "flight"), "0 flights");
    }
}
