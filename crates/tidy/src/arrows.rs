//! Arrows point down: a crate uses only the workspace crates that the map grants it.

use crate::Finding;
use crate::read::{Crate, DependencyKind};
use crate::rooms::{Arrows, ROOMS, Room, Side, room_of};

const MAP: &str = "crates/tidy/src/rooms.rs";

/// Fails on an arrow between crates that the map does not have, on a crate that is not on the map, and on a line of the
/// map without a crate.
///
/// Tests may use more than the code they test: anything for a product crate, any platform crate for a platform crate.
pub fn arrows_point_down(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in crates {
        let Some(room) = room_of(&package.name) else {
            findings.push(Finding::new(
                &package.name,
                format!("is not on the map; add a line with what it may use to {MAP}"),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = room_of(&dependency.name) else {
                continue;
            };
            let (granted, whose) = match dependency.kind {
                DependencyKind::Development => (tests_may_use(room, target), "the tests of "),
                _ => (may_use(room, target), ""),
            };
            if !granted {
                findings.push(Finding::new(
                    &package.name,
                    format!(
                        "{whose}{} may not use {}: arrows point down; move the code to where both can reach it, or argue \
                         the new arrow in {MAP}",
                        room.name, target.name
                    ),
                ));
            }
        }
    }
    for room in ROOMS {
        if !crates
            .iter()
            .any(|package| room_of(&package.name).is_some_and(|found| found.name == room.name))
        {
            findings.push(Finding::new(
                MAP,
                format!("there is no crate {}; remove its line", room.name),
            ));
        }
    }
    findings
}

fn may_use(room: &Room, target: &Room) -> bool {
    match room.arrows {
        Arrows::ToAnything => target.side != Side::Workshop,
        Arrows::To(targets) => targets.contains(&target.name),
    }
}

fn tests_may_use(room: &Room, target: &Room) -> bool {
    room.side != Side::Platform || matches!(target.side, Side::Platform | Side::Workshop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{depending, tidy_crate};
    use crate::read::Dependency;

    /// The findings for the whole map with `planted` in place of the crate of the same name.
    fn check(planted: Crate) -> Vec<String> {
        let mut crates: Vec<Crate> = ROOMS
            .iter()
            .map(|room| tidy_crate(&format!("aeroedge-{}", room.name)))
            .filter(|package| package.name != planted.name)
            .collect();
        crates.push(planted);
        arrows_point_down(&crates)
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[track_caller]
    fn check_refused(name: &str, target: &str) {
        let findings = check(depending(name, &[target]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("may not use"), "{findings:?}");
    }

    fn with_test_dependency(name: &str, target: &str) -> Crate {
        let mut package = tidy_crate(name);
        package.dependencies.push(Dependency {
            name: target.into(),
            kind: DependencyKind::Development,
        });
        package
    }

    #[test]
    fn arrows_of_the_map_are_granted() {
        let node = depending("aeroedge-node", &["aeroedge-device", "aeroedge-protocol"]);
        assert_eq!(check(node), [""; 0]);
        let cli = depending("aeroedge-cli", &["aeroedge-transport-lan"]);
        assert_eq!(check(cli), [""; 0]);
        let outside = depending("aeroedge-ids", &["serde"]);
        assert_eq!(check(outside), [""; 0]);
    }

    #[test]
    fn an_arrow_that_points_up_is_refused() {
        check_refused("aeroedge-crdt", "aeroedge-log");
        check_refused("aeroedge-node", "aeroedge-transport-lan");
        check_refused("aeroedge-transport-lan", "aeroedge-protocol");
        check_refused("aeroedge-simulator", "aeroedge-aviation-store");
        check_refused("aeroedge-app", "aeroedge-node");
        check_refused("aeroedge-cli", "aeroedge-lan-lab");
    }

    #[test]
    fn tests_of_the_platform_stay_on_the_platform() {
        let sideways = with_test_dependency("aeroedge-node", "aeroedge-transport-lan");
        assert_eq!(check(sideways), [""; 0]);
        let across = with_test_dependency("aeroedge-node", "aeroedge-app");
        assert_eq!(check(across).len(), 1);
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_refused() {
        let findings = check(tidy_crate("aeroedge-shortcut"));
        assert!(findings[0].contains("is not on the map"), "{findings:?}");
    }

    #[test]
    fn a_line_without_a_crate_is_refused() {
        let findings = arrows_point_down(&[tidy_crate("aeroedge-ids")]);
        assert_eq!(findings.len(), ROOMS.len() - 1);
    }
}
