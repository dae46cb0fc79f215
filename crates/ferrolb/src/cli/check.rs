//! `ferrolb check [--pre]`: will it work in this cluster? Read-only. And `ferrolb wait`: until it does.
//!
//! Exit codes of `check`: 0 nothing must be fixed, 1 something must, 2 the cluster does not answer, or may not be read.
//! Of `wait`: 0 it is ready, 1 it is not within the time, 2 nobody answers when the time is over.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::api::{IPAddressPool, IPAddressPoolSpec};
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::slice;
use ferrolb_rules::surroundings::{
    self, Asked, Behind, Check, Mark, Port, Surroundings, Vantage, is_component, is_ready, verdict,
};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client};

use super::lint;
use super::output::{Format, show};
use super::reach::Reach;
use super::why::split;
use super::{Verdict, print, wire};
use crate::look::{cluster, view};
use crate::net::wireless;
use crate::source::review;
use crate::state::{Progress, State};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Judge a cluster before anything is installed.
    #[arg(long)]
    pre: bool,
    /// Files with values of the chart: a values.yaml, or the Argo CD Application that has them. Repeatable.
    #[arg(long, value_name = "PATH")]
    values: Vec<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let namespace = args.reach.namespace();
    let mut seen = args.reach.in_cluster(async |client, _| look(client, namespace, args.pre).await)?;
    let mut of_values = Vec::new();
    if !args.values.is_empty() {
        let review = review(&lint::read(&args.values)?, None);
        heed(&mut seen, &review.values);
        of_values = surroundings::values(&review.findings);
    }
    let mut checks = surroundings::check(&seen);
    checks.extend(of_values);
    let names = || {
        checks.iter().filter_map(|check| Some(format!("{} {}\n", check.finding.as_ref()?.code, check.group))).collect()
    };
    show(args.output, &checks, || screen(&checks), names)?;
    Ok(match (checks.iter().any(|check| check.mark == Mark::Wrong), surroundings::is_complete(&seen)) {
        (true, _) => Verdict::Findings,
        (false, false) => Verdict::Exit(2),
        (false, true) => Verdict::Fine,
    })
}

/// What the given values say about nodes that are excluded counts, whatever runs now.
fn heed(seen: &mut Surroundings, values: &[serde_json::Value]) {
    for speaker in values.iter().map(|values| &values["speaker"]) {
        if let Some(ignored) = speaker["ignoreExcludeLB"].as_bool() {
            seen.ignore_exclude_lb = ignored;
        }
        if let Some(announced) = speaker["announceIfAllExcluded"].as_bool() {
            seen.silent_if_all_excluded = !announced;
        }
    }
}

fn screen(checks: &[Check]) -> String {
    let mut out = checks.iter().fold(String::new(), |mut out, check| {
        let _ = writeln!(out, "{check}");
        out
    });
    let _ = writeln!(out, "{}", verdict(checks));
    out
}

/// Looks at everything that can be checked.
///
/// # Errors
/// The API server does not answer.
pub(super) async fn look(client: Client, namespace: &str, before: bool) -> anyhow::Result<Surroundings> {
    let version = client.apiserver_version().await?.git_version;
    let seen = cluster::read(client.clone(), namespace).await?;
    let mut said = Vec::new();
    let sets = cluster::list::<DaemonSet>(Api::all(client.clone()), &mut said).await?;
    let deployments = cluster::list::<Deployment>(Api::all(client.clone()), &mut said).await?;
    let webhooks = cluster::list::<ValidatingWebhookConfiguration>(Api::all(client.clone()), &mut said).await?;
    let strict_webhooks = strict(&client, &webhooks, &seen.known.endpoints).await?;
    let ours = |name: &str| name.starts_with("ipaddresspool") && name.ends_with("metallb.io");
    let theirs = webhooks.iter().flat_map(|configuration| configuration.webhooks.iter().flatten());
    let asked = match theirs.into_iter().any(|webhook| ours(&webhook.name)) {
        true => ask_webhook(client.clone(), namespace).await,
        false => None,
    };
    let frr_configurations = frr_configurations(client.clone()).await;
    let proxies = Api::<ConfigMap>::namespaced(client.clone(), "kube-system");
    let proxy = proxies.get_opt("kube-proxy").await.ok().flatten();
    // Who may not list kinds may still be allowed to look at one object.
    let namespace_object = Api::<Namespace>::all(client).get_opt(namespace).await;
    let mut denied = seen.denied.clone();
    denied.extend(cluster::Denied::of(&mut said));
    let refusal = denied.finding();
    let mut kinds = denied.kinds().clone();
    if namespace_object.is_ok() {
        kinds.remove("Namespace");
    }
    let missing = |finding: &&Finding| !before || finding.code != Code::KindMissing;
    let is_told = |finding: &&Finding| finding.code != Code::AccessDenied;
    let (elsewhere, unread): (Vec<_>, Vec<_>) =
        seen.findings.iter().chain(&said).partition(|finding| finding.code == Code::WrongNamespace);
    let unreadable = unread.into_iter().filter(missing).filter(is_told);
    Ok(Surroundings {
        version,
        namespace: namespace.to_owned(),
        namespace_object: namespace_object.ok().flatten().map(Into::into),
        denied: kinds,
        refusal,
        ignore_exclude_lb: seen.options.ignore_exclude_lb,
        silent_if_all_excluded: !seen.options.announce_if_all_excluded,
        kube_proxy: proxy.and_then(|map| map.data?.get("config.conf").cloned()),
        workloads: sets
            .iter()
            .map(|set| (&**set).into())
            .chain(deployments.iter().map(|set| (&**set).into()))
            .collect(),
        frr_configurations,
        strict_webhooks,
        asked,
        here: vantage(&seen.known.resources.nodes, &seen.pods, before)?,
        objects: seen.known.resources.pools.len()
            + seen.known.resources.l2_advertisements.len()
            + seen.known.resources.bgp_advertisements.len(),
        elsewhere: elsewhere.into_iter().cloned().collect(),
        unreadable: unreadable
            .map(|finding| format!("{}: {} ({})", finding.object, finding.message, finding.code))
            .collect(),
        nodes: seen.known.resources.nodes,
        pods: seen.pods,
        before,
    })
}

