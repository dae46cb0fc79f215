//! A whole repository of manifests, read once for `ferrolb lint`, `plan` and `why`: everything that concerns us, with its
//! place, whatever else lies beside it.
//!
//! A directory that is served holds manifests and nothing else; a repository holds values of charts, Helm templates,
//! Argo CD Applications, Kustomize files and somebody's package.json. So nothing here is an error only because it is no
//! manifest. What Argo CD and Kustomize would fill in (a namespace) is filled in, values inside Applications are read
//! as if they were a file, and what the rules say about objects is pointed at by line and column. The rules themselves
//! are those of [`ferrolb_rules`]; what is left out is rendering charts and Kustomize: `kustomize build | ferrolb lint -`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrolb_rules::api::well_known::DEFAULT_NAMESPACE;
use ferrolb_rules::config::{self, Resources};
use ferrolb_rules::picture::{self, Known, Picture};
use ferrolb_rules::reason::{Code, Finding, Location, Severity};

use super::document::{self, Namespaces, Placed};
use super::object::Object;
use super::places;
use super::read::{self, Bytes};
use super::tree::{self, Node};
use crate::source::Objects;

mod gitops;
mod left_out;
mod remarks;
#[cfg(test)]
mod tests;

use gitops::GitOps;

/// A file, as it was found.
#[derive(Clone, Debug)]
pub struct Written {
    /// How it is called in findings.
    pub name: String,
    /// What it says.
    pub bytes: Vec<u8>,
    /// The user named it, so that what is wrong with it is worth telling whatever it is.
    pub named: bool,
}

/// What a repository comes to.
#[derive(Debug, Default)]
pub struct Review {
    /// Files looked at.
    pub files: usize,
    /// The namespace that kinds of metallb.io count in.
    pub namespace: String,
    /// The objects that concern us.
    pub objects: Objects,
    /// Everything found, in order of file and place.
    pub findings: Vec<Finding>,
    /// The chart's values that were found, wherever they stand.
    pub values: Vec<serde_json::Value>,
    /// What was not taken in, of no interest to a linter and of much to whoever asks what these files come to.
    pub left_out: Vec<Finding>,
    /// Of that, what would change objects of metallb.io, in words for a linter.
    pub unapplied: Vec<Finding>,
}

impl Review {
    /// What keeps these files from being taken as they are meant: what cannot be read, what is skipped, what is left out.
    pub fn unread(&self) -> Vec<Finding> {
        let of_reading = |finding: &&Finding| {
            let code = matches!(
                finding.code,
                Code::ManifestInvalid
                    | Code::ManifestUnreadable
                    | Code::UnknownKind
                    | Code::UnknownField
                    | Code::DuplicateObject
                    | Code::WrongNamespace
            );
            code && finding.severity != Severity::Note
        };
        self.findings.iter().filter(of_reading).chain(&self.left_out).cloned().collect()
    }

    /// Whether there is no object in them at all.
    pub fn is_empty(&self) -> bool {
        self.objects == Objects::default()
    }

    /// The objects as the rules take them.
    pub fn known(&self) -> Known {
        let objects = &self.objects;
        Known {
            resources: Resources {
                pools: objects.pools.clone(),
                l2_advertisements: objects.l2_advertisements.clone(),
                communities: objects.communities.clone(),
                namespaces: objects.namespaces.clone(),
                nodes: objects.nodes.clone(),
                bgp_peers: objects.bgp_peers.clone(),
                bfd_profiles: objects.bfd_profiles.clone(),
                bgp_advertisements: match objects.communities.as_slice() {
                    // Names of communities may be defined elsewhere.
                    [] => objects.bgp_advertisements.iter().map(config::without_aliases).collect(),
                    _ => objects.bgp_advertisements.clone(),
                },
                // They are often encrypted.
                secrets: None,
                // Named where they stand, with line and column.
                malformed: Vec::new(),
            },
            services: objects.services.clone(),
            endpoints: objects.endpoint_slices.clone(),
        }
    }
}

