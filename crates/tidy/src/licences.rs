//! Everything we build on may be passed on under terms like our own.

use std::iter::Peekable;

use crate::Finding;

/// A package and what it may be used under.
#[derive(Debug, Clone)]
pub struct Licensed {
    /// Name and version.
    pub package: String,
    /// The SPDX expression of its manifest; `None` if it only has a file of its own.
    pub licence: Option<String>,
}

/// Licences that ask for no more than that their text is passed on.
const WELCOME: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Zlib",
];

/// A package that is taken under a licence which is not welcome everywhere, such as MPL-2.0, and why that is right here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exception {
    pub(crate) package: &'static str,
    pub(crate) licence: &'static str,
    #[expect(dead_code, reason = "written for whoever reads the table")]
    pub(crate) reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

/// Fails on a package that may be used under none of the welcome licences, and on an exception that is no longer needed.
pub fn licences_are_welcome(packages: &[Licensed]) -> Vec<Finding> {
    check(packages, EXCEPTIONS)
}

fn check(packages: &[Licensed], exceptions: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Licensed { package, licence } in packages {
        let granted = |name: &str| {
            WELCOME.contains(&name) || excepted(exceptions, package).any(|licence| licence == name)
        };
        match licence.as_deref() {
            Some(licence) if is_granted(licence, &granted) => {}
            Some(licence) => findings.push(Finding::new(
                package,
                format!(
                    "may be used only under {licence}; take another package, or argue an exception in \
                     crates/tidy/src/licences.rs"
                ),
            )),
            None => findings.push(Finding::new(
                package,
                "names no licence; take another package",
            )),
        }
    }
    for exception in exceptions {
        let is_needed = packages.iter().any(|Licensed { package, licence }| {
            let welcome = |name: &str| WELCOME.contains(&name);
            excepted(exceptions, package).any(|licence| licence == exception.licence)
                && !licence
                    .as_deref()
                    .is_some_and(|licence| is_granted(licence, &welcome))
        });
        if !is_needed {
            findings.push(Finding::new(
                exception.package,
                "needs no exception any more; remove it from crates/tidy/src/licences.rs",
            ));
        }
    }
    findings
}

/// The licences that a package is excepted for.
fn excepted<'table>(
    exceptions: &'table [Exception],
    package: &str,
) -> impl Iterator<Item = &'table str> {
    let name = package.split(' ').next().unwrap_or(package);
    exceptions
        .iter()
        .filter(move |exception| exception.package == name)
        .map(|exception| exception.licence)
}

/// Whether an SPDX expression can be met with the licences that `granted` accepts. A stroke means OR, as it once did.
fn is_granted(expression: &str, granted: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let answer = any_of(&mut words, granted);
    // What is left over was not understood.
    answer && words.next().is_none()
}

fn any_of<'text>(
    words: &mut Peekable<impl Iterator<Item = &'text str>>,
    granted: &dyn Fn(&str) -> bool,
) -> bool {
    let mut answer = all_of(words, granted);
    while words.next_if_eq(&"OR").is_some() {
        answer |= all_of(words, granted);
    }
    answer
}

fn all_of<'text>(
    words: &mut Peekable<impl Iterator<Item = &'text str>>,
    granted: &dyn Fn(&str) -> bool,
) -> bool {
    let mut answer = single(words, granted);
    while words.next_if_eq(&"AND").is_some() {
        answer &= single(words, granted);
    }
    answer
}

fn single<'text>(
    words: &mut Peekable<impl Iterator<Item = &'text str>>,
    granted: &dyn Fn(&str) -> bool,
) -> bool {
    match words.next() {
        Some("(") => {
            let answer = any_of(words, granted);
            words.next_if_eq(&")").is_some() && answer
        }
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            granted(&format!("{name} WITH {exception}"))
        }
        Some(name) => granted(name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::places;

    fn licensed(licence: &str) -> [Licensed; 1] {
        [Licensed {
            package: "thing 1.2.3".into(),
            licence: Some(licence.into()),
        }]
    }

    #[test]
    fn one_welcome_licence_is_enough_where_there_is_a_choice() {
        for welcome in [
            "MIT",
            "MIT OR Apache-2.0",
            "Unlicense/MIT",
            "LGPL-2.1-or-later OR MIT",
            "Apache-2.0 AND ISC",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(licences_are_welcome(&licensed(welcome)), [], "{welcome}");
        }
    }

    #[test]
    fn other_terms_are_refused() {
        for refused in [
            "GPL-3.0-only",
            "MPL-2.0",
            "MIT AND GPL-3.0-only",
            "Apache-2.0 AND",
            "(MIT",
            "MIT)",
            "",
            "Apache-2.0 WITH Strange-exception",
            "BUSL-1.1",
        ] {
            let findings = licences_are_welcome(&licensed(refused));
            assert_eq!(places(&findings), ["thing 1.2.3"], "{refused}");
        }
        let silent = Licensed {
            package: "thing 1.2.3".into(),
            licence: None,
        };
        assert_eq!(licences_are_welcome(&[silent]).len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_package_and_licence_while_it_is_needed() {
        let exception = |package| Exception {
            package,
            licence: "MPL-2.0",
            reason: "used unchanged",
        };
        assert_eq!(check(&licensed("MPL-2.0"), &[exception("thing")]), []);
        assert_eq!(
            check(&licensed("GPL-3.0-only"), &[exception("thing")]).len(),
            1
        );
        assert_eq!(check(&licensed("MPL-2.0"), &[exception("other")]).len(), 2);
        assert_eq!(check(&licensed("MIT"), &[exception("thing")]).len(), 1);
    }
}
