//! The other story: two routers of different makers, three nodes that tell both of an address, and what clients behind the
//! routers see when a node dies, is emptied, gets more to do, and when a router restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::PATIENCE;
use super::browser::{self, Load, Tried};
use super::manifests::{Backend, Manifests};
use super::network::{BEHIND, NODES, Network, ROUTERS, address_of};
use super::record::{Measure, Recorder};
use super::routers::Routers;
use super::speakers::{Speakers, States};
use super::{pods, shell};
use crate::state::RouterState;

/// The address of the Service: of no network that anybody here is in.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The one Service, and a pod of it on every node.
const WEB: [Backend; 1] = [Backend { namespace: "default", name: "web", ports: &[(80, 8000)], number: 40 }];
/// How long clients keep asking before and after what is measured.
const CALM: Duration = Duration::from_millis(500);
/// How often kernels are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Requests to see how traffic is spread.
const SPREAD: usize = 160;

const OPENING: &str = "\
A small network inside one process tree. No cluster; nothing on this machine is changed.

   laptop 10.9.1.2 ── router-1  192.168.1.1 (FRR)  ─┬─ switch ─┬─ node-a  192.168.1.11  ferrolb standalone
   desktop 10.9.2.2 ─ router-2  192.168.1.2 (BIRD) ─┘          ├─ node-b  192.168.1.12  ferrolb standalone
                                                               └─ node-c  192.168.1.13  ferrolb standalone
";

const OBJECTS: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: public, namespace: metallb-system}
spec:
  addresses: [203.0.113.0/24]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: public, namespace: metallb-system}
spec:
  ipAddressPools: [public]
  weightByLocalEndpoints: true
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 50, transmitInterval: 50, detectMultiplier: 3}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router-1, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, connectTime: 1s, bfdProfile: fast}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router-2, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64514, peerAddress: 192.168.1.2, connectTime: 1s, bfdProfile: fast}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, annotations: {metallb.io/loadBalancerIPs: 203.0.113.10}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8000}]}
";

/// Everything that runs.
struct Lab {
    network: Network,
    manifests: Manifests,
    speakers: Speakers,
    routers: Routers,
}

/// The whole of it.
pub(super) fn tell(recorder: &mut Recorder) -> anyhow::Result<()> {
    recorder.tell(OPENING);
    let mut lab = start()?;
    recorder.chapter("1  Two routers, three nodes, one address");
    sessions(recorder, &mut lab)?;
    routes(recorder, &lab)?;
    recorder.chapter("2  A node dies (each client sends 50 requests a second; BFD 50 ms x 3)");
    crash(recorder, &mut lab)?;
    recorder.chapter("3  A node is emptied: its Node gets the label that takes it out");
    drain(recorder, &mut lab)?;
    recorder.chapter("4  Pods move: 1, 2 and 5 of them on the three nodes");
    weights(recorder, &lab)?;
    recorder.chapter("5  A router restarts its BGP daemon");
    restart(recorder, &mut lab)?;
    recorder.table();
    Ok(())
}

fn start() -> anyhow::Result<Lab> {
    let network = Network::build_routed()?;
    let manifests = Manifests::empty();
    manifests.write("nodes.yaml", &nodes(None))?;
    manifests.write("endpoints.yaml", &endpoints([1, 1, 1]))?;
    manifests.write("bgp.yaml", OBJECTS)?;
    pods::start(&network, &WEB)?;
    pods::start_proxy(&network, &WEB)?;
    let routers = Routers::start(&network)?;
    let speakers = Speakers::start(&network, &shell::program(), manifests.directory())?;
    Ok(Lab { network, manifests, speakers, routers })
}

fn nodes(drained: Option<&str>) -> String {
    NODES.iter().fold(String::new(), |mut text, node| {
        let address = address_of(node).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let label = "node.kubernetes.io/exclude-from-external-load-balancers: \"\"";
        let labels = if drained == Some(*node) { format!(", labels: {{{label}}}") } else { String::new() };
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {node}{labels}}}\nstatus:\n  \
             addresses: [{{type: InternalIP, address: {address}}}]\n  conditions: [{{type: Ready, status: \"True\"}}]\n"
        );
        text
    })
}

