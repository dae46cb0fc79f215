//! A code applied to an object: what happened to it, where it was read from, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Code;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work until it is fixed.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Worth knowing once.
    Note,
}

/// Where in a manifest something was found. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The file, as it was found.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A code applied to an object: what was found, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Which reason.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// `Kind/name` or `Kind/namespace/name`; a path where no object could be read.
    pub object: String,
    /// The field within the object, `spec.addresses[0]` style; empty when it is about the object as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What happened and why, in one line.
    pub message: String,
    /// What to do, in one line.
    pub fix: String,
    /// Where the object was read from, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

impl Finding {
    /// A finding with the code's own fix. `message` says what happened to this object.
    pub fn new(code: Code, severity: Severity, object: impl Into<String>, message: impl Into<String>) -> Self {
        let object = object.into();
        let fix = named(code.explanation().fix, &object);
        Self { code, severity, object, field: String::new(), message: message.into(), fix, location: None }
    }

    /// Names the field it is about.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Replaces the code's general fix by one for this case.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Says where the object was read from.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }
}

/// A fix with the names of the Service that it is about, so that its command can be pasted.
fn named(fix: &str, object: &str) -> String {
    let mut parts = object.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("Service"), Some(namespace), Some(name)) => {
            fix.replace("-n NS", &format!("-n {namespace}")).replace("NAME", name)
        }
        _ => fix.to_owned(),
    }
}

impl Code {
    /// Whether this is the code's general advice, with or without the names of what it is about.
    pub fn gives(self, fix: &str) -> bool {
        let general = self.explanation().fix;
        let until_name = ["NAME", "-n NS", "node NODE"]
            .iter()
            .fold(general, |text, placeholder| text.split(placeholder).next().unwrap_or_default());
        fix == general || (until_name != general && fix.starts_with(until_name))
    }
}

impl fmt::Display for Finding {
    /// `LB4002 IPAddressPool/metallb-system/p spec.addresses[0]: message. Fix: fix`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        write!(f, "{} {}", self.code, self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}. Fix: {}", self.message, self.fix)
    }
}
