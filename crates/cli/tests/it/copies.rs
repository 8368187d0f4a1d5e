//! Export and restore.

use std::fs;

use crate::support::Place;

#[test]
fn a_restored_copy_holds_the_same_and_goes_on_under_its_own_writer() {
    let place = Place::new();
    let home = place.installation("Avery");
    let id = home.flight(&["--remarks", "first"]);
    let phrase = place.file("phrase", "four tall green trees\n");
    let file = place.path("backup.db").to_str().unwrap().to_owned();
    let exported = home
        .run(&[
            "export",
            &file,
            "--with-keys",
            "--key-passphrase-file",
            &phrase,
        ])
        .done();
    assert_eq!(exported["with_keys"], true);
    assert_eq!(exported["manifest"]["contexts"][0]["flights"], 1);
    home.run(&["export", &file]).refused(4);

    let copy = place.nothing("Copy");
    let wrong = place.file("wrong", "three tall green trees\n");
    copy.run(&["restore", &file, "--key-passphrase-file", &wrong])
        .refused(4);
    assert!(!copy.path.exists());
    copy.run(&["restore", &file, "--key-passphrase-file", &phrase])
        .done();
    copy.run(&["restore", &file, "--key-passphrase-file", &phrase])
        .refused(4);
    // The keys rest in the copy as they did in the manifest.
    let with_phrase = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--passphrase-file", &phrase]);
        copy.run(&all).done()
    };
    let stands = with_phrase(&["flight", "show", &id]);
    assert_eq!(stands["entry"]["remarks"], "first");

    with_phrase(&["flight", "edit", &id, "--remarks", "in the copy"]);
    home.run(&["flight", "edit", &id, "--remarks", "at home"])
        .done();
    let history = with_phrase(&["audit", "show", "flight", &id]);
    let changes = history["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    assert_ne!(changes[0]["writer"], changes[1]["writer"]);
    assert_eq!(changes[1]["seq"], 1);
}

#[test]
fn keys_stay_out_of_an_export_unless_asked_for() {
    let place = Place::new();
    let home = place.installation("Avery");
    home.flight(&[]);
    let file = place.path("backup.db").to_str().unwrap().to_owned();
    home.run(&["export", &file]).done();
    let manifest = fs::read_to_string(format!("{file}.json")).unwrap();
    assert!(!manifest.contains("keys"), "{manifest}");
    let message = place.nothing("Copy").run(&["restore", &file]).refused(4);
    assert!(message.contains("--key-file"), "{message}");
    let keys = home.path.join("device.key");
    place
        .nothing("Copy")
        .run(&["restore", &file, "--key-file", keys.to_str().unwrap()])
        .done();
    assert_eq!(place.nothing("Copy").count(), 1);
}

#[test]
fn a_changed_or_foreign_file_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let home = place.installation("Avery");
    let file = place.path("backup.db").to_str().unwrap().to_owned();
    home.run(&["export", &file]).done();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let copy = place.nothing("Copy");
    let message = copy.run(&["restore", &file]).refused(6);
    assert!(message.contains("manifest describes"), "{message}");
    let letter = place.file("letter.txt", "Dear Sir");
    copy.run(&["restore", &letter]).refused(3);
    place.file("letter.txt.json", "{}");
    copy.run(&["restore", &letter]).refused(6);
    place.file(
        "letter.txt.json",
        r#"{"format":"aeroedge export","version":9}"#,
    );
    let message = copy.run(&["restore", &letter]).refused(6);
    assert!(message.contains("version 9"), "{message}");
    assert!(!copy.path.exists());
}
