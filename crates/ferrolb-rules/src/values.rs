//! The values of the chart: which exist, which do nothing here, and what a wrong one was meant to be.
//!
//! Helm itself accepts any name and says nothing (trouble T18), and a strict schema would refuse files that work. So
//! the names are judged here, one by one, where somebody asks: `ferrolb lint`. What the chart does refuse, wrong types and
//! what contradicts itself, is found here too, before it is rendered.

use crate::reason::{Code, Finding, Severity};

mod contents;
mod impossible;
mod known;
mod meant;
mod refused;
#[cfg(test)]
mod tests;

pub use contents::{Remark, remarks};
pub use refused::{Refused, refused};

use known::{ANYTHING_BELOW, KNOWN, WITHOUT_EFFECT};

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

/// What is to be said about one value. `is_set`: it is neither null, nor false, nor empty.
pub fn finding(path: &[&str], is_set: bool, object: &str) -> Option<Finding> {
    let name = path.join(".");
    if standing(path) == Standing::Unknown {
        let message = format!("the chart has no value {name}, so it does nothing");
        let finding = Finding::new(Code::UnknownValue, Severity::Warning, object, message).at_field(name.as_str());
        return Some(finding.with_fix(meant::meant(path)));
    }
    let (_, why) = WITHOUT_EFFECT.iter().find(|(value, _)| *value == name)?;
    is_set.then(|| {
        let message = format!("{name} does nothing here: {why}");
        Finding::new(Code::ValueWithoutEffect, Severity::Note, object, message).at_field(name)
    })
}

/// What is to be said of what a value holds.
pub fn remark(remark: &Remark, object: &str) -> Finding {
    Finding::new(Code::ValueWithoutEffect, remark.severity, object, remark.message.clone())
        .at_field(remark.path.join("."))
        .with_fix(remark.fix.clone())
}

/// What is to be said of a value that the chart refuses.
pub fn refusal(refused: &Refused, object: &str) -> Finding {
    let severity = if refused.is_certain { Severity::Error } else { Severity::Warning };
    let finding =
        Finding::new(Code::ValueRefused, severity, object, refused.message.clone()).at_field(refused.path.join("."));
    if refused.fix.is_empty() { finding } else { finding.with_fix(refused.fix) }
}
