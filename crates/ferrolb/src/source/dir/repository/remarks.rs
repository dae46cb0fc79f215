//! What is said about things that are no objects of ours: values of the chart, annotations that some chart passes on to
//! a Service, the labels of our namespace.

use std::collections::BTreeMap;

use ferrolb_rules::annotations;
use ferrolb_rules::reason::{Code, Finding, Location, Severity};
use ferrolb_rules::values::{self, Standing};
use serde_json::json;

use super::super::tree::{self, Node, Place, Value};
use super::gitops::{GitOps, Inline, inline_values, list};
use super::{Document, Review, Written};

/// The label that says which pods a namespace allows.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Where something was read: the file, and how places in it are those of the file.
#[derive(Clone, Copy)]
struct Within<'a> {
    file: &'a str,
    object: &'a str,
    shift: Shift,
}

/// From places in a text inside a file to places in the file.
#[derive(Clone, Copy)]
enum Shift {
    /// The text is the file.
    None,
    /// A block scalar: so many lines further down, so many columns to the right.
    By { lines: u32, columns: u32 },
    /// Quoted or folded: lines are not kept, so everything is where the text begins.
    To(Place),
}

impl Within<'_> {
    fn at(&self, place: Place) -> Location {
        let place = match self.shift {
            Shift::None => place,
            Shift::By { lines, columns } => Place { line: place.line + lines, column: place.column + columns },
            Shift::To(place) => place,
        };
        Location { file: self.file.to_owned(), line: place.line, column: place.column }
    }
}

/// How places in a text are to be shifted that stands below a key on the line `above`.
fn shift(file: &str, node: &Node) -> Shift {
    // The place of a block scalar is that of its header or of its first line, so the header is looked for.
    let line = |number: u32| file.lines().nth(number.saturating_sub(1) as usize).unwrap_or_default();
    let is_header = |text: &str| text.split_once(':').is_some_and(|(_, rest)| rest.trim_start().starts_with('|'));
    let header = [node.place.line, node.place.line.saturating_sub(1)].into_iter().find(|at| is_header(line(*at)));
    let Some(header) = header else { return Shift::To(node.place) };
    let first = file.lines().skip(header as usize).find(|text| !text.trim().is_empty()).unwrap_or_default();
    let columns = u32::try_from(first.len() - first.trim_start().len()).unwrap_or_default();
    Shift::By { lines: header, columns }
}

fn title(document: &Document) -> String {
    let metadata = document.node.get("metadata");
    let part = |name: &str| metadata.and_then(|metadata| metadata.get(name)).and_then(Node::text);
    let parts = [document.kind(), part("namespace"), part("name")];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| tree::printable(part, 253)).collect();
    parts.join("/")
}

/// Values of the chart: inside Applications and the like, and in files of their own.
/// The values themselves are added to `all`.
pub(super) fn on_values(
    files: &[Written],
    texts: &[&str],
    documents: &[Document],
    gitops: &GitOps,
    all: &mut Vec<serde_json::Value>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in documents {
        let (Some(written), Some(text)) = (files.get(document.file), texts.get(document.file)) else { continue };
        let title = title(document);
        let within = Within { file: &written.name, object: &title, shift: Shift::None };
        for inline in inline_values(document.kind(), &document.node) {
            match inline {
                Inline::Mapping(node) => all.push(chart_values(node, within, &mut findings)),
                Inline::Text(node) => {
                    let within = Within { shift: shift(text, node), ..within };
                    match tree::documents(node.text().unwrap_or_default()) {
                        Ok(inner) => {
                            all.extend(inner.iter().map(|inner| chart_values(inner, within, &mut findings)));
                        }
                        Err(error) => findings.push(broken(&error, within)),
                    }
                }
                Inline::Parameters(node) => parameters(node, within, &mut findings),
                Inline::Set(node) => {
                    let Value::Map(entries) = &node.value else { continue };
                    for (key, value) in entries {
                        let one = Parameter { name: &key.text, place: key.place, value: Some(value), forced: false };
                        one.judge(within, &mut findings);
                    }
                }
            }
        }
        if document.kind().is_none()
            && let Some(node) = own_values(written, &document.node, gitops)
        {
            let within = Within { object: "values of the chart metallb", ..within };
            all.push(chart_values(node, within, &mut findings));
        }
    }
    findings
}

/// Values that are no YAML: Argo CD and Flux render nothing then.
fn broken(error: &tree::SyntaxError, within: Within<'_>) -> Finding {
    let message = format!("the YAML of the chart's values is broken here or just above: {}", error.message);
    Finding::new(Code::ManifestInvalid, Severity::Error, within.object, message)
        .with_fix("correct the text: nothing of the chart is rendered as it stands")
        .at(within.at(error.place))
}