/// The webhook configurations without whose answer nothing of ours is stored, and who is behind them.
async fn strict(
    client: &Client,
    webhooks: &[Arc<ValidatingWebhookConfiguration>],
    endpoints: &[Arc<EndpointSlice>],
) -> anyhow::Result<Vec<(String, Behind)>> {
    let mut strict_webhooks = Vec::new();
    for configuration in webhooks {
        for webhook in configuration.webhooks.iter().flatten() {
            let ours = webhook.name.ends_with("metallb.io") && webhook.failure_policy.as_deref() != Some("Ignore");
            if let (true, Some(service)) = (ours, &webhook.client_config.service) {
                let services = Api::<Service>::namespaced(client.clone(), &service.namespace);
                let exists = services.get_opt(&service.name).await?.is_some();
                let behind = match exists {
                    true if has_ready(endpoints, &service.namespace, &service.name) => Behind::Somebody,
                    true => Behind::Nobody,
                    false => Behind::Nothing,
                };
                strict_webhooks.push((configuration.metadata.name.clone().unwrap_or_default(), behind));
            }
        }
    }
    strict_webhooks.sort();
    strict_webhooks.dedup();
    Ok(strict_webhooks)
}

/// Has the API server judge, and not store, a pool that only the webhook refuses: its definition cannot compare the ends of
/// an IPv6 range. None where that may not be asked, or nothing follows from the answer.
async fn ask_webhook(client: Client, namespace: &str) -> Option<Asked> {
    let spec = IPAddressPoolSpec { addresses: vec!["fd00::2-fd00::1".to_owned()], ..IPAddressPoolSpec::default() };
    let pool = IPAddressPool::new("ferrolb-check", spec);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match Api::<IPAddressPool>::namespaced(client, namespace).create(&dry, &pool).await {
        Ok(_) => Some(Asked::Passed),
        Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
            Some(Asked::Failed(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if status.message.contains("denied the request") => Some(Asked::Refused),
        Err(_) => None,
    }
}

fn has_ready(slices: &[Arc<EndpointSlice>], namespace: &str, service: &str) -> bool {
    let service = ServiceKey::new(namespace, service);
    let mut ours = slices.iter().filter(|slice| slice::service_of(slice).as_ref() == Some(&service));
    let ready = |slice: &Arc<EndpointSlice>| {
        slice.endpoints.iter().any(|one| one.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true))
    };
    ours.any(ready)
}

/// The port by which speakers hear one another, unless they are told another.
const MEMBERSHIP_PORT: u16 = 7946;
/// How long a node may take to say that nobody listens.
const PORT_WITHIN: Duration = Duration::from_millis(700);

/// What this machine sees by itself. Ports are tried only before installation, and only where no speaker is ready: one
/// that listens keeps silent, as a firewall does.
fn vantage(nodes: &[Arc<Node>], pods: &[Arc<Pod>], before: bool) -> anyhow::Result<Vantage> {
    let addressed: Vec<(String, IpAddr)> = nodes.iter().filter_map(|node| internal(node)).collect();
    let here = wire::interfaces()?;
    let own = |address: &IpAddr| here.iter().any(|interface| interface.addresses().any(|one| one == *address));
    let node = addressed.iter().find(|(_, address)| own(address)).map(|(name, _)| name.clone());
    let speaks = |name: &String| {
        let mut speakers = pods.iter().filter(|pod| is_component(pod, "speaker") && is_ready(pod));
        speakers.any(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(name))
    };
    let tried = addressed.iter().filter(|(name, address)| before && !own(address) && !speaks(name));
    let among = |interface: &&wire::Interface| addressed.iter().any(|(_, address)| interface.has_network_of(*address));
    let wireless = |interface: &wire::Interface| {
        (interface.name.clone(), wireless::is_wireless(Path::new(wireless::INTERFACES), &interface.name))
    };
    Ok(Vantage {
        ports: knock(tried, MEMBERSHIP_PORT),
        interfaces: here.iter().filter(among).map(wireless).collect(),
        node,
    })
}

fn internal(node: &Node) -> Option<(String, IpAddr)> {
    let mut addresses = node.status.as_ref()?.addresses.as_ref()?.iter();
    let address = addresses.find(|address| address.type_ == "InternalIP")?.address.parse().ok()?;
    Some((node.metadata.name.clone()?, address))
}

/// Sends an empty datagram to each and sees what comes back.
fn knock<'a>(nodes: impl Iterator<Item = &'a (String, IpAddr)>, port: u16) -> Vec<(String, Port)> {
    let send = |address: IpAddr| {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect((address, port))?;
        socket.set_nonblocking(true)?;
        socket.send(&[])?;
        Ok::<_, std::io::Error>(socket)
    };
    let sent: Vec<_> = nodes.map(|(name, address)| (name, send(*address))).collect();
    if !sent.is_empty() {
        std::thread::sleep(PORT_WITHIN);
    }
    let heard = |socket: std::io::Result<UdpSocket>| match socket.and_then(|socket| socket.recv(&mut [0])) {
        Ok(_) => Port::Reached,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Port::Reached,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Port::Silent,
        Err(error) => Port::Unreachable(error.to_string()),
    };
    sent.into_iter().map(|(name, socket)| (name.clone(), heard(socket))).collect()
}

