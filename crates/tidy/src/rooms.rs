//! The map of the repository as a table: which crate may use which, and on which side of the border it stands.
//!
//! This is the only place that knows crate names. A new crate is a new line here, and a new arrow is a change to one.

/// On which side of the border between platform and product a crate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Turns tables into tables that merge and moves sealed changes; never names an aircraft.
    Platform,
    /// Aviation: rules, records, screens; never names a packet.
    Product,
    /// Where both sides meet: the programs and their interfaces.
    Meeting,
    /// Serves only tests.
    Workshop,
}

/// The workspace crates that the ordinary code of a crate may use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrows {
    /// These and no others.
    To(&'static [&'static str]),
    /// Any: a program joins everything.
    ToAnything,
}

/// One crate of the map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// The folder below `crates/`; the package is called `aeroedge-` and this.
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    pub(crate) arrows: Arrows,
    /// No async, no IO, no clock, no randomness of its own.
    pub(crate) core: bool,
    /// May hold SQL and migrations.
    pub(crate) sql: bool,
}

use Arrows::{To, ToAnything};
use Side::{Meeting, Platform, Product, Workshop};

/// Every crate of the workspace, from the ground up.
pub(crate) const ROOMS: &[Room] = &[
    core("ids", Platform, To(&[])),
    core("crdt", Platform, To(&["ids"])),
    core("log", Platform, To(&["ids", "crdt"])),
    core("protocol", Platform, To(&["ids", "crdt", "log"])),
    core("aviation", Product, To(&[])),
    // Adapters: the only SQL. They do no IO but SQLite's, so they are held to the rules of the core as well.
    core("replica", Platform, To(&["ids", "crdt"])).with_sql(),
    core(
        "device",
        Platform,
        To(&["ids", "crdt", "log", "protocol", "replica"]),
    )
    .with_sql(),
    room(
        "aviation-store",
        Product,
        To(&["ids", "aviation", "replica"]),
    )
    .with_sql(),
    // Ports and drivers: a driver knows its port, never another driver, and never what the frames mean.
    room("transport", Platform, To(&["ids"])),
    room("transport-lan", Platform, To(&["ids", "transport"])),
    room(
        "node",
        Platform,
        To(&["ids", "crdt", "log", "protocol", "device", "transport"]),
    ),
    room(
        "app",
        Product,
        To(&[
            "ids",
            "crdt",
            "log",
            "device",
            "replica",
            "aviation",
            "aviation-store",
        ]),
    ),
    room("api", Meeting, To(&["ids", "app", "node", "aviation"])),
    room("cli", Meeting, ToAnything),
    // The simulator plays the application on its nodes, so it brings tables and statements of its own.
    room(
        "simulator",
        Platform,
        To(&[
            "ids",
            "crdt",
            "log",
            "protocol",
            "replica",
            "device",
            "transport",
            "node",
        ]),
    )
    .with_sql(),
    room("lan-lab", Workshop, To(&[])),
    room("fault-disk", Workshop, To(&[])).with_sql(),
    room("tidy", Workshop, To(&[])),
];

/// The room of a package; `None` for one that is not on the map.
pub(crate) fn room_of(package: &str) -> Option<&'static Room> {
    let name = package.strip_prefix("aeroedge-")?;
    ROOMS.iter().find(|room| room.name == name)
}

const fn room(name: &'static str, side: Side, arrows: Arrows) -> Room {
    Room {
        name,
        side,
        arrows,
        core: false,
        sql: false,
    }
}

const fn core(name: &'static str, side: Side, arrows: Arrows) -> Room {
    Room {
        core: true,
        ..room(name, side, arrows)
    }
}

impl Room {
    const fn with_sql(self) -> Self {
        Self { sql: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_itself_points_down() {
        for (position, room) in ROOMS.iter().enumerate() {
            let To(targets) = room.arrows else { continue };
            for target in targets {
                assert!(
                    ROOMS[..position].iter().any(|below| below.name == *target),
                    "{} may use {target}, which does not stand above it in the table",
                    room.name
                );
            }
        }
    }

    #[test]
    fn platform_rooms_open_only_to_platform_rooms() {
        for room in ROOMS.iter().filter(|room| room.side == Platform) {
            let To(targets) = room.arrows else {
                panic!("{} may use anything", room.name)
            };
            for target in targets {
                let target = ROOMS.iter().find(|room| room.name == *target).unwrap();
                assert_eq!(target.side, Platform, "{} -> {}", room.name, target.name);
            }
        }
    }
}
