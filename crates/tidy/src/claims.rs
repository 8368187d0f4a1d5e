//! A page that says what a test shows names tests that exist.

use crate::Finding;
use crate::read::Crate;

/// Fails on a line of a table whose code words name a test that is nowhere. A test's name is several words joined by
/// underscores.
pub fn claims_are_tested(page: &str, text: &str, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if !line.starts_with('|') {
            continue;
        }
        for name in line.split('`').skip(1).step_by(2) {
            if name.contains('_') && !is_defined(name, crates) {
                findings.push(Finding::new(
                    format!("{page}:{}", number + 1),
                    format!("no test is called {name}; name the one that shows this"),
                ));
            }
        }
    }
    findings
}

fn is_defined(name: &str, crates: &[Crate]) -> bool {
    let definition = format!("fn {name}(");
    crates
        .iter()
        .flat_map(|package| &package.files)
        .any(|file| file.text.contains(&definition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{holding, places};

    #[test]
    fn a_test_that_is_nowhere_is_found() {
        let package = holding("aeroedge-log", "tests/a.rs", "fn it_holds() {}");
        let page =
            "| cannot | shown by |\n| do this | `it_holds`, `it_is_gone` |\nprose of `some_word`\n";
        let findings = claims_are_tested("page.md", page, &[package]);
        assert_eq!(places(&findings), ["page.md:2"]);
        assert!(findings[0].advice.contains("it_is_gone"));
    }
}
