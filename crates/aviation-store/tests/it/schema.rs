//! The schema: embedded migrations, the rules for merged tables, and a snapshot in which every change shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use aeroedge_aviation_store::tables::{LOCAL, MERGED, merged};
use aeroedge_aviation_store::{MigrationError, apply, migrations};
use rusqlite::Connection;

use crate::support::database;

fn tables(conn: &Connection) -> Vec<String> {
    let mut statement = conn
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[test]
fn migrations_are_numbered_without_gaps_as_their_files_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let embedded: BTreeSet<String> = migrations()
        .iter()
        .map(|(_, name, _)| format!("{name}.sql"))
        .collect();
    assert_eq!(files, embedded);
    for (index, (version, name, _)) in migrations().iter().enumerate() {
        assert_eq!(*version as usize, index + 1);
        assert!(name.starts_with(&format!("{version:04}_")), "{name}");
    }
}

#[test]
fn the_schema_is_the_committed_snapshot() {
    let conn = database();
    let mut statement = conn
        .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
        .unwrap();
    let mut schema = String::from(
        "-- The whole schema; written by the test that compares it (AEROEDGE_BLESS=1).\n",
    );
    for sql in statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
    {
        write!(schema, "\n{};\n", sql.unwrap()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.sql");
    if std::env::var_os("AEROEDGE_BLESS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == schema,
        "the schema changed: if that is meant, add a migration and run again with AEROEDGE_BLESS=1"
    );
}

#[test]
fn every_table_is_either_merged_or_local() {
    let named: BTreeSet<String> = MERGED
        .iter()
        .map(|table| table.name)
        .chain(LOCAL.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(named, tables(&database()).into_iter().collect());
    assert_eq!(
        named.len(),
        MERGED.len() + LOCAL.len(),
        "none is named twice"
    );
    assert!(merged("flight").is_some() && merged("import_batch").is_none());
}

#[test]
fn merged_tables_keep_the_rules_of_the_merge_engine() {
    let conn = database();
    let strings = |sql: &str, table: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([table], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for table in MERGED.iter().map(|table| table.name) {
        let columns: Vec<(String, String, bool, Option<String>, u32)> = {
            let mut statement = conn
                .prepare("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0")
                .unwrap();
            let rows = statement
                .query_map([table], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                    ))
                })
                .unwrap();
            rows.map(Result::unwrap).collect()
        };
        let hidden: u32 = conn
            .query_row(
                "SELECT count(*) FROM pragma_table_xinfo(?1) WHERE hidden <> 0",
                [table],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(hidden, 0, "{table} has no generated columns");
        let key: Vec<_> = columns.iter().filter(|column| column.4 > 0).collect();
        assert_eq!(key.len(), 2, "{table}");
        assert_eq!(
            (key[0].0.as_str(), key[0].1.as_str(), key[0].2),
            ("id", "TEXT", true)
        );
        assert_eq!(
            (key[1].0.as_str(), key[1].1.as_str(), key[1].2),
            ("compartment_id", "BLOB", true)
        );
        for (name, _, not_null, default, pk) in &columns {
            assert!(
                *pk > 0 || !not_null || default.is_some(),
                "{table}.{name} is nullable or has a default"
            );
            if let Some(default) = default {
                assert!(
                    default.parse::<i64>().is_ok(),
                    "{table}.{name} has a constant default"
                );
            }
        }
        for (name, kind) in [
            ("created_at", "INTEGER"),
            ("updated_at", "INTEGER"),
            ("created_by", "BLOB"),
        ] {
            assert!(
                columns
                    .iter()
                    .any(|column| column.0 == name && column.1 == kind),
                "{table} has {name}"
            );
        }
        let unique = strings(
            "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND origin <> 'pk'",
            table,
        );
        assert_eq!(unique, [""; 0], "{table} has no other unique index");
        assert_eq!(
            strings("SELECT \"table\" FROM pragma_foreign_key_list(?1)", table),
            [""; 0]
        );
        assert_eq!(
            strings(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1",
                table
            ),
            [""; 0]
        );
        let sql = strings(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?1",
            table,
        );
        let without_comments: String = sql[0]
            .lines()
            .map(|line| line.split("--").next().unwrap())
            .collect();
        let words: BTreeSet<String> = without_comments
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .map(str::to_uppercase)
            .collect();
        for word in [
            "CHECK",
            "WITHOUT",
            "STRICT",
            "REFERENCES",
            "GENERATED",
            "UNIQUE",
            "COLLATE",
        ] {
            assert!(!words.contains(word), "{table} has no {word}");
        }
    }
}

#[test]
fn applying_twice_changes_nothing() {
    let conn = database();
    let before = tables(&conn);
    assert_eq!(apply(&conn).unwrap() as usize, migrations().len());
    assert_eq!(tables(&conn), before);
}

#[test]
fn migrations_apply_inside_a_transaction_of_the_caller() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("BEGIN").unwrap();
    apply(&conn).unwrap();
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(tables(&conn), [""; 0]);
}

#[test]
fn a_database_of_a_newer_program_is_refused_in_one_sentence() {
    let conn = database();
    conn.execute(
        "INSERT INTO aviation_migration VALUES (9, '0009_future')",
        [],
    )
    .unwrap();
    let error = apply(&conn).unwrap_err();
    assert_eq!(
        error.to_string(),
        "database has aviation schema 9 and this program knows 8: install the newer program that wrote it"
    );
    assert!(conn.is_autocommit(), "nothing stays open");
}

#[test]
fn a_database_of_another_origin_is_refused() {
    let conn = database();
    conn.execute(
        "UPDATE aviation_migration SET name = '0003_boats' WHERE version = 3",
        [],
    )
    .unwrap();
    assert!(matches!(
        apply(&conn),
        Err(MigrationError::OtherOrigin { version: 3, .. })
    ));
}

#[test]
fn a_failing_step_leaves_nothing_behind() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE squawk (something)")
        .unwrap();
    let error = apply(&conn).unwrap_err();
    assert!(matches!(error, MigrationError::Step { version: 3, .. }));
    assert_eq!(tables(&conn), ["squawk"]);
}
