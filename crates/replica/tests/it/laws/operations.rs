//! Random operations on a few rows, so that they meet often.

use aeroedge_replica::rusqlite::{self, Connection};
use proptest::prelude::*;

use super::schemas::{Schema, TableSpec};

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Write {
        peer: usize,
        steps: Vec<Step>,
    },
    Deliver {
        from: usize,
        to: usize,
        count: u8,
        group: u8,
    },
    Tick {
        peer: usize,
        milliseconds: u8,
    },
}

/// A statement, or several.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Insert {
        table: usize,
        row: u8,
        choice: u8,
    },
    /// Only the key and the first column.
    InsertPart {
        table: usize,
        row: u8,
        choice: u8,
    },
    Replace {
        table: usize,
        row: u8,
        choice: u8,
    },
    Upsert {
        table: usize,
        row: u8,
        choice: u8,
    },
    Update {
        table: usize,
        row: u8,
        column: usize,
        choice: u8,
    },
    UpdateAll {
        table: usize,
        column: usize,
        choice: u8,
    },
    /// Writes what is there already.
    Touch {
        table: usize,
        row: u8,
    },
    Delete {
        table: usize,
        row: u8,
    },
    DeleteAll {
        table: usize,
    },
    ChangeKey {
        table: usize,
        row: u8,
        to: u8,
    },
    /// Several rows of which the last is there already: all are taken back.
    FailingInsert {
        table: usize,
        row: u8,
        choice: u8,
    },
    /// As before, but what came before the failure stays.
    InsertOrFail {
        table: usize,
        row: u8,
        choice: u8,
    },
    RolledBack(Vec<Step>),
    Released(Vec<Step>),
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..4_usize, prop::collection::vec(step(), 1..6)).prop_map(|(peer, steps)| Operation::Write { peer, steps }),
        3 => (0..4_usize, 0..4_usize, 0..8_u8, 0..4_u8)
            .prop_map(|(from, to, count, group)| Operation::Deliver { from, to, count, group }),
        1 => (0..4_usize, 0..50_u8).prop_map(|(peer, milliseconds)| Operation::Tick { peer, milliseconds }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => plain_step(),
        1 => prop::collection::vec(plain_step(), 1..4).prop_map(Step::RolledBack),
        1 => prop::collection::vec(plain_step(), 1..4).prop_map(Step::Released),
    ]
}

fn plain_step() -> impl Strategy<Value = Step> {
    let table = || 0..3_usize;
    let row = || 0..6_u8;
    let choice = any::<u8>;
    prop_oneof![
        4 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::Insert { table, row, choice }),
        1 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::InsertPart { table, row, choice }),
        2 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::Replace { table, row, choice }),
        2 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::Upsert { table, row, choice }),
        5 => (table(), row(), 0..4_usize, choice())
            .prop_map(|(table, row, column, choice)| Step::Update { table, row, column, choice }),
        1 => (table(), 0..4_usize, choice()).prop_map(|(table, column, choice)| Step::UpdateAll { table, column, choice }),
        1 => (table(), row()).prop_map(|(table, row)| Step::Touch { table, row }),
        3 => (table(), row()).prop_map(|(table, row)| Step::Delete { table, row }),
        1 => table().prop_map(|table| Step::DeleteAll { table }),
        2 => (table(), row(), row()).prop_map(|(table, row, to)| Step::ChangeKey { table, row, to }),
        1 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::FailingInsert { table, row, choice }),
        1 => (table(), row(), choice()).prop_map(|(table, row, choice)| Step::InsertOrFail { table, row, choice }),
    ]
}

impl Step {
    /// Runs the step; a constraint that fails is part of the game.
    pub(super) fn run(
        &self,
        connection: &Connection,
        schema: &Schema,
    ) -> Result<(), rusqlite::Error> {
        match self {
            Self::RolledBack(steps) => {
                connection.execute_batch("SAVEPOINT s")?;
                for step in steps {
                    step.run(connection, schema)?;
                }
                connection.execute_batch("ROLLBACK TO s; RELEASE s")
            }
            Self::Released(steps) => {
                connection.execute_batch("SAVEPOINT s")?;
                for step in steps {
                    step.run(connection, schema)?;
                }
                connection.execute_batch("RELEASE s")
            }
            plain => match plain.sql(schema) {
                None => Ok(()),
                Some(sql) => match connection.execute_batch(&sql) {
                    Err(rusqlite::Error::SqliteFailure(error, _))
                        if error.code == rusqlite::ErrorCode::ConstraintViolation =>
                    {
                        Ok(())
                    }
                    other => other,
                },
            },
        }
    }