/// Reads the files of these paths: a directory with everything below it, a file whatever its name.
///
/// # Errors
/// A path that cannot be read, by name.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<Written>, String> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            for file in read::list(path).files {
                if let (true, Bytes::Read(bytes)) = (seen.insert(file.clone()), read::bytes(&file)) {
                    files.push(Written { name: shown(&file), bytes, named: false });
                }
            }
            continue;
        }
        match read::bytes(path) {
            Bytes::Read(bytes) if seen.insert(path.clone()) => {
                files.push(Written { name: shown(path), bytes, named: true });
            }
            Bytes::Read(_) => {}
            Bytes::Unreadable(fault) => return Err(format!("{}: {}; {}", path.display(), fault.why, fault.fix)),
            Bytes::Gone => return Err(format!("{}: {}", path.display(), io::Error::from(io::ErrorKind::NotFound))),
        }
    }
    Ok(files)
}

fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

/// One document and the file that it is in.
struct Document {
    file: usize,
    node: Node,
}

/// Reads files as a repository. `namespace` is the one for kinds of metallb.io; without it, the one that an Application
/// of the chart installs into, else the usual one.
pub fn review(files: &[Written], namespace: Option<&str>) -> Review {
    match document::on_deep_stack(|| review_here(files, namespace)) {
        Ok(review) => review,
        Err((why, fix)) => {
            let finding = Finding::new(Code::ManifestUnreadable, Severity::Error, "the files together", why);
            let finding = finding.with_fix(fix);
            Review { files: files.len(), findings: vec![finding], ..Review::default() }
        }
    }
}

fn review_here(files: &[Written], namespace: Option<&str>) -> Review {
    let mut findings = Vec::new();
    let mut documents = Vec::new();
    let mut texts = Vec::new();
    for (file, written) in files.iter().enumerate() {
        let (text, nodes) = documents_of(written, &mut findings);
        documents.extend(nodes.into_iter().map(|node| Document { file, node }));
        texts.push(text);
    }
    let gitops = GitOps::of(files, &documents);
    let namespace = namespace.or(gitops.namespace.as_deref()).unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let (placed, said) = read_objects(files, &documents, &gitops, &namespace);
    findings.extend(said);
    let index = Index::new(files, &documents, &placed);
    let (objects, said) = assemble(&placed);
    findings.extend(said);
    let mut review = Review { files: files.len(), namespace, objects, ..Review::default() };
    findings.extend(judge(&review).into_iter().map(|finding| index.place(finding)));
    findings.extend(remarks::on_values(files, &texts, &documents, &gitops, &mut review.values));
    findings.extend(remarks::on_unread(files, &documents, &gitops));
    findings.extend(remarks::on_annotations(files, &texts, &documents));
    findings.extend(remarks::on_namespace(&review).into_iter().map(|finding| index.place(finding)));
    findings.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    findings.dedup();
    review.left_out = left_out::left_out(files, &documents, &gitops, &findings);
    review.unapplied = left_out::changes_of_ours(files, &documents, &gitops);
    review.findings = findings;
    review
}

fn sort_key(finding: &Finding) -> (Option<(&str, u32, u32)>, &Finding) {
    (finding.location.as_ref().map(|place| (place.file.as_str(), place.line, place.column)), finding)
}

/// A file's text and documents. Of one that is broken those that can be read, and what to say about the others, which is
/// nothing for a file that is not meant to be a manifest.
fn documents_of<'a>(written: &'a Written, findings: &mut Vec<Finding>) -> (&'a str, Vec<Node>) {
    let wrong = |place: tree::Place, message: String| {
        let finding = Finding::new(Code::ManifestInvalid, Severity::Error, written.name.as_str(), message);
        finding.at(Location { file: written.name.clone(), line: place.line, column: place.column })
    };
    let text = match document::decode(&written.bytes) {
        Ok(text) => text,
        Err((place, message)) => {
            findings.extend(written.named.then(|| wrong(place, message)));
            return ("", Vec::new());
        }
    };
    let whole = match tree::documents(text) {
        Ok(nodes) => return (text, nodes),
        Err(error) => error,
    };
    let manifest = text.contains("apiVersion") || written.named;
    if !manifest || text.contains("{{") {
        return ("", Vec::new());
    }
    let (nodes, mut broken) = tree::documents_apart(text);
    // What is too much for one file need not be too much for any of its documents.
    let nodes = if broken.is_empty() { Vec::new() } else { nodes };
    if broken.is_empty() {
        broken.push(whole);
    }
    let message = |error: &tree::SyntaxError| format!("the YAML is broken here or just above: {}", error.message);
    findings.extend(broken.iter().map(|error| wrong(error.place, message(error))));
    (text, nodes)
}

