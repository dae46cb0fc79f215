//! One look at a cluster: every kind that concerns us, listed once. Nothing is watched and nothing written.
//!
//! What may not be read, or is not there (a kind whose CRD is missing), leaves a finding and an empty list: a half
//! answer with a code is better at night than none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::api::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, ConfigurationState, IPAddressPool, L2Advertisement,
    ServiceBGPStatus, ServiceL2Status,
};
use ferrolb_rules::config::Resources;
use ferrolb_rules::drain;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::surroundings::{flag, is_component, is_ready};
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::k8s;
use crate::k8s::malformed::plain_words;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who announces a Service, as a speaker reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcer {
    /// The node.
    pub node: NodeName,
    /// The interfaces that it answers on.
    pub interfaces: Vec<String>,
    /// The MAC address that neighbours learn.
    pub mac: Option<MacAddr>,
    /// The peers that it has told of it.
    pub routers: Vec<String>,
}

/// What one look saw.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The objects that the rules look at.
    pub known: Known,
    /// How they look at them.
    pub options: picture::Options,
    /// Who announces, by the reports of nodes with a live speaker.
    pub announced: BTreeMap<ServiceKey, Vec<Announcer>>,
    /// The pods of our namespace.
    pub pods: Vec<Arc<Pod>>,
    /// What each component makes of the configuration.
    pub states: Vec<Arc<ConfigurationState>>,
    /// What could not be read.
    pub findings: Vec<Finding>,
    /// What may not be read; the findings say it, too.
    pub denied: Denied,
}

/// The kinds that whoever asks may not read. An empty list of such a kind means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    kinds: BTreeSet<String>,
    message: String,
    fix: String,
}

impl Denied {
    /// Takes the refusals out of what was said while kinds were listed.
    pub fn of(findings: &mut Vec<Finding>) -> Self {
        let mut denied = Self::default();
        findings.retain(|finding| {
            let is_refusal = finding.code == Code::AccessDenied;
            if is_refusal && denied.kinds.is_empty() {
                denied.message.clone_from(&finding.message);
                denied.fix.clone_from(&finding.fix);
            }
            if is_refusal {
                denied.kinds.insert(finding.object.clone());
            }
            !is_refusal
        });
        denied
    }

    /// Whether this kind may not be read.
    pub fn has(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
    }

    /// The kinds, by name.
    pub const fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// Adds what another look was refused.
    pub fn extend(&mut self, other: Self) {
        let Self { kinds, message, fix } = other;
        if self.kinds.is_empty() {
            (self.message, self.fix) = (message, fix);
        }
        self.kinds.extend(kinds);
    }

    /// Whether everything may be read.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What may not be read, in one finding with a fix for whoever asks.
    pub fn finding(&self) -> Option<Finding> {
        let kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        let message =
            format!("you may not list {}, so nothing can be told of them: {}", kinds.join(", "), self.message);
        let finding = Finding::new(Code::AccessDenied, Severity::Error, "the API server", message);
        (!kinds.is_empty()).then(|| finding.with_fix(self.fix.clone()))
    }

    /// Ends what would go wrong without one of these kinds.
    ///
    /// # Errors
    /// One of them may not be read.
    pub fn refuse_without(&self, kinds: &[&str]) -> anyhow::Result<()> {
        match self.finding() {
            Some(finding) if kinds.iter().any(|kind| self.has(kind)) => Err(anyhow::anyhow!("{finding}")),
            _ => Ok(()),
        }
    }

    /// As if these kinds had been refused.
    #[cfg(test)]
    pub fn for_test(kinds: &[&str]) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Self { kinds, message: "forbidden".to_owned(), fix: "log in".to_owned() }
    }
}

/// What the rules decide by: without one of these kinds nothing can be said of what follows.
pub const DECIDED_BY: [&str; 10] = [
    "Service",
    "EndpointSlice",
    "IPAddressPool",
    "L2Advertisement",
    "BGPAdvertisement",
    "BGPPeer",
    "BFDProfile",
    "Community",
    "Namespace",
    "Node",
];

