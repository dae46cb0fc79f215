//! What lint says about the chart's values, as checks.

use super::{Check, Mark, fine};
use crate::reason::{Code, Finding, Severity};

/// What lint found about values of the chart, as checks: what the chart refuses, and a file that cannot be read, must be put
/// right.
pub fn values(findings: &[Finding]) -> Vec<Check> {
    let about = |finding: &&Finding| {
        let unread = matches!(finding.code, Code::ManifestInvalid | Code::ManifestUnreadable);
        (3000..4000).contains(&finding.code.number()) || (unread && finding.severity == Severity::Error)
    };
    let check = |finding: &Finding| {
        let place = finding.location.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        Check {
            group: "values",
            mark: if finding.severity == Severity::Error { Mark::Wrong } else { Mark::Note },
            text: format!("{place}{}", finding.message),
            finding: Some(finding.clone()),
        }
    };
    let checks: Vec<Check> = findings.iter().filter(about).map(check).collect();
    if checks.is_empty() { vec![fine("values", "every value is one of the chart")] } else { checks }
}
