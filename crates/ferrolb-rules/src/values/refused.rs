//! What the chart would refuse: Helm renders nothing then, and Argo CD shows an error of templates. So it is said before.
//!
//! The types are those of the chart's own schema, which is made from its values; of JSON Schema just the words are
//! understood that stand in it. What contradicts itself is what `templates/refusals.yaml` refuses.

use std::sync::LazyLock;

use serde_json::Value;

use super::impossible::impossible;

/// The chart's schema.
const SCHEMA: &str = include_str!("../../../../charts/metallb/values.schema.json");
static PARSED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap_or_default());

/// A value that the chart refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it is; entries of lists by their number.
    pub path: Vec<String>,
    /// Why, in words.
    pub message: String,
    /// What to do; empty: the usual.
    pub fix: &'static str,
    /// Whether it is for certain: what is missing in one file may stand in another.
    pub is_certain: bool,
}

/// Everything in these values that the chart refuses.
pub fn refused(values: &Value) -> Vec<Refused> {
    let mut found = Vec::new();
    judge(&PARSED, values, &mut Vec::new(), &mut found);
    // With wrong types what is said of contradictions would be nonsense.
    if found.is_empty() {
        found = contradictions(values);
        found.extend(impossible(values));
    }
    found
}

fn judge(schema: &Value, value: &Value, path: &mut Vec<String>, found: &mut Vec<Refused>) {
    // For Helm a null takes the default away; that is never of a wrong type.
    if value.is_null() {
        return;
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        let allowed = |way: &Value| way["enum"].as_array().is_some_and(|choice| choice.contains(value));
        if let (Some(first), false) = (ways.first(), ways.iter().any(allowed)) {
            judge(first, value, path, found);
        }
        return;
    }
    if let Some(why) = wrong(schema, value) {
        let message = format!("{} is {}; {why}", path.join("."), describe(value));
        found.push(Refused { path: path.clone(), message, fix: "", is_certain: true });
        return;
    }
    if let Value::Object(entries) = value {
        for (key, inner) in entries {
            let of_all = &schema["additionalProperties"];
            let schema = schema["properties"].get(key).unwrap_or(of_all);
            path.push(key.clone());
            judge(schema, inner, path, found);
            path.pop();
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.contains_key(name) {
                let message = format!("{} has no {name}", path.join("."));
                found.push(Refused { path: path.clone(), message, fix: "", is_certain: true });
            }
        }
    }
    for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
        path.push(number.to_string());
        judge(&schema["items"], inner, path, found);
        path.pop();
    }
}

/// Why a value is not what its schema says, without regard to what is in it.
fn wrong(schema: &Value, value: &Value) -> Option<String> {
    if let Some(choice) = schema["enum"].as_array().filter(|choice| !choice.contains(value)) {
        let words: Vec<&str> = choice.iter().filter_map(Value::as_str).collect();
        return Some(format!("it may be {}", words.join(", ")));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    if !kinds.iter().any(|kind| is_of(value, kind)) {
        let words: Vec<&str> = kinds.iter().filter(|kind| **kind != "null").map(|kind| in_words(kind)).collect();
        return Some(format!("it must be {}", words.join(" or ")));
    }
    let (least, most) = (schema["minimum"].as_i64()?, schema["maximum"].as_i64()?);
    let number = match value {
        Value::Number(number) => number.as_i64(),
        // Only digits are let through (`pattern`).
        Value::String(text) => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        _ => return None,
    };
    (!number.is_some_and(|number| (least..=most).contains(&number)))
        .then(|| format!("it must be a number from {least} to {most}"))
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    }
}

fn in_words(kind: &str) -> &str {
    match kind {
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "array" => "a list",
        _ => "a mapping",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}

/// What Go's templates take for true.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

fn contradictions(values: &Value) -> Vec<Refused> {
    let at = |path: &str| path.split('.').fold(values, |value, key| &value[key]);
    let off = |path: &str| at(path) == &Value::Bool(false);
    let refuse = |path: &str, message: &str, fix, is_certain| Refused {
        path: path.split('.').map(str::to_owned).collect(),
        message: message.to_owned(),
        fix,
        is_certain,
    };
    let mut found = Vec::new();
    if is_set(at("configInline")) {
        let fix = "write IPAddressPool and L2Advertisement objects instead, and remove configInline";
        let message = "configInline is how MetalLB was configured before 0.13, and is not read";
        found.push(refuse("configInline", message, fix, true));
    }
    let monitors = ["prometheus.podMonitor.enabled", "prometheus.serviceMonitor.enabled"];
    if monitors.iter().all(|path| is_set(at(path))) {
        let message = "prometheus.podMonitor.enabled and prometheus.serviceMonitor.enabled are both true";
        found.push(refuse(monitors[0], message, "set one of them to false", true));
    }
    if !off("speaker.enabled") && is_set(at("speaker.nodeSelector")) && off("speaker.memberlist.enabled") {
        let message =
            "speaker.nodeSelector with speaker.memberlist.enabled: false would elect nodes that run no speaker";
        found.push(refuse("speaker.nodeSelector", message, "remove one of the two", true));
    }
    if !off("prometheus.rbacPrometheus") && monitors.iter().any(|path| is_set(at(path))) {
        for (path, what) in [("prometheus.serviceAccount", "service account"), ("prometheus.namespace", "namespace")] {
            if !is_set(at(path)) {
                let message = format!("{path} is empty: who scrapes is not known by its {what}");
                let fix = "name it, or set prometheus.rbacPrometheus to false";
                found.push(refuse("prometheus", &message, fix, false));
            }
        }
    }
    found
}
