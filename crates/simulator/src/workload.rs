//! What people do on a node: random transactions over few rows, so that everybody meets everybody.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;

use crate::rows::RowKey;
use crate::tables::{COMPARTMENT, TABLES, blob_literal};

/// One transaction: what it runs, and every row it could touch.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) statements: Vec<String>,
    pub(crate) rows: Vec<RowKey>,
}

/// Makes up a transaction over the compartments with these literals, at least one.
pub(crate) fn make_up(rng: &mut ChaCha12Rng, compartments: &[String]) -> Work {
    let mut work = Work {
        statements: Vec::new(),
        rows: Vec::new(),
    };
    if rng.random_bool(0.015) {
        large(rng, compartments, &mut work);
        return work;
    }
    let count = if rng.random_bool(0.7) {
        1
    } else {
        rng.random_range(2..7)
    };
    for _ in 0..count {
        statement(rng, compartments, &mut work);
    }
    work.rows.sort();
    work.rows.dedup();
    work
}

fn statement(rng: &mut ChaCha12Rng, compartments: &[String], work: &mut Work) {
    let row = random_row(rng, compartments);
    let table = row.table();
    let name = table.name;
    let condition = row.condition();
    let cell = |rng: &mut ChaCha12Rng| {
        let (column, _) = table.columns.choose(rng).copied().unwrap_or(("", ""));
        (column, value(rng, column))
    };
    let sql = match rng.random_range(0..20) {
        0..=5 if !table.columns.is_empty() => {
            let (column, value) = cell(rng);
            format!("UPDATE {name} SET {column} = {value} WHERE {condition}")
        }
        0..=10 => {
            let conflict = if table.columns.is_empty() {
                "DO NOTHING".to_owned()
            } else {
                let (column, value) = cell(rng);
                format!("DO UPDATE SET {column} = {value}")
            };
            format!("{} ON CONFLICT {conflict}", insert(rng, "INSERT", &row))
        }
        11 => insert(rng, "INSERT OR REPLACE", &row),
        12 => insert(rng, "INSERT OR IGNORE", &row),
        13..=15 => format!("DELETE FROM {name} WHERE {condition}"),
        16 => {
            let target = if rng.random_bool(0.5) {
                row.moved_to(compartments.choose(rng).unwrap_or(&compartments[0]))
            } else {
                RowKey {
                    table: row.table,
                    ..random_row_of(rng, row.table, row.compartment())
                }
            };
            let changes: Vec<String> = table
                .keys
                .iter()
                .zip(&target.key)
                .map(|(column, value)| format!("{column} = {value}"))
                .collect();
            let mode = if rng.random_bool(0.5) {
                "OR IGNORE"
            } else {
                "OR REPLACE"
            };
            work.rows.push(target);
            format!(
                "UPDATE {mode} {name} SET {} WHERE {condition}",
                changes.join(", ")
            )
        }
        17 => format!(
            "DELETE FROM {name} WHERE {condition}; {}",
            insert(rng, "INSERT", &row)
        ),
        18 => format!(
            "{}; DELETE FROM {name} WHERE {condition}",
            insert(rng, "INSERT OR IGNORE", &row)
        ),
        _ => format!(
            "SAVEPOINT trial; DELETE FROM {name} WHERE {condition}; {}; ROLLBACK TO trial; RELEASE trial",
            insert(rng, "INSERT", &row)
        ),
    };
    work.statements.push(sql);
    work.rows.push(row);
}

/// So many wide rows that the transaction is split into parts.
fn large(rng: &mut ChaCha12Rng, compartments: &[String], work: &mut Work) {
    let compartment = &compartments[rng.random_range(0..compartments.len())];
    for number in 0..rng.random_range(6..14) {
        let row = RowKey {
            table: 0,
            key: vec![compartment.clone(), format!("'wide {number}'")],
        };
        // Bytes that no compression shortens would take long to make; the split goes by the length before it.
        let photo = format!("zeroblob({})", rng.random_range(30_000..70_000));
        work.statements.push(format!(
            "INSERT INTO contact({COMPARTMENT}, id, photo) VALUES ({}, {}, {photo}) ON CONFLICT DO UPDATE SET photo = {photo}",
            row.key[0], row.key[1]
        ));
        work.rows.push(row);
    }
}

fn random_row(rng: &mut ChaCha12Rng, compartments: &[String]) -> RowKey {
    let compartment = &compartments[rng.random_range(0..compartments.len())];
    let table = rng.random_range(0..TABLES.len());
    random_row_of(rng, table, compartment)
}

fn random_row_of(rng: &mut ChaCha12Rng, table: usize, compartment: &str) -> RowKey {
    let key = TABLES[table]
        .keys
        .iter()
        .map(|column| match *column {
            COMPARTMENT => compartment.to_owned(),
            "id" => format!("'person {}'", rng.random_range(0..8)),
            "item" => rng.random_range(0..4).to_string(),
            "region" => ["'north'", "'south'"][rng.random_range(0..2)].to_owned(),
            "day" => rng.random_range(-1..2).to_string(),
            "who" => blob_literal(&[rng.random_range(0..3)]),
            _ => format!("'label {}'", rng.random_range(0..4)),
        })
        .collect();
    RowKey { table, key }
}

fn insert(rng: &mut ChaCha12Rng, verb: &str, row: &RowKey) -> String {
    let table = row.table();
    let mut columns: Vec<&str> = table.keys.to_vec();
    let mut values = row.key.clone();
    for (column, _) in table.columns {
        if rng.random_bool(0.7) {
            columns.push(column);
            values.push(value(rng, column));
        }
    }
    format!(
        "{verb} INTO {}({}) VALUES ({})",
        table.name,
        columns.join(", "),
        values.join(", ")
    )
}

fn value(rng: &mut ChaCha12Rng, column: &str) -> String {
    if rng.random_bool(0.1) {
        return "NULL".to_owned();
    }
    match column {
        "age" | "cents" | "paid" => rng.random_range(-3..100_i64).to_string(),
        "hours" => format!("{:?}", f64::from(rng.random_range(-40..400)) / 10.0),
        "photo" => blob_literal(&rng.random::<[u8; 6]>()),
        _ => format!("'word {}'", rng.random_range(0..50)),
    }
}