/// Connects as `kubectl` would. Also says which server that is.
///
/// # Errors
/// There is no kubeconfig and this is no pod, or the file makes no sense.
pub async fn connect(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    cluster_only: bool,
) -> anyhow::Result<(Client, String)> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path).map_err(|error| {
                let object = format!("--kubeconfig {}", path.display());
                let fix = "name a file that `kubectl --kubeconfig FILE cluster-info` takes";
                anyhow::anyhow!(
                    "{}",
                    Finding::new(Code::NoAnswer, Severity::Error, object, error.to_string()).with_fix(fix)
                )
            })?;
            Config::from_custom_kubeconfig(file, &options).await?
        }
        (None, Some(context)) => {
            Config::from_kubeconfig(&options).await.with_context(|| format!("--context {context}"))?
        }
        (None, None) => Config::infer().await.map_err(|error| {
            let (before, fix) = if cluster_only {
                ("this verb asks a cluster only, and", "give --kubeconfig FILE")
            } else {
                ("no local process has a socket here, and", "give --socket PATH, --kubeconfig FILE or --manifests DIR")
            };
            let message = format!("{before} there is no kubeconfig: {error}");
            anyhow::anyhow!("{}", Finding::new(Code::NoAnswer, Severity::Error, "nobody to ask", message).with_fix(fix))
        })?,
    };
    config.connect_timeout = Some(TIMEOUT);
    config.read_timeout = Some(TIMEOUT);
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    Ok((Client::try_from(config)?, server))
}

/// Words for a server that could not be asked, the same for whoever asks: which one, what it is called, what to do.
pub fn in_words(error: anyhow::Error, server: &str) -> anyhow::Error {
    let Some(cause) = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>()) else { return error };
    let finding = |code, message, fix: &str| Finding::new(code, Severity::Error, server, message).with_fix(fix);
    let who =
        "log in again, or choose another --kubeconfig or --context; `kubectl auth whoami` says whom it takes you for";
    let found = match cause {
        kube::Error::Api(status) if status.code == 401 => {
            finding(Code::AccessDenied, "the API server does not know who you are".to_owned(), who)
        }
        kube::Error::Auth(auth) => finding(Code::AccessDenied, format!("nobody could be logged in: {auth}"), who),
        kube::Error::Api(status) => finding(
            k8s::code_of(status.code),
            format!("the API server answers {}: {}", status.code, status.message),
            "ask again in a moment; `kubectl get --raw /readyz` says whether it is well",
        ),
        _ => finding(
            Code::ApiServerAway,
            format!("the API server does not answer: {}", error.root_cause()),
            "see that it runs and is reached from here (`kubectl cluster-info`), or choose another with --kubeconfig or \
             --context",
        ),
    };
    anyhow::anyhow!("{found}")
}

/// Looks.
///
/// # Errors
/// The API server does not answer, or not even Services may be read.
pub async fn read(client: Client, namespace: &str) -> anyhow::Result<Cluster> {
    let mut seen = Cluster::default();
    let said = &mut seen.findings;
    let own = namespace;
    let services = list::<Service>(Api::all(client.clone()), said).await?;
    let endpoints = list::<EndpointSlice>(Api::all(client.clone()), said).await?;
    let resources = Resources {
        pools: list::<IPAddressPool>(Api::namespaced(client.clone(), own), said).await?,
        l2_advertisements: list::<L2Advertisement>(Api::namespaced(client.clone(), own), said).await?,
        bgp_advertisements: list::<BGPAdvertisement>(Api::namespaced(client.clone(), own), said).await?,
        bgp_peers: list::<BGPPeer>(Api::namespaced(client.clone(), own), said).await?,
        bfd_profiles: list::<BFDProfile>(Api::namespaced(client.clone(), own), said).await?,
        // Passwords are nobody's business who only looks.
        secrets: None,
        communities: list::<Community>(Api::namespaced(client.clone(), own), said).await?,
        namespaces: list::<Namespace>(Api::all(client.clone()), said).await?,
        nodes: list::<Node>(Api::all(client.clone()), said).await?,
        malformed: Vec::new(),
    };
    elsewhere(&client, own, said).await?;
    let reports = list::<ServiceL2Status>(Api::namespaced(client.clone(), own), said).await?;
    let told = list::<ServiceBGPStatus>(Api::namespaced(client.clone(), own), said).await?;
    seen.states = list::<ConfigurationState>(Api::namespaced(client.clone(), own), said).await?;
    seen.pods = list::<Pod>(Api::namespaced(client, own), said).await?;
    seen.denied = Denied::of(said);
    said.extend(seen.denied.finding());
    // If not even they can be had, there is nothing to say.
    seen.denied.refuse_without(&["Service"])?;
    seen.known = Known { resources, services, endpoints };
    seen.announced = announced(&reports, &told);
    seen.options = options(&seen);
    seen.announced.values_mut().for_each(|all| {
        all.retain(|one| seen.options.members.as_ref().is_none_or(|members| members.contains(&one.node)));
    });
    seen.announced.retain(|_, all| !all.is_empty());
    Ok(seen)
}