impl Document {
    fn kind(&self) -> Option<&str> {
        self.node.get("apiVersion").and_then(Node::text)?;
        self.node.get("kind").and_then(Node::text)
    }

    fn is_of(&self, kind: &str) -> bool {
        self.kind() == Some(kind)
    }

    /// An object that the reader should see. Secrets are often encrypted, and say nothing about us.
    fn concerns_us(&self) -> bool {
        self.kind().is_some_and(|kind| kind != "Secret" && kind != "Kustomization")
    }
}

/// The objects of all files, each file read as Argo CD or Kustomize would apply it.
fn read_objects(
    files: &[Written],
    documents: &[Document],
    gitops: &GitOps,
    namespace: &str,
) -> (Vec<(usize, Placed)>, Vec<Finding>) {
    let (mut placed, mut findings) = (Vec::new(), Vec::new());
    for (file, written) in files.iter().enumerate().filter(|(_, written)| !gitops.patches.contains(&written.name)) {
        let ours = documents.iter().filter(|document| document.file == file && document.concerns_us());
        let nodes: Vec<Node> = ours.map(|document| document.node.clone()).collect();
        let filled = gitops.fills(&written.name);
        if filled.is_none() {
            findings.extend(nodes.iter().filter_map(|node| homeless(&written.name, node, namespace)));
        }
        let namespaces = Namespaces {
            ours: namespace,
            unnamed_ours: filled.unwrap_or(namespace),
            unnamed: filled.unwrap_or("default"),
        };
        let parsed = document::objects_of(&written.name, nodes, namespaces);
        let worth_saying = |finding: &Finding| finding.code != Code::UnknownKind || finding.severity != Severity::Note;
        findings.extend(parsed.findings.into_iter().filter(worth_saying));
        placed.extend(parsed.objects.into_iter().map(|one| (file, one)));
    }
    (placed, findings)
}

/// One of our kinds that names no namespace, and nothing fills one in: `kubectl apply` puts it where nobody reads it. It
/// is looked at all the same, as it is meant.
fn homeless(file: &str, node: &Node, namespace: &str) -> Option<Finding> {
    let kind = node.get("kind").and_then(Node::text)?;
    let version = node.get("apiVersion").and_then(Node::text)?;
    let metadata = node.get("metadata")?;
    let named = metadata.get("namespace").is_some_and(|namespace| namespace.text().is_some());
    if named || !version.starts_with("metallb.io/") || namespace == "default" {
        return None;
    }
    let name = metadata.get("name").and_then(Node::text).unwrap_or("(unnamed)");
    let message =
        format!("has no namespace, which means `default`; only `{namespace}` is read, so it is ignored there");
    let title = format!("{}/{namespace}/{}", tree::shorten(kind), tree::printable(name, 253));
    let finding = Finding::new(Code::WrongNamespace, Severity::Warning, title, message)
        .at_field("metadata.namespace")
        .with_fix(format!("add `namespace: {namespace}` under metadata"));
    let place = metadata.place;
    Some(finding.at(Location { file: file.to_owned(), line: place.line, column: place.column }))
}

/// The objects in force: of two of the same name the first counts. Of our own kinds that is worth a word; of others a
/// repository often has several, one for each cluster.
fn assemble(placed: &[(usize, Placed)]) -> (Objects, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut chosen = BTreeMap::new();
    for (_, Placed { object, location, .. }) in placed {
        if let Some((_, first)) = chosen.get(&object.key()) {
            if object.kind().is_ours() {
                let message =
                    format!("is defined at {first} and again at {location}; only one of them can be in force");
                let finding = Finding::new(Code::DuplicateObject, Severity::Warning, object.title(), message)
                    .with_fix("delete one of the two, or look at one cluster's directory at a time");
                findings.push(finding.at(location.clone()));
            }
            continue;
        }
        chosen.insert(object.key(), (object.clone(), location));
    }
    (chosen.into_values().map(|(object, _)| object).collect(), findings)
}

