//! What Argo CD, Flux, k3s and Kustomize say about our chart and our objects: the namespace they go to, and the values.

use std::collections::BTreeSet;

use super::super::tree::{self, Node, Place, Value};
use super::{Document, Written};

/// The chart's name, which is MetalLB's.
const CHART: &str = "metallb";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct GitOps {
    /// The namespace that the chart is installed into.
    pub(super) namespace: Option<String>,
    /// Files that are no objects but changes to some.
    pub(super) patches: BTreeSet<String>,
    /// The same changes, as Kustomizations name them.
    pub(super) changes: Vec<Change>,
    /// Files and directories whose objects get a namespace.
    filled: Vec<(String, String)>,
    /// Files of values that an Application of the chart names.
    pub(super) value_files: Vec<String>,
}

/// What a Kustomization changes.
#[derive(Debug)]
pub(super) struct Change {
    /// The Kustomization's file, and where it says so.
    pub(super) at: (String, Place),
    /// The kind that is changed, where the Kustomization tells.
    pub(super) kind: Option<String>,
    /// The file that the change is in, where it is not in the Kustomization itself.
    pub(super) file: Option<String>,
}

impl GitOps {
    pub(super) fn of(files: &[Written], documents: &[Document]) -> Self {
        let mut found = Self::default();
        for document in documents {
            let file = files.get(document.file).map_or("", |written| written.name.as_str());
            match document.kind() {
                Some("Application" | "ApplicationSet") => found.application(&document.node),
                Some("HelmRelease" | "HelmChart") => found.release(&document.node),
                Some("Kustomization") => found.kustomization(file, &document.node),
                None if file.ends_with("kustomization.yaml") || file.ends_with("kustomization.yml") => {
                    found.kustomization(file, &document.node);
                }
                _ => {}
            }
        }
        found
    }

    /// The namespace that is filled in for a file, if any.
    pub(super) fn fills(&self, file: &str) -> Option<&str> {
        let within = |place: &str| {
            let exact = file == place || file.ends_with(&format!("/{place}"));
            exact || file.starts_with(&format!("{place}/")) || file.contains(&format!("/{place}/"))
        };
        // The longest path is the one that is meant.
        let matching = self.filled.iter().filter(|(place, _)| within(place));
        matching.max_by_key(|(place, _)| place.len()).map(|(_, namespace)| namespace.as_str())
    }

    fn application(&mut self, node: &Node) {
        let Some(spec) = spec_of(node) else { return };
        let namespace = spec.get("destination").and_then(|it| it.get("namespace")).and_then(Node::text);
        for source in sources(spec) {
            if is_chart(source) {
                self.namespace = self.namespace.take().or_else(|| namespace.map(str::to_owned));
                let helm = source.get("helm");
                let files = helm.and_then(|helm| helm.get("valueFiles")).map(list).unwrap_or_default();
                let name = |node: &Node| {
                    let text = node.text()?;
                    let path = if text.starts_with('$') { text.split_once('/')?.1 } else { text };
                    Some(path.trim_start_matches(['.', '/']).to_owned())
                };
                self.value_files.extend(files.iter().filter_map(name));
            } else if let (Some(path), Some(namespace)) = (source.get("path").and_then(Node::text), namespace) {
                let path = path.trim_start_matches("./").trim_matches('/');
                if !path.is_empty() && path != "." {
                    self.filled.push((path.to_owned(), namespace.to_owned()));
                }
            }
        }
    }

    fn release(&mut self, node: &Node) {
        if release_of_chart(node).is_none() {
            return;
        }
        let target = node.get("spec").and_then(|spec| spec.get("targetNamespace"));
        let own = node.get("metadata").and_then(|metadata| metadata.get("namespace"));
        let namespace = target.or(own).and_then(Node::text).map(str::to_owned);
        self.namespace = self.namespace.take().or(namespace);
    }

    fn kustomization(&mut self, file: &str, node: &Node) {
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let beside = |name: &str| join(directory, name);
        if let Some(namespace) = node.get("namespace").and_then(Node::text) {
            let resources = node.get("resources").map(list).unwrap_or_default();
            for resource in resources.iter().filter_map(Node::text) {
                self.filled.push((beside(resource), namespace.to_owned()));
            }
        }
        let patches = ["patches", "patchesStrategicMerge", "patchesJson6902", "components"];
        for patch in &patches.iter().filter_map(|field| node.get(field)).flat_map(list).collect::<Vec<_>>() {
            let inline = patch.get("patch").or(Some(patch)).and_then(Node::text).filter(|text| text.contains('\n'));
            let named = patch.text().filter(|_| inline.is_none()).or_else(|| patch.get("path").and_then(Node::text));
            let named = named.map(beside);
            let of_target = patch.get("target").and_then(|target| target.get("kind")).and_then(Node::text);
            let inside = inline.and_then(|text| tree::documents(text).ok()).unwrap_or_default();
            let of_text = inside.iter().find_map(|node| node.get("kind").and_then(Node::text));
            self.changes.push(Change {
                at: (file.to_owned(), patch.place),
                kind: of_target.or(of_text).map(str::to_owned),
                file: named.clone(),
            });
            self.patches.extend(named);
        }
    }
}

