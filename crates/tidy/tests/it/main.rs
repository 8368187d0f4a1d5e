//! Holds this workspace to its house rules. What each rule asks for, and that it can fail, is tested beside the rule.

use std::path::Path;
use std::sync::LazyLock;

use aeroedge_tidy::Finding;
use aeroedge_tidy::read::{self, Workspace};

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .ancestors()
        .nth(2)
        .expect("crates/tidy lies in the workspace");
    read::workspace(root).expect("the workspace can be read")
});

#[track_caller]
fn check(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn arrows_point_down() {
    check(&aeroedge_tidy::arrows_point_down(&WORKSPACE.crates));
}

#[test]
fn core_crates_do_no_io() {
    check(&aeroedge_tidy::core_crates_do_no_io(
        &WORKSPACE.crates,
        &WORKSPACE.graph,
    ));
}

#[test]
fn core_crates_forbid_clocks() {
    check(&aeroedge_tidy::core_crates_forbid_clocks(&WORKSPACE.crates));
}

#[test]
fn platform_never_names_an_aircraft() {
    check(&aeroedge_tidy::platform_never_names_an_aircraft(
        &WORKSPACE.crates,
    ));
}

#[test]
fn product_never_names_a_packet() {
    check(&aeroedge_tidy::product_never_names_a_packet(
        &WORKSPACE.crates,
    ));
}

#[test]
fn sql_lives_in_adapters() {
    check(&aeroedge_tidy::sql_lives_in_adapters(&WORKSPACE.crates));
}

#[test]
fn lints_are_inherited() {
    check(&aeroedge_tidy::lints_are_inherited(&WORKSPACE.crates));
}

#[test]
fn files_open_with_their_purpose() {
    check(&aeroedge_tidy::files_open_with_their_purpose(
        &WORKSPACE.crates,
    ));
}

#[test]
fn files_have_one_subject() {
    check(&aeroedge_tidy::files_have_one_subject(&WORKSPACE.crates));
}

#[test]
fn ignored_tests_say_why() {
    check(&aeroedge_tidy::ignored_tests_say_why(&WORKSPACE.crates));
}

#[test]
fn tests_are_named_as_facts() {
    check(&aeroedge_tidy::tests_are_named_as_facts(&WORKSPACE.crates));
}

#[test]
fn licences_are_welcome() {
    check(&aeroedge_tidy::licences_are_welcome(&WORKSPACE.licences));
}

#[test]
fn claims_of_the_threat_model_are_tested() {
    let page = include_str!("../../../../docs/threat-model.md");
    check(&aeroedge_tidy::claims_are_tested(
        "docs/threat-model.md",
        page,
        &WORKSPACE.crates,
    ));
}

#[test]
fn the_whole_workspace_was_read() {
    let log = WORKSPACE
        .crates
        .iter()
        .find(|package| package.name == "aeroedge-log")
        .unwrap();
    assert!(log.manifest.contains("aeroedge-log"));
    assert!(
        log.files
            .iter()
            .any(|file| file.path == "crates/log/src/lib.rs")
    );
    assert!(WORKSPACE.graph["aeroedge-log"].contains("aeroedge-ids"));
    assert!(WORKSPACE.graph["aeroedge-node"].contains("tokio"));
    assert!(WORKSPACE.licences.len() > WORKSPACE.crates.len());
}
