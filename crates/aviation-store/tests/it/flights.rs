//! Entries go in, come out the same, change cell by cell, and are counted once.

use aeroedge_aviation::logbook::{
    Aircraft, Approach, Flight, Person, Rating, Seconds, Who, totals,
};
use aeroedge_aviation_store::flights::links::{self, Claim};
use aeroedge_aviation_store::flights::{self, Change, Filter, Place};
use aeroedge_aviation_store::{Patch, StoreError, aircraft, people};
use aeroedge_ids::{CompartmentId, Millis};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{
    ELSEWHERE, HERE, NOW, PILOT, database, entry, full_flight, ids, link, new_row, short_flight,
};

const LATER: Millis = Millis(NOW.0 + 1000);

fn patch(value: serde_json::Value) -> Patch {
    value.as_object().unwrap().clone()
}

fn without_ids(mut flight: Flight) -> Flight {
    flight.approaches.iter_mut().for_each(|a| a.id = None);
    flight.persons.iter_mut().for_each(|p| p.id = None);
    flight.custom_fields.iter_mut().for_each(|f| f.id = None);
    flight
}

fn insert(conn: &Connection, id: &str, compartment: CompartmentId, flight: Flight) {
    let mut ids = ids_after(id);
    flights::insert(
        conn,
        new_row(id, compartment),
        &entry(flight, None),
        &mut ids,
    )
    .unwrap();
}

fn ids_after(prefix: &str) -> impl FnMut() -> String {
    let mut next = ids();
    move || format!("{prefix}-{}", next())
}

#[test]
fn every_field_comes_back_as_it_went_in() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    let record = flights::get(&conn, HERE, "f").unwrap().unwrap();
    assert!(record.value.flight.approaches[0].id.is_some());
    assert_eq!(without_ids(record.value.flight), full_flight());
    assert_eq!(record.value.pilot.user, Some(PILOT));
    assert_eq!((record.created_at, record.created_by), (NOW, Some(PILOT)));
}

#[test]
fn every_column_of_a_flight_is_filled_by_some_field() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    let empty: Vec<String> = {
        let mut statement = conn.prepare("SELECT * FROM flight").unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        statement
            .query_row([], |row| {
                Ok(names
                    .iter()
                    .filter(|name| {
                        row.get_ref(name.as_str()).unwrap() == rusqlite::types::ValueRef::Null
                    })
                    .cloned()
                    .collect())
            })
            .unwrap()
    };
    assert_eq!(
        empty,
        [
            "flight_uid",
            "pilot_person_id",
            "import_batch_id",
            "import_fingerprint",
            "import_occurrence",
            "flight_proof"
        ]
    );
}

#[test]
fn a_patch_writes_only_the_cells_it_changes() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    let changes = patch(json!({"remarks": "rough", "total": 3600, "landings": 17}));
    let columns = flights::update(&conn, HERE, "f", &changes, &mut ids(), LATER).unwrap();
    assert_eq!(columns, ["total_seconds", "remarks"]);
    let record = flights::get(&conn, HERE, "f").unwrap().unwrap();
    assert_eq!(record.value.flight.total, Seconds(3600));
    assert_eq!(record.updated_at, LATER);
    let again = flights::update(&conn, HERE, "f", &changes, &mut ids(), LATER).unwrap();
    assert_eq!(again, [""; 0], "the same patch again changes nothing");
}

#[test]
fn a_patch_can_take_a_value_away() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    let changes = patch(json!({"holds": null, "instructor": {"name": "Lee Example"}}));
    let columns = flights::update(&conn, HERE, "f", &changes, &mut ids(), LATER).unwrap();
    assert_eq!(
        columns,
        ["holds", "instructor_person_id", "instructor_name"]
    );
    let flight = flights::get(&conn, HERE, "f")
        .unwrap()
        .unwrap()
        .value
        .flight;
    assert_eq!(
        (flight.holds, flight.instructor),
        (None, Who::named("Lee Example"))
    );
}

