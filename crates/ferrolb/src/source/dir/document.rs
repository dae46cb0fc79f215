//! One file's bytes to objects and findings. Pure, and whatever the bytes are, it returns.

use ferrolb_rules::api::well_known::SLICE_SERVICE_LABEL;
use ferrolb_rules::reason::{Code, Finding, Location, Severity};

use super::field_rules::{self, Remark};
use super::names::{label_fault, nearest, subdomain_fault};
use super::object::{Kind, Object};
use super::places;
use super::pointed::{self, Fields};
use super::service_rules;
use super::strangers::stranger;
use super::tree::{self, Node, Place, Value};
use super::typed::{Misfit, Unknown};

/// Findings per file; what is beyond is only counted.
const MAX_FINDINGS: usize = 200;

/// Characters in each text of a finding. A sound object's title has at most 360.
const MAX_TEXT: usize = 400;

/// The YAML parser calls itself for each level, with tens of kilobytes a level in a debug build; a common thread's
/// stack would not do for the nesting that is allowed.
pub(super) const STACK: usize = 32 << 20;

/// An object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The object, with its namespace filled in.
    pub object: Object,
    /// Where it begins.
    pub location: Location,
    /// The places of those of its fields that rules speak of.
    pub(super) fields: Fields,
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The objects that are used, in the order of the file.
    pub objects: Vec<Placed>,
    /// What is wrong, skipped or worth knowing, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Parsed {
    /// Whether the file may come into force: nothing in it is an error.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Which namespace objects are read from, and which one those are in that name none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namespaces<'a> {
    /// Kinds of metallb.io count in this one only.
    pub(super) ours: &'a str,
    /// Where a kind of metallb.io is that names none.
    pub(super) unnamed_ours: &'a str,
    /// Where any other object is that names none.
    pub(super) unnamed: &'a str,
}

impl<'a> Namespaces<'a> {
    /// As `kubectl apply` has it: an object that names no namespace is in `default`.
    pub(super) const fn plain(ours: &'a str) -> Self {
        Self { ours, unnamed_ours: "default", unnamed: "default" }
    }

    const fn of_unnamed(self, kind: Kind) -> &'a str {
        if kind.is_ours() { self.unnamed_ours } else { self.unnamed }
    }
}

/// Runs something that may call itself as deep as manifests may be nested. An error is why it did not end, and what to do.
pub(super) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, (String, &'static str)> {
    let done = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("manifest".to_owned()).stack_size(STACK);
        builder.spawn_scoped(scope, work).map(|thread| thread.join().ok())
    });
    match done {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(("reading it ended early".to_owned(), "please report this as a bug, with the file")),
        Err(error) => {
            Err((format!("no thread can be started to read it: {error}"), "give the program more memory and threads"))
        }
    }
}

/// Reads one file's bytes. `file` is how the file is called in findings, `namespace` the one for kinds of metallb.io.
pub fn parse(file: &str, text: &[u8], namespace: &str) -> Parsed {
    let (why, fix) = match on_deep_stack(|| parse_here(file, text, Namespaces::plain(namespace))) {
        Ok(parsed) => return parsed,
        Err(ended) => ended,
    };
    let location = Location { file: file.to_owned(), line: 1, column: 1 };
    let finding = Finding::new(Code::ManifestUnreadable, Severity::Error, file, why).with_fix(fix).at(location);
    Parsed { objects: Vec::new(), findings: vec![finding] }
}

/// The same on this thread, whose stack must be large enough.
pub(super) fn parse_here(file: &str, text: &[u8], namespaces: Namespaces<'_>) -> Parsed {
    let mut reader = Reader { file, namespaces, parsed: Parsed::default(), dropped: 0 };
    match decode(text) {
        Err((place, message)) => {
            let finding = Finding::new(Code::ManifestUnreadable, Severity::Error, file, message);
            reader.push(finding.with_fix("save the file as plain UTF-8 text; `file FILE` says what it is now"), place);
        }
        Ok(text) => match tree::documents(text) {
            Err(error) => {
                let message = format!("the YAML is broken here or just above: {}", error.message);
                reader.push(Finding::new(Code::ManifestInvalid, Severity::Error, file, message), error.place);
            }
            Ok(documents) => documents.into_iter().for_each(|document| reader.document(document, None)),
        },
    }
    reader.finish()
}

/// The objects of documents that were read already.
pub(super) fn objects_of(file: &str, documents: Vec<Node>, namespaces: Namespaces<'_>) -> Parsed {
    let mut reader = Reader { file, namespaces, parsed: Parsed::default(), dropped: 0 };
    documents.into_iter().for_each(|document| reader.document(document, None));
    reader.finish()
}