/// So many pods on each node. The stand-in for kube-proxy sends all traffic of a node to the first of them.
fn endpoints(pods: [u8; 3]) -> String {
    let mut text =
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  namespace: default\n  \
                    labels: {kubernetes.io/service-name: web}\naddressType: IPv4\nendpoints:\n"
            .to_owned();
    for (index, (node, pods)) in NODES.iter().zip(pods).enumerate() {
        for pod in 0..pods {
            let number = WEB[0].number + pod;
            let _ = writeln!(
                text,
                "- {{addresses: [10.244.{index}.{number}], nodeName: {node}, conditions: {{ready: true, serving: true}}}}"
            );
        }
    }
    text
}

fn sessions(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<()> {
    let (states, took) = lab.speakers.await_states(&NODES, PATIENCE, |states| missing(states).is_empty());
    let detail = match took {
        Some(took) => {
            format!("6 sessions established and watched by BFD, each told of {ADDRESS}/32: {} ms", took.as_millis())
        }
        None => format!("after {} s there is no session:{}", PATIENCE.as_secs(), missing(&states)),
    };
    Ok(recorder.require("sessions", took.is_some(), detail)?)
}

/// The sessions that are not as they should be, and how they are.
fn missing(states: &States) -> String {
    let mut missing = String::new();
    for (node, state) in states {
        for name in ROUTERS {
            let router = state.routers.iter().find(|router| router.name == name);
            let so = |one: &&RouterState| one.established && one.told == 1 && one.bfd.as_deref() == Some("Up");
            if router.filter(so).is_none() {
                let (session, bfd) = router.map_or(("-", None), |one| (one.state.as_str(), one.bfd.as_deref()));
                let _ = write!(missing, "\n{node} with {name}: {session}, BFD {}", bfd.unwrap_or("-"));
            }
        }
    }
    missing
}

/// Waits until a router's kernel spreads the address over these nodes; says how long it took.
fn await_hops(network: &Network, router: &str, nodes: &[&str]) -> anyhow::Result<Option<Duration>> {
    let wanted: BTreeSet<IpAddr> = nodes.iter().filter_map(|node| address_of(node)).map(IpAddr::V4).collect();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if network.next_hops(router, ADDRESS)?.into_keys().collect::<BTreeSet<_>>() == wanted {
            return Ok(Some(start.elapsed()));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(None)
}

fn routes(recorder: &mut Recorder, lab: &Lab) -> anyhow::Result<()> {
    for router in ROUTERS {
        let so = await_hops(&lab.network, router, &NODES)?.is_some();
        let detail = if so {
            format!("{router}: its kernel spreads {ADDRESS}/32 over three next hops")
        } else {
            format!("{router}: its kernel does not send {ADDRESS}/32 to all three nodes")
        };
        recorder.require(&format!("ecmp-{router}"), so, detail)?;
    }
    for (client, _) in BEHIND {
        let pods = spread(&lab.network, client)?;
        let shares: Vec<String> = pods.iter().map(|(pod, count)| format!("{pod} {count}")).collect();
        let answered: usize = pods.values().sum();
        let detail = format!("{client}: {answered} of {SPREAD} connections answered: {}", shares.join(", "));
        recorder.check(&format!("spread-{client}"), pods.len() == 3 && answered == SPREAD, detail);
    }
    Ok(())
}

/// Who answers how often.
fn spread(network: &Network, client: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut pods = BTreeMap::new();
    // The stand-in for kube-proxy learns of a new address a moment after the routers did.
    let end = Instant::now() + PATIENCE;
    while browser::get(network, client, at()).is_err() && Instant::now() < end {
        thread::sleep(LOOK_INTERVAL);
    }
    for _ in 0..SPREAD {
        if let Ok((200, body)) = browser::get(network, client, at()) {
            *pods.entry(body.trim_start_matches("hello from ").to_owned()).or_default() += 1;
        }
    }
    Ok(pods)
}

fn at() -> SocketAddr {
    SocketAddr::new(ADDRESS.into(), 80)
}

/// Every client's requests, from a moment before something happens to a moment after its effect is over.
struct Clients(Vec<(&'static str, Load)>);

impl Clients {
    fn start(network: &Network) -> anyhow::Result<Self> {
        let loads: anyhow::Result<Vec<_>> =
            BEHIND.iter().map(|(client, _)| Ok((*client, Load::start(network, client, at())?))).collect();
        thread::sleep(CALM);
        Ok(Self(loads?))
    }

    fn stop(self, name: &'static str) -> anyhow::Result<Vec<Measure>> {
        thread::sleep(CALM);
        let stopped = self.0.into_iter().map(|(client, load)| Ok(measure(name, client, &load.stop()?)));
        stopped.collect()
    }
}

/// Counts what failed, and how long some did: traffic is spread, so that others are answered in between.
fn measure(name: &'static str, client: &'static str, tried: &[Tried]) -> Measure {
    let failed: Vec<usize> = (0..tried.len()).filter(|index| !tried[*index].answered).collect();
    let span = failed.first().zip(failed.last()).map(|(first, last)| {
        let after = tried.get(last + 1).unwrap_or(&tried[*last]);
        after.at.saturating_duration_since(tried[*first].at)
    });
    let outage_ms = u64::try_from(span.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    Measure { name, client, requests: tried.len(), failed: failed.len(), outage_ms }
}

fn in_words(measures: &[Measure]) -> String {
    measures.iter().fold(String::new(), |text, one| {
        let outage = if one.failed == 0 { String::new() } else { format!(", within {} ms", one.outage_ms) };
        text + &format!("\n{}: {} of {} connections failed{outage}", one.client, one.failed, one.requests)
    })
}

fn crash(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<()> {
    let (gone, left) = NODES.split_last().context("no nodes")?;
    let clients = Clients::start(&lab.network)?;
    let cut = Instant::now();
    lab.network.unplug(gone)?;
    recorder.event(&format!("{gone} is off"));
    let mut times = Vec::new();
    for router in ROUTERS {
        let seen = await_hops(&lab.network, router, left)?.is_some();
        times.push(seen.then(|| format!("{router} after {} ms", cut.elapsed().as_millis())));
    }
    let so = times.iter().all(Option::is_some);
    let measures = clients.stop("crash")?;
    let spared = measures.iter().all(|one| one.outage_ms < 2_000);
    let told: Vec<String> = times.into_iter().flatten().collect();
    let detail = format!("{gone} is out of the routers' kernels: {}{}", told.join(", "), in_words(&measures));
    recorder.check("crash", so && spared, detail);
    recorder.measures(&measures);
    lab.network.plug(gone)?;
    back(recorder, lab, "crash-back", &format!("{gone} is plugged in again"))
}

/// All three nodes are next hops at both routers again.
fn back(recorder: &mut Recorder, lab: &Lab, name: &str, why: &str) -> anyhow::Result<()> {
    recorder.event(why);
    let start = Instant::now();
    let mut so = true;
    for router in ROUTERS {
        so &= await_hops(&lab.network, router, &NODES)?.is_some();
    }
    let detail = format!("both routers send to all three nodes again: {} ms", start.elapsed().as_millis());
    Ok(recorder.require(name, so, detail)?)
}

fn drain(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<()> {
    let (leaving, stay) = (NODES[1], [NODES[0], NODES[2]]);
    let clients = Clients::start(&lab.network)?;
    let begun = Instant::now();
    lab.manifests.write("nodes.yaml", &nodes(Some(leaving)))?;
    recorder.event(&format!("{leaving} is labelled: its routes ask for other ways, and go five seconds later"));
    let mut so = true;
    for router in ROUTERS {
        so &= await_hops(&lab.network, router, &stay)?.is_some();
    }
    let moved = begun.elapsed();
    let none = |states: &States| states.values().all(|state| state.routers.iter().all(|router| router.told == 0));
    let (_, withdrawn) = lab.speakers.await_states(&[leaving], PATIENCE, none);
    let total = begun.elapsed();
    let measures = clients.stop("drain")?;
    let detail = format!(
        "both routers send nothing to {leaving} any more after {} ms; withdrawn after {} ms{}",
        moved.as_millis(),
        total.as_millis(),
        in_words(&measures)
    );
    // Where next hops change, the kernel sends some connections that are under way elsewhere.
    let spared = measures.iter().all(|one| one.failed <= 1);
    recorder.check("drain", so && withdrawn.is_some() && spared && moved < total, detail);
    recorder.measures(&measures);
    lab.manifests.write("nodes.yaml", &nodes(None))?;
    back(recorder, lab, "drain-back", "the label is taken away")
}

fn weights(recorder: &mut Recorder, lab: &Lab) -> anyhow::Result<()> {
    let clients = Clients::start(&lab.network)?;
    let begun = Instant::now();
    lab.manifests.write("endpoints.yaml", &endpoints([1, 2, 5]))?;
    let (mut weights, mut so) = (Vec::new(), false);
    while !so && begun.elapsed() < PATIENCE {
        thread::sleep(LOOK_INTERVAL);
        weights = lab.network.next_hops(ROUTERS[0], ADDRESS)?.into_values().collect();
        // The kernel has weights of 1 to 256, in the proportions that are asked for as well as these allow.
        so = matches!(weights[..], [a, b, c] if a.abs_diff(b / 2) <= 1 + b / 40 && a.abs_diff(c / 5) <= 1 + c / 100 && c > 2 * a);
    }
    let took = begun.elapsed();
    let measures = clients.stop("weights")?;
    let pods = spread(&lab.network, BEHIND[0].0)?;
    let shares: Vec<String> = pods.iter().map(|(pod, count)| format!("{pod} {count}")).collect();
    let detail = format!(
        "router-1: weights {weights:?} in its kernel after {} ms; {} connections: {}{}",
        took.as_millis(),
        SPREAD,
        shares.join(", "),
        in_words(&measures)
    );
    let most = pods.iter().max_by_key(|(_, count)| **count).map(|(pod, _)| pod.as_str());
    recorder.check("weights", so && most == Some("web-3") && measures.iter().all(|one| one.failed <= 1), detail);
    recorder.measures(&measures);
    Ok(())
}

fn restart(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<()> {
    let clients = Clients::start(&lab.network)?;
    let begun = Instant::now();
    lab.routers.restart_frr(&lab.network)?;
    let so = await_hops(&lab.network, ROUTERS[0], &NODES)?.is_some();
    let took = begun.elapsed();
    let measures = clients.stop("router-restart")?;
    let detail = format!("router-1 has its routes again after {} ms{}", took.as_millis(), in_words(&measures));
    let other = measures.iter().all(|one| one.client == BEHIND[0].0 || one.failed == 0);
    recorder.check("router-restart", so && other, detail);
    recorder.measures(&measures);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_some_connections_lasts_from_the_first_to_the_answer_after_the_last() {
        let start = Instant::now();
        let step = |(index, letter): (u32, char)| Tried {
            at: start + index * browser::REQUEST_INTERVAL,
            answered: letter == 'y',
        };
        let of = |answers: &str| {
            let tried: Vec<Tried> = (0..).zip(answers.chars()).map(step).collect();
            let one = measure("crash", "laptop", &tried);
            (one.requests, one.failed, one.outage_ms)
        };
        assert_eq!(of("yyyy"), (4, 0, 0));
        assert_eq!(of("ynynyy"), (6, 2, 60));
        assert_eq!(of("yyn"), (3, 1, 0));
    }
}
