//! Objects that are gone from this host's manifests while another live host still has them: they stay in force.
//!
//! Hosts get the same files, but not at the same moment, and sometimes not at all: a copy that broke off, a directory
//! that was not mounted. What is missing on one host is no reason to take an address off all of them. Every host tells
//! which objects its files have; an object ends when the last live host has deleted it. What a host never had, it
//! cannot keep; then it says so, and whoever allocates leaves its addresses alone (decision 30).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::{Code, Finding, Severity};

use crate::source::{Object, Objects};

/// Objects named in one finding; the others are counted.
const NAMED: usize = 5;

/// Which objects a host's files have: `Kind/namespace/name`.
pub(super) type Names = BTreeSet<String>;

/// Kind, namespace and name: in this order a list is in order.
type Key = (&'static str, String, String);

/// What is missing here and is to be had elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// Services.
    pub(super) services: BTreeSet<ServiceKey>,
    /// Pools, by name.
    pub(super) pools: BTreeSet<String>,
}

/// What one look gave.
#[derive(Debug)]
pub(super) struct Looked {
    /// The objects in force: those of the files, and those that are kept.
    pub(super) objects: Arc<Objects>,
    /// What the files of this host have.
    pub(super) names: Names,
    /// What others have and this host never had.
    pub(super) elsewhere: Elsewhere,
    /// What is to be said about it.
    pub(super) findings: Vec<Finding>,
}

/// The objects that were in force last.
#[derive(Debug, Default)]
pub(super) struct Kept {
    last: BTreeMap<Key, Object>,
}

impl Kept {
    /// What is in force, now that the files say this and the other live hosts have those.
    pub(super) fn look<'a>(
        &mut self,
        found: &Arc<Objects>,
        others: impl Iterator<Item = (&'a NodeName, &'a Names)>,
    ) -> Looked {
        let here: BTreeMap<Key, Object> = found.all().map(|object| (key(&object), object)).collect();
        let names: Names = here.keys().map(name).collect();
        let mut elsewhere = BTreeMap::<&str, BTreeSet<&NodeName>>::new();
        for (host, has) in others {
            for name in has.difference(&names) {
                elsewhere.entry(name.as_str()).or_default().insert(host);
            }
        }
        let mut in_force = here;
        let gone = std::mem::take(&mut self.last).into_iter().filter(|(key, _)| !in_force.contains_key(key));
        let kept: BTreeMap<Key, Object> = gone.filter(|(key, _)| elsewhere.contains_key(name(key).as_str())).collect();
        let kept_names: BTreeSet<String> = kept.keys().map(name).collect();
        let objects = if kept.is_empty() {
            found.clone()
        } else {
            in_force.extend(kept);
            Arc::new(in_force.values().cloned().collect())
        };
        self.last = in_force;
        let (held, lacking): (Vec<_>, Vec<_>) = elsewhere.iter().partition(|(name, _)| kept_names.contains(**name));
        let mut findings = Vec::new();
        findings.extend(finding(
            &held,
            "gone from the manifests of this host",
            "what they said last stays in force here",
        ));
        findings.extend(finding(&lacking, "not in the manifests of this host", "their addresses stay as they are"));
        let elsewhere = Elsewhere {
            services: lacking.iter().filter_map(|(name, _)| service(name)).collect(),
            pools: lacking.iter().filter_map(|(name, _)| pool(name)).collect(),
        };
        Looked { objects, names, elsewhere, findings }
    }
}

