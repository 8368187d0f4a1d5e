//! SQL lives in adapters: nobody else spells a statement or keeps a migration.

use crate::Finding;
use crate::read::Crate;
use crate::rooms::{Side, room_of};
use crate::rust_text::string_literals;

/// How a statement begins; the words follow each other, `..` stands for any words between.
const STATEMENTS: &[&[&str]] = &[
    &["SELECT", ".."],
    &["INSERT", "INTO"],
    &["INSERT", "OR", "..", "INTO"],
    &["REPLACE", "INTO"],
    &["UPDATE", "..", "SET"],
    &["DELETE", "FROM"],
    &["CREATE", "TABLE"],
    &["ALTER", "TABLE"],
    &["DROP", "TABLE"],
];

/// Fails on a string that spells an SQL statement, and on an `.sql` file, outside the adapters. Tests and examples may
/// look into a database by any means.
pub fn sql_lives_in_adapters(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in crates {
        let Some(room) = room_of(&package.name) else {
            continue;
        };
        if room.sql || room.side == Side::Workshop {
            continue;
        }
        for file in package.files.iter().filter(|file| !file.serves_tests()) {
            if file.is_kind("sql") {
                findings.push(Finding::new(
                    &file.path,
                    "migrations and statements live in the adapters; move this file to the crate that owns the tables",
                ));
                continue;
            }
            for literal in string_literals(&file.text) {
                if !literal.in_tests && is_statement(&literal.text) {
                    findings.push(Finding::new(
                        format!("{}:{}", file.path, literal.line),
                        "spells SQL; ask the adapter that owns the table for a function with a name",
                    ));
                }
            }
        }
    }
    findings
}

fn is_statement(text: &str) -> bool {
    let words: Vec<&str> = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '*'))
        .filter(|word| !word.is_empty())
        .collect();
    (0..words.len()).any(|start| {
        STATEMENTS
            .iter()
            .any(|pattern| follows(pattern, &words[start..]))
    })
}

fn follows(pattern: &[&str], words: &[&str]) -> bool {
    match pattern {
        [] => true,
        [".."] => !words.is_empty(),
        ["..", rest @ ..] => (1..words.len()).any(|skipped| follows(rest, &words[skipped..])),
        [first, rest @ ..] => words.first() == Some(first) && follows(rest, &words[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{holding, places};

    #[track_caller]
    fn check(name: &str, path: &str, text: &str, expected: &[&str]) {
        assert_eq!(
            places(&sql_lives_in_adapters(&[holding(name, path, text)])),
            expected,
            "{text}"
        );
    }

    #[test]
    fn statements_are_refused_outside_the_adapters() {
        let file = "crates/app/src/lib.rs";
        for planted in [
            "\"SELECT a FROM b\"",
            "\"SELECT\\n *\"",
            "r#\"INSERT INTO b VALUES (1)\"#",
            "\"INSERT OR IGNORE INTO b\"",
            "\"UPDATE b SET a = 1\"",
            "\"DELETE FROM b\"",
            "\"CREATE TABLE b (a)\"",
        ] {
            check(
                "aeroedge-app",
                file,
                &format!("//! App.\nfn f() {{ g({planted}); }}"),
                &["crates/app/src/lib.rs:2"],
            );
        }
    }

    #[test]
    fn adapters_tests_and_prose_are_left_alone() {
        let statement = "//! X.\nconst A: &str = \"SELECT a FROM b\";";
        check(
            "aeroedge-replica",
            "crates/replica/src/lib.rs",
            statement,
            &[],
        );
        check(
            "aeroedge-app",
            "crates/app/tests/it/main.rs",
            statement,
            &[],
        );
        check(
            "aeroedge-app",
            "crates/app/src/lib.rs",
            "//! X.\n#[cfg(test)]\nmod tests { const A: &str = \"SELECT a FROM b\"; }",
            &[],
        );
        check(
            "aeroedge-app",
            "crates/app/src/lib.rs",
            "//! X.\n// SELECT a FROM b\nconst A: &str = \"select a file to update\";",
            &[],
        );
    }

    #[test]
    fn migrations_are_refused_outside_the_adapters() {
        let path = "crates/app/migrations/0001.sql";
        check("aeroedge-app", path, "", &[path]);
        check("aeroedge-device", path, "", &[]);
    }
}
