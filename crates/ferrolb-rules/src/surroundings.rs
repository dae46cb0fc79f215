//! Will it work here? The cluster around us, judged before or after installation (`ferrolb check`).
//!
//! Each [`Check`] is one line: a group, a mark, and where something is wrong its code and fix. What the API server does
//! not show is what the machine sees that asks: whether its datagrams reach the nodes, and, where it is a node itself,
//! whether addresses would be answered over Wi-Fi. What answers on the wire is `ferrolb probe`'s affair.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde::Serialize;

use crate::api::well_known::EXCLUDE_NODE_LABEL;
use crate::reason::{Code, Finding, Severity};

mod rights;
mod rivals;
#[cfg(test)]
mod tests;
mod values;

pub use rivals::Workload;
pub(crate) use rivals::is_metallb;
pub use rivals::metallb_image;
pub use values::values;

/// The label that says which pods a namespace allows.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// The port by which speakers hear one another.
const MEMBERSHIP_PORT: &str = "UDP port 7946";
/// The oldest minor version of Kubernetes 1 that is supported (decision D23).
const OLDEST_MINOR: u32 = 31;

/// What can be seen of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The API server's version, as it says it: `v1.32.3`.
    pub version: String,
    /// The namespace that is installed into.
    pub namespace: String,
    /// That namespace, where it exists.
    pub namespace_object: Option<Arc<Namespace>>,
    /// Every node.
    pub nodes: Vec<Arc<Node>>,
    /// The pods of that namespace.
    pub pods: Vec<Arc<Pod>>,
    /// The configuration of kube-proxy, where it has one.
    pub kube_proxy: Option<String>,
    /// Every DaemonSet and Deployment.
    pub workloads: Vec<Workload>,
    /// Every FRRConfiguration, as `namespace/name`.
    pub frr_configurations: Vec<String>,
    /// Webhooks of metallb.io that must answer, and who is behind them.
    pub strict_webhooks: Vec<(String, Behind)>,
    /// What became of a question to the webhooks by way of the API server; none: not asked.
    pub asked: Option<Asked>,
    /// What the machine that asks sees by itself.
    pub here: Vantage,
    /// Pools and advertisements.
    pub objects: usize,
    /// Nothing is installed yet.
    pub before: bool,
    /// Objects of ours that lie where nobody reads them.
    pub elsewhere: Vec<Finding>,
    /// What could not be read, in words.
    pub unreadable: Vec<String>,
    /// The kinds that whoever asks may not read: nothing follows from there being none.
    pub denied: BTreeSet<String>,
    /// The same, with what to do about it.
    pub refusal: Option<Finding>,
    /// The exclude label does not exclude (`ignoreExcludeLB`).
    pub ignore_exclude_lb: bool,
    /// Where every node is excluded, nobody announces (`announceIfAllExcluded: false`).
    pub silent_if_all_excluded: bool,
}

/// What became of an object that only the webhook refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was refused by the webhook.
    Refused,
    /// It passed: the webhook was not reached, and need not be.
    Passed,
    /// The webhook must answer, and was not reached: the words of the API server.
    Failed(String),
}

/// Who is behind a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behind {
    /// Its Service does not exist.
    Nothing,
    /// No endpoint of its Service is ready.
    Nobody,
    /// Somebody is ready to answer.
    Somebody,
}

/// What the machine that asks sees by itself.
#[derive(Clone, Debug, Default)]
pub struct Vantage {
    /// The node that it is; none: it is beside them.
    pub node: Option<String>,
    /// What became of a datagram to each node's port for membership, where nobody listens there yet.
    pub ports: Vec<(String, Port)>,
    /// Its interfaces in the nodes' network, and whether each is Wi-Fi.
    pub interfaces: Vec<(String, bool)>,
}

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// The node says that nobody listens: the datagram has arrived.
    Reached,
    /// Nothing came back.
    Silent,
    /// It could not get there, and this is why.
    Unreachable(String),
}

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Must be put right.
    Wrong,
    /// Nobody can tell.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub group: &'static str,
    /// How it stands.
    pub mark: Mark,
    /// In words.
    pub text: String,
    /// The code and the fix, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.mark {
            Mark::Fine => "✓",
            Mark::Note => "!",
            Mark::Wrong => "✗",
            Mark::Unknown => "?",
        };
        write!(f, "{:<15} {mark} {}", self.group, self.text)?;
        match &self.finding {
            Some(finding) => write!(f, "  {}\n{:<17} fix  {}", finding.code, "", finding.fix),
            None => Ok(()),
        }
    }
}

fn fine(group: &'static str, text: impl Into<String>) -> Check {
    Check { group, mark: Mark::Fine, text: text.into(), finding: None }
}