#[test]
fn a_patch_that_does_not_fit_says_why_and_changes_nothing() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    for (wrong, expected) in [
        (json!({"totl": 1}), "has no field \"totl\""),
        (json!({"total": "much"}), "does not fit"),
        (json!({"landings": -1}), "does not fit"),
    ] {
        let error =
            flights::update(&conn, HERE, "f", &patch(wrong), &mut ids(), LATER).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let record = flights::get(&conn, HERE, "f").unwrap().unwrap();
    assert_eq!(record.updated_at, NOW);
}

#[test]
fn approaches_are_changed_one_by_one() {
    let conn = database();
    let mut flight = full_flight();
    flight.approaches.push(Approach {
        count: Some(1),
        kind: Some("VOR".into()),
        ..Approach::default()
    });
    insert(&conn, "f", HERE, flight);
    let mut flight = flights::get(&conn, HERE, "f")
        .unwrap()
        .unwrap()
        .value
        .flight;
    let ils = flight.approaches[0].id.clone();
    flight.approaches.remove(1);
    flight.approaches[0].count = Some(3);
    flight.approaches.push(Approach {
        kind: Some("RNAV (GPS)".into()),
        ..Approach::default()
    });
    let columns = flights::replace(&conn, HERE, "f", flight, &mut ids_after("x"), LATER).unwrap();
    assert_eq!(columns, ["approaches"]);
    let record = flights::get(&conn, HERE, "f").unwrap().unwrap();
    assert_eq!(record.updated_at, LATER, "the flight counts as edited");
    let approaches = record.value.flight.approaches;
    assert_eq!(approaches.len(), 2);
    assert_eq!(
        (approaches[0].id.clone(), approaches[0].count),
        (ils, Some(3))
    );
    assert_eq!(approaches[1].kind.as_deref(), Some("RNAV (GPS)"));
}

#[test]
fn children_patched_without_ids_keep_their_rows() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    let before = flights::get(&conn, HERE, "f").unwrap().unwrap();
    let mut approaches = before.value.flight.approaches.clone();
    approaches[0].id = None;
    let changes = patch(json!({"approaches": approaches}));
    let columns = flights::update(&conn, HERE, "f", &changes, &mut ids(), LATER).unwrap();
    assert_eq!(columns, [""; 0]);
    assert_eq!(flights::get(&conn, HERE, "f").unwrap().unwrap(), before);
}

