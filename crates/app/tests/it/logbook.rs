//! A pilot's own logbook on one device.

use aeroedge_app::contexts::{self, ContextError, ContextKind, NewContext};
use aeroedge_app::explain::{Explained, Kind};
use aeroedge_app::flights::{self, FlightError, Part, Query};
use aeroedge_app::{aircraft, imports};
use aeroedge_aviation::logbook::{Aircraft, Seconds};

use crate::support::{NOW, flight, installation, reopened};

const ALL: Part = Part {
    offset: 0,
    limit: 100,
    oldest_first: false,
};

#[test]
fn a_new_installation_has_a_personal_logbook_and_a_name() {
    let (place, installation) = installation();
    drop(installation);
    let installation = reopened(&place);
    let groups = contexts::list(&installation.device).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].name.as_deref(), Some("Logbook of Avery Example"));
    assert_eq!(groups[0].kind.as_deref(), Some("personal"));
    assert_eq!(groups[0].members, 1);
    let name = contexts::own_name(&installation.device).unwrap();
    assert_eq!(name.as_deref(), Some("Avery Example"));
}

#[test]
fn a_flight_is_logged_changed_and_deleted() {
    let (place, mut installation) = installation();
    let device = &mut installation.device;
    let id = flights::add(device, &[], &flight(), NOW).unwrap();
    device.make_durable().unwrap();
    drop(installation);

    let mut installation = reopened(&place);
    let device = &mut installation.device;
    let (count, listed) = flights::list(device, &Query::default(), ALL).unwrap();
    assert_eq!((count, listed.len()), (1, 1));
    assert_eq!(listed[0].flight.total, Seconds(5040));

    let mut changed = listed[0].flight.clone();
    changed.remarks = Some("Stayed for lunch".into());
    let view = flights::edit(device, &id[..13], &changed, NOW).unwrap();
    assert_eq!(view.flight.remarks.as_deref(), Some("Stayed for lunch"));
    assert_eq!(view.id, id);

    flights::delete(device, &id, None, NOW).unwrap();
    assert_eq!(
        flights::get(device, &id).unwrap_err().kind(),
        Kind::NotFound
    );
    let totals = flights::totals(device, &Query::default()).unwrap();
    assert_eq!(totals.flights, 0);
}

#[test]
fn what_no_flight_can_be_is_refused() {
    let (_place, mut installation) = installation();
    let mut wrong = flight();
    wrong.night = Seconds(9999);
    let error = flights::add(&mut installation.device, &[], &wrong, NOW).unwrap_err();
    assert!(matches!(&error, FlightError::Fields(fields) if fields[0].field == "night"));
    let (count, _) = flights::list(&installation.device, &Query::default(), ALL).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_clock_behind_the_program_stops_writing() {
    let (_place, mut installation) = installation();
    let long_ago = aeroedge_ids::Millis(1_000_000_000_000);
    let error = flights::add(&mut installation.device, &[], &flight(), long_ago).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let mut old = flight();
    old.date = jiff::civil::date(2001, 1, 1);
    let error = flights::add(&mut installation.device, &[], &old, long_ago).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("set date and time"), "{error}");
}

#[test]
fn a_flight_in_two_groups_is_one_flight() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    let club = NewContext {
        name: "Hangar 4 Flying Club".into(),
        kind: ContextKind::Club,
        home_airport: Some("kpao".into()),
        own_name: None,
    };
    let club = contexts::create(device, &club, NOW).unwrap();
    let personal = contexts::personal(device).unwrap();
    let id = flights::add(device, &[personal, club], &flight(), NOW).unwrap();

    let (count, listed) = flights::list(device, &Query::default(), ALL).unwrap();
    assert_eq!((count, listed.len()), (1, 1));
    let mut both = vec![personal, club];
    both.sort_unstable();
    assert_eq!(listed[0].contexts, both);

    let mut changed = flight();
    changed.total = Seconds(3600);
    flights::edit(device, &id, &changed, NOW).unwrap();
    for group in both {
        let query = Query {
            context: Some(group),
            ..Query::default()
        };
        let totals = flights::totals(device, &query).unwrap();
        assert_eq!((totals.flights, totals.total), (1, Seconds(3600)));
    }
    assert_eq!(
        flights::totals(device, &Query::default()).unwrap().total,
        Seconds(3600)
    );
}