/// Lists a kind. What is refused or missing, and an object that does not fit its kind, is said; an API server that does
/// not answer is an error.
pub async fn list<K>(api: Api<DeserializeGuard<K>>, findings: &mut Vec<Finding>) -> anyhow::Result<Vec<Arc<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    match api.list(&ListParams::default()).await {
        Ok(list) => {
            let mut fitting = Vec::with_capacity(list.items.len());
            for DeserializeGuard(item) in list.items {
                match item {
                    Ok(object) => fitting.push(Arc::new(object)),
                    Err(invalid) => {
                        let name = invalid.metadata.name.as_deref().unwrap_or_default();
                        let object = match &invalid.metadata.namespace {
                            Some(namespace) => format!("{kind}/{namespace}/{name}"),
                            None => format!("{kind}/{name}"),
                        };
                        let message = format!("it does not fit its kind: {}", plain_words(&kind, &invalid.error));
                        findings.push(Finding::new(Code::ObjectMalformed, Severity::Error, object, message));
                    }
                }
            }
            Ok(fitting)
        }
        Err(error) => match (k8s::code_of_error(&error), error) {
            // Who is not known has not logged in, and gets nothing of any kind.
            (_, kube::Error::Api(status)) if status.code == 401 => Err(kube::Error::Api(status).into()),
            (Code::ApiServerAway, error) => {
                Err(error).with_context(|| format!("{}: the API server was asked for {kind}", Code::ApiServerAway))
            }
            (code, error) => {
                let message = match error {
                    kube::Error::Api(status) => status.message,
                    error => error.to_string(),
                };
                let finding = Finding::new(code, Severity::Error, kind, message);
                findings.push(if code == Code::AccessDenied {
                    finding.with_fix(fix_of_refusal::<K>())
                } else {
                    finding
                });
                Ok(Vec::new())
            }
        },
    }
}

/// Says which pools and advertisements lie where nobody reads them: without a namespace in the manifest that is `default`,
/// and the webhook that refuses them may be away. The controller may not look there; whoever asks here perhaps may. A
/// namespace in which somebody writes a ConfigurationState is another installation's.
async fn elsewhere(client: &Client, own: &str, said: &mut Vec<Finding>) -> anyhow::Result<()> {
    // Who may not look everywhere is told nothing: he knows no other namespace either.
    let unsaid = &mut Vec::new();
    let states = list::<ConfigurationState>(Api::all(client.clone()), unsaid).await?;
    let read: BTreeSet<String> = states.iter().filter_map(|state| state.metadata.namespace.clone()).collect();
    let mut homeless = Vec::new();
    let mut look = |kind: &'static str, metadata: &ObjectMeta| {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        if namespace != own && !read.contains(namespace) {
            homeless.push((kind, namespace.to_owned(), metadata.name.clone().unwrap_or_default()));
        }
    };
    let pools = list::<IPAddressPool>(Api::all(client.clone()), unsaid).await?;
    pools.iter().for_each(|pool| look("IPAddressPool", &pool.metadata));
    let layer2 = list::<L2Advertisement>(Api::all(client.clone()), unsaid).await?;
    layer2.iter().for_each(|one| look("L2Advertisement", &one.metadata));
    let bgp = list::<BGPAdvertisement>(Api::all(client.clone()), unsaid).await?;
    bgp.iter().for_each(|one| look("BGPAdvertisement", &one.metadata));
    said.extend(homeless.into_iter().map(|(kind, namespace, name)| {
        let message = format!("lies in namespace `{namespace}`; only `{own}` is read, so the object is ignored");
        Finding::new(Code::WrongNamespace, Severity::Warning, format!("{kind}/{namespace}/{name}"), message)
            .at_field("metadata.namespace")
            .with_fix(format!("create it with `namespace: {own}`, and delete it in {namespace}"))
    }));
    Ok(())
}

/// What whoever asks can do about a kind that may not be listed.
fn fix_of_refusal<K: Resource>() -> String
where
    K::DynamicType: Default,
{
    let of_kind = K::DynamicType::default();
    let (group, plural) = (K::group(&of_kind), K::plural(&of_kind));
    let kind = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
    format!(
        "log in as somebody who may (`kubectl auth can-i list {kind} -A` tells), choose another --context, or ask \
         whoever administers the cluster for a role that reads it"
    )
}