/// The bytes as text, without a byte order mark; or why they are none.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, (Place, String)> {
    let (valid, fault) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.len(), None),
        Err(error) => (error.valid_up_to(), Some("is not UTF-8")),
    };
    let nul = bytes.iter().position(|byte| *byte == 0).filter(|at| *at <= valid);
    let (at, why) = match (nul, fault) {
        (Some(at), _) => (at, "is a zero, so the file is not text"),
        (None, Some(why)) => (valid, why),
        (None, None) => {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            return Ok(text.strip_prefix('\u{feff}').unwrap_or(text));
        }
    };
    // Lines and columns are those of the YAML parser: a carriage return alone ends a line, and characters are counted.
    let before = bytes.get(..at).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let before = before.strip_prefix('\u{feff}').unwrap_or(before).replace("\r\n", "\n");
    let line = before.split(['\n', '\r']).count();
    let column = before.chars().rev().take_while(|c| !matches!(c, '\n' | '\r')).count() + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Err((Place { line: number(line), column: number(column) }, format!("byte {at} {why}")))
}

/// Kind and apiVersion that the entries of a typed list have without saying so.
type Inherited<'a> = Option<(&'a str, &'a str)>;

struct Reader<'a> {
    file: &'a str,
    namespaces: Namespaces<'a>,
    parsed: Parsed,
    dropped: usize,
}

