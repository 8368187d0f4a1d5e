//! The clocks of 64 neighbouring rows, in memory and as bytes.
//!
//! ```text
//! chunk := stamps runs
//! stamps := count, (hlc, writer number, version) ...      hlc and version as differences to the previous one
//! runs := (rows, life [, base stamp, columns covered, exceptions, (column, stamp or 0 for never written) ...]) ...
//! ```
//! All numbers are of variable length; life 0 marks slots without a row, and such a run at the end is left out.

use crate::storage::StorageError;

/// Slots in a chunk.
pub(crate) const SLOTS: usize = 64;

/// Stands in a cell that no one ever wrote: it holds the default of its column.
const NEVER: u32 = u32::MAX;

/// One writing: a stamp (with the writer's local number), and the local version in which it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Written {
    pub(crate) hlc: u64,
    pub(crate) writer: u32,
    pub(crate) version: u64,
}

/// The clocks of one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RowClock {
    /// 0 when there is no row.
    pub(crate) life: u64,
    /// Covers every column with a number below `covered` that is not listed in `cells`.
    base: u32,
    covered: u16,
    /// Columns with a stamp of their own, in order of their numbers.
    cells: Vec<(u16, u32)>,
}

impl RowClock {
    fn of(&self, column: u16) -> u32 {
        match self.cells.binary_search_by_key(&column, |cell| cell.0) {
            Ok(place) => self.cells[place].1,
            Err(_) if column < self.covered => self.base,
            Err(_) => NEVER,
        }
    }
}

/// 64 neighbouring rows.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    written: Vec<Written>,
    rows: Vec<RowClock>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            written: Vec::new(),
            rows: vec![RowClock::default(); SLOTS],
        }
    }
}

impl Chunk {
    pub(crate) fn life(&self, slot: usize) -> u64 {
        self.rows[slot].life
    }

    /// Who wrote a cell last; none when no one ever did.
    pub(crate) fn cell(&self, slot: usize, column: u16) -> Option<Written> {
        self.written
            .get(self.rows[slot].of(column) as usize)
            .copied()
    }

    /// The writings that the chunk refers to.
    pub(crate) fn written(&self) -> &[Written] {
        &self.written
    }

    /// Which writing covers a row where its columns have none of their own, as an index into [`written`](Self::written).
    pub(crate) fn base_index(&self, slot: usize) -> usize {
        self.rows[slot].base as usize
    }

    /// Which writing a cell has, as an index into [`written`](Self::written); beyond its end if it has none.
    pub(crate) fn cell_index(&self, slot: usize, column: u16) -> usize {
        self.rows[slot].of(column) as usize
    }

    /// Whether all columns below `columns` have the one writing of the row's base.
    pub(crate) fn is_uniform(&self, slot: usize, columns: u16) -> bool {
        self.rows[slot].cells.is_empty() && self.rows[slot].covered >= columns
    }

