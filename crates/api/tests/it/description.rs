//! The description of the interface is a file, so that a change of it is a readable difference.

use std::fs;
use std::path::Path;

#[test]
fn the_description_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/aeroedge.json");
    let mut current = aeroedge_api::description().to_pretty_json().unwrap();
    current.push('\n');
    let stored = fs::read_to_string(&path).unwrap_or_default();
    if stored != current {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &current).unwrap();
        panic!(
            "openapi/aeroedge.json was stale and is now written anew: look at the difference and commit it"
        );
    }
}

#[test]
fn every_operation_and_field_is_explained() {
    let description = serde_json::to_value(aeroedge_api::description()).unwrap();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} has no summary"
            );
        }
    }
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        let Some(fields) = schema["properties"].as_object() else {
            continue;
        };
        for (field, schema) in fields {
            let explained = ["description", "$ref", "oneOf"]
                .iter()
                .any(|key| !schema[key].is_null());
            assert!(explained, "{name}.{field} is not explained");
        }
    }
}