#[test]
fn a_row_of_another_compartment_is_out_of_reach() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    insert(&conn, "f", ELSEWHERE, full_flight());
    let changes = patch(json!({"remarks": "theirs"}));
    flights::update(&conn, ELSEWHERE, "f", &changes, &mut ids(), LATER).unwrap();
    assert!(flights::delete(&conn, ELSEWHERE, "f").unwrap());
    let record = flights::get(&conn, HERE, "f").unwrap().unwrap();
    assert_eq!(without_ids(record.value.flight), full_flight());
    assert!(matches!(
        flights::update(&conn, ELSEWHERE, "f", &changes, &mut ids(), LATER),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn deleting_leaves_nothing_of_it() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    assert!(flights::delete(&conn, HERE, "f").unwrap());
    assert!(!flights::delete(&conn, HERE, "f").unwrap());
    for table in ["flight", "approach", "flight_person", "custom_field"] {
        let rows: u32 = conn
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

fn check_list(conn: &Connection, filter: Filter<'_>, expected: &[&str]) {
    let filter = Filter {
        compartments: &[HERE],
        ..filter
    };
    let found: Vec<String> = flights::list(conn, &filter)
        .unwrap()
        .into_iter()
        .map(|r| r.id)
        .collect();
    assert_eq!(found, expected, "{filter:?}");
    if filter.limit.is_none() && filter.offset == 0 {
        assert_eq!(
            flights::count(conn, &filter).unwrap(),
            expected.len() as u64
        );
        assert_eq!(
            flights::totals(conn, &filter).unwrap().flights,
            expected.len() as u64
        );
    }
}

#[test]
fn lists_are_filtered_and_newest_first() {
    let conn = database();
    insert(&conn, "a", HERE, short_flight("2026-01-01", "1.0"));
    insert(&conn, "b", HERE, full_flight());
    insert(&conn, "c", HERE, short_flight("2026-03-01", "1.0"));
    insert(&conn, "d", ELSEWHERE, short_flight("2026-03-01", "1.0"));
    let date = |text: &str| Some(text.parse().unwrap());
    let all = Filter::default;
    check_list(&conn, all(), &["c", "b", "a"]);
    check_list(
        &conn,
        Filter {
            from: date("2026-02-11"),
            ..all()
        },
        &["c", "b"],
    );
    check_list(
        &conn,
        Filter {
            to: date("2026-02-11"),
            ..all()
        },
        &["b", "a"],
    );
    check_list(
        &conn,
        Filter {
            tail: Some("n738vu "),
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            person: Some("avery"),
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            person: Some("p2"),
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            person: Some("nobody"),
            ..all()
        },
        &[],
    );
    check_list(
        &conn,
        Filter {
            text: Some("100%"),
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            text: Some("1_0"),
            ..all()
        },
        &[],
    );
    check_list(
        &conn,
        Filter {
            text: Some("khaf"),
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            pilot: Some(PILOT),
            ..all()
        },
        &["c", "b", "a"],
    );
    check_list(
        &conn,
        Filter {
            limit: Some(1),
            offset: 1,
            ..all()
        },
        &["b"],
    );
    check_list(
        &conn,
        Filter {
            limit: Some(0),
            ..all()
        },
        &[],
    );
    let nowhere = flights::list(&conn, &Filter::default()).unwrap();
    assert_eq!(nowhere, []);
}

/// Two rows that say that they are copies of one flight, and are known to be.
fn two_copies(conn: &Connection) -> [Claim; 2] {
    let copies = [("f", HERE), ("g", ELSEWHERE)].map(|(id, compartment)| Claim {
        place: Place {
            compartment,
            id: id.to_owned(),
        },
        link: link("shared"),
    });
    for copy in &copies {
        let Place { compartment, id } = &copy.place;
        let entry = entry(short_flight("2026-01-01", "1.5"), Some(link("shared")));
        flights::insert(conn, new_row(id, *compartment), &entry, &mut ids()).unwrap();
    }
    links::remember(conn, None, &copies, 1).unwrap();
    copies
}

fn everywhere() -> Filter<'static> {
    Filter {
        compartments: &[HERE, ELSEWHERE],
        ..Filter::default()
    }
}

#[test]
fn a_flight_in_two_contexts_is_listed_and_counted_once() {
    let conn = database();
    let copies = two_copies(&conn);
    let changes = patch(json!({"remarks": "edited here"}));
    flights::update(&conn, HERE, "f", &changes, &mut ids(), LATER).unwrap();
    let found = flights::list(&conn, &everywhere()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, "f", "the latest edited stands for both");
    assert_eq!(found[0].value.link, Some(link("shared")));
    assert_eq!(flights::count(&conn, &everywhere()).unwrap(), 1);
    assert_eq!(
        flights::totals(&conn, &everywhere()).unwrap().total,
        Seconds(5400)
    );
    let one = Filter {
        compartments: &[ELSEWHERE],
        ..Filter::default()
    };
    assert_eq!(flights::list(&conn, &one).unwrap()[0].id, "g");
    let places = links::copies_of(&conn, &[HERE, ELSEWHERE], "shared").unwrap();
    assert_eq!(places, copies.map(|copy| copy.place));
}

#[test]
fn rows_that_only_say_so_are_flights_of_their_own() {
    let conn = database();
    let copies = two_copies(&conn);
    let count = || flights::count(&conn, &everywhere()).unwrap();
    // A third one says so and was not found to be a copy.
    let third = entry(short_flight("2026-01-01", "1.5"), Some(link("shared")));
    flights::insert(&conn, new_row("h", HERE), &third, &mut ids()).unwrap();
    assert_eq!(count(), 2);
    let single = links::single_rows_beginning_with(&conn, &[HERE, ELSEWHERE], "", 9).unwrap();
    assert_eq!(
        single.iter().map(|place| &place.id).collect::<Vec<_>>(),
        ["h"]
    );
    // One that was a copy says something else now: what is remembered makes it none.
    conn.execute("UPDATE flight SET flight_uid = 'other' WHERE id = 'f'", [])
        .unwrap();
    assert_eq!(count(), 3);
    assert_eq!(links::uid_of(&conn, &copies[0].place).unwrap(), None);
    conn.execute("UPDATE flight SET flight_uid = 'shared' WHERE id = 'f'", [])
        .unwrap();
    assert_eq!(count(), 2);
    links::remember(&conn, Some(&[copies[1].place.clone()]), &[], 2).unwrap();
    assert_eq!(count(), 3, "forgotten");
    assert_eq!(links::progress(&conn).unwrap().proven, 2);
}

#[test]
fn a_change_is_done_to_another_copy_without_undoing_what_differs_there() {
    let conn = database();
    insert(&conn, "f", HERE, full_flight());
    insert(&conn, "g", ELSEWHERE, full_flight());
    let get = |id: &str, compartment| flights::get(&conn, compartment, id).unwrap().unwrap();
    // Copies have the same ids for what belongs to them.
    let of_f = get("f", HERE).value.flight.approaches[0]
        .id
        .clone()
        .unwrap();
    conn.execute(
        "UPDATE approach SET id = ?1 WHERE compartment_id = ?2",
        (&of_f, ELSEWHERE.0),
    )
    .unwrap();
    conn.execute("UPDATE flight SET remarks = 'theirs', landings = 1, instructor_person_id = 'q1' WHERE id = 'g'", [])
        .unwrap();
    conn.execute(
        "UPDATE approach SET comments = 'theirs' WHERE compartment_id = ?1",
        [ELSEWHERE.0],
    )
    .unwrap();
    let seen = get("f", HERE).value.flight;
    let mut to = seen.clone();
    to.landings = Some(4);
    to.safety_pilot = Who::named("Somebody Else");
    to.approaches.push(Approach {
        kind: Some("VOR".into()),
        ..Approach::default()
    });
    let change = Change::new(&seen, to, &mut ids_after("new"));
    let place = |id: &str, compartment| Place {
        compartment,
        id: id.to_owned(),
    };
    flights::change(&conn, &place("f", HERE), &change, LATER).unwrap();
    let columns =
        flights::change(&conn, &place("g", ELSEWHERE), &change.elsewhere(), LATER).unwrap();
    assert_eq!(
        columns,
        [
            "landings",
            "safety_pilot_person_id",
            "safety_pilot_name",
            "approaches"
        ]
    );
    let (here, there) = (
        get("f", HERE).value.flight,
        get("g", ELSEWHERE).value.flight,
    );
    assert_eq!(there.landings, Some(4));
    assert_eq!(there.remarks.as_deref(), Some("theirs"));
    assert_eq!(there.instructor.person_id.as_deref(), Some("q1"));
    assert_eq!(there.approaches[0].comments.as_deref(), Some("theirs"));
    assert_eq!(there.approaches[1], here.approaches[1], "with one id");
}

#[test]
fn totals_of_sql_are_those_of_the_records() {
    let conn = database();
    let mut all = vec![full_flight()];
    for day in 1..=20 {
        let mut flight = short_flight(&format!("2026-01-{day:02}"), "1.1");
        flight.takeoffs_night = (day % 3 == 0).then_some(day);
        all.push(flight);
    }
    for (index, flight) in all.iter().enumerate() {
        insert(&conn, &format!("f{index}"), HERE, flight.clone());
    }
    let filter = Filter {
        compartments: &[HERE],
        ..Filter::default()
    };
    assert_eq!(flights::totals(&conn, &filter).unwrap(), totals(&all));
    let none = Filter {
        tail: Some("none"),
        ..filter
    };
    assert_eq!(flights::totals(&conn, &none).unwrap(), totals([]));
}

#[test]
fn a_row_of_a_careless_program_spoils_neither_list_nor_totals() {
    let conn = database();
    insert(&conn, "f", HERE, short_flight("2026-01-01", "1.0"));
    conn.execute(
        "INSERT INTO flight (
           id, compartment_id, date, total_seconds, pic_seconds, landings, out_at, pilot_user_id
         ) VALUES ('g', ?1, 'someday', 'much', 9223372036854775807, -5, 9223372036854775807, x'01')",
        [HERE.0],
    )
    .unwrap();
    let filter = Filter {
        compartments: &[HERE],
        ..Filter::default()
    };
    let found = flights::list(&conn, &filter).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].value.flight.landings, None);
    let totals = flights::totals(&conn, &filter).unwrap();
    assert_eq!((totals.total, totals.pic), (Seconds(3600), Seconds(0)));
    assert_eq!((totals.landings.sum, totals.landings.unknown), (1, 1));
}

