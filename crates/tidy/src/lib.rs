//! House rules that fail in the ordinary test run.
//!
//! Each rule is a pure function from what [`read`] found to a list of [`Finding`]s, so that its own tests can plant a
//! violation. Nothing here depends on the commit or on what was tracked: the files as they lie are what counts.

mod arrows;
mod claims;
mod licences;
mod reach;
pub mod read;
mod rooms;
mod rust_text;
mod shape;
mod sql;
mod words;

pub use arrows::arrows_point_down;
pub use claims::claims_are_tested;
pub use licences::licences_are_welcome;
pub use reach::core_crates_do_no_io;
pub use shape::{
    core_crates_forbid_clocks, files_have_one_subject, files_open_with_their_purpose,
    ignored_tests_say_why, lints_are_inherited, tests_are_named_as_facts,
};
pub use sql::sql_lives_in_adapters;
pub use words::{platform_never_names_an_aircraft, product_never_names_a_packet};

use std::fmt;

/// A house rule broken at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A crate, a file, or a file and its line.
    pub place: String,
    /// What is wrong and what to do about it.
    pub advice: String,
}

impl Finding {
    fn new(place: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.advice)
    }
}

#[cfg(test)]
mod planted {
    //! Small workspaces for the tests of the rules.

    use crate::Finding;
    use crate::read::{Crate, Dependency, DependencyKind, SourceFile};

    /// A crate in good order, without files and dependencies.
    pub(crate) fn tidy_crate(name: &str) -> Crate {
        Crate {
            name: name.into(),
            manifest: "[lints]\nworkspace = true\n".into(),
            clippy_settings: None,
            dependencies: Vec::new(),
            files: Vec::new(),
        }
    }

    /// A crate that depends on `dependencies` in its ordinary code.
    pub(crate) fn depending(name: &str, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies
            .iter()
            .map(|dependency| Dependency {
                name: (*dependency).into(),
                kind: DependencyKind::Normal,
            })
            .collect();
        Crate {
            dependencies,
            ..tidy_crate(name)
        }
    }

    /// A crate with a single file.
    pub(crate) fn holding(name: &str, path: &str, text: &str) -> Crate {
        let file = SourceFile {
            path: path.into(),
            text: text.into(),
        };
        Crate {
            files: vec![file],
            ..tidy_crate(name)
        }
    }

    /// The places that were found, in order.
    pub(crate) fn places(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.place.as_str())
            .collect()
    }
}
