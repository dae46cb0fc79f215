//! What a name that is no value was meant to be.
//!
//! The chart says the same of the same name, in its notes. So there is one list of names (the chart's own, made from its
//! values), one table of names that people are known to write (`files/meant.txt`), and one measure of likeness, which
//! `metallb.nearest` in `templates/_findings.tpl` has too; a list of examples keeps them together (`testdata/hints`).
//!
//! A wrong hint is worse than none. A name in the same group is meant sooner than one elsewhere, and a name that
//! stands in many groups (`enabled`, `labels`) says nothing about which of them is meant.

use std::collections::BTreeSet;

use super::known::{ANYTHING_BELOW, KNOWN};

const TEMPLATE: &str = include_str!("../../../../charts/metallb/templates/_known.tpl");
const TABLE: &str = include_str!("../../../../charts/metallb/files/meant.txt");

/// Least likeness, in percent, of a name in the same group.
const BESIDE: usize = 50;
/// Least likeness of a name in another group.
const ELSEWHERE: usize = 80;
/// What being in the same group adds.
const BONUS: usize = 15;
/// More names than this are no hint.
const CHOICE: usize = 2;

/// The lines of the table: a name, and what to do.
pub(super) fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| line.split_once(": "))
}

/// All names of values and of their groups, as the chart lists them.
fn candidates() -> impl Iterator<Item = &'static str> {
    let list = TEMPLATE.split_once("{{- define \"metallb.known\" -}}\n").map_or("", |(_, rest)| rest);
    let list = list.split_once("\n{{- end }}").map_or("", |(list, _)| list);
    list.lines().map(|name| name.trim_end_matches(".*"))
}

/// Whether the name is one of the user's own below a value, if it were taken apart at its dots.
fn free(name: &str) -> bool {
    ANYTHING_BELOW
        .iter()
        .any(|free| name.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// What to do about a name that is no value.
pub(super) fn meant(path: &[&str]) -> String {
    let name = path.join(".");
    if path.iter().any(|part| part.contains('.'))
        && let Some((group, value)) = name.rsplit_once('.').filter(|_| KNOWN.contains(&name.as_str()) || free(&name))
    {
        return format!("write `{value}` below `{group}`: in a file a dot is part of the name");
    }
    if let Some((_, instead)) = table().find(|(wrong, _)| *wrong == name) {
        return instead.to_owned();
    }
    match nearest(path).as_slice() {
        [] => "remove it; `helm show values` lists the values that exist".to_owned(),
        near => format!("did you mean {}? Otherwise remove it", near.join(" or ")),
    }
}

/// The names that are most like this one; none, if there are too many.
fn nearest(path: &[&str]) -> Vec<&'static str> {
    let Some((last, group)) = path.split_last() else { return Vec::new() };
    let (group, pairs) = (group.join("."), pairs(last));
    let (mut most, mut best) = (0, Vec::new());
    for candidate in candidates() {
        let (parent, word) = candidate.rsplit_once('.').unwrap_or(("", candidate));
        let likeness = likeness(&pairs, &self::pairs(word));
        let score = match parent == group {
            true if likeness >= BESIDE => likeness + BONUS,
            false if likeness >= ELSEWHERE => likeness,
            _ => continue,
        };
        if score > most {
            (most, best) = (score, Vec::new());
        }
        if score == most {
            best.push(candidate);
        }
    }
    if best.len() > CHOICE { Vec::new() } else { best }
}

/// Which letters follow which, without regard to case, hyphens and underscores.
fn pairs(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.len() {
        0 | 1 => BTreeSet::from([letters.iter().collect()]),
        _ => letters.windows(2).map(|pair| pair.iter().collect()).collect(),
    }
}

/// The share of pairs that two words have in common, in percent.
fn likeness(one: &BTreeSet<String>, other: &BTreeSet<String>) -> usize {
    200 * one.intersection(other).count() / (one.len() + other.len())
}