/// A whole tree of values: its names, and what the chart would refuse. Returns the values without places.
fn chart_values(node: &Node, within: Within<'_>, findings: &mut Vec<Finding>) -> serde_json::Value {
    judge(node, &mut Vec::new(), within, findings);
    let plain = plain(node);
    for refused in values::refused(&plain) {
        let place = place_of(node, &refused.path);
        findings.push(values::refusal(&refused, within.object).at(within.at(place)));
    }
    for remark in values::remarks(&plain) {
        let place = place_of(node, &remark.path);
        findings.push(values::remark(&remark, within.object).at(within.at(place)));
    }
    plain
}

/// Where the value at a path stands, or the last of what is on the way to it.
fn place_of(node: &Node, path: &[String]) -> Place {
    let mut at = (node.place, node);
    for step in path {
        let next = match &at.1.value {
            Value::Map(entries) => {
                entries.iter().find(|(key, _)| key.text == *step).map(|(key, node)| (key.place, node))
            }
            Value::List(list) => {
                step.parse().ok().and_then(|index: usize| list.get(index)).map(|node| (node.place, node))
            }
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
    }
    at.0
}

/// Values without their places.
fn plain(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Unsigned(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(plain).collect(),
        Value::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), plain(node))).collect(),
    }
}

/// The chart's values in a file of values: the whole of it, or the part for a chart within a chart.
fn own_values<'a>(written: &Written, node: &'a Node, gitops: &GitOps) -> Option<&'a Node> {
    let speaks_of_us = |node: &Node| node.get("speaker").is_some() || node.get("controller").is_some();
    if let Some(part) = node.get("metallb").filter(|part| speaks_of_us(part)) {
        return Some(part);
    }
    let Value::Map(entries) = &node.value else { return None };
    if node.get("apiVersion").is_some() {
        return None;
    }
    let name = written.name.rsplit('/').next().unwrap_or_default();
    let referenced =
        gitops.value_files.iter().any(|file| written.name == *file || written.name.ends_with(&format!("/{file}")));
    let looks_like = node.get("speaker").is_some_and(|speaker| matches!(speaker.value, Value::Map(_)));
    // Who names a file wants to hear of it, whatever it is called: a name that no other chart has, or none that is not ours.
    let known = |key: &str| values::standing(&[key]) != Standing::Unknown;
    let ours = ["speaker", "configInline", "frrk8s", "frr-k8s", "loadBalancerClass"];
    let asked_for = written.named
        && (name.contains("values")
            || ours.iter().any(|name| node.get(name).is_some())
            || (!entries.is_empty() && entries.iter().all(|(key, _)| known(&key.text))));
    (referenced || asked_for || (looks_like && name.contains("values"))).then_some(node)
}

/// Files that were named and hold nothing that is read: no objects, and no values of the chart. That nothing is wrong
/// with them would be no answer.
pub(super) fn on_unread(files: &[Written], documents: &[Document], gitops: &GitOps) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, written) in files.iter().enumerate().filter(|(_, written)| written.named) {
        let mut inside = documents.iter().filter(|document| document.file == index).peekable();
        let template = inside.peek().is_none() && String::from_utf8_lossy(&written.bytes).contains("{{");
        let unread = |document: &Document| {
            let customizes = ["resources", "helmCharts", "patches"].iter().any(|key| document.node.get(key).is_some());
            document.kind().is_none() && !customizes && own_values(written, &document.node, gitops).is_none()
        };
        let nothing = inside.peek().is_some() && inside.all(unread);
        if (template || nothing) && !gitops.patches.contains(&written.name) {
            let what = if template { "a template" } else { "neither an object nor values of the chart metallb" };
            let finding = Finding::new(
                Code::UnknownKind,
                Severity::Warning,
                written.name.as_str(),
                format!("this is {what}, so nothing in it was looked at"),
            );
            let finding = finding.with_fix(
                "write what `helm template`, `helmfile template` or `kustomize build` makes of it into `ferrolb lint -`; \
                 a file of values is known by a name with `values`",
            );
            findings.push(finding.at(Location { file: written.name.clone(), line: 1, column: 1 }));
        }
    }
    findings
}

fn judge<'a>(node: &'a Node, path: &mut Vec<&'a str>, within: Within<'_>, findings: &mut Vec<Finding>) {
    let Value::Map(entries) = &node.value else { return };
    for (key, value) in entries {
        path.push(&key.text);
        if values::standing(path) == Standing::Group {
            judge(value, path, within, findings);
        } else {
            let finding = values::finding(path, is_set(value), within.object);
            findings.extend(finding.map(|finding| finding.at(within.at(key.place))));
        }
        path.pop();
    }
}

fn is_set(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => false,
        Value::Text(text) => !text.is_empty() && text != "false",
        Value::List(list) => !list.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        _ => true,
    }
}

