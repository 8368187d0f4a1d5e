//! Core crates do no IO, not even through a dependency of a dependency.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Finding;
use crate::read::Crate;
use crate::rooms::room_of;

/// What a package's ordinary code uses, by package name, for every package of the dependency graph.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// Packages that bring a runtime, sockets, files or HTTP.
const IO: &[&str] = &[
    "async-std",
    "axum",
    "hyper",
    "if-addrs",
    "mdns-sd",
    "mio",
    "rayon",
    "reqwest",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-postgres",
];

/// Packages that bring a database; core crates without SQL do without it.
const DATABASE: &[&str] = &["rusqlite", "libsqlite3-sys", "sqlx"];

/// Fails on a core crate whose ordinary code reaches a package that does IO, and says by which way.
pub fn core_crates_do_no_io(crates: &[Crate], graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in crates {
        let Some(room) = room_of(&package.name).filter(|room| room.core) else {
            continue;
        };
        let ways = ways_from(&package.name, graph);
        let database = if room.sql { &[][..] } else { DATABASE };
        for forbidden in IO.iter().chain(database) {
            if let Some(way) = ways.get(*forbidden) {
                findings.push(Finding::new(
                    &package.name,
                    format!(
                        "core crates do no IO, and this one reaches {forbidden} ({}); take the input as an argument, or \
                         move the code to a driver",
                        way.join(" -> ")
                    ),
                ));
            }
        }
    }
    findings
}

/// The shortest way from `start` to every package it reaches.
fn ways_from<'graph>(
    start: &'graph str,
    graph: &'graph Graph,
) -> BTreeMap<&'graph str, Vec<&'graph str>> {
    let mut ways = BTreeMap::from([(start, vec![start])]);
    let mut waiting = VecDeque::from([start]);
    while let Some(here) = waiting.pop_front() {
        for next in graph.get(here).into_iter().flatten() {
            if !ways.contains_key(next.as_str()) {
                let mut way = ways[here].clone();
                way.push(next);
                ways.insert(next, way);
                waiting.push_back(next);
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::tidy_crate;

    fn check(name: &str, arrows: &[(&str, &str)]) -> Vec<String> {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph
                .entry((*from).into())
                .or_default()
                .insert((*to).into());
        }
        core_crates_do_no_io(&[tidy_crate(name)], &graph)
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn io_is_refused_in_the_core_and_welcome_elsewhere() {
        assert_eq!(check("aeroedge-log", &[("aeroedge-log", "tokio")]).len(), 1);
        assert!(check("aeroedge-node", &[("aeroedge-node", "tokio")]).is_empty());
        assert!(check("aeroedge-log", &[("aeroedge-log", "sha2")]).is_empty());
    }

    #[test]
    fn io_behind_another_package_is_found_and_the_way_named() {
        let findings = check(
            "aeroedge-log",
            &[
                ("aeroedge-log", "sha2"),
                ("aeroedge-log", "courier"),
                ("courier", "reqwest"),
            ],
        );
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].contains("aeroedge-log -> courier -> reqwest"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_database_belongs_to_adapters_alone() {
        assert_eq!(
            check("aeroedge-crdt", &[("aeroedge-crdt", "rusqlite")]).len(),
            1
        );
        assert!(check("aeroedge-replica", &[("aeroedge-replica", "rusqlite")]).is_empty());
    }
}