#[test]
fn aircraft_go_in_change_and_go() {
    let conn = database();
    let plane = Aircraft {
        tail: "N738VU".into(),
        make: Some("Cessna".into()),
        tailwheel: Some(false),
        engine_count: Some(1),
        year: Some(1978),
        custom_fields: full_flight().custom_fields,
        ..Aircraft::default()
    };
    aircraft::insert(&conn, new_row("a", HERE), &plane, &mut ids()).unwrap();
    let mut read = aircraft::get(&conn, HERE, "a").unwrap().unwrap().value;
    read.custom_fields[0].id = None;
    assert_eq!(read, plane);
    assert_eq!(
        aircraft::find_by_tail(&conn, HERE, "n738vu")
            .unwrap()
            .as_deref(),
        Some("a")
    );
    assert_eq!(
        aircraft::find_by_tail(&conn, ELSEWHERE, "N738VU").unwrap(),
        None
    );
    let changes = patch(json!({"complex": true, "make": "Cessna"}));
    assert_eq!(
        aircraft::update(&conn, HERE, "a", &changes, &mut ids(), LATER).unwrap(),
        ["complex"]
    );
    let changes = patch(json!({"custom_fields": []}));
    assert_eq!(
        aircraft::update(&conn, HERE, "a", &changes, &mut ids(), LATER).unwrap(),
        ["custom_fields"]
    );
    assert_eq!(aircraft::list(&conn, &[HERE, ELSEWHERE]).unwrap().len(), 1);
    assert!(aircraft::delete(&conn, HERE, "a").unwrap());
    assert_eq!(aircraft::list(&conn, &[HERE]).unwrap(), []);
}