/// The FRRConfigurations, where there are such things and they may be seen.
async fn frr_configurations(client: Client) -> Vec<String> {
    let kind = GroupVersionKind::gvk("frrk8s.metallb.io", "v1beta1", "FRRConfiguration");
    let api = Api::<DynamicObject>::all_with(client, &ApiResource::from_gvk(&kind));
    let objects = api.list_metadata(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let name = |object: &PartialObjectMeta<DynamicObject>| names(&object.metadata);
    objects.iter().map(name).map(|(namespace, name)| format!("{namespace}/{name}")).collect()
}

fn names(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct WaitArgs {
    /// Wait until this Service is announced: svc/NAME or NAMESPACE/NAME; without it, until everything is ready.
    service: Option<String>,
    /// The Service's namespace; without it, the first that has a Service of that name.
    #[arg(short = 'n', short_alias = 'i', long = "service-namespace")]
    in_namespace: Option<String>,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    #[command(flatten)]
    reach: Reach,
}

/// Waits, and says which stage is missing whenever that changes.
pub(super) fn wait(args: &WaitArgs) -> anyhow::Result<Verdict> {
    let (namespace, until) = (args.reach.namespace(), Instant::now() + Duration::from_secs(args.timeout));
    args.reach.in_cluster(async |client, server| {
        let mut said = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let look = stage(client.clone(), namespace, args.service.as_deref(), args.in_namespace.as_deref());
            // A server that keeps silent does not make the time any longer.
            let look = match tokio::time::timeout(left, look).await {
                Ok(look) => look.map_err(|error| cluster::in_words(error, server)),
                Err(_) => {
                    let message = format!("the API server does not answer within {} s", args.timeout);
                    Err(anyhow::anyhow!("{}", Finding::new(Code::ApiServerAway, Severity::Error, server, message)))
                }
            };
            let is_told = look.is_ok();
            match look.unwrap_or_else(|error| Err(format!("{error:#}"))) {
                Ok(ready) => {
                    print(&format!("Ready: {ready}\n"))?;
                    return Ok(Verdict::Fine);
                }
                Err(missing) if missing != said => {
                    print(&format!("Not ready: {missing}\n"))?;
                    std::io::stdout().flush()?;
                    said = missing;
                }
                Err(_) => {}
            }
            if Instant::now() + LOOK_INTERVAL > until {
                return Ok(if is_told { Verdict::Findings } else { Verdict::Exit(2) });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    })
}

/// The first stage that is missing, or what is ready.
async fn stage(
    client: Client,
    namespace: &str,
    service: Option<&str>,
    in_namespace: Option<&str>,
) -> anyhow::Result<Result<String, String>> {
    let seen = cluster::read(client, namespace).await?;
    let picture = ferrolb_rules::picture::draw(&seen.known, &seen.options);
    let state = view::of_cluster(&picture, &seen);
    let surroundings = Surroundings { pods: seen.pods.clone(), ..Surroundings::default() };
    let mut ready = Vec::new();
    for check in surroundings::components(&surroundings) {
        let text = format!("{} {}", check.group, check.text);
        if check.mark != Mark::Fine {
            return Ok(Err(text));
        }
        ready.push(text);
    }
    Ok(configured(&state, service, in_namespace).map(|rest| {
        ready.extend(rest);
        ready.join(", ")
    }))
}

fn configured(state: &State, service: Option<&str>, in_namespace: Option<&str>) -> Result<Vec<String>, String> {
    if let Some(finding) = state.findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(format!("{} {}: {}", finding.code, finding.object, finding.message));
    }
    let mut ready = vec!["configuration accepted".to_owned()];
    let Some(service) = service else { return Ok(ready) };
    let (namespace, name) = split(service, in_namespace);
    let found =
        state.services.iter().find(|one| one.name == name && namespace.is_none_or(|space| one.namespace == space));
    match found {
        None => return Err(format!("there is no Service {service} of type LoadBalancer")),
        Some(one) if one.state == Progress::Announced => {
            ready.push(format!("{service} announced by {}", one.node.clone().unwrap_or_default()));
        }
        Some(one) => {
            let reason = one.reasons.iter().find(|reason| reason.node.is_none());
            let reason = reason.map_or_else(String::new, |reason| format!(": {} {}", reason.code, reason.message));
            return Err(format!("{service} is not announced{reason}"));
        }
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::reason::Finding;

    use super::*;
    use crate::state::{ReasonState, ServiceState};

    #[test]
    fn values_say_how_excluded_nodes_are_judged() {
        let judged = |values: serde_json::Value| {
            let mut seen = Surroundings::default();
            heed(&mut seen, &[values]);
            (seen.ignore_exclude_lb, seen.silent_if_all_excluded)
        };
        assert_eq!(judged(serde_json::json!({"speaker": {"ignoreExcludeLB": true}})), (true, false));
        assert_eq!(judged(serde_json::json!({"speaker": {"announceIfAllExcluded": false}})), (false, true));
        assert_eq!(judged(serde_json::json!({"controller": {}})), (false, false));
    }

    #[test]
    fn a_port_that_nobody_has_is_reached_and_one_that_keeps_silent_is_not_told_from_a_firewall() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let node = [("node-a".to_owned(), address)];
        let (silent, port) = (taken.local_addr().unwrap().port(), |port| knock(node.iter(), port).remove(0).1);
        assert_eq!(port(silent), Port::Silent);
        drop(taken);
        assert_eq!(port(silent), Port::Reached);
    }

    fn state(progress: Progress) -> State {
        let reason = ReasonState {
            code: Code::NoAdvertisement,
            node: None,
            message: "no L2Advertisement selects it".to_owned(),
            fix: "make one".to_owned(),
        };
        let service = ServiceState {
            namespace: "a".to_owned(),
            name: "web".to_owned(),
            state: progress,
            node: Some("nuc-1".to_owned()),
            reasons: vec![reason],
            ..ServiceState::default()
        };
        State { services: vec![service], ..State::default() }
    }

    #[test]
    fn waiting_ends_when_the_configuration_is_accepted_and_the_service_announced() {
        let ready = configured(&state(Progress::Announced), Some("svc/web"), None).unwrap();
        assert_eq!(ready, ["configuration accepted", "svc/web announced by nuc-1"]);
        assert_eq!(configured(&state(Progress::Allocated), None, None).unwrap(), ["configuration accepted"]);
    }

    #[test]
    fn waiting_names_what_is_missing() {
        let missing = configured(&state(Progress::Allocated), Some("a/web"), None).unwrap_err();
        assert_eq!(missing, "a/web is not announced: LB1101 no L2Advertisement selects it");
        let missing = configured(&state(Progress::Allocated), Some("web"), Some("b")).unwrap_err();
        assert_eq!(missing, "there is no Service web of type LoadBalancer");
        let missing = configured(&state(Progress::Allocated), Some("b/web"), None).unwrap_err();
        assert_eq!(missing, "there is no Service b/web of type LoadBalancer");
        let mut broken = state(Progress::Announced);
        broken.findings = vec![Finding::new(Code::PoolEmpty, Severity::Error, "IPAddressPool/p", "it is empty")];
        assert_eq!(configured(&broken, None, None).unwrap_err(), "LB4001 IPAddressPool/p: it is empty");
    }
}
