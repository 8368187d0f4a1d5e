//! The application on every node: a few tables of different shapes whose rows all name their compartment.

use aeroedge_device::{AllTables, Options};
use aeroedge_ids::CompartmentId;
use aeroedge_replica::{CompartmentRule, Merged, Policy};

/// A merged table as the workload and the oracle see it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Key columns in the order of the primary key.
    pub(crate) keys: &'static [&'static str],
    /// The other columns with their defaults as SQL literals.
    pub(crate) columns: &'static [(&'static str, &'static str)],
}

/// The key column that names the compartment, in every table.
pub(crate) const COMPARTMENT: &str = "compartment_id";

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS contact (
        compartment_id BLOB NOT NULL, id TEXT NOT NULL, name TEXT, age INTEGER, photo BLOB,
        PRIMARY KEY (compartment_id, id));
    CREATE TABLE IF NOT EXISTS price (
        item INTEGER NOT NULL, region TEXT NOT NULL, compartment_id BLOB NOT NULL, cents INTEGER DEFAULT 100, remark TEXT DEFAULT 'none',
        PRIMARY KEY (item, region, compartment_id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS visit (
        compartment_id BLOB NOT NULL, day INTEGER NOT NULL, who BLOB NOT NULL, hours REAL, paid INTEGER DEFAULT 0, remark TEXT,
        PRIMARY KEY (compartment_id, day, who));
    CREATE TABLE IF NOT EXISTS label (
        compartment_id BLOB NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (compartment_id, name));
";

pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "contact",
        keys: &[COMPARTMENT, "id"],
        columns: &[("name", "NULL"), ("age", "NULL"), ("photo", "NULL")],
    },
    Table {
        name: "price",
        keys: &["item", "region", COMPARTMENT],
        columns: &[("cents", "100"), ("remark", "'none'")],
    },
    Table {
        name: "visit",
        keys: &[COMPARTMENT, "day", "who"],
        columns: &[("hours", "NULL"), ("paid", "0"), ("remark", "NULL")],
    },
    Table {
        name: "label",
        keys: &[COMPARTMENT, "name"],
        columns: &[],
    },
];

/// What a device is told of the application.
pub(crate) fn options() -> Options {
    let merged = |table: &Table| Merged {
        table: table.name.to_owned(),
        compartment: CompartmentRule::Column(COMPARTMENT.to_owned()),
        policy: Policy::Record,
    };
    Options {
        tables: TABLES.iter().map(merged).collect(),
        rights: Box::new(AllTables),
        schema_version: 1,
    }
}

/// A compartment as an SQL literal, spelled as SQLite's `quote` spells it.
pub(crate) fn literal_of(compartment: CompartmentId) -> String {
    blob_literal(&compartment.0)
}

/// Bytes as an SQL literal, spelled as SQLite's `quote` spells it.
pub(crate) fn blob_literal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    text.push_str("X'");
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text.push('\'');
    text
}
