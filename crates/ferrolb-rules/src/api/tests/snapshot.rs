//! `deploy/crds.yaml` is what the types say.

#![expect(clippy::disallowed_methods, reason = "the test compares with a file; the library itself does no I/O")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde_json::Value;

use crate::api::crds;

/// JSON in one order and with whole numbers as such, whatever features serde_json was built with.
#[derive(Serialize)]
#[serde(untagged)]
enum Ordered {
    Map(BTreeMap<String, Ordered>),
    List(Vec<Ordered>),
    Whole(i64),
    Other(Value),
}

impl From<Value> for Ordered {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect()),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Number(number) if number.as_f64().is_some_and(|float| float.fract() == 0.0) => {
                Self::Whole(number.as_f64().unwrap() as i64)
            }
            other => Self::Other(other),
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds.yaml")
}

fn rendered() -> String {
    let mut text =
        String::from("# Generated from crates/ferrolb-rules/src/api. Change the types, then: just update-snapshots\n");
    for crd in crds() {
        let crd = Ordered::from(serde_json::to_value(crd).unwrap());
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&crd).unwrap());
    }
    text
}

#[test]
fn crds_yaml_is_what_the_types_say() {
    if std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), rendered()).unwrap();
    }
    let found = std::fs::read_to_string(path()).unwrap_or_default();
    let wanted = rendered();
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = differs.unwrap_or_else(|| found.lines().count().min(wanted.lines().count())) + 1;
    assert!(
        found == wanted,
        "deploy/crds.yaml is not what the types say, first at line {line}. If the change is meant: \
         UPDATE_SNAPSHOTS=1 cargo test -p ferrolb-rules (or: just update-snapshots), and commit the file"
    );
}

#[test]
fn crds_yaml_parses_into_the_same_definitions() {
    let text = std::fs::read_to_string(path()).unwrap();
    let parsed: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&text).unwrap();
    assert!(parsed == crds(), "deploy/crds.yaml does not read back as what it was written from");
}