/// A path beside another file, without `.` and `..`.
fn join(directory: &str, name: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let absolute = if directory.starts_with('/') { "/" } else { "" };
    format!("{absolute}{}", parts.join("/"))
}

pub(super) fn list(node: &Node) -> Vec<Node> {
    match &node.value {
        Value::List(nodes) => nodes.clone(),
        _ => Vec::new(),
    }
}

/// The spec of an Application, or of the Applications that an ApplicationSet makes.
fn spec_of(node: &Node) -> Option<&Node> {
    let spec = node.get("spec")?;
    spec.get("template").and_then(|template| template.get("spec")).or(Some(spec))
}

fn sources(spec: &Node) -> Vec<&Node> {
    let many = spec.get("sources").map(|sources| match &sources.value {
        Value::List(nodes) => nodes.iter().collect(),
        _ => Vec::new(),
    });
    spec.get("source").into_iter().chain(many.unwrap_or_default()).collect()
}

fn is_chart(source: &Node) -> bool {
    let named = |field: &str| source.get(field).and_then(Node::text);
    let chart = named("chart").is_some_and(|chart| chart.rsplit('/').next() == Some(CHART));
    let path = named("path").is_some_and(|path| path.trim_end_matches('/').ends_with(&format!("charts/{CHART}")));
    chart || path || (source.get("helm").is_some() && named("repoURL").is_some_and(|url| url.ends_with("/metallb")))
}

/// Values written inside another object.
pub(super) enum Inline<'a> {
    /// A mapping: its parts know their places.
    Mapping(&'a Node),
    /// Text that is YAML itself, under this key.
    Text(&'a Node),
    /// A list of `name` and `value`.
    Parameters(&'a Node),
    /// A mapping from names with dots to values.
    Set(&'a Node),
}

/// The chart's values in an Application, a HelmRelease, a HelmChart or a Kustomization.
pub(super) fn inline_values<'a>(kind: Option<&str>, node: &'a Node) -> Vec<Inline<'a>> {
    match kind {
        Some("Application" | "ApplicationSet") => {
            let Some(spec) = spec_of(node) else { return Vec::new() };
            let helms = sources(spec).into_iter().filter(|source| is_chart(source)).filter_map(|it| it.get("helm"));
            helms.flat_map(of_helm).collect()
        }
        Some("HelmRelease" | "HelmChart") => {
            let Some(spec) = release_of_chart(node) else { return Vec::new() };
            let mapping = spec.get("values").map(Inline::Mapping);
            let text = spec.get("valuesContent").map(Inline::Text);
            mapping.into_iter().chain(text).chain(spec.get("set").map(Inline::Set)).collect()
        }
        _ => {
            let charts = node.get("helmCharts").map(|charts| match &charts.value {
                Value::List(charts) => charts.iter().collect::<Vec<_>>(),
                _ => Vec::new(),
            });
            let ours = charts.unwrap_or_default().into_iter();
            let ours = ours.filter(|chart| chart.get("name").and_then(Node::text) == Some(CHART));
            ours.filter_map(|chart| chart.get("valuesInline")).map(Inline::Mapping).collect()
        }
    }
}

fn of_helm(helm: &Node) -> Vec<Inline<'_>> {
    let text = helm.get("values").map(|values| match &values.value {
        Value::Map(_) => Inline::Mapping(values),
        _ => Inline::Text(values),
    });
    let mapping = helm.get("valuesObject").map(Inline::Mapping);
    let parameters = helm.get("parameters").map(Inline::Parameters);
    text.into_iter().chain(mapping).chain(parameters).collect()
}

/// The spec of a HelmRelease or a HelmChart, if it is of our chart. A HelmRelease may say where the chart is by another
/// object (`chartRef`); then the name of either must tell.
fn release_of_chart(node: &Node) -> Option<&Node> {
    let spec = node.get("spec")?;
    let name = |node: Option<&Node>| node.and_then(|node| node.get("name")).and_then(Node::text).map(str::to_owned);
    if let Some(reference) = spec.get("chartRef") {
        let named = [name(Some(reference)), name(node.get("metadata"))];
        return named.into_iter().flatten().any(|name| name == CHART).then_some(spec);
    }
    let chart = spec.get("chart")?;
    let flux = chart.get("spec").and_then(|spec| spec.get("chart")).and_then(Node::text);
    let chart = flux.or_else(|| chart.text())?;
    (chart.rsplit('/').next() == Some(CHART)).then_some(spec)
}