#[test]
fn people_go_in_change_and_go() {
    let conn = database();
    let person: Person = serde_json::from_value(json!({
        "user_id": PILOT.0, "name": "Avery Example", "email": "a@example.org", "phone": "555", "certificate_grade": "atp",
        "certificate_number": "1", "birth_date": "1980-02-29", "instructor_certificate": "1CFI",
        "instructor_recent_experience_end": "2027-03-31", "emergency_contact_name": "Jo",
        "emergency_contact_phone": "556", "emergency_contact_relation": "sibling", "member_class": "full",
        "home_airport": "KPAO", "default_aircraft_id": "a", "notes": "n",
        "ratings": [{"rating": "instrument_airplane", "issued": "2001-01-01"}],
    }))
    .unwrap();
    people::insert(&conn, new_row("p", HERE), &person, &mut ids()).unwrap();
    let mut read = people::get(&conn, HERE, "p").unwrap().unwrap().value;
    read.ratings[0].id = None;
    assert_eq!(read, person);
    assert_eq!(
        people::find_by_user(&conn, HERE, PILOT).unwrap().as_deref(),
        Some("p")
    );
    let changes =
        patch(json!({"ratings": [Rating { rating: "glider".into(), ..Rating::default() }]}));
    assert_eq!(
        people::update(&conn, HERE, "p", &changes, &mut ids_after("r"), LATER).unwrap(),
        ["ratings"]
    );
    assert_eq!(
        people::list(&conn, &[HERE]).unwrap()[0].value.ratings[0].rating,
        "glider"
    );
    assert!(people::delete(&conn, HERE, "p").unwrap());
    assert!(people::get(&conn, HERE, "p").unwrap().is_none());
}
