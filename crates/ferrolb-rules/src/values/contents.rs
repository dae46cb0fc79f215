//! Values that are taken and mean something else here: images of MetalLB, and what leaves the speaker without its right.
//!
//! Nothing is refused for them. The chart says the same, in the same words (`templates/_findings.tpl`).

use serde_json::Value;

use crate::reason::Severity;
use crate::surroundings::is_metallb;

/// FerroLB's own image, which the chart uses in place of MetalLB's.
const OURS: &str = concat!("ghcr.io/ferrolb/ferrolb:v", env!("CARGO_PKG_VERSION"));

/// What is to be said of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where it is.
    pub path: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it means.
    pub message: String,
    /// What to do.
    pub fix: String,
}

fn remark(path: &str, severity: Severity, message: String, fix: String) -> Remark {
    Remark { path: path.split('.').map(str::to_owned).collect(), severity, message, fix }
}

/// Everything that is to be said of what these values hold.
pub fn remarks(values: &Value) -> Vec<Remark> {
    let mut found = Vec::new();
    for component in ["controller", "speaker"] {
        found.extend(image(component, &values[component]["image"]));
        found.extend(probe(component, &values[component]));
    }
    found.extend(user(&values["speaker"]["securityContext"]));
    found
}

fn image(component: &str, image: &Value) -> Option<Remark> {
    let text = |name: &str| image[name].as_str();
    if let Some(repository) = text("repository").filter(|repository| is_metallb(repository)) {
        let message =
            format!("{repository} is MetalLB's image, which this chart cannot run; FerroLB's is used, {OURS}");
        let path = format!("{component}.image.repository");
        return Some(remark(&path, Severity::Note, message, format!("remove {component}.image")));
    }
    let tag = text("tag").filter(|tag| is_metallbs(tag))?;
    let path = format!("{component}.image.tag");
    let fix = format!("remove {path} if the image cannot be pulled; this chart's is v{}", env!("CARGO_PKG_VERSION"));
    Some(remark(&path, Severity::Note, format!("{tag} looks like a version of MetalLB; it is used as it is"), fix))
}

/// Whether a tag is one that MetalLB has had since it has the kinds that we read: v0.9 and later.
fn is_metallbs(tag: &str) -> bool {
    let minor = tag.strip_prefix("v0.").and_then(|rest| rest.split_once('.')).map(|(minor, _)| minor.parse::<u8>());
    matches!(minor, Some(Ok(9..=19)))
}

/// A port, as a number or as text.
pub(super) fn port(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn probe(component: &str, values: &Value) -> Option<Remark> {
    let own = port(&values["readinessProbe"]["port"])?;
    let used = port(&values["livenessProbe"]["port"]).unwrap_or(17472);
    let path = format!("{component}.readinessProbe.port");
    let message = format!("both probes use {component}.livenessProbe.port ({used})");
    (own != used).then(|| remark(&path, Severity::Note, message, format!("remove {path}")))
}

/// The container has a capability and no way to hand it on, so that it counts for root alone.
fn user(context: &Value) -> Option<Remark> {
    let (name, value) = match (&context["runAsUser"], &context["runAsNonRoot"]) {
        (Value::Number(user), _) if user.as_u64() != Some(0) => ("runAsUser", user.to_string()),
        (_, Value::Bool(true)) => ("runAsNonRoot", "true".to_owned()),
        _ => return None,
    };
    let path = format!("speaker.securityContext.{name}");
    let message = format!("with {name} {value} the capability NET_RAW does nothing, and the speaker cannot announce");
    Some(remark(&path, Severity::Warning, message, format!("remove {path}")))
}
