//! The rows of a file, one at a time, each with its place in it.
//!
//! A row ends where its quotes are closed. A quote that is never closed costs its own row only: as soon as a following
//! line looks like the beginning of a row, the one before is given up and reading goes on there.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// A quoted comment longer than this is a forgotten quote.
const ROW_BYTES_MAX: usize = 256 * 1024;
const ROW_LINES_MAX: usize = 500;

/// One row as it stands in the file.
#[derive(Debug)]
pub(super) struct Row {
    /// Number of the row, counted as a spreadsheet counts; the first is 1.
    pub(super) number: u32,
    /// Number of the line on which it begins, counted as a text editor counts; the first is 1.
    pub(super) line: u32,
    /// Its cells, or why it could not be split into cells.
    pub(super) cells: Result<Cells, &'static str>,
    /// Whether a line end follows; a row without one may have been cut.
    pub(super) terminated: bool,
}

impl Row {
    /// A cell without surrounding white space; empty when the row is too short.
    pub(super) fn cell(&self, index: usize) -> &str {
        self.cells
            .as_ref()
            .ok()
            .and_then(|cells| cells.get(index))
            .unwrap_or_default()
            .trim()
    }

    /// Number of cells up to the last one that is not blank.
    pub(super) fn filled(&self) -> usize {
        self.cells.as_ref().map_or(0, |cells| {
            (0..cells.len())
                .rfind(|index| !self.cell(*index).is_empty())
                .map_or(0, |index| index + 1)
        })
    }

    pub(super) fn is_blank(&self) -> bool {
        self.cells.is_ok() && self.filled() == 0
    }
}

/// The cells of a row, quotes taken off.
#[derive(Debug)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let start = match index {
            0 => 0,
            _ => *self.ends.get(index - 1)?,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Reads rows from text.
pub(super) struct Rows<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    row: u32,
    delimiter: u8,
    terminator: u8,
    columns: usize,
    reader: Reader,
}

impl<'a> Rows<'a> {
    pub(super) fn new(text: &'a str, delimiter: u8) -> Self {
        let terminator = if text.as_bytes().contains(&b'\n') {
            b'\n'
        } else {
            b'\r'
        };
        Self {
            text,
            offset: 0,
            line: 1,
            row: 1,
            delimiter,
            terminator,
            columns: 0,
            reader: ReaderBuilder::new()
                .delimiter(delimiter)
                .terminator(Terminator::Any(terminator))
                .build(),
        }
    }

    /// Tells how many columns rows have from here on, which is how the beginning of a row is recognised.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// Where the line that begins at `start` ends: before its line end, and after it.
    fn line_at(&self, start: usize) -> (usize, usize) {
        let rest = &self.text.as_bytes()[start..];
        match rest.iter().position(|byte| *byte == self.terminator) {
            Some(length) => (start + length, start + length + 1),
            None => (self.text.len(), self.text.len()),
        }
    }

    /// Where the row that begins at `offset` ends, and how many lines it has; `None` if a quote stays open.
    fn row_at(&self, offset: usize) -> Option<(usize, usize, u32)> {
        let bytes = self.text.as_bytes();
        let (mut end, mut next) = self.line_at(offset);
        let mut quotes = Quotes::new(self.delimiter);
        quotes.feed(&bytes[offset..end]);
        let mut lines = 1;
        while quotes.open() {
            let start = next;
            if start >= bytes.len() || lines >= ROW_LINES_MAX || start - offset > ROW_BYTES_MAX {
                return None;
            }
            (end, next) = self.line_at(start);
            if self.begins_row(&bytes[start..end]) {
                return None;
            }
            quotes.feed(&bytes[start..end]);
            lines += 1;
        }
        Some((end, next, lines as u32))
    }

    /// Whether a line inside an open quote is the next row after all: a date and then about as many cells as a row has,
    /// or the title of a table.
    fn begins_row(&self, line: &[u8]) -> bool {
        if line.starts_with(b"Flights Table") || line.starts_with(b"Aircraft Table") {
            return true;
        }
        let Some(first) = line.split(|byte| *byte == self.delimiter).next() else {
            return false;
        };
        let cells = line.split(|byte| *byte == self.delimiter).count();
        is_date(first) && cells > (self.columns / 2).max(8)
    }