fn found(group: &'static str, mark: Mark, code: Code, text: impl Into<String>) -> Check {
    let text = text.into();
    let severity = if mark == Mark::Wrong { Severity::Error } else { Severity::Warning };
    let finding = Finding::new(code, severity, group, text.clone());
    Check { group, mark, text, finding: Some(finding) }
}

/// Looks at everything, in the order in which it must be right.
pub fn check(seen: &Surroundings) -> Vec<Check> {
    let mut checks = vec![version(seen), pod_security(seen)];
    checks.extend(node_labels(seen));
    checks.push(kube_proxy(seen));
    checks.extend(rivals::rivals(seen));
    checks.extend(webhooks(seen));
    checks.extend(ports(&seen.here));
    checks.extend(wi_fi(&seen.here));
    if seen.before {
        checks.push(today(seen));
    } else {
        checks.extend(components(seen));
    }
    checks.extend(seen.elsewhere.iter().map(|finding| Check {
        group: "configuration",
        mark: Mark::Note,
        text: format!("{} {}", finding.object, finding.message),
        finding: Some(finding.clone()),
    }));
    rights::leave_open(seen, &mut checks);
    let unreadable = seen.unreadable.iter();
    checks.extend(unreadable.map(|what| Check {
        group: "not seen",
        mark: Mark::Unknown,
        text: what.clone(),
        finding: None,
    }));
    checks
}

/// Whether everything that must be known to judge could be seen.
pub fn is_complete(seen: &Surroundings) -> bool {
    seen.refusal.is_none()
}

fn version(seen: &Surroundings) -> Check {
    let numbers: Vec<u32> = seen
        .version
        .trim_start_matches('v')
        .split('.')
        .map_while(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok())
        .collect();
    let nodes = match seen.nodes.as_slice() {
        [one] => {
            let system = one.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| &info.os_image);
            let system = system.map(|system| format!(", {system}")).unwrap_or_default();
            format!("one node ({}{system})", one.metadata.name.as_deref().unwrap_or_default())
        }
        _ if seen.denied.contains("Node") => "nodes not known".to_owned(),
        nodes => format!("{} nodes", nodes.len()),
    };
    let text = format!("{}, {nodes}", seen.version);
    match numbers.as_slice() {
        [1, minor, ..] if *minor < OLDEST_MINOR => {
            found("kubernetes", if *minor < 28 { Mark::Wrong } else { Mark::Note }, Code::KubernetesUntried, text)
        }
        [_, _, ..] => fine("kubernetes", text),
        _ => Check { group: "kubernetes", mark: Mark::Unknown, text, finding: None },
    }
}

fn pod_security(seen: &Surroundings) -> Check {
    let namespace = &seen.namespace;
    let Some(object) = &seen.namespace_object else {
        let text = format!("{namespace} does not exist yet; label it {ENFORCE}=privileged when it is made");
        return Check { group: "namespace", mark: Mark::Note, text, finding: None };
    };
    let level = object.metadata.labels.as_ref().and_then(|labels| labels.get(ENFORCE)).map(String::as_str);
    let mut check = match level {
        Some("privileged") => return fine("namespace", format!("{namespace} allows privileged pods")),
        Some(level) => {
            let text = format!("{namespace} enforces {level:?}, which refuses the speaker's pods");
            found("namespace", Mark::Wrong, Code::PodSecurityForbids, text)
        }
        None => {
            let text =
                format!("{namespace} has no label {ENFORCE}; a stricter default of the cluster refuses the speaker");
            found("namespace", Mark::Note, Code::PodSecurityForbids, text)
        }
    };
    if let Some(finding) = &mut check.finding {
        finding.fix = format!("kubectl label namespace {namespace} {ENFORCE}=privileged --overwrite");
    }
    check
}

fn node_labels(seen: &Surroundings) -> Vec<Check> {
    let excluded =
        |node: &&Arc<Node>| node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE_NODE_LABEL));
    let names: Vec<&str> =
        seen.nodes.iter().filter(excluded).filter_map(|node| node.metadata.name.as_deref()).collect();
    let (all, some) = (seen.nodes.len(), names.len());
    let mut checks = Vec::new();
    checks.push(match some {
        0 => fine("node labels", "no node is excluded from announcing"),
        _ if seen.ignore_exclude_lb => {
            fine("node labels", format!("{} {EXCLUDE_NODE_LABEL}, and ignoreExcludeLB lets them announce", has(&names)))
        }
        some if some == all && seen.silent_if_all_excluded => {
            let text = format!(
                "every node has {EXCLUDE_NODE_LABEL} and announceIfAllExcluded is off: nothing will be announced"
            );
            return vec![found("node labels", Mark::Wrong, Code::NodeExcluded, text)];
        }
        some if some == all => {
            let text = format!("every node has {EXCLUDE_NODE_LABEL}; addresses are announced all the same");
            found("node labels", Mark::Note, Code::AllNodesExcluded, text)
        }
        _ => {
            let text = format!("{} {EXCLUDE_NODE_LABEL} and announce nothing", has(&names));
            found("node labels", Mark::Note, Code::NodeExcluded, text)
        }
    });
    let left = if some == all || seen.ignore_exclude_lb { all } else { all - some };
    checks.push(match left {
        0 => Check { group: "failover", mark: Mark::Unknown, text: "no node is known".to_owned(), finding: None },
        1 => found("failover", Mark::Note, Code::NoFailover, "no failover: 1 eligible node"),
        left => fine("failover", format!("{left} eligible nodes")),
    });
    checks
}