    /// The latest version in the chunk.
    pub(crate) fn version_max(&self) -> u64 {
        self.written
            .iter()
            .map(|written| written.version)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.life == 0)
    }

    fn intern(&mut self, written: Written) -> u32 {
        // The newest is the likeliest.
        let place = self
            .written
            .iter()
            .rposition(|known| *known == written)
            .unwrap_or_else(|| {
                self.written.push(written);
                self.written.len() - 1
            });
        place as u32
    }

    /// Makes rows whose columns were all written at once.
    pub(crate) fn fill(
        &mut self,
        slots: std::ops::Range<usize>,
        life: u64,
        written: Written,
        covered: u16,
    ) {
        let base = self.intern(written);
        for row in &mut self.rows[slots] {
            row.life = life;
            row.base = base;
            row.covered = covered;
            row.cells.clear();
        }
    }

    /// Makes a row of which only some columns were written.
    pub(crate) fn fill_partly(
        &mut self,
        slot: usize,
        life: u64,
        written: Written,
        covered: u16,
        never: impl Iterator<Item = u16>,
    ) {
        self.fill(slot..slot + 1, life, written, covered);
        self.rows[slot]
            .cells
            .extend(never.map(|column| (column, NEVER)));
        self.rows[slot].cells.sort_unstable();
    }

    /// Notes that cells of a row were written.
    pub(crate) fn write(&mut self, slot: usize, columns: &[u16], written: Written) {
        let stamp = self.intern(written);
        let row = &mut self.rows[slot];
        for &column in columns {
            match row.cells.binary_search_by_key(&column, |cell| cell.0) {
                Ok(place) => row.cells[place].1 = stamp,
                Err(place) => row.cells.insert(place, (column, stamp)),
            }
        }
        if row.cells.len() >= usize::from(row.covered) && row.cells.len() > 1 {
            row.rebase();
        }
    }

    /// Forgets a row.
    pub(crate) fn clear(&mut self, slot: usize) -> RowClock {
        std::mem::take(&mut self.rows[slot])
    }

    /// The writings a row refers to, for carrying the row to another chunk.
    pub(crate) fn carry(&mut self, slot: usize) -> Carried {
        let row = self.clear(slot);
        let written = |index: u32| self.written.get(index as usize).copied();
        Carried {
            life: row.life,
            base: written(row.base),
            covered: row.covered,
            cells: row
                .cells
                .iter()
                .map(|&(column, index)| (column, written(index)))
                .collect(),
        }
    }

    /// Puts down a row that was carried from elsewhere.
    pub(crate) fn put(&mut self, slot: usize, carried: &Carried) {
        let base = carried.base.map_or(NEVER, |written| self.intern(written));
        let cells = carried
            .cells
            .iter()
            .map(|&(column, written)| {
                (
                    column,
                    written.map_or(NEVER, |written| self.intern(written)),
                )
            })
            .collect();
        self.rows[slot] = RowClock {
            life: carried.life,
            base,
            covered: carried.covered,
            cells,
        };
    }

    pub(crate) fn encode(&mut self) -> Vec<u8> {
        self.drop_unused();
        let mut out = Vec::with_capacity(16 + self.written.len() * 8);
        put(&mut out, self.written.len() as u64);
        let (mut hlc, mut version) = (0_u64, 0_u64);
        for written in &self.written {
            put_signed(&mut out, written.hlc.wrapping_sub(hlc) as i64);
            put(&mut out, u64::from(written.writer));
            put_signed(&mut out, written.version.wrapping_sub(version) as i64);
            (hlc, version) = (written.hlc, written.version);
        }
        let mut start = 0;
        while start < SLOTS {
            let row = &self.rows[start];
            let end = (start + 1..SLOTS)
                .find(|&next| self.rows[next] != *row)
                .unwrap_or(SLOTS);
            if row.life == 0 && end == SLOTS {
                break;
            }
            put(&mut out, (end - start) as u64);
            put(&mut out, row.life);
            if row.life != 0 {
                put(&mut out, u64::from(row.base.wrapping_add(1)));
                put(&mut out, u64::from(row.covered));
                put(&mut out, row.cells.len() as u64);
                for &(column, stamp) in &row.cells {
                    put(&mut out, u64::from(column));
                    put(&mut out, u64::from(stamp.wrapping_add(1)));
                }
            }
            start = end;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        decode(bytes).ok_or(StorageError::Damaged(
            "a chunk of clocks does not make sense",
        ))
    }

    /// Forgets writings that no cell refers to any more.
    fn drop_unused(&mut self) {
        let mut used = vec![false; self.written.len()];
        for row in self.rows.iter().filter(|row| row.life != 0) {
            for index in std::iter::once(row.base).chain(row.cells.iter().map(|cell| cell.1)) {
                if let Some(used) = used.get_mut(index as usize) {
                    *used = true;
                }
            }
        }
        if used.iter().all(|used| *used) {
            return;
        }
        let mut moved = vec![NEVER; used.len()];
        let mut kept = Vec::new();
        for (index, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            moved[index] = kept.len() as u32;
            kept.push(self.written[index]);
        }
        let renumber =
            |index: &mut u32| *index = moved.get(*index as usize).copied().unwrap_or(NEVER);
        for row in self.rows.iter_mut().filter(|row| row.life != 0) {
            renumber(&mut row.base);
            row.cells.iter_mut().for_each(|cell| renumber(&mut cell.1));
        }
        self.written = kept;
    }
}