impl Reader<'_> {
    fn location(&self, place: Place) -> Location {
        Location { file: self.file.to_owned(), line: place.line, column: place.column }
    }

    fn is_full(&self) -> bool {
        self.parsed.findings.len() >= MAX_FINDINGS
    }

    /// Errors are kept beyond the limit, because one of them decides whether the file comes into force.
    fn push(&mut self, mut finding: Finding, place: Place) {
        if self.is_full() && (finding.severity != Severity::Error || !self.parsed.is_good()) {
            self.dropped += 1;
            return;
        }
        // Findings end up on terminals and in logs, a line each, and what they repeat is whatever the file says.
        for text in [&mut finding.object, &mut finding.field, &mut finding.message, &mut finding.fix] {
            *text = tree::printable(text, MAX_TEXT);
        }
        let finding = finding.at(self.location(place));
        self.parsed.findings.push(finding);
    }

    fn finish(mut self) -> Parsed {
        if self.dropped > 0 {
            let message = format!("{} more findings in this file are not listed", self.dropped);
            let finding = Finding::new(Code::ManifestInvalid, Severity::Note, self.file, message)
                .with_fix("correct the ones that are listed; then the others appear");
            self.parsed.findings.push(finding);
        }
        self.parsed
    }

    fn document(&mut self, mut node: Node, inherited: Inherited<'_>) {
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("expected an object with apiVersion and kind, found {}", node.describe());
            self.push(Finding::new(Code::ManifestInvalid, Severity::Error, self.file, message), node.place);
            return;
        }
        let said = |name: &str| node.get(name).and_then(Node::text).map(str::to_owned);
        let kind = said("kind").or_else(|| inherited.map(|(kind, _)| kind.to_owned()));
        let api_version = said("apiVersion").or_else(|| inherited.map(|(_, version)| version.to_owned()));
        let (Some(kind), Some(api_version)) = (&kind, &api_version) else {
            let missing = if kind.is_none() { "kind" } else { "apiVersion" };
            self.nameless(&node, missing, kind.as_deref());
            return;
        };
        if kind.ends_with("List")
            && let Some(items) = take_items(&mut node)
        {
            let item_kind = kind.strip_suffix("List").unwrap_or_default();
            let inherited = (!item_kind.is_empty()).then_some((item_kind, api_version.as_str()));
            items.into_iter().for_each(|item| self.document(item, inherited));
            return;
        }
        let title = title(&node, kind, self.namespaces).unwrap_or_else(|| self.file.to_owned());
        match Kind::of(api_version, kind) {
            Some(known) => self.object((known, api_version), node, &title),
            None => {
                let finding = stranger(api_version, kind, &title);
                self.push(finding, node.place);
            }
        }
    }

    fn nameless(&mut self, node: &Node, missing: &str, kind: Option<&str>) {
        let title = kind.and_then(|kind| title(node, kind, self.namespaces)).unwrap_or_else(|| self.file.to_owned());
        let (message, place) = match node.get(missing) {
            Some(value) => (format!("{missing} must be text, found {}", value.describe()), value.place),
            None => (format!("{missing} is missing, so nobody can tell what this object is"), node.place),
        };
        let fix = match kind.and_then(|kind| Kind::ALL.iter().find(|known| known.name() == kind)) {
            Some(known) => format!("add `apiVersion: {}`", known.api_version()),
            None => format!("add {missing}; if this is no Kubernetes object, keep the file outside of the directory"),
        };
        let finding = Finding::new(Code::ManifestInvalid, Severity::Error, title, message).at_field(missing);
        self.push(finding.with_fix(fix), place);
    }

    fn object(&mut self, (kind, api_version): (Kind, &str), mut node: Node, title: &str) {
        if kind.is_ours() && self.in_wrong_namespace(&node, title) {
            return;
        }
        let place = node.place;
        if kind.spec_may_be_missing() && node.get("spec").is_none_or(|spec| matches!(spec.value, Value::Null)) {
            give_empty_spec(&mut node);
        }
        let (result, unknown) = kind.read_as(api_version, &node);
        for field in unknown.into_iter().filter(|field| !is_expected(kind, field)) {
            if self.is_full() {
                // Looking for what was meant takes time, and a file can have a million of these.
                self.dropped += 1;
            } else {
                let place = field.place;
                self.push(unknown_field(&field, kind, title), place);
            }
        }
        match result {
            Err(Misfit { field, message, missing, place }) => {
                let fix = match (missing, field.is_empty()) {
                    (true, _) => format!("add {field}"),
                    (false, true) => "correct the object; the file is read again as soon as it changes".to_owned(),
                    (false, false) => format!("correct {field}; the file is read again as soon as it changes"),
                };
                let message = if holds_secrets(kind, &field) { without_value(kind, &message) } else { message };
                let finding = Finding::new(Code::ManifestInvalid, Severity::Error, title, message);
                self.push(finding.at_field(field).with_fix(fix), place);
            }
            Ok(mut object) => {
                if !self.has_good_names(kind, &object, &node, title) {
                    return;
                }
                if let Object::Service(service) = &object
                    && let Some((field, message)) = service_rules::wrong(service)
                {
                    let place = places::of_value(&node, &field);
                    let fix = format!("correct {field}; the file is read again as soon as it changes");
                    let finding = Finding::new(Code::ManifestInvalid, Severity::Error, title, message);
                    self.push(finding.at_field(field).with_fix(fix), place);
                    return;
                }
                if kind.namespaced() && object.metadata().namespace.as_deref().unwrap_or_default().is_empty() {
                    object.set_namespace(self.namespaces.of_unnamed(kind));
                }
                self.warn_of_lone_slice(&object, place);
                self.warn_of_values(&object, &node);
                let location = self.location(place);
                let fields = pointed::fields(kind, &node);
                self.parsed.objects.push(Placed { object, location, fields });
            }
        }
    }

    fn in_wrong_namespace(&mut self, node: &Node, title: &str) -> bool {
        let metadata = node.get("metadata");
        let (namespace, place) = match metadata.and_then(|metadata| metadata.get("namespace")) {
            None => (None, metadata.unwrap_or(node).place),
            Some(value) => match &value.value {
                Value::Text(text) if !text.is_empty() => (Some(text.as_str()), value.place),
                Value::Text(_) | Value::Null => (None, value.place),
                // A wrong type is an error of the whole object, and is found when it is read.
                _ => return false,
            },
        };
        let wanted = self.namespaces.ours;
        if namespace.unwrap_or(self.namespaces.unnamed_ours) == wanted {
            return false;
        }
        let (message, fix) = match namespace {
            None => (
                format!("has no namespace, which means `default`; only `{wanted}` is read, so the object is ignored"),
                format!("add `namespace: {wanted}` under metadata"),
            ),
            Some(other) => (
                format!("lies in namespace `{other}`; only `{wanted}` is read, so the object is ignored"),
                format!("write `namespace: {wanted}`, or start with --namespace {other}"),
            ),
        };
        let finding = Finding::new(Code::WrongNamespace, Severity::Warning, title, message);
        self.push(finding.at_field("metadata.namespace").with_fix(fix), place);
        true
    }

    fn has_good_names(&mut self, kind: Kind, object: &Object, node: &Node, title: &str) -> bool {
        let metadata = object.metadata();
        let place_of = |field: &str| {
            let metadata = node.get("metadata");
            metadata.and_then(|metadata| metadata.get(field)).or(metadata).unwrap_or(node).place
        };
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().filter(|namespace| kind.namespaced() && !namespace.is_empty());
        let (field, message) = if name.is_empty() {
            let why =
                if metadata.generate_name.is_some() { "; generateName works with an API server only" } else { "" };
            ("name", format!("metadata.name is required and missing{why}"))
        } else if let Some(why) = subdomain_fault(name) {
            ("name", format!("{:?} is no name: {why}", tree::shorten(name)))
        } else if let Some((namespace, why)) = namespace.and_then(|name| Some((name, label_fault(name)?))) {
            ("namespace", format!("{:?} is no name of a namespace: {why}", tree::shorten(namespace)))
        } else {
            return true;
        };
        let finding = Finding::new(Code::ManifestInvalid, Severity::Error, title, message);
        self.push(finding.at_field(format!("metadata.{field}")), place_of(field));
        false
    }

    fn warn_of_values(&mut self, object: &Object, node: &Node) {
        for Remark { field, message, fix } in field_rules::remarks(object) {
            let place = places::of_value(node, &field);
            let finding = Finding::new(Code::ManifestInvalid, Severity::Warning, object.title(), message);
            self.push(finding.at_field(field).with_fix(fix), place);
        }
    }

    fn warn_of_lone_slice(&mut self, object: &Object, place: Place) {
        let Object::EndpointSlice(slice) = object else { return };
        if slice.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SLICE_SERVICE_LABEL)) {
            return;
        }
        let message = format!("has no label {SLICE_SERVICE_LABEL}, so its endpoints belong to no Service");
        let finding = Finding::new(Code::ManifestInvalid, Severity::Warning, object.title(), message)
            .at_field("metadata.labels")
            .with_fix(format!("add the label {SLICE_SERVICE_LABEL} with the name of the Service"));
        self.push(finding, place);
    }
}