/// What the rules say about the objects, taken together as far as they are here.
fn judge(review: &Review) -> Vec<Finding> {
    let known = review.known();
    let options = picture::Options { files: true, as_if_applied: true, ..picture::Options::default() };
    let picture = picture::draw(&known, &options);
    let resources = &known.resources;
    let (pools, peers) = (!resources.pools.is_empty(), !resources.bgp_peers.is_empty());
    let advertisements = !resources.l2_advertisements.is_empty() || !resources.bgp_advertisements.is_empty();
    let can_tell = |finding: &&Finding| match finding.code {
        Code::AdvertisedPoolMissing => pools,
        Code::AdvertisedPeerMissing | Code::NoBgpPeer => peers,
        Code::PoolNotAdvertised => advertisements,
        _ => true,
    };
    let mut findings: Vec<Finding> = picture.findings.iter().filter(can_tell).cloned().collect();
    for service in &known.services {
        findings.extend(ferrolb_rules::annotations::findings(service, None));
        if pools && picture.loads {
            findings.extend(service_trouble(&picture, service, advertisements).filter(|finding| can_tell(&finding)));
        }
    }
    findings
}

/// Why a Service would not be served, if these were all the objects there are.
fn service_trouble(
    picture: &Picture,
    service: &Arc<k8s_openapi::api::core::v1::Service>,
    advertised: bool,
) -> Option<Finding> {
    let key = ferrolb_rules::service::key_of(service);
    let finding = picture.obstacle(&key)?;
    let field = match finding.code {
        Code::NotLoadBalancer | Code::OtherClass | Code::NoAddress => return None,
        Code::UnknownPool | Code::PoolExhausted | Code::PoolNotCompatible => {
            annotation(service, "address-pool").unwrap_or_else(|| "spec".to_owned())
        }
        Code::AddressNotInPool | Code::RequestInvalid | Code::PoolMismatch | Code::SharingRefused => {
            let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_ref());
            let field = field.map(|_| "spec.loadBalancerIP".to_owned());
            field.or_else(|| annotation(service, "loadBalancerIPs")).unwrap_or_else(|| "spec".to_owned())
        }
        code if code.number() < 1100 => "spec".to_owned(),
        _ if !advertised => return None,
        _ => String::new(),
    };
    let finding = if finding.field.is_empty() { finding.at_field(field) } else { finding };
    Some(Finding { severity: Severity::Error, ..finding })
}

/// The path of one of our annotations that a Service has, under its new or its old name.
fn annotation(service: &Arc<k8s_openapi::api::core::v1::Service>, name: &str) -> Option<String> {
    let annotations = service.metadata.annotations.as_ref()?;
    let key = ["metallb.io", "metallb.universe.tf"].map(|domain| format!("{domain}/{name}"));
    key.iter().find(|key| annotations.contains_key(*key)).map(|key| format!("metadata.annotations[{key:?}]"))
}

/// Where each object is, so that what is said about a field can be pointed at.
struct Index<'a> {
    documents: BTreeMap<String, (&'a str, &'a Node)>,
}

impl<'a> Index<'a> {
    fn new(files: &'a [Written], documents: &'a [Document], placed: &[(usize, Placed)]) -> Self {
        let mut index = BTreeMap::new();
        for (file, Placed { object, location, .. }) in placed {
            let at = |node: &Node| (node.place.line, node.place.column) == (location.line, location.column);
            let mut inside = documents.iter().filter(|document| document.file == *file);
            let node = inside.find_map(|document| places::find(&document.node, &at));
            if let (Some(node), Some(written)) = (node, files.get(*file)) {
                index.entry(Object::title(object)).or_insert((written.name.as_str(), node));
            }
        }
        Self { documents: index }
    }

    fn place(&self, finding: Finding) -> Finding {
        if finding.location.is_some() {
            return finding;
        }
        let Some((file, node)) = self.documents.get(&finding.object) else { return finding };
        let place = places::of_field(node, &finding.field);
        let location = Location { file: (*file).to_owned(), line: place.line, column: place.column };
        finding.at(location)
    }
}
