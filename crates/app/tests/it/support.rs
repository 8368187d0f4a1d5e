//! An installation in a temporary folder, and a flight to log.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::folder::DataFolder;
use aeroedge_app::installation::Installation;
use aeroedge_aviation::logbook::{Flight, Seconds};
use aeroedge_ids::Millis;
use tempfile::TempDir;

/// Later than the program was built, whenever that was.
pub(crate) const NOW: Millis = Millis(4_000_000_000_000);

pub(crate) fn installation() -> (TempDir, Installation) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    let installation = Installation::create(&path, Some("Avery Example"), None, NOW).unwrap();
    (place, installation)
}

pub(crate) fn reopened(place: &TempDir) -> Installation {
    let folder = DataFolder::open(&place.path().join("data")).unwrap();
    Installation::open(folder, None, NOW).unwrap()
}

pub(crate) fn flight() -> Flight {
    Flight {
        date: jiff::civil::date(2026, 5, 14),
        tail: Some("N738VU".into()),
        departure: Some("KPAO".into()),
        total: Seconds(5040),
        landings: Some(3),
        ..Flight::default()
    }
}
