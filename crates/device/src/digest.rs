//! One number for what a context's tables hold, to compare devices by.

use aeroedge_ids::{CompartmentId, ContextId};
use aeroedge_replica::CompartmentRule;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use crate::device::{Device, DeviceError};

impl Device {
    /// The engine's own fingerprint: content, and behind it clocks, tombstones, open conflicts and quarantine. Equal on devices that
    /// read the same compartments and merged the same entries.
    pub fn engine_digest(&mut self) -> Result<aeroedge_replica::Digest, DeviceError> {
        self.replica
            .digest(None)
            .map_err(|error| DeviceError::Engine(Box::new(error)))
    }

    /// SHA-256 over every row of the merged tables in the compartments of a context that this device reads: tables by name,
    /// rows by key, values with type and length. Equal on devices that read the same compartments and merged the same entries.
    pub fn digest(&self, context: ContextId) -> Result<[u8; 32], DeviceError> {
        let mut compartments = self.compartments(context);
        compartments.sort_unstable();
        let mut tables: Vec<_> = self.tables.iter().collect();
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        let mut hash = Sha256::new();
        for table in tables {
            let column = match &table.compartment {
                CompartmentRule::Column(column) => Some(column.as_str()),
                CompartmentRule::Fixed => None,
            };
            for compartment in &compartments {
                if column.is_none() && self.fixed != Some(*compartment) {
                    continue;
                }
                hash.update(compartment.0);
                self.digest_rows(&table.table, column, *compartment, &mut hash)?;
            }
        }
        Ok(hash.finalize().into())
    }

    fn digest_rows(
        &self,
        table: &str,
        column: Option<&str>,
        compartment: CompartmentId,
        hash: &mut Sha256,
    ) -> Result<(), DeviceError> {
        let names = columns(self.connection(), table)?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let list: Vec<_> = names.iter().map(|(name, _)| quoted(name)).collect();
        let mut keys: Vec<_> = names.iter().filter(|(_, place)| *place > 0).collect();
        keys.sort_by_key(|(_, place)| *place);
        let order: Vec<_> = keys.iter().map(|(name, _)| quoted(name)).collect();
        let filter = column.map_or(String::new(), |column| {
            format!("WHERE {} = ?1", quoted(column))
        });
        let sql = format!(
            "SELECT {} FROM {} {filter} ORDER BY {}",
            list.join(", "),
            quoted(table),
            order.join(", ")
        );
        let mut statement = self.connection().prepare(&sql)?;
        let mut rows = match column {
            Some(_) => statement.query([compartment.0])?,
            None => statement.query([])?,
        };
        hash.update((table.len() as u64).to_be_bytes());
        hash.update(table);
        while let Some(row) = rows.next()? {
            for place in 0..list.len() {
                add(hash, row.get_ref(place)?);
            }
        }
        Ok(())
    }
}

/// Columns of a table by name, and their place in the key (0: not in it). Sorted, because devices may have added them in another order.
fn columns(connection: &rusqlite::Connection, table: &str) -> rusqlite::Result<Vec<(String, i64)>> {
    connection
        .prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY name")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn add(hash: &mut Sha256, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match &value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => (1, &number.to_be_bytes()),
        ValueRef::Real(number) => (2, &number.to_bits().to_be_bytes()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
