//! The one-table rule: every code of the table is said by some code of ours, and no code is said that is not in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ferrolb_rules::reason::Code;

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The product's sources without tests and without the table itself.
fn product() -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for name in ["ferrolb", "ferrolb-rules"] {
        sources(&crates.join(name).join("src"), &mut found);
    }
    let is_table = |path: &PathBuf| path.to_string_lossy().contains("/reason");
    let is_test =
        |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    // The order of the walk gives every code a place, and says none.
    let is_order = |path: &PathBuf| path.ends_with("src/why.rs");
    let kept = found.into_iter().filter(|path| !is_table(path) && !is_test(path) && !is_order(path));
    kept.map(|path| fs::read_to_string(path).unwrap().split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_code_can_be_reached() {
    let product = product();
    let unreachable: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.name())
        .filter(|name| {
            let needle = format!("Code::{name}");
            !product.match_indices(&needle).any(|(at, _)| {
                !product[at + needle.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            })
        })
        .collect();
    assert!(unreachable.is_empty(), "in the table, and nobody says them: {unreachable:?}");
}

/// The tests: of modules, of the program, of the cluster.
fn tests() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut found = Vec::new();
    sources(&root.join("crates"), &mut found);
    let mut text = String::new();
    for path in
        found.into_iter().filter(|path| !path.to_string_lossy().contains("/reason") && !path.ends_with("codes.rs"))
    {
        let source = fs::read_to_string(&path).unwrap();
        let whole = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let part = if whole {
            Some(source.as_str())
        } else {
            source.split_once("#[cfg(test)]\nmod tests {").map(|(_, tests)| tests)
        };
        text.extend(part);
    }
    for entry in fs::read_dir(root.join("tests/cluster/ferrolb")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "go") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_code_is_named_by_a_test() {
    let tests = tests();
    let names = |code: &Code| {
        let needle = format!("Code::{}", code.name());
        let by_name = tests
            .match_indices(&needle)
            .any(|(at, _)| !tests[at + needle.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_'));
        by_name || tests.contains(&code.to_string())
    };
    let unnamed: Vec<&Code> = Code::ALL.iter().filter(|code| !names(code)).collect();
    assert!(unnamed.is_empty(), "no test sets these up: {unnamed:?}");
}

#[test]
fn every_code_that_texts_for_people_mention_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let known: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    let mut texts = vec![product()];
    for file in ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "docs/decisions.md"] {
        texts.push(fs::read_to_string(root.join(file)).unwrap());
    }
    let mut mentioned = 0;
    for text in &texts {
        for (at, _) in text.match_indices("LB") {
            let digits: String = text[at + 2..].chars().take_while(char::is_ascii_digit).collect();
            if digits.len() == 4 {
                mentioned += 1;
                assert!(known.contains(&format!("LB{digits}")), "LB{digits} is no code");
            }
        }
    }
    assert!(mentioned > 10, "{mentioned}");
}
