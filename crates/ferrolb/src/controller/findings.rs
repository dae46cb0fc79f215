//! What is wrong with, or worth knowing about, the configuration: told on the objects that it is about.
//!
//! A pool is often there a moment before its advertisement. So only what lasts is told, once, and again if it comes back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferrolb_rules::reason::Finding;

/// What lasted this long is told.
const PATIENCE: Duration = Duration::from_secs(3);

/// Findings that hold, and which of them were told.
#[derive(Debug, Default)]
pub(super) struct Findings {
    holding: BTreeMap<Finding, (Instant, bool)>,
}

impl Findings {
    /// These hold now. Returns those to be told.
    pub(super) fn hold<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>, now: Instant) -> Vec<Finding> {
        let mut before = std::mem::take(&mut self.holding);
        for finding in findings {
            let since = before.remove(finding).unwrap_or((now, false));
            self.holding.insert(finding.clone(), since);
        }
        let mut told = Vec::new();
        for (finding, (since, done)) in &mut self.holding {
            if !*done && now.saturating_duration_since(*since) >= PATIENCE {
                *done = true;
                told.push(finding.clone());
            }
        }
        told
    }

    /// When there is something to tell.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.holding.values().filter(|(_, done)| !done).map(|(since, _)| *since + PATIENCE).min()
    }
}
