//! Nothing follows from there being none of a kind that whoever asks may not read.

use super::{Check, Mark, Surroundings};

/// The kinds that a group of checks looks at.
fn told_by(group: &str) -> &'static [&'static str] {
    match group {
        "namespace" => &["Namespace"],
        "node labels" | "failover" => &["Node"],
        "rivals" => &["DaemonSet", "Deployment"],
        "webhook" => &["ValidatingWebhookConfiguration"],
        "today" => &["Pod", "IPAddressPool", "L2Advertisement", "BGPAdvertisement"],
        "controller" | "speaker" => &["Pod"],
        _ => &[],
    }
}

/// Takes back what was said of kinds that may not be read, and says first that they may not be.
pub(super) fn leave_open(seen: &Surroundings, checks: &mut Vec<Check>) {
    for check in checks.iter_mut() {
        let missing: Vec<&str> =
            told_by(check.group).iter().copied().filter(|kind| seen.denied.contains(*kind)).collect();
        if !missing.is_empty() {
            let text = format!("not known: you may not list {}", missing.join(", "));
            *check = Check { group: check.group, mark: Mark::Unknown, text, finding: None };
        }
    }
    checks.dedup();
    if let Some(refusal) = &seen.refusal {
        let (text, finding) = (refusal.message.clone(), Some(refusal.clone()));
        checks.insert(0, Check { group: "rights", mark: Mark::Unknown, text, finding });
    }
}
