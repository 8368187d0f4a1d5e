//! Takes over an image: the state of a compartment as another replica has it, with clocks, tombstones and open conflicts.
//!
//! The scope must be empty here; [`Merging::forget_all`] makes it so. Nothing in the bytes is trusted: whoever takes over
//! the state of a stranger compares its hash with what members have signed.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use aeroedge_crdt::msgpack::{
    MalformedBytes, read_array, read_bytes, read_nil, read_text, read_unsigned,
};
use aeroedge_crdt::value::Value;
use aeroedge_ids::WriterKey;

use super::seen::Context;
use super::table::Target;
use super::{MergeError, Merging, RowSet, open};
use crate::capture::Mode;
use crate::clocks::Written;
use crate::conflicts::{Losing, write_cell};
use crate::image::{self, ImageError, Scope};
use crate::quarantine::{self, Waiting, joined_names};
use crate::state::{self, Reached};
use crate::storage::StorageError;

/// Stands for the writer of a row of which no cell has one.
const NOBODY: Stamp = Stamp {
    hlc: Hlc::ZERO,
    writer: WriterKey([0; 32]),
};

impl From<MalformedBytes> for ImageError {
    fn from(_: MalformedBytes) -> Self {
        Self::Malformed
    }
}

/// What the numbers in an image stand for, as far as it is read.
#[derive(Default)]
struct Names<'a> {
    columns: Vec<&'a str>,
    writers: Vec<WriterKey>,
    latest: BTreeMap<WriterKey, Hlc>,
}

/// A table of an image.
struct TableImage<'a> {
    name: &'a str,
    /// Names of the key columns, each followed by a line feed.
    keys: String,
    key_count: usize,
    /// The merged table it means.
    place: Option<usize>,
    wanted: Wanted<'a>,
}

/// Which rows of a table to take over.
enum Wanted<'a> {
    Every,
    These(&'a BTreeSet<Vec<u8>>),
    None,
}

impl TableImage<'_> {
    fn is_wanted(&self, key: &[u8]) -> bool {
        match &self.wanted {
            Wanted::Every => true,
            Wanted::These(keys) => keys.contains(key),
            Wanted::None => false,
        }
    }
}

/// A cell of a living row.
struct Cell<'a> {
    column: &'a str,
    stamp: Stamp,
    value: &'a [u8],
}

