//! Objects in a manifest that are not used: of kinds for later, for others, or that do not exist. What is said of each.

use ferrolb_rules::api;
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::names::nearest;
use super::object::Kind;
use super::tree;

/// Kinds of MetalLB that are known and not done, and what will therefore not happen.
const NOT_YET: &[(&str, &str)] = &[
    ("MetalLB", "nothing is installed by this object of MetalLB's operator"),
    ("ConfigurationState", "this status is neither read nor written"),
    ("ServiceL2Status", "this status is neither read nor written"),
    ("ServiceBGPStatus", "this status is neither read nor written"),
];

/// What to say of an object that is not used.
pub(super) fn stranger(api_version: &str, kind: &str, title: &str) -> Finding {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let (version, shown) = (tree::shorten(api_version), tree::shorten(kind));
    if group == api::GROUP
        && let Some((_, consequence)) = NOT_YET.iter().find(|(name, _)| *name == kind)
    {
        let message = format!("{kind} is not implemented in this release: {consequence}");
        return Finding::new(Code::NotYet, Severity::Warning, title, message);
    }
    let skipped =
        |severity, message, fix: String| Finding::new(Code::UnknownKind, severity, title, message).with_fix(fix);
    if kind == "AddressPool" {
        return skipped(
            Severity::Warning,
            format!("{version} AddressPool no longer exists, so its addresses are not used"),
            "write an IPAddressPool of metallb.io/v1beta1, and an L2Advertisement beside it".to_owned(),
        );
    }
    let candidates = Kind::ALL.iter().filter(|known| known.is_ours() || known.api_version() == api_version);
    let meant = nearest(kind, candidates.map(|known| known.name()));
    let known = Kind::ALL.iter().find(|known| Some(known.name()) == meant.or(Some(kind)));
    match known {
        Some(known) if known.is_ours() || known.api_version() == api_version => skipped(
            Severity::Error,
            format!("there is no {shown} of {version}, so the object does not exist"),
            format!("write `apiVersion: {}` and `kind: {}`", known.api_version(), known.name()),
        ),
        Some(known) => skipped(
            Severity::Warning,
            format!(
                "{shown} of {version} is not used here, so it is skipped; the {shown} that is used is of {}",
                known.api_version()
            ),
            format!("write `apiVersion: {}` if that one is meant", known.api_version()),
        ),
        None if group == api::GROUP => skipped(
            Severity::Warning,
            format!("metallb.io has no kind {shown}, so the object is skipped"),
            "check kind for typing mistakes".to_owned(),
        ),
        None => Finding::new(
            Code::UnknownKind,
            Severity::Note,
            title,
            format!("{shown} of {version} is not used here, so it is skipped"),
        ),
    }
}