    fn sql(&self, schema: &Schema) -> Option<String> {
        let spec = |table: &usize| &schema.tables[table % schema.tables.len()];
        Some(match self {
            Self::Insert { table, row, choice } => insert(spec(table), "INSERT", &[*row], *choice),
            Self::InsertPart { table, row, choice } => {
                let table = spec(table);
                if table.columns.is_empty() {
                    return None;
                }
                format!(
                    "INSERT INTO {}({}, c0) VALUES ({}, {})",
                    table.name(),
                    table.keys().join(","),
                    table.key_values(*row).join(","),
                    table.value(0, *choice)
                )
            }
            Self::Replace { table, row, choice } => {
                insert(spec(table), "INSERT OR REPLACE", &[*row], *choice)
            }
            Self::Upsert { table, row, choice } => {
                let table = spec(table);
                let insert = insert(table, "INSERT", &[*row], *choice);
                if table.columns.is_empty() {
                    return Some(format!("{insert} ON CONFLICT DO NOTHING"));
                }
                let column = usize::from(*choice) % table.columns.len();
                format!("{insert} ON CONFLICT DO UPDATE SET c{column} = excluded.c{column}")
            }
            Self::Update {
                table,
                row,
                column,
                choice,
            } => {
                let table = spec(table);
                let column = column % table.columns.len().max(1);
                table.columns.get(column)?;
                format!(
                    "UPDATE {} SET c{column} = {} WHERE {}",
                    table.name(),
                    table.value(column, *choice),
                    table.condition(*row)
                )
            }
            Self::UpdateAll {
                table,
                column,
                choice,
            } => {
                let table = spec(table);
                let column = column % table.columns.len().max(1);
                table.columns.get(column)?;
                format!(
                    "UPDATE {} SET c{column} = {}",
                    table.name(),
                    table.value(column, *choice)
                )
            }
            Self::Touch { table, row } => {
                let table = spec(table);
                let key = table.keys()[0];
                format!(
                    "UPDATE {} SET {key} = {key} WHERE {}",
                    table.name(),
                    table.condition(*row)
                )
            }
            Self::Delete { table, row } => {
                let table = spec(table);
                format!(
                    "DELETE FROM {} WHERE {}",
                    table.name(),
                    table.condition(*row)
                )
            }
            Self::DeleteAll { table } => format!("DELETE FROM {}", spec(table).name()),
            Self::ChangeKey { table, row, to } => {
                let table = spec(table);
                let sets: Vec<String> = table
                    .keys()
                    .iter()
                    .zip(table.key_values(*to))
                    .map(|(key, value)| format!("{key} = {value}"))
                    .collect();
                format!(
                    "UPDATE {} SET {} WHERE {}",
                    table.name(),
                    sets.join(", "),
                    table.condition(*row)
                )
            }
            Self::FailingInsert { table, row, choice } => insert(
                spec(table),
                "INSERT",
                &[*row, row + 1, row + 2, *row],
                *choice,
            ),
            Self::InsertOrFail { table, row, choice } => insert(
                spec(table),
                "INSERT OR FAIL",
                &[*row, row + 1, *row, row + 2],
                *choice,
            ),
            Self::RolledBack(_) | Self::Released(_) => return None,
        })
    }
}

fn insert(table: &TableSpec, verb: &str, rows: &[u8], choice: u8) -> String {
    let values: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut values = table.key_values(*row);
            values.extend(
                (0..table.columns.len())
                    .map(|column| table.value(column, choice.rotate_left(column as u32))),
            );
            format!("({})", values.join(","))
        })
        .collect();
    format!("{verb} INTO {} VALUES {}", table.name(), values.join(","))
}