impl Merging<'_> {
    /// Forgets every row of a scope, and how far writers were merged in its compartment.
    pub fn forget_all(&mut self, scope: &Scope<'_>) -> Result<(), MergeError> {
        let mut rows = RowSet::new();
        image::keys::visit(
            self.connection,
            &self.engine.tables,
            scope,
            &mut |table, names, key| rows.add_key(table, names, key.to_vec()),
        )?;
        self.forget(&rows)?;
        state::forget_reached(self.connection, scope.compartment.as_ref())?;
        self.reached
            .retain(|(_, compartment), _| *compartment != scope.compartment);
        Ok(())
    }

    /// Takes over the state of a scope, into which everything up to `reached` was merged. Returns the latest stamp of every writer
    /// it names. With `only`, nothing is said of other rows. After an error the session must be given up.
    pub fn apply_image(
        &mut self,
        scope: &Scope<'_>,
        image: &[u8],
        reached: &BTreeMap<WriterKey, Hlc>,
        only: Option<&RowSet>,
    ) -> Result<BTreeMap<WriterKey, Hlc>, ImageError> {
        if self.stopped {
            return Err(MergeError::Stopped.into());
        }
        self.changed = true;
        self.engine.shared.set_mode(Mode::Internal);
        let read = self.read_image(scope, image, only);
        self.engine.shared.set_mode(Mode::Closed);
        self.stopped = read.is_err();
        let latest = read?;
        for (writer, hlc) in reached {
            let number = self.engine.writers.number(self.connection, *writer)?;
            // A state never splits a transaction.
            let upto = Reached {
                hlc: *hlc,
                part: u32::MAX,
            };
            self.reached
                .insert((number, scope.compartment), (Some(upto), true));
            self.state.hlc = self.state.hlc.max(*hlc);
        }
        let last = latest.values().max().copied().unwrap_or_default();
        self.state.hlc = self.state.hlc.max(last);
        Ok(latest)
    }

    fn read_image<'a>(
        &mut self,
        scope: &Scope<'_>,
        mut input: &'a [u8],
        only: Option<&'a RowSet>,
    ) -> Result<BTreeMap<WriterKey, Hlc>, ImageError> {
        let input = &mut input;
        if read_array(input)? != 2 {
            return Err(ImageError::Malformed);
        }
        let version = read_unsigned(input)?;
        if version != image::VERSION {
            return Err(ImageError::Version(version));
        }
        let mut names = Names::default();
        for _ in 0..read_array(input)? {
            self.read_table(scope, input, &mut names, only)?;
        }
        if input.is_empty() {
            Ok(names.latest)
        } else {
            Err(ImageError::Malformed)
        }
    }

    fn read_table<'a>(
        &mut self,
        scope: &Scope<'_>,
        input: &mut &'a [u8],
        names: &mut Names<'a>,
        only: Option<&'a RowSet>,
    ) -> Result<(), ImageError> {
        if read_array(input)? != 5 {
            return Err(ImageError::Malformed);
        }
        let name = read_text(input)?;
        let mut keys = Vec::new();
        for _ in 0..read_array(input)? {
            keys.push(read_text(input)?);
        }
        if keys.is_empty() {
            return Err(ImageError::Malformed);
        }
        let joined = joined_names(&keys);
        let wanted = match only.map(|rows| rows.keys_of(name, &joined)) {
            None => Wanted::Every,
            Some(Some(keys)) => Wanted::These(keys),
            Some(None) => Wanted::None,
        };
        let table = TableImage {
            name,
            place: self.place_of(name, &joined),
            keys: joined,
            key_count: keys.len(),
            wanted,
        };
        names.columns.clear();
        let mut living = read_bytes(input)?;
        while !living.is_empty() {
            self.read_living(scope, &table, &mut living, names)?;
        }
        let mut dead = read_bytes(input)?;
        while !dead.is_empty() {
            self.read_dead(scope, &table, &mut dead, names)?;
        }
        let mut losing = read_bytes(input)?;
        while !losing.is_empty() {
            self.read_losing(scope, &table, &mut losing, names)?;
        }
        Ok(())
    }

    fn read_living<'a>(
        &mut self,
        scope: &Scope<'_>,
        table: &TableImage<'a>,
        input: &mut &'a [u8],
        names: &mut Names<'a>,
    ) -> Result<(), ImageError> {
        let key = read_key(input, table.key_count)?;
        let life = read_life(input)?;
        if !life.is_alive() {
            return Err(ImageError::Malformed);
        }
        let mut cells = Vec::new();
        let mut before = None;
        for _ in 0..read_unsigned(input)? {
            let column = names.column(input)?;
            let stamp = match before.filter(|_| read_nil(input)) {
                Some(stamp) => stamp,
                None => names.stamp(input)?,
            };
            before = Some(stamp);
            let start = *input;
            Value::read(input)?;
            cells.push(Cell {
                column,
                stamp,
                value: &start[..start.len() - input.len()],
            });
        }
        if !table.is_wanted(key) {
            return Ok(());
        }
        match self.holder(scope, table, key)? {
            Some(place) => self.make_row(place, key, life, &cells),
            None => self.make_stranger(table, key, life, &cells),
        }
    }

    /// A row that the tables here can hold, though perhaps not all of its cells.
    fn make_row(
        &mut self,
        place: usize,
        key: &[u8],
        life: Life,
        cells: &[Cell<'_>],
    ) -> Result<(), ImageError> {
        let mut by_stamp: BTreeMap<Stamp, Vec<&Cell<'_>>> = BTreeMap::new();
        for cell in cells {
            by_stamp.entry(cell.stamp).or_default().push(cell);
        }
        if by_stamp.is_empty() {
            by_stamp.insert(NOBODY, Vec::new());
        }
        let known = self.engine.tables.all[place].clone();
        for (stamp, cells) in by_stamp {
            let merge = open(
                &mut self.tables,
                self.connection,
                &self.engine.tables,
                &mut self.engine.memory,
                place,
            )?;
            let mut context = Context::new(
                self.connection,
                &mut self.engine.writers,
                stamp,
                self.version,
                None,
            )?;
            let targets: Vec<Target<'_>> = cells
                .iter()
                .map(|cell| Target {
                    name: cell.column,
                    index: known
                        .columns
                        .iter()
                        .position(|column| column.name == cell.column),
                })
                .collect();
            let values: Vec<u8> = cells.iter().flat_map(|cell| cell.value).copied().collect();
            merge.write(&mut context, life, key, &targets, &values, &mut Vec::new())?;
        }
        Ok(())
    }

    /// A row that the tables here cannot hold.
    fn make_stranger(
        &mut self,
        table: &TableImage<'_>,
        key: &[u8],
        life: Life,
        cells: &[Cell<'_>],
    ) -> Result<(), ImageError> {
        let last = cells.iter().map(|cell| cell.stamp).max().unwrap_or(NOBODY);
        let nothing = Value::Null.to_bytes();
        self.wait(table, key, life, ("", last, &nothing))?;
        for cell in cells {
            self.wait(table, key, life, (cell.column, cell.stamp, cell.value))?;
        }
        Ok(())
    }

    fn wait(
        &mut self,
        table: &TableImage<'_>,
        key: &[u8],
        life: Life,
        (column, stamp, value): (&str, Stamp, &[u8]),
    ) -> Result<(), StorageError> {
        let written = self.written(stamp)?;
        let waiting = Waiting {
            table: table.name,
            keys: &table.keys,
            key,
            column,
            life: life.number(),
            value,
        };
        let writers = &mut self.engine.writers;
        let connection = self.connection;
        quarantine::keep(connection, waiting, written, |left, right| {
            Ok(writers.key(connection, left)? < writers.key(connection, right)?)
        })
    }

    fn read_dead<'a>(
        &mut self,
        scope: &Scope<'_>,
        table: &TableImage<'a>,
        input: &mut &'a [u8],
        names: &mut Names<'a>,
    ) -> Result<(), ImageError> {
        let key = read_key(input, table.key_count)?;
        let life = read_life(input)?;
        if life.is_alive() {
            return Err(ImageError::Malformed);
        }
        let stamp = names.stamp(input)?;
        if !table.is_wanted(key) {
            return Ok(());
        }
        let Some(place) = self.holder(scope, table, key)? else {
            let nothing = Value::Null.to_bytes();
            return Ok(self.wait(table, key, life, ("", stamp, &nothing))?);
        };
        let merge = open(
            &mut self.tables,
            self.connection,
            &self.engine.tables,
            &mut self.engine.memory,
            place,
        )?;
        let mut context = Context::new(
            self.connection,
            &mut self.engine.writers,
            stamp,
            self.version,
            None,
        )?;
        Ok(merge.delete(&mut context, life, key)?)
    }

    fn read_losing<'a>(
        &mut self,
        scope: &Scope<'_>,
        table: &TableImage<'a>,
        input: &mut &'a [u8],
        names: &mut Names<'a>,
    ) -> Result<(), ImageError> {
        let key = read_key(input, table.key_count)?;
        let life = read_life(input)?;
        let stamp = names.stamp(input)?;
        let is_wanted = table.is_wanted(key);
        let holder = if is_wanted {
            self.holder(scope, table, key)?
        } else {
            None
        };
        let mut cells = Vec::new();
        for _ in 0..read_unsigned(input)? {
            let column = names.column(input)?;
            let value = Value::read(input)?;
            if !is_wanted {
                continue;
            }
            let number = holder.and_then(|place| {
                let known = &self.engine.tables.all[place];
                let column = known.columns.iter().find(|known| known.name == column)?;
                Some(column.number)
            });
            let number = number.ok_or_else(|| ImageError::UnknownColumn {
                table: table.name.to_owned(),
                column: column.to_owned(),
            })?;
            cells.push((number, value));
        }
        if !is_wanted {
            return Ok(());
        }
        let Some(place) = holder.filter(|_| !cells.is_empty()) else {
            return Err(ImageError::Malformed);
        };
        cells.sort_by_key(|cell| cell.0);
        let mut packed = Vec::new();
        for (number, value) in cells {
            write_cell(&mut packed, number, value);
        }
        let written = self.written(stamp)?;
        let losing = Losing {
            life: life.number(),
            hlc: written.hlc,
            writer: written.writer,
            cells: packed,
        };
        let merge = open(
            &mut self.tables,
            self.connection,
            &self.engine.tables,
            &mut self.engine.memory,
            place,
        )?;
        Ok(merge.keep_losing(key, losing)?)
    }

    /// The merged table that can hold a row; none when it has to wait for the schema.
    fn holder(
        &self,
        scope: &Scope<'_>,
        table: &TableImage<'_>,
        key: &[u8],
    ) -> Result<Option<usize>, ImageError> {
        let belongs = match table.place {
            Some(place) => scope.has_row(&self.engine.tables.all[place], key),
            None => scope.has_stranger(key),
        };
        if !belongs {
            return Err(ImageError::OtherCompartment(table.name.to_owned()));
        }
        Ok(table.place.filter(|place| {
            let known = &self.engine.tables.all[*place];
            aeroedge_crdt::changeset::Values::of(key)
                .enumerate()
                .all(|(place, value)| known.keeps_key(place, value))
        }))
    }

    fn written(&mut self, stamp: Stamp) -> Result<Written, StorageError> {
        Ok(Written {
            hlc: stamp.hlc.to_bits(),
            writer: self.engine.writers.number(self.connection, stamp.writer)?,
            version: self.version,
        })
    }
}