fn has(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(3);
    match (names.len(), more) {
        (1, _) => format!("{shown} has"),
        (_, 0) => format!("{shown} have"),
        _ => format!("{shown} and {more} more have"),
    }
}

fn kube_proxy(seen: &Surroundings) -> Check {
    let Some(text) = &seen.kube_proxy else {
        let text = "its configuration cannot be read (k3s and Cilium have none); look for IPVS mode yourself";
        return Check { group: "kube-proxy", mark: Mark::Unknown, text: text.to_owned(), finding: None };
    };
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().split_once(':'));
        let value = lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim().trim_matches(['"', '\'']));
        value.unwrap_or_default()
    };
    match (value("mode"), value("strictARP")) {
        ("ipvs", "true") => fine("kube-proxy", "IPVS mode with strictARP"),
        ("ipvs", _) => {
            let text = "IPVS mode without strictARP: every node answers for every address";
            found("kube-proxy", Mark::Wrong, Code::StrictArpOff, text)
        }
        ("", _) => fine("kube-proxy", "iptables mode (the default)"),
        (mode, _) => fine("kube-proxy", format!("{mode} mode")),
    }
}

fn webhooks(seen: &Surroundings) -> Vec<Check> {
    let check = |(name, behind): &(String, Behind)| {
        let (text, fix) = match behind {
            Behind::Somebody => return fine("webhook", format!("{name} must answer, and somebody is ready to")),
            Behind::Nothing => {
                let text = format!("{name} must answer, and the Service behind it does not exist");
                (text, format!("kubectl delete validatingwebhookconfiguration {name}"))
            }
            Behind::Nobody => {
                let text = format!("{name} must answer, and no endpoint of the Service behind it is ready");
                (text, "start the controller, or let failurePolicy be Ignore (crds.validationFailurePolicy)".to_owned())
            }
        };
        let mut check = found("webhook", Mark::Wrong, Code::WebhookLeftover, text);
        if let Some(finding) = &mut check.finding {
            finding.fix = fix;
        }
        check
    };
    let reached = seen.asked.as_ref().map(|asked| {
        let unheard = "the API server does not reach the webhooks";
        match asked {
            Asked::Refused => fine("webhook", "the API server reaches the webhooks"),
            Asked::Passed => {
                let text = format!("{unheard}: objects are accepted unseen");
                found("webhook", Mark::Note, Code::WebhookNotReached, text)
            }
            Asked::Failed(error) => {
                found("webhook", Mark::Wrong, Code::WebhookNotReached, format!("{unheard}: {error}"))
            }
        }
    });
    reached.into_iter().chain(seen.strict_webhooks.iter().map(check)).collect()
}

/// Whether the nodes will hear one another, as far as datagrams from here tell.
fn ports(here: &Vantage) -> Option<Check> {
    let lost: Vec<String> = here
        .ports
        .iter()
        .filter_map(|(node, port)| match port {
            Port::Reached => None,
            Port::Silent => Some(format!("{node} (nothing comes back)")),
            Port::Unreachable(why) => Some(format!("{node} ({why})")),
        })
        .collect();
    let from = here.node.as_deref().unwrap_or("this machine, which is no node");
    if here.ports.is_empty() {
        return None;
    }
    if lost.is_empty() {
        let text = format!("{MEMBERSHIP_PORT} of {} nodes is reached from {from}", here.ports.len());
        return Some(fine("ports", text));
    }
    // What a firewall lets through from a machine beside the nodes may differ from what it does between them.
    let mark = if here.node.is_some() { Mark::Wrong } else { Mark::Note };
    let text = format!("{MEMBERSHIP_PORT} is not reached from {from}: {}", lost.join(", "));
    Some(found("ports", mark, Code::MembershipPortBlocked, text))
}

