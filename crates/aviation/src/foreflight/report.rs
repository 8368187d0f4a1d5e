//! What an import found, row by row.
//!
//! Every row of the file that carries data stands here once, with its number and what became of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Encoding;

/// Text of a cell is quoted up to this many characters.
const EXCERPT_CHARS: usize = 60;

/// What an import found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How the text was encoded.
    pub encoding: Encoding,
    /// Rows of the aircraft table, before those of one tail are put together.
    pub aircraft_rows: u32,
    /// Rows of the flights table.
    pub flight_rows: u32,
    /// Every row with data, in the order of the file.
    pub rows: Vec<RowReport>,
    /// Counts that no column of the file carries; they stay unknown.
    pub absent_counts: Vec<String>,
    /// Columns that were kept word for word as custom fields.
    pub custom_columns: Vec<String>,
    /// Remarks on the file as a whole.
    pub notes: Vec<String>,
}

impl Report {
    /// Rows of one table with what became of them, counted.
    pub fn count(&self, table: Table, matches: impl Fn(&Outcome) -> bool) -> usize {
        self.rows
            .iter()
            .filter(|row| row.table == table && matches(&row.outcome))
            .count()
    }

    /// Flights that were (or would be) added.
    pub fn imported(&self) -> usize {
        self.count(Table::Flights, |o| matches!(o, Outcome::Imported { .. }))
    }

    /// Flights that the logbook already has.
    pub fn skipped(&self) -> usize {
        self.count(Table::Flights, |o| matches!(o, Outcome::SkippedDuplicate))
    }

    /// Rows that could not be read.
    pub fn rejected(&self) -> usize {
        let rejected = |o: &Outcome| matches!(o, Outcome::Rejected { .. });
        self.count(Table::Flights, rejected) + self.count(Table::Aircraft, rejected)
    }
}

/// Which table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// The aircraft.
    Aircraft,
    /// The flights.
    Flights,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowReport {
    /// Number of the row, as a spreadsheet counts.
    pub row: u32,
    /// Number of its first line, as a text editor counts.
    pub line: u32,
    /// The table it belongs to.
    pub table: Table,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It was read, perhaps with remarks.
    Imported {
        /// Oddities that were left as they are.
        notes: Vec<String>,
    },
    /// The logbook already has it.
    SkippedDuplicate,
    /// It could not be read.
    Rejected {
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name of the column as the file has it; empty if the row as a whole is meant.
    pub column: String,
    /// The beginning of the text in it.
    pub text: String,
    /// What is wrong and what to write.
    pub why: String,
}

impl Problem {
    pub(super) fn row(why: impl Into<String>) -> Self {
        Self {
            column: String::new(),
            text: String::new(),
            why: why.into(),
        }
    }

    pub(super) fn cell(column: &str, text: &str, why: impl fmt::Display) -> Self {
        Self {
            column: column.to_owned(),
            text: excerpt(text),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column.is_empty() {
            write!(f, "the row {}", self.why)
        } else {
            write!(f, "column {}: {:?} {}", self.column, self.text, self.why)
        }
    }
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut excerpt: String = text
        .chars()
        .take(EXCERPT_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_flat_object() {
        let row = RowReport {
            row: 9,
            line: 11,
            table: Table::Flights,
            outcome: Outcome::Rejected {
                problems: vec![Problem::row("has no Date")],
            },
        };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(
            json,
            r#"{"row":9,"line":11,"table":"flights","outcome":"rejected","problems":[{"column":"","text":"","why":"has no Date"}]}"#
        );
        assert_eq!(serde_json::from_str::<RowReport>(&json).unwrap(), row);
    }

    #[test]
    fn a_long_text_is_quoted_in_part() {
        let problem = Problem::cell("TotalTime", &"x\n".repeat(100), "is not a duration");
        assert_eq!(problem.text.chars().count(), EXCERPT_CHARS + 1);
        assert!(!problem.to_string().contains('\n'));
    }
}
