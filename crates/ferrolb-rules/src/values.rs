//! The values of the chart: which exist, which do nothing here, and what a wrong one was meant to be.
//!
//! Helm itself accepts any name and says nothing (trouble T18), and a strict schema would refuse files that work. So
//! the names are judged here, one by one, where somebody asks: `ferrolb lint`. What the chart does refuse, wrong types and
//! what contradicts itself, is found here too, before it is rendered.

use crate::reason::{Code, Finding, Severity};

mod known;
mod refused;
#[cfg(test)]
mod tests;

pub use refused::{Refused, refused};

use known::{ANYTHING_BELOW, KNOWN, MEANT, WITHOUT_EFFECT};

/// Further than this a name is no typing mistake but another name.
const TYPO_DISTANCE: usize = 3;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A mapping of values: what is in it must be judged.
    Group,
    /// A value; whatever is below it is the user's.
    Value,
    /// No value of the chart has this name.
    Unknown,
}

/// What the name at `path` is, such as `["speaker", "frr", "enabled"]`.
pub fn standing(path: &[&str]) -> Standing {
    let name = path.join(".");
    let parts = (1..=path.len()).filter_map(|length| path.get(..length));
    if parts.into_iter().any(|part| ANYTHING_BELOW.contains(&part.join(".").as_str())) {
        return Standing::Value;
    }
    // In a file a dot is part of a name; only `--set` takes it apart.
    if path.iter().any(|part| part.contains('.')) {
        return Standing::Unknown;
    }
    if KNOWN.contains(&name.as_str()) {
        return Standing::Value;
    }
    let prefix = format!("{name}.");
    if KNOWN.iter().chain(ANYTHING_BELOW).any(|known| known.starts_with(&prefix)) {
        return Standing::Group;
    }
    Standing::Unknown
}

/// Whether the name is one of the user's own below a value, if it were taken apart at its dots.
fn free(name: &str) -> bool {
    ANYTHING_BELOW
        .iter()
        .any(|free| name.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// What is to be said about one value. `is_set`: it is neither null, nor false, nor empty.
pub fn finding(path: &[&str], is_set: bool, object: &str) -> Option<Finding> {
    let name = path.join(".");
    if standing(path) == Standing::Unknown {
        let message = format!("the chart has no value {name}, so it does nothing");
        let finding = Finding::new(Code::UnknownValue, Severity::Warning, object, message).at_field(name.as_str());
        return Some(finding.with_fix(meant(path, &name)));
    }
    let (_, why) = WITHOUT_EFFECT.iter().find(|(value, _)| *value == name)?;
    is_set.then(|| {
        let message = format!("{name} does nothing here: {why}");
        Finding::new(Code::ValueWithoutEffect, Severity::Note, object, message).at_field(name)
    })
}

/// What is to be said of a value that the chart refuses.
pub fn refusal(refused: &Refused, object: &str) -> Finding {
    let severity = if refused.is_certain { Severity::Error } else { Severity::Warning };
    let finding =
        Finding::new(Code::ValueRefused, severity, object, refused.message.clone()).at_field(refused.path.join("."));
    if refused.fix.is_empty() { finding } else { finding.with_fix(refused.fix) }
}

/// What was meant: a name that people are known to write, the same name in another group, or one that is near.
fn meant(path: &[&str], name: &str) -> String {
    if let Some((_, instead)) = MEANT.iter().find(|(wrong, _)| *wrong == name) {
        return (*instead).to_owned();
    }
    if let Some((group, value)) = name.rsplit_once('.').filter(|_| KNOWN.contains(&name) || free(name)) {
        return format!("write `{value}` below `{group}`: in a file a dot is part of the name");
    }
    let letters = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let last = path.last().copied().unwrap_or_default();
    let all = || KNOWN.iter().chain(ANYTHING_BELOW).copied();
    let leaf = |known: &'static str| known.rsplit('.').next().unwrap_or(known);
    let elsewhere: Vec<&str> = all().filter(|known| letters(leaf(known)) == letters(last)).collect();
    if let [only] = elsewhere.as_slice() {
        return format!("did you mean {only}? Otherwise remove it");
    }
    let group = path.split_last().map(|(_, group)| group.join(".")).unwrap_or_default();
    let depth = path.len();
    let beside = all().filter_map(|known| {
        let parts: Vec<&str> = known.split('.').collect();
        let (parent, own) = (parts.get(..depth.saturating_sub(1))?.join("."), parts.get(depth.saturating_sub(1))?);
        (parent == group).then(|| parts.get(..depth).map(|parts| (*own, parts.join(".")))).flatten()
    });
    let near = beside
        .map(|(own, whole)| (strsim::damerau_levenshtein(&letters(own), &letters(last)), whole))
        .filter(|(distance, _)| *distance <= TYPO_DISTANCE.min(last.chars().count() / 2))
        .min();
    match near {
        Some((_, near)) => format!("did you mean {near}? Otherwise remove it"),
        None if elsewhere.is_empty() => "remove it; `helm show values` lists the values that exist".to_owned(),
        None => format!("did you mean {}? Otherwise remove it", elsewhere.join(" or ")),
    }
}