/// What the speaker that is to announce a Service last said against it: only it knows its interfaces and its LAN.
///
/// # Errors
/// The API server does not answer.
pub async fn objection(client: &Client, service: &ServiceKey) -> anyhow::Result<Option<Finding>> {
    let fields = format!("involvedObject.kind=Service,involvedObject.name={},type=Warning", service.name);
    let events = Api::<Event>::namespaced(client.clone(), &service.namespace);
    let events = match events.list(&ListParams::default().fields(&fields)).await {
        Ok(list) => list.items,
        // Not everybody may read events; then the general reason must do.
        Err(kube::Error::Api(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let time = |event: &Event| event.last_timestamp.as_ref().map(|time| time.0);
    let failed = events.into_iter().filter(|event| event.reason.as_deref() == Some("announceFailed"));
    let Some(event) = failed.max_by_key(time) else { return Ok(None) };
    let message = event.message.unwrap_or_default();
    let mut words = message.split(|letter: char| !letter.is_alphanumeric());
    let code = words.find_map(|word| word.strip_prefix("LB").and_then(|number| number.parse::<Code>().ok()));
    let object = format!("Service/{service}");
    Ok(Some(Finding::new(code.unwrap_or(Code::InterfaceMissing), Severity::Error, object, message)))
}

fn announced(reports: &[Arc<ServiceL2Status>], told: &[Arc<ServiceBGPStatus>]) -> BTreeMap<ServiceKey, Vec<Announcer>> {
    let mut announced = BTreeMap::<ServiceKey, Vec<Announcer>>::new();
    for status in reports.iter().filter_map(|report| report.status.as_ref()).filter(|status| !status.node.is_empty()) {
        let key = ServiceKey::new(status.service_namespace.clone(), status.service_name.clone());
        let interfaces = match status.answers.as_slice() {
            [] => status.interfaces.iter().map(|one| one.name.clone()).collect(),
            answers => answers.iter().map(|answer| answer.interface.clone()).collect(),
        };
        let mac = status.answers.first().and_then(|answer| answer.mac.parse().ok());
        let announcer = Announcer { node: NodeName::new(&status.node), interfaces, mac, routers: Vec::new() };
        announced.entry(key).or_default().push(announcer);
    }
    let told = told.iter().filter_map(|report| report.status.as_ref());
    for status in told.filter(|status| !status.node.is_empty() && !status.peers.is_empty()) {
        let key = ServiceKey::new(status.service_namespace.clone(), status.service_name.clone());
        let all = announced.entry(key).or_default();
        match all.iter_mut().find(|one| one.node.as_str() == status.node) {
            Some(one) => one.routers.clone_from(&status.peers),
            None => all.push(Announcer {
                node: NodeName::new(&status.node),
                routers: status.peers.clone(),
                ..Announcer::default()
            }),
        }
    }
    announced.values_mut().for_each(|all| all.sort_by(|a, b| a.node.cmp(&b.node)));
    announced
}

/// How the speakers look at it: their flags, and who of them is ready. Where they are not pods, what they have written
/// must do.
fn options(seen: &Cluster) -> picture::Options {
    let mut pods = seen.pods.iter().filter(|pod| is_component(pod, "speaker")).peekable();
    let ours: Vec<&Pod> = seen
        .pods
        .iter()
        .map(|pod| &**pod)
        .filter(|pod| is_component(pod, "speaker") || is_component(pod, "controller"))
        .collect();
    let value = |name: &str| flag(ours.iter().copied(), name);
    let members = if pods.peek().is_some() {
        let ready = pods.filter(|pod| is_ready(pod));
        ready.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).map(NodeName::new).collect()
    } else {
        let named = seen.states.iter().filter_map(|state| state.metadata.name.as_deref()?.strip_prefix("speaker-"));
        let reporting = seen.announced.values().flatten().map(|one| one.node.clone());
        named.map(NodeName::new).chain(reporting).collect()
    };
    picture::Options {
        load_balancer_class: value("lb-class").filter(|class| !class.is_empty()).map(str::to_owned),
        ignore_exclude_lb: value("ignore-exclude-lb").is_some_and(|value| matches!(value, "" | "true")),
        announce_if_all_excluded: value("announce-if-all-excluded") != Some("false"),
        drain_on: value("drain-on").and_then(|value| drain::parse(value).ok()).unwrap_or_default(),
        members: Some(members),
        ..picture::Options::default()
    }
}