impl<'a> Names<'a> {
    fn column(&mut self, input: &mut &'a [u8]) -> Result<&'a str, ImageError> {
        let number = read_unsigned(input)? as usize;
        if number == self.columns.len() {
            self.columns.push(read_text(input)?);
        }
        self.columns
            .get(number)
            .copied()
            .ok_or(ImageError::Malformed)
    }

    fn stamp(&mut self, input: &mut &'a [u8]) -> Result<Stamp, ImageError> {
        let hlc = Hlc::from_bits(read_unsigned(input)?);
        let number = read_unsigned(input)? as usize;
        if number == self.writers.len() {
            let key = WriterKey::try_from(read_bytes(input)?);
            self.writers.push(key.map_err(|_| ImageError::Malformed)?);
        }
        let writer = *self.writers.get(number).ok_or(ImageError::Malformed)?;
        let latest = self.latest.entry(writer).or_default();
        *latest = hlc.max(*latest);
        Ok(Stamp { hlc, writer })
    }
}

fn read_key<'a>(input: &mut &'a [u8], columns: usize) -> Result<&'a [u8], ImageError> {
    let start = *input;
    for _ in 0..columns {
        if matches!(Value::read(input)?, Value::Null | Value::Real(_)) {
            return Err(ImageError::Malformed);
        }
    }
    Ok(&start[..start.len() - input.len()])
}

fn read_life(input: &mut &[u8]) -> Result<Life, ImageError> {
    let life = Life::from_number(read_unsigned(input)?);
    if life == Life::NONE || life > Life::MAX {
        return Err(ImageError::Malformed);
    }
    Ok(life)
}
