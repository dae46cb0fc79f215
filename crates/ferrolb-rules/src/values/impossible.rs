//! Values of the right type that render into objects which the API server refuses, or which can never run: the commonest
//! of them. `templates/refusals.yaml` refuses the same.

use serde_json::Value;

use super::contents::port;
use super::refused::Refused;

/// What is in these values that cannot be.
pub(super) fn impossible(values: &Value) -> Vec<Refused> {
    let mut found = Vec::new();
    for (component, strategy, types) in [
        ("controller", "strategy", ["RollingUpdate", "Recreate"]),
        ("speaker", "updateStrategy", ["RollingUpdate", "OnDelete"]),
    ] {
        let part = &values[component];
        if part["image"]["repository"] == "" {
            let path = format!("{component}.image.repository");
            found.push(refuse(&path, format!("{path} is empty"), "remove it, or name an image", true));
        }
        quantities(component, &part["resources"], &mut found);
        found.extend(updates(&format!("{component}.{strategy}"), &part[strategy], &types));
    }
    ports(values, &mut found);
    found
}

fn refuse(path: &str, message: String, fix: &'static str, is_certain: bool) -> Refused {
    Refused { path: path.split('.').map(str::to_owned).collect(), message, fix, is_certain }
}

fn quantities(component: &str, resources: &Value, found: &mut Vec<Refused>) {
    for of in ["requests", "limits"] {
        for (resource, amount) in resources[of].as_object().into_iter().flatten() {
            let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            if amount.is_null() || is_quantity(&text) {
                continue;
            }
            let mut refused = refuse(
                &format!("{component}.resources.{of}"),
                format!("{component}.resources.{of}.{resource} is {text:?}, which is no quantity"),
                "write it like 100m or 128Mi",
                true,
            );
            refused.path.push(resource.clone());
            found.push(refused);
        }
    }
}

/// Whether a text is a quantity (Kubernetes API, `resource.Quantity`): a number that is not negative, with an exponent or
/// a suffix.
fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let exponent = |suffix: &str| {
        suffix.strip_prefix(['e', 'E']).is_some_and(|rest| {
            let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    digits > 0 && number.len() <= digits + 1 && (suffixes.contains(&suffix) || exponent(suffix))
}

/// How pods are replaced: of two ways, and only one of them has parameters.
fn updates(path: &str, strategy: &Value, types: &[&str]) -> Option<Refused> {
    let chosen = strategy["type"].as_str()?;
    if !types.contains(&chosen) {
        let path = format!("{path}.type");
        let message = format!("{path} is {chosen:?}; it may be {}", types.join(" or "));
        return Some(refuse(&path, message, "write one of the two", true));
    }
    (chosen == "Recreate" && strategy["rollingUpdate"].is_object()).then(|| {
        let message = format!("{path} has rollingUpdate, which the type Recreate does not allow");
        refuse(path, message, "remove one of the two", true)
    })
}

/// Ports of one pod that are the same. The speaker's are the node's.
fn ports(values: &Value, found: &mut Vec<Refused>) {
    let on = |component: &str| values[component]["enabled"] != false;
    let at = |path: &str, standard: u64| {
        let value = path.split('.').fold(values, |value, key| &value[key]);
        (path.to_owned(), port(value).unwrap_or(standard), port(value).is_some())
    };
    let mut speaker = vec![at("prometheus.metricsPort", 9120), at("speaker.livenessProbe.port", 17472)];
    if values["speaker"]["memberlist"]["enabled"] != false {
        speaker.push(at("speaker.memberlist.mlBindPort", 7946));
    }
    let mut controller = vec![at("prometheus.metricsPort", 9120), at("controller.livenessProbe.port", 17472)];
    if values["controller"]["webPage"]["enabled"] == true {
        controller.push(at("controller.webPage.port", 7473));
    }
    let both = [("speaker", speaker), ("controller", controller)];
    for (_, ports) in both.iter().filter(|(component, _)| on(component)) {
        for (index, (path, number, given)) in ports.iter().enumerate() {
            for (other, _, too) in ports.iter().skip(index + 1).filter(|(_, same, _)| same == number) {
                let path_of = if *given { path } else { other };
                let message = format!("{path} and {other} are both {number}");
                // What is not given here may be given in another file.
                found.push(refuse(path_of, message, "give each its own port", *given && *too));
            }
        }
    }
}