fn take_items(node: &mut Node) -> Option<Vec<Node>> {
    let Value::Map(entries) = &mut node.value else { return None };
    let items = entries.iter_mut().find(|(key, _)| key.text == "items").map(|(_, items)| items)?;
    match std::mem::replace(&mut items.value, Value::Null) {
        Value::List(list) => Some(list),
        Value::Null => Some(Vec::new()),
        other => {
            items.value = other;
            None
        }
    }
}

fn give_empty_spec(node: &mut Node) {
    let place = node.place;
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| key.text != "spec");
        let key = tree::Key { place, text: "spec".to_owned() };
        entries.push((key, Node { place, value: Value::Map(Vec::new()) }));
    }
}

/// How an object is called before it is known to be sound.
fn title(node: &Node, kind: &str, namespaces: Namespaces<'_>) -> Option<String> {
    let metadata = node.get("metadata")?;
    let name = metadata.get("name")?.text()?;
    // A name may be as long as the file, and the title is in every finding.
    let (kind, name) = (tree::shorten(kind), tree::printable(name, 253));
    let used = Kind::ALL.iter().find(|known| known.name() == kind);
    let fallback = used.filter(|kind| kind.namespaced()).map(|kind| namespaces.of_unnamed(*kind));
    match metadata.get("namespace").and_then(Node::text).or(fallback) {
        Some(namespace) if used.is_none_or(|kind| kind.namespaced()) => {
            Some(format!("{kind}/{}/{name}", tree::printable(namespace, 63)))
        }
        _ => Some(format!("{kind}/{name}")),
    }
}

/// Words in the name of a field that holds something secret, or into which somebody writes it who means well
/// (`passwordSecret`).
const SECRET_WORDS: [&str; 5] = ["password", "passphrase", "secret", "token", "credential"];

/// Whether a value that is wrong here may all the same be the secret, so that no message may repeat it.
fn holds_secrets(kind: Kind, field: &str) -> bool {
    let of_secret = kind == Kind::Secret && ["data", "stringData"].iter().any(|part| field.starts_with(part));
    let name = field.to_lowercase();
    of_secret || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// What is wrong with a value that must not be repeated: what was expected stands before what was found.
fn without_value(kind: Kind, message: &str) -> String {
    if kind == Kind::Secret {
        return "the value does not fit: data is text in base64, stringData plain text, both in quotes".to_owned();
    }
    let expected = message.strip_prefix("expected ").and_then(|rest| rest.split_once(", found ")).map(|(what, _)| what);
    let expected = expected.unwrap_or("something else");
    let hint = if expected == "text" { "; text that looks like a number or like yes and no needs quotes" } else { "" };
    format!("expected {expected}; the value is not shown, for it may be the secret{hint}")
}

/// Fields that are right although the type skips them.
fn is_expected(kind: Kind, field: &Unknown) -> bool {
    matches!(field.field.as_str(), "apiVersion" | "kind") || (kind.is_ours() && field.field == "status")
}

fn unknown_field(unknown: &Unknown, kind: Kind, title: &str) -> Finding {
    let name = tree::shorten(&unknown.name);
    let parent = unknown.field.strip_suffix(&unknown.name).map_or("", |parent| parent.trim_end_matches('.'));
    let place = if parent.is_empty() { kind.name() } else { parent };
    let meant = nearest(&unknown.name, unknown.valid.iter().copied());
    let question = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let message = format!("{place} has no field `{name}`, so it does nothing{question}");
    let finding = Finding::new(Code::UnknownField, Severity::Warning, title, message).at_field(unknown.field.as_str());
    match meant {
        Some(meant) => finding.with_fix(format!("write `{meant}` instead of `{name}`, or remove the field")),
        None if kind.is_ours() => finding,
        None => {
            let path = format!("{}.{parent}", kind.name().to_lowercase());
            finding.with_fix(format!("remove the field; `kubectl explain {}` lists the fields", path.trim_matches('.')))
        }
    }
}