/// `--set` in an Application: a list of `name: speaker.frr.enabled` and `value`.
fn parameters(node: &Node, within: Within<'_>, findings: &mut Vec<Finding>) {
    for parameter in list(node) {
        let Some(name) = parameter.get("name") else { continue };
        let one = Parameter {
            name: name.text().unwrap_or_default(),
            place: name.place,
            value: parameter.get("value"),
            forced: parameter.get("forceString").is_some_and(is_set),
        };
        one.judge(within, findings);
    }
}

/// What `--set` says of one value.
struct Parameter<'a> {
    name: &'a str,
    place: Place,
    value: Option<&'a Node>,
    forced: bool,
}

impl Parameter<'_> {
    fn judge(&self, within: Within<'_>, findings: &mut Vec<Finding>) {
        // An index into a list is not a name of the chart.
        let path: Vec<&str> = self.name.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
        let mut say = |finding: Finding| findings.push(finding.at(within.at(self.place)));
        if values::standing(&path) != Standing::Group {
            values::finding(&path, self.value.is_some_and(is_set), within.object).into_iter().for_each(&mut say);
        }
        let indexed = self.name.contains(['[', '\\']);
        if let (Some(value), false) = (self.value, indexed) {
            let whole = path.iter().rev().fold(as_set(value, self.forced), |value, key| json!({*key: value}));
            // One parameter alone contradicts nothing for certain: others may take it back.
            for refused in values::refused(&whole).into_iter().filter(|refused| refused.is_certain) {
                say(values::refusal(&refused, within.object));
            }
            values::remarks(&whole).iter().for_each(|remark| say(values::remark(remark, within.object)));
        }
    }
}

/// What Helm takes the text after `--set` for.
fn as_set(value: &Node, forced: bool) -> serde_json::Value {
    match value.text() {
        Some(text) if forced => text.into(),
        Some("true") => true.into(),
        Some("false") => false.into(),
        Some("null") => serde_json::Value::Null,
        None => plain(value),
        Some(text) => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
    }
}

/// Annotations that a chart or another object hands on to a Service: in Services themselves they are judged as such.
pub(super) fn on_annotations(files: &[Written], texts: &[&str], documents: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in documents.iter().filter(|document| !document.is_of("Service")) {
        let (Some(written), Some(text)) = (files.get(document.file), texts.get(document.file)) else { continue };
        let title = title(document);
        let object = if title.is_empty() { written.name.as_str() } else { title.as_str() };
        let within = Within { file: &written.name, object, shift: Shift::None };
        search(&document.node, within, text, &mut findings);
    }
    findings
}

fn search(node: &Node, within: Within<'_>, file: &str, findings: &mut Vec<Finding>) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| search(node, within, file, findings)),
        Value::Map(entries) => {
            for (key, value) in entries {
                if key.text.to_lowercase().ends_with("annotations") {
                    annotations_in(value, within, findings);
                }
                // Values inside a text: only of the file itself, a text in a text has no place any more.
                let is_yaml = matches!(key.text.as_str(), "values" | "valuesContent");
                if let (true, Some(text), Shift::None) = (is_yaml, value.text(), within.shift) {
                    let inner = Within { shift: shift(file, value), ..within };
                    for node in tree::documents(text).unwrap_or_default() {
                        search(&node, inner, file, findings);
                    }
                }
                search(value, within, file, findings);
            }
        }
        _ => {}
    }
}

fn annotations_in(node: &Node, within: Within<'_>, findings: &mut Vec<Finding>) {
    let Value::Map(entries) = &node.value else { return };
    let text = |node: &Node| node.text().unwrap_or_default().to_owned();
    let all: BTreeMap<String, String> = entries.iter().map(|(key, node)| (key.text.clone(), text(node))).collect();
    for (key, value) in entries {
        let finding = annotations::finding_of(&key.text, &text(value), &all, within.object);
        findings.extend(finding.map(|finding| finding.at(within.at(key.place))));
    }
}

/// The speaker needs more than a careful namespace allows.
pub(super) fn on_namespace(review: &Review) -> Option<Finding> {
    let ours = |name: &Option<String>| name.as_deref() == Some(review.namespace.as_str());
    let namespace = review.objects.namespaces.iter().find(|namespace| ours(&namespace.metadata.name))?;
    let level = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(ENFORCE));
    let (severity, message) = match level.map(String::as_str) {
        Some("privileged") => return None,
        Some(level) => (Severity::Error, format!("{ENFORCE} is {level:?}, which refuses the speaker's pods")),
        None => (
            Severity::Note,
            format!(
                "it has no label {ENFORCE}; where the cluster's default is stricter, as on Talos, the speaker's pods are refused"
            ),
        ),
    };
    let finding = Finding::new(Code::PodSecurityForbids, severity, format!("Namespace/{}", review.namespace), message);
    Some(finding.at_field("metadata.labels").with_fix(format!("label it {ENFORCE}: privileged")))
}