#[test]
fn the_oldest_come_first_when_asked() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    for day in 1..=5 {
        let mut flight = flight();
        flight.date = jiff::civil::date(2026, 3, day);
        flights::add(device, &[], &flight, NOW).unwrap();
    }
    let days = |offset, limit, oldest_first| -> Vec<i8> {
        let part = Part {
            offset,
            limit,
            oldest_first,
        };
        let (_, listed) = flights::list(device, &Query::default(), part).unwrap();
        listed.iter().map(|view| view.flight.date.day()).collect()
    };
    assert_eq!(days(0, 2, false), [5, 4]);
    assert_eq!(days(0, 2, true), [1, 2]);
    assert_eq!(days(4, 2, true), [5]);
    assert_eq!(days(4, 2, false), [1]);
    assert_eq!(days(9, 2, true), [0_i8; 0]);
}

#[test]
fn a_group_is_found_by_name_or_id() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    let found = |device: &mut _, name: &str| {
        let new = NewContext {
            name: name.into(),
            kind: ContextKind::Club,
            home_airport: None,
            own_name: None,
        };
        contexts::create(device, &new, NOW).unwrap()
    };
    let four = found(device, "Hangar 4");
    let five = found(device, "Hangar 5");
    assert_eq!(contexts::resolve(device, "hangar 4").unwrap(), four);
    assert_eq!(
        contexts::resolve(device, &five.to_string()[..10]).unwrap(),
        five
    );
    assert!(matches!(
        contexts::resolve(device, "Hangar"),
        Err(ContextError::Ambiguous(_))
    ));
    assert!(matches!(
        contexts::resolve(device, "Shed"),
        Err(ContextError::Unknown(_))
    ));
    assert!(matches!(
        contexts::resolve(device, ""),
        Err(ContextError::Unknown(_))
    ));
}

#[test]
fn one_tail_is_one_aircraft() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    let new = Aircraft {
        tail: " n80p ".into(),
        ..Aircraft::default()
    };
    aircraft::add(device, None, &new, NOW).unwrap();
    let error = aircraft::add(device, None, &new, NOW).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let listed = aircraft::list(device, None).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].aircraft.tail, "N80P");
}

#[test]
fn a_second_import_adds_nothing_and_undo_leaves_nothing() {
    let (place, mut installation) = installation();
    let device = &mut installation.device;
    let file = place.path().join("logbook.csv");
    let text = "ForeFlight Logbook Import\n\nAircraft Table\nAircraftID,TypeCode,Make\nN738VU,C172,Cessna\n\n\
                Flights Table\nDate,AircraftID,From,To,TotalTime,PIC\n2026-05-14,N738VU,KPAO,KSQL,1.4,1.4\n\
                2026-05-15,N738VU,KSQL,KPAO,0.6,0.6\n";
    std::fs::write(&file, text).unwrap();
    let mut told = Vec::new();
    let mut import = |dry_run| {
        imports::foreflight(device, &file, None, "UTC", dry_run, NOW, &mut |done, of| {
            told.push((done, of));
        })
    };

    assert_eq!(import(true).unwrap().imported, 2);
    assert_eq!(import(false).unwrap().imported, 2);
    let second = import(false).unwrap();
    assert_eq!((second.imported, second.duplicates), (0, 2));
    // A dry run and a file that is known have no rows to write.
    assert_eq!(told, [(1, 3), (2, 3), (3, 3)]);

    imports::undo(device, None, false, NOW).unwrap();
    let undone = imports::undo(device, None, false, NOW).unwrap();
    assert_eq!((undone.report.flights, undone.report.aircraft), (2, 1));
    let (count, _) = flights::list(device, &Query::default(), ALL).unwrap();
    assert_eq!(count, 0);
    let error = imports::undo(device, None, false, NOW).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}