/// Whether a node would answer over Wi-Fi; only the node itself can tell.
fn wi_fi(here: &Vantage) -> Option<Check> {
    let node = here.node.as_deref()?;
    let wireless: Vec<&str> = here.interfaces.iter().filter(|(_, is)| *is).map(|(name, _)| name.as_str()).collect();
    if wireless.is_empty() {
        let names: Vec<&str> = here.interfaces.iter().map(|(name, _)| name.as_str()).collect();
        return Some(fine("wi-fi", format!("{} of {node} is no Wi-Fi", names.join(" and "))));
    }
    let text = format!("{} of {node}, which is in the nodes' network, is Wi-Fi", wireless.join(" and "));
    Some(found("wi-fi", Mark::Note, Code::WirelessInterface, text))
}

fn today(seen: &Surroundings) -> Check {
    let mut images = seen.pods.iter().flat_map(images);
    let upstream = images.find(|image| image.contains("metallb/controller") || image.contains("metallb/speaker"));
    match (upstream, seen.objects) {
        (Some(image), objects) => {
            let text = format!(
                "MetalLB runs here ({image}) with {objects} pools and advertisements: they stay and are understood"
            );
            Check { group: "today", mark: Mark::Note, text, finding: None }
        }
        (None, 0) => fine("today", "nothing is installed yet"),
        (None, objects) => fine("today", format!("{objects} pools and advertisements are there already")),
    }
}

fn images(pod: &Arc<Pod>) -> Vec<String> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.iter().filter_map(|container| container.image.clone()).collect()
}

/// Whether controller and speakers run.
pub fn components(seen: &Surroundings) -> Vec<Check> {
    let of = |component| seen.pods.iter().filter(move |pod| is_component(pod, component));
    let (controllers, ready) = (of("controller").count(), of("controller").filter(|pod| is_ready(pod)).count());
    let mut checks = Vec::new();
    checks.push(if ready > 0 {
        fine("controller", format!("{ready} of {controllers} ready"))
    } else {
        let text = format!("{ready} of {controllers} ready{}", waiting(of("controller")));
        found("controller", Mark::Wrong, Code::ControllerAway, text)
    });
    let (speakers, ready) = (of("speaker").count(), of("speaker").filter(|pod| is_ready(pod)).count());
    checks.push(if ready > 0 && ready == speakers {
        fine("speaker", format!("{ready} of {speakers} ready"))
    } else if speakers == 0 {
        found("speaker", Mark::Wrong, Code::NoSpeaker, "no speaker pod exists")
    } else {
        let text = format!("{ready} of {speakers} ready{}", waiting(of("speaker")));
        found("speaker", if ready == 0 { Mark::Wrong } else { Mark::Note }, Code::SpeakerIncomplete, text)
    });
    checks
}

/// What the first pod that is not ready waits for.
fn waiting<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> String {
    let reason = |pod: &Arc<Pod>| {
        let status = pod.status.as_ref()?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let place = node.map_or_else(String::new, |node| format!(" on {node}"));
        let mut states =
            status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref()?.waiting.as_ref());
        let reason = states.find_map(|waiting| waiting.reason.clone()).or_else(|| status.phase.clone())?;
        Some(format!("{place} ({reason})"))
    };
    pods.into_iter().find(|pod| !is_ready(pod)).and_then(reason).unwrap_or_default()
}

/// Whether a pod is our controller or speaker, by the labels of the chart or of the manifests. MetalLB's pods have them too.
pub fn is_component(pod: &Pod, component: &str) -> bool {
    if metallb_image(pod).is_some() {
        return false;
    }
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let chart = label("app.kubernetes.io/name") == Some("metallb");
    (chart && label("app.kubernetes.io/component") == Some(component))
        || (label("app") == Some("metallb") && label("component") == Some(component))
}

/// The value of a flag that the containers of these pods are started with, in each way that Go's and our flags are
/// written; the empty text where it has none.
pub fn flag<'a>(pods: impl IntoIterator<Item = &'a Pod>, name: &str) -> Option<&'a str> {
    let containers = pods.into_iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    let mut words = containers.flat_map(|container| container.args.iter().flatten());
    words.find_map(|word| {
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        let plain = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-'))?;
        (plain == name).then_some(value)
    })
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

/// The last line: how many of each.
pub fn verdict(checks: &[Check]) -> String {
    let count = |mark| checks.iter().filter(|check| check.mark == mark).count();
    let (fine, notes, wrong, unknown) =
        (count(Mark::Fine), count(Mark::Note), count(Mark::Wrong), count(Mark::Unknown));
    let unknown = if unknown > 0 { format!(", {unknown} not seen") } else { String::new() };
    format!("{} checks: {fine} fine, {notes} notes, {wrong} must be fixed{unknown}", checks.len())
}
