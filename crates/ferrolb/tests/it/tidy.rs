//! The style limits of ARCHITECTURE.md as a test: what clippy cannot count, this does.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines in a source file, tests included.
const FILE_LINES: usize = 500;
/// Lines in ARCHITECTURE.md.
const ARCHITECTURE_LINES: usize = 200;
/// Words that say nothing about what a thing is.
const EMPTY_NAMES: [&str; 6] = ["manager", "handler", "helper", "util", "common", "base"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").to_owned()
}

fn files_below(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") {
            files_below(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

fn rust_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for directory in ["crates", "fuzz/fuzz_targets"] {
        files_below(&root().join(directory), "rs", &mut found);
    }
    assert!(found.len() > 20, "the search for sources found only {}", found.len());
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Every line of every source for which `wrong` holds, as `path:line: text`.
fn offenders(wrong: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in rust_sources() {
        for (number, line) in text.lines().enumerate() {
            if wrong(&path, line) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() {
    let long: Vec<String> = rust_sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > FILE_LINES)
        .map(|(path, text)| format!("{} has {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split along a seam that has a name:\n{}", long.join("\n"));
}

#[test]
fn every_source_file_opens_with_its_story() {
    let silent: Vec<String> = rust_sources()
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no //! at the top of:\n{}", silent.join("\n"));
}

#[test]
fn exceptions_to_lints_say_why() {
    let bare =
        offenders(|path, line| !path.ends_with("tidy.rs") && (line.contains("#[allow(") || line.contains("#![allow(")));
    assert!(bare.is_empty(), "use #[expect(.., reason = \"..\")]:\n{}", bare.join("\n"));
}

#[test]
fn unsafe_code_lives_only_in_net() {
    let net = root().join("crates/ferrolb/src/net");
    let strays = offenders(|path, line| {
        !path.starts_with(&net)
            && !path.ends_with("tidy.rs")
            && (line.contains("unsafe {") || line.contains("unsafe fn"))
    });
    assert!(strays.is_empty(), "unsafe outside crates/ferrolb/src/net:\n{}", strays.join("\n"));
}

#[test]
fn modules_are_named_after_what_they_are() {
    let vague: Vec<String> = rust_sources()
        .iter()
        .filter(|(path, _)| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            stem.split('_').any(|word| EMPTY_NAMES.contains(&word.trim_end_matches('s')))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(vague.is_empty(), "names that say nothing:\n{}", vague.join("\n"));
}

#[test]
fn nothing_is_left_to_do_later_in_a_comment() {
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let left = offenders(|_, line| markers.iter().any(|marker| line.contains(marker)));
    assert!(left.is_empty(), "finish it, or write down where it is tracked:\n{}", left.join("\n"));
}

#[test]
fn the_architecture_stays_short() {
    let lines = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap().lines().count();
    assert!(lines <= ARCHITECTURE_LINES, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn pure_crates_list_no_crate_that_touches_the_world() {
    let banned = [
        "tokio",
        "socket2",
        "rtnetlink",
        "hyper",
        "kube",
        "kube-client",
        "kube-runtime",
        "nix",
        "libc",
        "mio",
        "notify",
    ];
    for name in ["ferrolb-proto", "ferrolb-rules"] {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let listed: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.split(['=', '.', ' ']).next())
            .filter(|dependency| banned.contains(dependency))
            .collect();
        assert!(listed.is_empty(), "{name} lists {listed:?}");
    }
}