fn key(object: &Object) -> Key {
    let metadata = object.metadata();
    (object.kind_name(), metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn name((kind, namespace, name): &Key) -> String {
    format!("{kind}/{namespace}/{name}")
}

/// The Service that is meant, if it is one.
fn service(name: &str) -> Option<ServiceKey> {
    let (namespace, name) = name.strip_prefix("Service/")?.split_once('/')?;
    Some(ServiceKey::new(namespace, name))
}

/// The pool that is meant, if it is one.
fn pool(name: &str) -> Option<String> {
    Some(name.strip_prefix("IPAddressPool/")?.split_once('/')?.1.to_owned())
}

fn finding(missing: &[(&&str, &BTreeSet<&NodeName>)], where_: &str, consequence: &str) -> Option<Finding> {
    let hosts: BTreeSet<&str> = missing.iter().flat_map(|(_, hosts)| hosts.iter().map(|host| host.as_str())).collect();
    let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
    let mut named: Vec<String> = missing.iter().take(NAMED).map(|(name, _)| name.replace("//", "/")).collect();
    if missing.len() > named.len() {
        named.push(format!("{} more", missing.len() - named.len()));
    }
    let (objects, them) = if missing.len() == 1 { ("1 object is", "it") } else { ("objects are", "them") };
    let count = if missing.len() == 1 { String::new() } else { format!("{} ", missing.len()) };
    let message =
        format!("{count}{objects} {where_}, and {hosts} still tell of {them}: {}; {consequence}", named.join(", "));
    (!missing.is_empty()).then(|| Finding::new(Code::ManifestsDiffer, Severity::Warning, "manifests", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    fn objects(text: &str) -> Arc<Objects> {
        Arc::new(
            parse("a.yaml", text.as_bytes(), "metallb-system")
                .objects
                .into_iter()
                .map(|placed| placed.object)
                .collect(),
        )
    }

    fn two() -> Arc<Objects> {
        objects(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n\
             ---\napiVersion: v1\nkind: Node\nmetadata: {name: b}\n",
        )
    }

    #[test]
    fn what_another_host_still_has_stays_in_force_and_ends_with_the_last_one() {
        let (mut kept, b) = (Kept::default(), NodeName::new("b"));
        let all = two();
        let looked = kept.look(&all, std::iter::empty());
        assert!(Arc::ptr_eq(&looked.objects, &all) && looked.findings.is_empty());
        let theirs = looked.names.clone();
        assert_eq!(theirs, ["Node//b", "Service/default/web"].map(str::to_owned).into());
        let nothing = Arc::new(Objects::default());
        for _ in 0..2 {
            let looked = kept.look(&nothing, std::iter::once((&b, &theirs)));
            assert_eq!(looked.objects, all, "as it was");
            assert!(looked.names.is_empty(), "it is not in the files, and nobody is told that it is");
            let [finding] = &looked.findings[..] else { panic!("{:?}", looked.findings) };
            for part in ["2 objects are gone", "b still tell of them", "Node/b, Service/default/web", "stays in force"]
            {
                assert!(finding.message.contains(part), "{finding}");
            }
            assert_eq!(looked.elsewhere, Elsewhere::default());
        }
        let looked = kept.look(&nothing, std::iter::once((&b, &Names::new())));
        assert_eq!((&*looked.objects, looked.findings), (&Objects::default(), Vec::new()));
    }

    #[test]
    fn what_this_host_never_had_is_said_and_told_apart() {
        let (mut kept, b) = (Kept::default(), NodeName::new("b"));
        let theirs: Names = ["Service/default/web", "IPAddressPool/metallb-system/p"].map(str::to_owned).into();
        let looked = kept.look(&Arc::default(), std::iter::once((&b, &theirs)));
        assert_eq!(*looked.objects, Objects::default());
        assert_eq!(looked.elsewhere.services, BTreeSet::from([ServiceKey::new("default", "web")]));
        assert_eq!(looked.elsewhere.pools, BTreeSet::from(["p".to_owned()]));
        assert_eq!(looked.findings.len(), 1);
        assert!(looked.findings[0].message.contains("not in the manifests of this host"), "{}", looked.findings[0]);
    }

    #[test]
    fn what_a_file_says_now_counts_more_than_what_it_said() {
        let (mut kept, b) = (Kept::default(), NodeName::new("b"));
        let theirs = kept.look(&two(), std::iter::empty()).names;
        let changed = objects(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default, labels: {a: b}}\nspec: {type: ClusterIP}\n",
        );
        let looked = kept.look(&changed, std::iter::once((&b, &theirs)));
        assert_eq!(looked.objects.services, changed.services);
        assert_eq!(looked.objects.nodes.len(), 1, "and the node is kept");
    }
}
