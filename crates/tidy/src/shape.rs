//! The shape of a crate and of a file: lints, opening sentence, length, and tests that are named and run.

use crate::Finding;
use crate::read::{Crate, SourceFile};
use crate::rooms::room_of;
use crate::rust_text::code_only;

const MOST_LINES: usize = 800;

/// Fails on a crate that does not take the lints of the workspace.
pub fn lints_are_inherited(crates: &[Crate]) -> Vec<Finding> {
    crates
        .iter()
        .filter(|package| {
            let mut lines = package.manifest.lines().map(str::trim);
            !(lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true"))
        })
        .map(|package| {
            Finding::new(
                format!("{} Cargo.toml", package.name),
                "does not inherit the lints; add \"[lints]\" and below it \"workspace = true\"",
            )
        })
        .collect()
}

/// Fails on a core crate without a `clippy.toml` that forbids clocks, threads and files. The nearest such file wins and is
/// not merged with the one of the workspace, so each core crate needs its own.
pub fn core_crates_forbid_clocks(crates: &[Crate]) -> Vec<Finding> {
    const FORBIDDEN: &[&str] = &[
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "std::thread::spawn",
        "std::fs::File::open",
        "std::collections::HashMap",
    ];
    let mut findings = Vec::new();
    for package in crates {
        if !room_of(&package.name).is_some_and(|room| room.core) {
            continue;
        }
        let settings = package.clippy_settings.as_deref().unwrap_or("");
        for path in FORBIDDEN {
            if !settings.contains(&format!("\"{path}\"")) {
                findings.push(Finding::new(
                    format!("{} clippy.toml", package.name),
                    format!(
                        "does not forbid {path}; take over the lines of crates/ids/clippy.toml"
                    ),
                ));
            }
        }
    }
    findings
}

/// Fails on a source file that does not open with `//!`.
pub fn files_open_with_their_purpose(crates: &[Crate]) -> Vec<Finding> {
    rust_files(crates)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            Finding::new(
                &file.path,
                "does not open with its purpose; begin with \"//! \", one sentence, and what always holds",
            )
        })
        .collect()
}

/// Fails on a file so long that it has a second subject.
pub fn files_have_one_subject(crates: &[Crate]) -> Vec<Finding> {
    rust_files(crates)
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > MOST_LINES).then(|| {
                Finding::new(
                    &file.path,
                    format!(
                        "has {lines} lines, more than {MOST_LINES}; find its second subject and give it a file"
                    ),
                )
            })
        })
        .collect()
}

/// Fails on a test that is switched off without a FIXME on the same line or the one above.
pub fn ignored_tests_say_why(crates: &[Crate]) -> Vec<Finding> {
    find_lines(
        crates,
        |code, line, above| {
            code.contains("#[ignore") && !line.contains("FIXME") && !above.contains("FIXME")
        },
        "switches a test off; assert today's result with a FIXME instead, or say in a FIXME beside it what must happen",
    )
}

/// Fails on a function named `test_...`: a test is named as the fact it shows.
pub fn tests_are_named_as_facts(crates: &[Crate]) -> Vec<Finding> {
    find_lines(
        crates,
        |code, _, _| code.trim_start().starts_with("fn test_"),
        "begins a test's name with test_; name the fact it shows, such as a_second_import_adds_nothing",
    )
}

/// Findings for the lines that `is_wrong` given (the line's code alone, the whole line, the line above).
fn find_lines(
    crates: &[Crate],
    is_wrong: impl Fn(&str, &str, &str) -> bool,
    advice: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in rust_files(crates) {
        let code = code_only(&file.text);
        let mut above = "";
        for (number, (code, line)) in code.lines().zip(file.text.lines()).enumerate() {
            if is_wrong(code, line, above) {
                findings.push(Finding::new(
                    format!("{}:{}", file.path, number + 1),
                    advice,
                ));
            }
            above = line;
        }
    }
    findings
}

fn rust_files(crates: &[Crate]) -> impl Iterator<Item = &SourceFile> {
    crates
        .iter()
        .flat_map(|package| &package.files)
        .filter(|file| file.is_kind("rs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{holding, places, tidy_crate};

    const FILE: &str = "crates/x/src/lib.rs";

    fn file(text: &str) -> [Crate; 1] {
        [holding("aeroedge-x", FILE, text)]
    }

    #[test]
    fn a_crate_with_lints_of_its_own_is_refused() {
        let mut package = tidy_crate("aeroedge-x");
        assert!(lints_are_inherited(std::slice::from_ref(&package)).is_empty());
        for manifest in ["", "[lints]\n", "[lints.rust]\nunsafe_code = \"allow\"\n"] {
            package.manifest = manifest.into();
            assert_eq!(lints_are_inherited(std::slice::from_ref(&package)).len(), 1);
        }
    }

    #[test]
    fn a_core_crate_that_does_not_forbid_clocks_is_refused() {
        let mut package = tidy_crate("aeroedge-log");
        assert_eq!(
            core_crates_forbid_clocks(std::slice::from_ref(&package)).len(),
            5
        );
        package.clippy_settings = Some(include_str!("../../ids/clippy.toml").into());
        assert!(core_crates_forbid_clocks(std::slice::from_ref(&package)).is_empty());
        assert!(core_crates_forbid_clocks(&[tidy_crate("aeroedge-node")]).is_empty());
    }

    #[test]
    fn a_file_without_its_purpose_is_refused() {
        assert!(files_open_with_their_purpose(&file("//! Rows.\n")).is_empty());
        for planted in ["", "use a;\n//! Rows.\n", "/// Rows.\n", "//!\n"] {
            assert_eq!(
                places(&files_open_with_their_purpose(&file(planted))),
                [FILE]
            );
        }
    }

    #[test]
    fn a_file_of_two_subjects_is_refused() {
        assert!(files_have_one_subject(&file(&"\n".repeat(800))).is_empty());
        assert_eq!(
            places(&files_have_one_subject(&file(&"\n".repeat(801)))),
            [FILE]
        );
    }

    #[test]
    fn a_test_switched_off_in_silence_is_refused() {
        let ignored = "#[ignore]";
        assert_eq!(
            places(&ignored_tests_say_why(&file(&format!("\n  {ignored}\n")))),
            ["crates/x/src/lib.rs:2"]
        );
        let with_reason = "#[ignore = \"slow\"]\n";
        assert_eq!(ignored_tests_say_why(&file(with_reason)).len(), 1);
        let with_fixme = "// FIXME: needs a second disk.\n#[ignore]\n";
        assert!(ignored_tests_say_why(&file(with_fixme)).is_empty());
        assert!(ignored_tests_say_why(&file("// #[ignore]\nf(\"#[ignore]\")")).is_empty());
    }

    #[test]
    fn a_test_that_is_named_a_test_is_refused() {
        assert_eq!(
            places(&tests_are_named_as_facts(&file(
                "\n    fn test_import() {}"
            ))),
            ["crates/x/src/lib.rs:2"]
        );
        assert!(tests_are_named_as_facts(&file("fn tests_may_use() {}")).is_empty());
    }
}
