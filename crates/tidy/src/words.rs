//! The border in words: the platform never names an aircraft, the product never names a packet.
//!
//! Names are taken apart at underscores and capitals, so `FlightRow` and `flight_row` both count as naming a flight.

use std::collections::BTreeMap;

use crate::Finding;
use crate::read::Crate;
use crate::rooms::{Side, room_of};

/// Words of the product, in the singular. Roles and kinds of context (club, school, instructor) are words of both sides.
const AVIATION: &[&str] = &[
    "aerodrome",
    "aeroplane",
    "aircraft",
    "airframe",
    "airplane",
    "airport",
    "airworthiness",
    "aviation",
    "aviator",
    "cockpit",
    "endorsement",
    "faa",
    "flight",
    "flying",
    "foreflight",
    "hangar",
    "helicopter",
    "hobbs",
    "logbook",
    "pilot",
    "runway",
    "squawk",
    "tailwheel",
    "takeoff",
];

/// Words of the wire, in the singular.
const WIRE: &[&str] = &["datagram", "frame", "mdns", "packet", "socket"];

/// Fails on a word of aviation in code, comments or the manifest of a platform crate. Examples are applications of their
/// own and may speak as they like.
pub fn platform_never_names_an_aircraft(crates: &[Crate]) -> Vec<Finding> {
    find_words(
        crates,
        Side::Platform,
        AVIATION,
        "the platform never names what it carries; use a neutral example (row, contact, note), for messages under way say \
         outstanding, and move what is about aviation to a product crate",
    )
}

/// Fails on a word of the wire in code, comments or the manifest of a product crate.
pub fn product_never_names_a_packet(crates: &[Crate]) -> Vec<Finding> {
    find_words(
        crates,
        Side::Product,
        WIRE,
        "the product never names how changes travel; move what is about transport to a platform crate",
    )
}

fn find_words(crates: &[Crate], side: Side, forbidden: &[&str], advice: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in crates {
        if !room_of(&package.name).is_some_and(|room| room.side == side) {
            continue;
        }
        let manifest = (format!("{} Cargo.toml", package.name), &package.manifest);
        let files = package
            .files
            .iter()
            .filter(|file| !file.is_example())
            .map(|file| (file.path.clone(), &file.text));
        for (place, text) in files.chain([manifest]) {
            let mut lines_by_word: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for (position, line) in text.lines().enumerate() {
                let words = words_of(line).into_iter();
                for word in words.filter(|word| is_one_of(word, forbidden)) {
                    lines_by_word.entry(word).or_default().push(position + 1);
                }
            }
            for (word, mut lines) in lines_by_word {
                lines.dedup();
                findings.push(Finding::new(
                    format!("{place}:{}", lines[0]),
                    format!("says \"{word}\" in lines {lines:?}; {advice}"),
                ));
            }
        }
    }
    findings
}

/// Whether `word`, in lower case, is one of `singulars` or its plural.
fn is_one_of(word: &str, singulars: &[&str]) -> bool {
    let singular = word.strip_suffix('s').unwrap_or(word);
    singulars.contains(&word) || singulars.contains(&singular)
}

/// The words of a line in lower case: runs of letters, parted at capitals too.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = letter.is_uppercase()
            && (before.is_lowercase() || letters.peek().is_some_and(|next| next.is_lowercase()));
        if (begins || !letter.is_alphabetic()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{holding, places, tidy_crate};

    const FILE: &str = "crates/x/src/lib.rs";

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[&str]) {
        let crates = [holding(name, FILE, text)];
        let mut findings = platform_never_names_an_aircraft(&crates);
        findings.extend(product_never_names_a_packet(&crates));
        assert_eq!(places(&findings), expected, "{text}");
    }

    #[test]
    fn a_line_is_taken_apart_into_words() {
        assert_eq!(
            words_of("fn open_HTTPServer(x2: FlightRow) // in-flight"),
            [
                "fn", "open", "http", "server", "x", "flight", "row", "in", "flight"
            ]
        );
    }

    #[test]
    fn the_platform_may_not_name_an_aircraft_in_any_shape() {
        let here = "crates/x/src/lib.rs:2";
        for planted in [
            "// one aircraft",
            "struct FlightRow;",
            "let flight_uid = 1;",
            "const PILOTS: u8 = 1;",
            "\"logbook\"",
            "/// Squawks of the day.",
        ] {
            check(
                "aeroedge-replica",
                &format!("//! Rows.\n{planted}"),
                &[here],
            );
        }
    }

    #[test]
    fn a_word_said_often_is_one_finding_with_its_lines() {
        let text = "//! A flight.\n// flight, flight\n// x\n// Flight\n";
        let findings = platform_never_names_an_aircraft(&[holding("aeroedge-log", FILE, text)]);
        assert_eq!(places(&findings), ["crates/x/src/lib.rs:1"]);
        assert!(findings[0].advice.contains("lines [1, 2, 4]"));
    }

    #[test]
    fn words_that_only_contain_one_are_fine() {
        check(
            "aeroedge-replica",
            "//! Inflighty, copiloted, aeroedge.",
            &[],
        );
    }

    #[test]
    fn the_product_may_not_name_a_packet() {
        check(
            "aeroedge-aviation",
            "//! A flight.\nlet socket = 1;",
            &["crates/x/src/lib.rs:2"],
        );
        check("aeroedge-aviation", "//! The airframe of an aircraft.", &[]);
    }

    #[test]
    fn where_both_sides_meet_both_may_be_named() {
        check("aeroedge-cli", "//! A flight in a packet.", &[]);
    }

    #[test]
    fn examples_of_the_platform_speak_as_they_like() {
        let example = holding(
            "aeroedge-replica",
            "crates/replica/examples/jumps.rs",
            "//! Jumps from an aircraft.",
        );
        assert!(platform_never_names_an_aircraft(&[example]).is_empty());
    }

    #[test]
    fn the_manifest_counts_too() {
        let mut package = tidy_crate("aeroedge-log");
        package.manifest = "description = \"Entries of a logbook\"".into();
        assert_eq!(
            places(&platform_never_names_an_aircraft(&[package])),
            ["aeroedge-log Cargo.toml:1"]
        );
    }
}
