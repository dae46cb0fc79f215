//! The log of findings: each is said once, and once more when it is over.

use std::collections::BTreeSet;

use ferrolb_rules::reason::{Finding, Severity};

/// The findings that were said and hold on.
#[derive(Debug, Default)]
pub struct Said {
    findings: BTreeSet<Finding>,
}

impl Said {
    /// Says what is different now.
    pub fn say(&mut self, findings: BTreeSet<Finding>) {
        for finding in findings.difference(&self.findings) {
            match finding.severity {
                Severity::Error => tracing::error!(code = %finding.code, "{finding}"),
                Severity::Warning => tracing::warn!(code = %finding.code, "{finding}"),
                Severity::Note => tracing::info!(code = %finding.code, "{finding}"),
            }
        }
        for finding in self.findings.difference(&findings).filter(|finding| finding.severity != Severity::Note) {
            tracing::info!(event = "resolved", code = %finding.code, object = finding.object, "no longer so");
        }
        self.findings = findings;
    }
}
