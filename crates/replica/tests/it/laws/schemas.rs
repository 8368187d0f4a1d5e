//! Random schemas: every kind of key, with and without rowid, with and without compartments.

use aeroedge_replica::{CompartmentRule, Merged, Policy};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Text,
    Blob,
    Integer,
    Composite,
    InCompartment,
}

#[derive(Debug, Clone)]
pub(super) struct TableSpec {
    pub(super) number: usize,
    pub(super) key: KeyKind,
    pub(super) without_rowid: bool,
    pub(super) columns: Vec<&'static str>,
    pub(super) silent: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) tables: Vec<TableSpec>,
}

const COLUMN_KINDS: [&str; 6] = [
    "TEXT",
    "INTEGER DEFAULT 7",
    "REAL",
    "",
    "TEXT NOT NULL DEFAULT 'none'",
    "BLOB",
];

pub(super) fn schema() -> impl Strategy<Value = Schema> {
    prop::collection::vec(table(), 1..=3).prop_map(|mut tables| {
        for (number, table) in tables.iter_mut().enumerate() {
            table.number = number;
        }
        Schema { tables }
    })
}

fn table() -> impl Strategy<Value = TableSpec> {
    let key = prop::sample::select(vec![
        KeyKind::Text,
        KeyKind::Blob,
        KeyKind::Integer,
        KeyKind::Composite,
        KeyKind::InCompartment,
    ]);
    let columns = prop::collection::vec(prop::sample::select(COLUMN_KINDS.to_vec()), 0..=4);
    (key, any::<bool>(), columns, prop::bool::weighted(0.2)).prop_map(
        |(key, without_rowid, columns, silent)| TableSpec {
            number: 0,
            key,
            without_rowid,
            columns,
            silent,
        },
    )
}

impl Schema {
    pub(super) fn sql(&self) -> String {
        self.tables.iter().map(TableSpec::sql).collect()
    }

    pub(super) fn merged(&self) -> Vec<Merged> {
        super::declarations(self)
    }
}

impl TableSpec {
    pub(super) fn name(&self) -> String {
        format!("t{}", self.number)
    }

    fn sql(&self) -> String {
        let keys = match self.key {
            KeyKind::Text => "k TEXT PRIMARY KEY",
            KeyKind::Blob => "k BLOB NOT NULL PRIMARY KEY",
            KeyKind::Integer => "k INTEGER PRIMARY KEY",
            KeyKind::Composite => "k TEXT, l INTEGER",
            KeyKind::InCompartment => "k BLOB, l TEXT",
        };
        let columns: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, kind)| format!(", c{index} {kind}"))
            .collect();
        let columns = columns.concat();
        let composite = match self.key {
            KeyKind::Composite => ", PRIMARY KEY(l, k)",
            KeyKind::InCompartment => ", PRIMARY KEY(k, l)",
            _ => "",
        };
        let rowid = if self.without_rowid {
            "WITHOUT ROWID"
        } else {
            ""
        };
        format!(
            "CREATE TABLE {}({keys}{columns}{composite}) {rowid};\n",
            self.name()
        )
    }

    pub(super) fn merged(&self) -> Merged {
        Merged {
            compartment: match self.key {
                KeyKind::InCompartment => CompartmentRule::Column("k".into()),
                _ => CompartmentRule::Fixed,
            },
            policy: if self.silent {
                Policy::Silent
            } else {
                Policy::Record
            },
            ..Merged::table(self.name())
        }
    }

    /// The names of the key columns.
    pub(super) fn keys(&self) -> &'static [&'static str] {
        match self.key {
            KeyKind::Composite | KeyKind::InCompartment => &["k", "l"],
            _ => &["k"],
        }
    }

    /// The key values, as SQL, of the row with a small number.
    pub(super) fn key_values(&self, row: u8) -> Vec<String> {
        match self.key {
            KeyKind::Text => vec![format!("'key{row}'")],
            KeyKind::Blob => vec![format!("x'{row:02x}ff'")],
            KeyKind::Integer => vec![(i64::from(row) * 50 - 100).to_string()],
            KeyKind::Composite => vec![format!("'k{}'", row % 3), (row / 3).to_string()],
            KeyKind::InCompartment => vec![
                format!("x'{}'", format!("{:02x}", row % 2 + 1).repeat(16)),
                format!("'l{}'", row / 2),
            ],
        }
    }

    pub(super) fn condition(&self, row: u8) -> String {
        self.keys()
            .iter()
            .zip(self.key_values(row))
            .map(|(key, value)| format!("{key} = {value}"))
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// A value that the column holds as it is, as SQL.
    pub(super) fn value(&self, column: usize, choice: u8) -> String {
        let kind = self.columns[column];
        match (kind, choice % 5) {
            ("TEXT NOT NULL DEFAULT 'none'" | "TEXT", 1) => "''".into(),
            ("TEXT NOT NULL DEFAULT 'none'" | "TEXT", 2) => "cast(x'ff41' AS TEXT)".into(),
            ("TEXT NOT NULL DEFAULT 'none'" | "TEXT", choice @ 3..) => format!("'text {choice}'"),
            ("TEXT NOT NULL DEFAULT 'none'", _) => "'zero'".into(),
            (_, 0) => "NULL".into(),
            ("REAL", choice) => format!("{choice}.5"),
            ("", 3) => "'3'".into(),
            ("", 4) => "4.0".into(),
            ("BLOB", choice) => format!("x'00{choice:02x}'"),
            (_, choice) => (i64::from(choice) - 2).to_string(),
        }
    }

    pub(super) fn dump_sql(&self) -> String {
        let keys = self.keys().join(",");
        let typed: Vec<String> = (0..self.columns.len())
            .map(|index| format!(", typeof(c{index}), hex(c{index})"))
            .collect();
        let typed = typed.concat();
        let quoted: Vec<String> = self
            .keys()
            .iter()
            .map(|key| format!("quote({key})"))
            .collect();
        format!(
            "SELECT {}{typed} FROM {} ORDER BY {keys}",
            quoted.join(","),
            self.name()
        )
    }
}