impl RowClock {
    /// Once every column has a stamp of its own, the commonest of them serves as the base.
    fn rebase(&mut self) {
        let first = self.cells[0].1;
        let dense = self
            .cells
            .iter()
            .enumerate()
            .all(|(place, cell)| usize::from(cell.0) == place);
        if first != NEVER && dense && self.cells.iter().all(|cell| cell.1 == first) {
            self.base = first;
            self.covered = self.cells.len() as u16;
            self.cells.clear();
        }
    }
}

/// A row's clocks on their way from one chunk to another.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) life: u64,
    base: Option<Written>,
    covered: u16,
    cells: Vec<(u16, Option<Written>)>,
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn take(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_signed(input: &mut &[u8]) -> Option<i64> {
    let value = take(input)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn decode(bytes: &[u8]) -> Option<Chunk> {
    let mut input = bytes;
    let mut chunk = Chunk::default();
    let (mut hlc, mut version) = (0_u64, 0_u64);
    for _ in 0..take(&mut input)? {
        hlc = hlc.wrapping_add(take_signed(&mut input)? as u64);
        let writer = u32::try_from(take(&mut input)?).ok()?;
        version = version.wrapping_add(take_signed(&mut input)? as u64);
        chunk.written.push(Written {
            hlc,
            writer,
            version,
        });
    }
    let known = chunk.written.len() as u64;
    let index = |input: &mut &[u8]| {
        let index = take(input)?;
        (index <= known).then(|| (index as u32).wrapping_sub(1))
    };
    let mut start = 0;
    while !input.is_empty() {
        let end = start + usize::try_from(take(&mut input)?).ok()?;
        let life = take(&mut input)?;
        if end > SLOTS || end == start {
            return None;
        }
        if life != 0 {
            let mut row = RowClock {
                life,
                base: index(&mut input)?,
                covered: u16::try_from(take(&mut input)?).ok()?,
                cells: Vec::new(),
            };
            for _ in 0..take(&mut input)? {
                row.cells
                    .push((u16::try_from(take(&mut input)?).ok()?, index(&mut input)?));
            }
            chunk.rows[start..end].fill(row);
        }
        start = end;
    }
    Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hlc: u64) -> Written {
        Written {
            hlc,
            writer: 3,
            version: hlc / 2,
        }
    }

    #[test]
    fn clocks_survive_encoding() {
        let mut chunk = Chunk::default();
        chunk.fill(3..60, 1, written(100), 4);
        chunk.write(7, &[2], written(90));
        chunk.write(7, &[5], written(u64::MAX));
        chunk.fill_partly(8, 3, written(101), 4, [1, 2].into_iter());
        chunk.clear(9);
        let bytes = chunk.encode();
        let back = Chunk::decode(&bytes).unwrap();
        assert_eq!(back.life(2), 0);
        assert_eq!(back.cell(3, 0), Some(written(100)));
        assert_eq!(back.cell(3, 4), None);
        assert_eq!(back.cell(7, 2), Some(written(90)));
        assert_eq!(back.cell(7, 5), Some(written(u64::MAX)));
        assert_eq!(back.cell(8, 1), None);
        assert_eq!(back.life(8), 3);
        assert_eq!(back.life(9), 0);
        assert_eq!(back.life(60), 0);
    }

    #[test]
    fn a_bulk_load_costs_a_few_bytes() {
        let mut chunk = Chunk::default();
        chunk.fill(
            0..SLOTS,
            1,
            Written {
                hlc: 0x0198_0000_0000_0000,
                writer: 1,
                version: 1,
            },
            12,
        );
        assert!(chunk.encode().len() < 24);
    }

    #[test]
    fn a_row_written_anew_in_full_needs_no_exceptions() {
        let mut chunk = Chunk::default();
        chunk.fill(0..2, 1, written(1), 3);
        chunk.write(0, &[0, 1, 2], written(2));
        assert_eq!(chunk.rows[0].cells, []);
        assert_eq!(chunk.cell(0, 2), Some(written(2)));
        assert_eq!(chunk.cell(1, 2), Some(written(1)));
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let mut chunk = Chunk::default();
        chunk.fill(0..9, 1, written(5), 2);
        chunk.write(4, &[1], written(6));
        let bytes = chunk.encode();
        for place in 0..bytes.len() {
            for mask in [1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] ^= mask;
                let _ = Chunk::decode(&damaged);
            }
        }
        assert!(Chunk::decode(&[5]).is_err());
    }
}
