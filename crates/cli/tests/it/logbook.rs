//! Flights, aircraft and imports, with and without a node beside.

use crate::support::Place;

const EXPORT: &str = "ForeFlight Logbook Import\n\nAircraft Table\nAircraftID,TypeCode,Make\nN738VU,C172,Cessna\n\n\
    Flights Table\nDate,AircraftID,From,To,TotalTime,PIC\n2026-05-14,N738VU,KPAO,KSQL,1.4,1.4\n\
    2026-05-15,N738VU,KSQL,KPAO,0.6,0.6\n2026-05-16,N738VU,KSQL,KPAO,many,0.6\n";

#[test]
fn a_flight_lives_from_add_to_delete() {
    let place = Place::new();
    let home = place.installation("Avery");
    let id = home.flight(&["--landings", "3", "--approach", "ILS 28R KSFO"]);
    let shown = home.run(&["flight", "show", &id[..13]]).done();
    assert_eq!(shown["entry"]["tail"], "N738VU");
    assert_eq!(shown["entry"]["total"], 5040);
    assert_eq!(shown["entry"]["holds"], serde_json::Value::Null);
    assert_eq!(shown["entry"]["approaches"][0]["runway"], "28R");

    let changed = home
        .run(&[
            "flight",
            "edit",
            &id,
            "--remarks",
            "lunch",
            "--clear",
            "landings",
        ])
        .done();
    assert_eq!(changed["entry"]["remarks"], "lunch");
    assert_eq!(changed["entry"]["landings"], serde_json::Value::Null);

    let history = home.run(&["audit", "show", "flight", &id]).done();
    let changes = history["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1]["fields"]["remarks"], "lunch");
    assert_eq!(changes[1]["name"], "Avery");

    home.run(&["flight", "delete", &id]).done();
    let message = home.run(&["flight", "show", &id]).refused(3);
    assert!(message.contains("flight list"), "{message}");
    assert_eq!(home.count(), 0);
}

#[test]
fn a_flight_in_two_groups_is_deleted_in_one_or_in_both() {
    let place = Place::new();
    let home = place.installation("Avery");
    for name in ["Hangar", "Partners"] {
        home.run(&["context", "create", name, "--kind", "club"])
            .done();
    }
    let id = home.flight(&["--context", "Hangar", "--context", "Partners"]);
    let history = home.run(&["audit", "show", "flight", &id]).done();
    assert_eq!(history["changes"].as_array().unwrap().len(), 2);
    assert_eq!(home.count(), 1);
    let one = home
        .run(&["flight", "delete", &id[..13], "--context", "hangar"])
        .done();
    let groups = |value: &serde_json::Value| value.as_array().unwrap().len();
    assert_eq!((groups(&one["from"]), groups(&one["kept"])), (1, 1));
    home.run(&["flight", "delete", &id, "--context", "Hangar"])
        .refused(3);
    assert_eq!(home.count(), 1);
    let by_group = format!("{id}@partners");
    let shown = home.run(&["flight", "show", &by_group]).done();
    assert_eq!((&shown["id"], groups(&shown["contexts"])), (&id.into(), 1));
    home.run(&["flight", "delete", &by_group]).done();
    assert_eq!(home.count(), 0);
}

#[test]
fn wrong_values_are_told_by_the_name_of_their_option_and_change_nothing() {
    let place = Place::new();
    let home = place.installation("Avery");
    let message = home
        .run(&[
            "flight",
            "add",
            "--date",
            "14.5.2026",
            "--total",
            "1.5h",
            "--landings",
            "2.5",
        ])
        .refused(2);
    for expected in [
        "--date is not a date",
        "--total is not a duration",
        "--landings is not a count",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let message = home
        .run(&[
            "flight",
            "add",
            "--date",
            "2026-05-14",
            "--total",
            "1.0",
            "--night",
            "1.1",
        ])
        .refused(2);
    assert!(
        message.starts_with("night is longer than the whole flight"),
        "{message}"
    );
    assert_eq!(home.count(), 0);
}

#[test]
fn an_import_stands_once_and_goes_as_a_whole() {
    let place = Place::new();
    let home = place.installation("Avery");
    let file = place.file("logbook.csv", EXPORT);
    let dry = home
        .run(&["import", "foreflight", &file, "--dry-run"])
        .done();
    assert_eq!((dry["flights_added"].as_u64(), home.count()), (Some(2), 0));

    let first = home.run(&["import", "foreflight", &file]).done();
    assert_eq!(first["flights_added"], 2);
    assert_eq!(first["flights_skipped"], 1);
    assert_eq!(first["total_hours"], "2.0");
    let skipped = &first["rows"][0];
    assert_eq!(
        (&skipped["row"], &skipped["outcome"]),
        (&11.into(), &"skipped".into())
    );
    let second = home.run(&["import", "foreflight", &file]).done();
    assert_eq!(second["flights_added"], 0);
    assert_eq!(second["flights_known"], 2);
    assert_eq!(
        home.run(&["aircraft", "list"]).done()["aircraft"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let import = first["import"].as_str().unwrap();
    let undone = home.run(&["import", "undo", import]).done();
    assert_eq!(undone["flights_removed"], 2);
    assert_eq!(undone["aircraft_removed"], 1);
    assert_eq!(home.count(), 0);
    home.run(&["import", "undo", import]).refused(3);
}

#[test]
fn files_that_are_no_export_are_told_in_one_sentence() {
    let place = Place::new();
    let home = place.installation("Avery");
    for (name, text) in [("empty.csv", ""), ("letter.txt", "Dear Sir,\nhello\n")] {
        let file = place.file(name, text);
        let message = home.run(&["import", "foreflight", &file]).refused(2);
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    home.run(&["import", "foreflight", "/no/such/file"])
        .refused(3);
    assert_eq!(home.count(), 0);
}

#[test]
fn commands_work_the_same_beside_a_running_node() {
    let place = Place::new();
    let home = place.installation("Avery");
    let before = home.flight(&[]);
    let node = home.up();
    let beside = home.flight(&["--remarks", "beside"]);
    assert_eq!(home.count(), 2);
    home.run(&["flight", "edit", &before, "--total", "2.0"])
        .done();
    let message = home.run(&["up"]).refused(4);
    assert!(message.contains("runs on"), "{message}");
    node.end();
    assert!(!home.path.join("node.json").exists());
    assert_eq!(
        home.run(&["flight", "show", &beside]).done()["entry"]["remarks"],
        "beside"
    );
    assert_eq!(
        home.run(&["flight", "show", &before]).done()["entry"]["total"],
        7200
    );
}

#[test]
fn what_was_acknowledged_survives_a_killed_node() {
    let place = Place::new();
    let home = place.installation("Avery");
    let node = home.up();
    let ids: Vec<String> = (0..5).map(|_| home.flight(&[])).collect();
    node.kill();
    assert_eq!(home.count(), 5);
    let node = home.up();
    for id in ids {
        home.run(&["flight", "show", &id]).done();
    }
    node.end();
}

#[test]
fn lists_for_people_have_a_stable_shape() {
    let place = Place::new();
    let home = place.installation("Avery");
    assert_eq!(home.text(&["flight", "list"]), "no flights\n");
    let id = home.flight(&["--landings", "3"]);
    assert_eq!(
        home.text(&["flight", "list"]),
        format!(
            "ID             DATE        TAIL    FROM  TO  TOTAL  PIC  LANDINGS  REMARKS\n\
             {}  2026-05-14  N738VU  KPAO  -     1.4  0.0         3\n",
            &id[..13]
        )
    );
}