    /// Splits a row that stands alone, so that nothing in it can reach the next.
    fn split(&mut self, text: &str) -> Result<Cells, &'static str> {
        const WHY: &str = "cannot be split into cells";
        let delimiters = text.split(char::from(self.delimiter)).count();
        let mut bytes = vec![0; text.len()];
        let mut ends = vec![0; delimiters + 1];
        let (mut read, mut written, mut cells) = (0, 0, 0);
        self.reader.reset();
        loop {
            // Nothing left to read tells the reader that the row ends.
            let (result, more_read, more_written, more_cells) = self.reader.read_record(
                &text.as_bytes()[read..],
                &mut bytes[written..],
                &mut ends[cells..],
            );
            read += more_read;
            written += more_written;
            cells += more_cells;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return Err(WHY),
            }
        }
        bytes.truncate(written);
        ends.truncate(cells);
        let text = String::from_utf8(bytes).map_err(|_| WHY)?;
        Ok(Cells { text, ends })
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.offset >= self.text.len() {
            return None;
        }
        let (number, line) = (self.row, self.line);
        let (cells, end, next, lines) = if let Some((end, next, lines)) = self.row_at(self.offset) {
            let text = &self.text[self.offset..end];
            let text = text.strip_suffix('\r').unwrap_or(text);
            (self.split(text), end, next, lines)
        } else {
            let (end, next) = self.line_at(self.offset);
            let reason = "opens a quote that is not closed: the file is damaged or cut here";
            (Err(reason), end, next, 1)
        };
        self.offset = next;
        self.row = number.saturating_add(1);
        self.line = line.saturating_add(lines);
        Some(Row {
            number,
            line,
            cells,
            terminated: next > end,
        })
    }
}

/// Whether a cell as it stands in the file is a date. One with a quote at the end only closes a text of several lines.
fn is_date(cell: &[u8]) -> bool {
    let bare = cell
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(cell);
    let separators = bare.iter().filter(|byte| b"-/.".contains(byte)).count();
    let digits = bare.iter().filter(|byte| byte.is_ascii_digit()).count();
    separators == 2 && (4..=8).contains(&digits) && separators + digits == bare.len()
}

/// Follows quotes the way a CSV reader does: a quote counts only at the beginning of a cell, and doubled inside one.
struct Quotes {
    delimiter: u8,
    state: QuoteState,
}

#[derive(Clone, Copy, PartialEq)]
enum QuoteState {
    CellStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: QuoteState::CellStart,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = match (self.state, *byte) {
                (QuoteState::Quoted, b'"') => QuoteState::QuoteInQuoted,
                (QuoteState::Quoted, _)
                | (QuoteState::QuoteInQuoted | QuoteState::CellStart, b'"') => QuoteState::Quoted,
                (_, byte) if byte == self.delimiter => QuoteState::CellStart,
                _ => QuoteState::Plain,
            };
        }
    }

    fn open(&self) -> bool {
        self.state == QuoteState::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, columns: usize) -> Vec<(u32, u32, Option<Vec<String>>)> {
        let mut rows = Rows::new(text, b',');
        rows.set_columns(columns);
        rows.map(|row| {
            let cells = row
                .cells
                .ok()
                .map(|cells| cells.iter().map(str::to_owned).collect());
            (row.number, row.line, cells)
        })
        .collect()
    }

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn every_line_end_ends_a_row() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("a,b{end}c,d{end}");
            assert_eq!(
                read(&text, 2),
                [
                    (1, 1, Some(cells(&["a", "b"]))),
                    (2, 2, Some(cells(&["c", "d"])))
                ],
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_comment_of_several_lines_is_one_row() {
        assert_eq!(
            read("a,\"x\ny\"\nb,z\n", 2),
            [
                (1, 1, Some(cells(&["a", "x\ny"]))),
                (2, 3, Some(cells(&["b", "z"])))
            ]
        );
    }

    #[test]
    fn an_inch_mark_opens_nothing() {
        assert_eq!(
            read("a,5\" crack\nb,z\n", 2),
            [
                (1, 1, Some(cells(&["a", "5\" crack"]))),
                (2, 2, Some(cells(&["b", "z"])))
            ]
        );
    }

    #[test]
    fn an_unclosed_quote_costs_its_own_row_only() {
        let good = format!("2020-01-02{}", ",1".repeat(12));
        let text = format!("2020-01-01,\"lost{}\n{good}\n{good}\n", ",1".repeat(11));
        let rows = read(&text, 13);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].2, None);
        assert_eq!(rows[1].2.as_ref().unwrap().len(), 13);
        assert_eq!((rows[2].0, rows[2].1), (3, 3));
    }

    #[test]
    fn a_text_whose_last_line_is_a_date_is_not_cut() {
        let text = format!("2020-01-01,\"due\n2026-03-01\"{}\n", ",1".repeat(11));
        let rows = read(&text, 13);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].2.as_ref().unwrap()[1], "due\n2026-03-01");
    }

    #[test]
    fn a_quote_open_at_the_end_of_the_file_is_reported() {
        let rows = read("a,b\nc,\"d", 2);
        assert_eq!(rows[1].2, None);
    }

    #[test]
    fn a_row_without_a_line_end_is_marked() {
        let rows: Vec<_> = Rows::new("a\nb", b',').map(|row| row.terminated).collect();
        assert_eq!(rows, [true, false]);
    }
}
