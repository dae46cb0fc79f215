//! A configuration that does not load, as Services and pools hear of it: all or nothing (decision 1) means that a pool in
//! good order waits for the one that is not, and whoever asks for it must be told so, and not that there is no such pool.

use std::collections::BTreeSet;

use crate::config::Invalid;
use crate::reason::{Finding, Severity};

/// The newest configuration does not load, and an earlier one, or none, is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUp {
    cause: Finding,
    others: usize,
    /// The pools that are there.
    pools: BTreeSet<String>,
}

impl HeldUp {
    /// By the findings that keep it from loading, and the names of the pools that are there.
    pub fn new(invalid: &Invalid, pools: BTreeSet<String>) -> Option<Self> {
        let (cause, others) = invalid.0.split_first()?;
        Some(Self { cause: cause.clone(), others: others.len(), pools })
    }

    /// Whether there is a pool of this name, or, without a name, any.
    pub fn has_pool(&self, pool: Option<&str>) -> bool {
        pool.map_or(!self.pools.is_empty(), |pool| self.pools.contains(pool))
    }

    /// What is wrong, and where.
    pub fn because(&self) -> String {
        let Finding { code, object, field, message, .. } = &self.cause;
        let field = if field.is_empty() { String::new() } else { format!(" {field}") };
        let more = match self.others {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        format!("because of {code} on {object}{field}: {message}{more}")
    }

    /// What to do about it.
    pub fn fix(&self) -> String {
        self.cause.fix.clone()
    }

    /// Said about an object that waits, under the code that it waits for.
    pub fn finding(&self, object: String, waits: &str) -> Finding {
        let message = format!("{waits} {}", self.because());
        Finding::new(self.cause.code, Severity::Warning, object, message).with_fix(self.fix())
    }

    /// Whether this object is at fault itself.
    pub fn is_cause(&self, object: &str) -> bool {
        self.cause.object == object
    }
}
