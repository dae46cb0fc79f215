//! What the lab shows, chapter by chapter.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::reason::Finding;

use super::browser::{self, Load};
use super::network::{LAPTOP, MACHINES, NODES, Network, address_of};
use super::record::Recorder;
use super::speakers::{self, States, agreed_owner, service};
use super::wire::Sniffer;
use super::{Lab, PATIENCE};
use crate::state::{PoolState, Progress, ReasonState};

/// The address that the user's Traefik asks for.
const TRAEFIK: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);
/// The address that the user's static-ip example asks for.
const STATIC_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 205);
/// How long the laptop keeps asking before and after what is measured.
const CALM: Duration = Duration::from_millis(300);
/// How often the laptop's own kernel is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

const OPENING: &str = "\
A small network inside one process tree. No cluster; nothing on this machine is changed.

   switch ─┬─ router  192.168.1.1
           ├─ node-a  192.168.1.11   ferrolb standalone
           ├─ node-b  192.168.1.12   ferrolb standalone
           ├─ node-c  192.168.1.13   ferrolb standalone
           └─ laptop  192.168.1.50
";

const ENDING: &str = "
Stay inside:   ferrolb lab --shell      ferrolb status, curl, arping, tcpdump work there; try your own YAML
Next:          ferrolb explain LB2001   any code above, offline";

/// The whole of it.
pub(super) fn tell(recorder: &mut Recorder) -> anyhow::Result<()> {
    recorder.tell(OPENING);
    let network = Network::build()?;
    let sniffer = Sniffer::start(&network)?;
    network_is_up(recorder, &network, &sniffer)?;
    let mut lab = Lab::start(network)?;
    speakers_are_ready(recorder, &mut lab)?;
    let owner = first_service(recorder, &mut lab)?;
    network_agrees(recorder, &lab, &sniffer, &owner)?;
    pull_the_plug(recorder, &mut lab, &sniffer, &owner)?;
    other_examples(recorder, &mut lab, &sniffer)?;
    what_does_nothing(recorder)?;
    recorder.tell(ENDING);
    Ok(())
}

fn network_is_up(recorder: &mut Recorder, network: &Network, sniffer: &Sniffer) -> anyhow::Result<()> {
    let mut silent = Vec::new();
    for (name, _) in MACHINES.iter().filter(|(name, _)| *name != LAPTOP) {
        let expected = BTreeSet::from([network.mac_of(name)?]);
        if sniffer.who_has(address_of(name).context("a machine without an address")?) != expected {
            silent.push(*name);
        }
    }
    let detail = if silent.is_empty() {
        format!("network up: {} machines, real Ethernet frames", MACHINES.len())
    } else {
        format!("no answer to ARP from {}", silent.join(", "))
    };
    Ok(recorder.require("network", silent.is_empty(), detail)?)
}

fn speakers_are_ready(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<()> {
    let (states, took) = lab.speakers.await_states(&NODES, PATIENCE, all_together);
    let detail = match took {
        Some(_) => format!("controller and {} speakers ready (kube-proxy is a stand-in)", states.len()),
        None => format!("the nodes did not find each other in {} s", PATIENCE.as_secs()),
    };
    Ok(recorder.require("speakers", took.is_some(), detail)?)
}

/// Every node sees every node, and all name the same one as the allocator.
fn all_together(states: &States) -> bool {
    let allocators: BTreeSet<_> = states
        .values()
        .map(|state| state.peers.iter().find(|peer| peer.allocator).map(|peer| peer.name.clone()))
        .collect();
    let all_see_all = states.values().all(|state| state.peers.iter().filter(|peer| peer.alive).count() == NODES.len());
    all_see_all && allocators.len() == 1 && !allocators.contains(&None)
}

fn first_service(recorder: &mut Recorder, lab: &mut Lab) -> anyhow::Result<String> {
    recorder.chapter("1  The files from your Git repository: one pool, and Traefik");
    let (states, _) = lab
        .speakers
        .await_states(&NODES, PATIENCE, |states| agreed_owner(states, "traefik-system", "traefik").is_some());
    pool_counts(recorder, &states, "pool", 1);
    let advertised = every_pool(&states, "default-pool", |pool| {
        pool.advertised_by.iter().any(|name| name == "default-advertisement")
    });
    let says = if advertised { "selects" } else { "does NOT select" };
    recorder.check("advertisement", advertised, format!("L2Advertisement/default-advertisement  {says} default-pool"));
    let got: BTreeSet<Vec<IpAddr>> = states
        .values()
        .map(|state| service(state, "traefik-system", "traefik").map(|it| it.addresses.clone()).unwrap_or_default())
        .collect();
    let as_asked = got == BTreeSet::from([vec![IpAddr::V4(TRAEFIK)]]);
    let detail = format!("Service traefik-system/traefik  EXTERNAL-IP {}", addresses(&got));
    recorder.require("address", as_asked, if as_asked { detail + "  (asked for it)" } else { detail })?;
    let owner = agreed_owner(&states, "traefik-system", "traefik");
    let detail = match &owner {
        Some(owner) => format!("announced by {owner}; all three nodes say so"),
        None => "the nodes do not agree on who announces it".to_owned(),
    };
    recorder.require("announced", owner.is_some(), detail)?;
    owner.context("no owner")
}

/// Checks that all nodes count default-pool alike: 21 addresses, this many used.
fn pool_counts(recorder: &mut Recorder, states: &States, name: &str, used: u64) -> bool {
    let range = "192.168.1.200-192.168.1.220";
    let right = every_pool(states, "default-pool", |pool| {
        (pool.total, pool.assigned, pool.available) == (21, used, 21 - used) && pool.ranges == [range]
    });
    let pool = states.values().next().and_then(|state| state.pools.iter().find(|pool| pool.name == "default-pool"));
    let (total, assigned, free) = pool.map_or((0, 0, 0), |pool| (pool.total, pool.assigned, pool.available));
    let mut detail = format!("IPAddressPool/default-pool  {range} = {total} addresses: {assigned} used, {free} free");
    if !right {
        detail += &format!("\nexpected on every node: 21, {used} used, {} free", 21 - used);
    }
    recorder.check(name, right, detail)
}

fn every_pool(states: &States, name: &str, so: impl Fn(&PoolState) -> bool) -> bool {
    !states.is_empty() && states.values().all(|state| state.pools.iter().any(|pool| pool.name == name && so(pool)))
}

fn addresses(sets: &BTreeSet<Vec<IpAddr>>) -> String {
    let texts: Vec<String> = sets.iter().flatten().map(ToString::to_string).collect();
    if texts.is_empty() { "<pending>".to_owned() } else { texts.join(" or ") }
}

fn network_agrees(recorder: &mut Recorder, lab: &Lab, sniffer: &Sniffer, owner: &str) -> anyhow::Result<()> {
    recorder.chapter("2  Does the network agree?");
    let told = speakers::ask(NODES[0]);
    let told = told.as_ref().and_then(|state| service(state, "traefik-system", "traefik")?.mac);
    let kernel = lab.network.mac_of(owner)?;
    let answers = sniffer.who_has(TRAEFIK);
    let right = told == Some(kernel) && answers == BTreeSet::from([kernel]);
    let mut detail = who_answers(TRAEFIK, &answers, owner);
    if !right {
        detail += &format!("\n{owner}'s interface has {kernel}, `ferrolb status` says {}", shown(told));
    }
    recorder.check("one-answer", right, detail);
    page(recorder, lab, "http", TRAEFIK, "traefik", owner);
    Ok(())
}

fn who_answers(address: Ipv4Addr, answers: &BTreeSet<MacAddr>, owner: &str) -> String {
    let macs: Vec<String> = answers.iter().map(ToString::to_string).collect();
    match macs.as_slice() {
        [] => format!("laptop: who has {address}?  nobody answers"),
        [one] => format!("laptop: who has {address}?  one answer: {one} ({owner})"),
        more => format!("laptop: who has {address}?  {} answers: {}", more.len(), more.join(", ")),
    }
}

fn shown(mac: Option<MacAddr>) -> String {
    mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string())
}

/// Checks that a page comes, from the pod on the node that announces: the stand-in for kube-proxy sends it there.
fn page(recorder: &mut Recorder, lab: &Lab, name: &str, address: Ipv4Addr, backend: &str, owner: &str) -> bool {
    let pod = NODES.iter().position(|node| *node == owner).map(|index| format!("{backend}-{}", index + 1));
    let expected = format!("hello from {}", pod.unwrap_or_default());
    let end = Instant::now() + PATIENCE;
    // The stand-in learns of a new address from `ferrolb status`, a moment after the network did.
    let answer = loop {
        match browser::get(&lab.network, LAPTOP, SocketAddr::new(address.into(), 80)) {
            Err(_) if Instant::now() < end => thread::sleep(LOOK_INTERVAL),
            answer => break answer,
        }
    };
    let (right, says) = match answer {
        Ok((status, body)) => (status == 200 && body == expected, format!("{status} {body:?}")),
        Err(error) => (false, format!("{error:#}")),
    };
    recorder.check(name, right, format!("laptop: GET http://{address}/  {says}"))
}

fn pull_the_plug(recorder: &mut Recorder, lab: &mut Lab, sniffer: &Sniffer, owner: &str) -> anyhow::Result<()> {
    recorder.chapter(&format!("3  Pull {owner}'s plug (the laptop sends 50 requests a second)"));
    let load = Load::start(&lab.network, LAPTOP, SocketAddr::new(TRAEFIK.into(), 80))?;
    thread::sleep(CALM);
    sniffer.forget();
    let cut = Instant::now();
    lab.network.unplug(owner)?;
    recorder.event(&format!("{owner} is off"));
    let survivors: Vec<&'static str> = NODES.into_iter().filter(|node| *node != owner).collect();
    let gone = |states: &States| {
        states.values().all(|state| state.peers.iter().all(|peer| peer.name != owner || !peer.alive))
            && agreed_owner(states, "traefik-system", "traefik").is_some_and(|next| next != owner)
    };
    let (states, took) = lab.speakers.await_states(&survivors, PATIENCE, gone);
    let next = agreed_owner(&states, "traefik-system", "traefik").filter(|_| took.is_some());
    let detail = match &next {
        Some(next) => format!(
            "{} agree that {owner} is gone and that {next} takes over: {} after the plug",
            survivors.join(" and "),
            seconds(cut.elapsed())
        ),
        None => format!("{} did not notice in {} s", survivors.join(" and "), PATIENCE.as_secs()),
    };
    recorder.require("detection", next.is_some(), detail)?;
    let next = next.context("no owner")?;
    takeover(recorder, &lab.network, sniffer, &next, cut)?;
    thread::sleep(CALM);
    outage(recorder, load, cut, owner, &next)?;
    plug_back(recorder, lab, sniffer, owner)
}

/// The new owner tells the network, and the laptop's kernel believes it.
fn takeover(
    recorder: &mut Recorder,
    network: &Network,
    sniffer: &Sniffer,
    next: &str,
    cut: Instant,
) -> anyhow::Result<()> {
    let mac = network.mac_of(next)?;
    let (_, entry) = look(|| network.neighbour(LAPTOP, TRAEFIK.into()), |entry| *entry == Some(mac))?;
    let seen = entry.map(|_| cut.elapsed());
    let told = sniffer.first_announcement(TRAEFIK, mac).map(|at| at.saturating_duration_since(cut));
    let detail = match told {
        Some(after) => format!("{next} tells the LAN that it has {TRAEFIK}: {} after the plug", seconds(after)),
        None => format!("{next} did not tell the LAN that it has {TRAEFIK}"),
    };
    recorder.check("announcement", told.is_some(), detail);
    let detail = match seen {
        Some(_) => format!("the laptop's ARP entry is now {mac} ({next})"),
        None => format!("the laptop's ARP entry is not {mac} ({next})"),
    };
    recorder.check("neighbour", seen.is_some(), detail);
    let answers = sniffer.who_has(TRAEFIK);
    recorder.check("one-answer-after", answers == BTreeSet::from([mac]), who_answers(TRAEFIK, &answers, next));
    Ok(())
}

/// Looks at something until it is as wanted: the last look, and `Some` if it came about.
fn look<T>(mut at: impl FnMut() -> anyhow::Result<T>, wanted: impl Fn(&T) -> bool) -> anyhow::Result<(T, Option<()>)> {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = at()?;
        if wanted(&seen) {
            return Ok((seen, Some(())));
        }
        if Instant::now() > end {
            return Ok((seen, None));
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn outage(recorder: &mut Recorder, load: Load, cut: Instant, owner: &str, next: &str) -> anyhow::Result<()> {
    let tried = load.stop()?;
    let failed = tried.iter().filter(|one| !one.answered).count();
    let calm_before = tried.iter().filter(|one| one.at + browser::REQUEST_INTERVAL < cut).all(|one| one.answered);
    let answered_after = tried.last().is_some_and(|one| one.at > cut && one.answered);
    let outage = browser::outage(&tried).unwrap_or_default();
    recorder.failover(owner, next, outage);
    let mut detail = format!(
        "the laptop got no answer for {} ms: {failed} of {} requests failed\nalmost all of that is noticing that {owner} is gone",
        outage.as_millis(),
        tried.len()
    );
    if !calm_before {
        detail += "\nrequests failed before the plug was pulled";
    }
    if !answered_after {
        detail += "\nthe last request was still not answered";
    }
    recorder.check("outage", calm_before && answered_after, detail);
    Ok(())
}

/// The node comes back, having missed that it was replaced: again one answer, and everybody agrees whose.
fn plug_back(recorder: &mut Recorder, lab: &mut Lab, sniffer: &Sniffer, owner: &str) -> anyhow::Result<()> {
    lab.network.plug(owner)?;
    recorder.event(&format!("{owner} is plugged in again"));
    let (states, took) = lab.speakers.await_states(&NODES, PATIENCE, |states| {
        all_together(states) && agreed_owner(states, "traefik-system", "traefik").is_some()
    });
    let now = agreed_owner(&states, "traefik-system", "traefik").filter(|_| took.is_some());
    let Some(now) = now else {
        let detail = format!("the nodes do not agree again after {} s", PATIENCE.as_secs());
        recorder.check("back", false, detail);
        return Ok(());
    };
    let answers = sniffer.who_has(TRAEFIK);
    let right = answers == BTreeSet::from([lab.network.mac_of(&now)?]);
    recorder.check("back", right, who_answers(TRAEFIK, &answers, &now));
    Ok(())
}

fn other_examples(recorder: &mut Recorder, lab: &mut Lab, sniffer: &Sniffer) -> anyhow::Result<()> {
    recorder.chapter("4  The other examples: a fixed address, and a pool chosen by annotation");
    lab.manifests.add_later_files()?;
    let (states, _) = lab.speakers.await_states(&NODES, PATIENCE, |states| {
        agreed_owner(states, "default", "static-ip").is_some()
            && states.values().all(|state| why_by_pool(state).is_some())
    });
    served(recorder, lab, sniffer, &states, "static-ip", |address| address == STATIC_IP)?;
    pool_counts(recorder, &states, "two-used", 2);
    let waits = states.values().next().and_then(why_by_pool).cloned();
    let right = waits.as_ref().is_some_and(|why| why.code.to_string() == "LB1004");
    let detail = waits.map_or_else(
        || "Service default/by-pool does not say why it gets no address".to_owned(),
        |why| format!("Service default/by-pool  <pending>  {}  {}\nfix: {}", why.code, why.message, why.fix),
    );
    recorder.check("by-pool-waits", right, detail);
    lab.manifests.add_production_pool()?;
    recorder.event(
        "the lab adds IPAddressPool/production-pool 192.168.1.230-239 and an L2Advertisement\n\
         (multiple-pools.yaml does not: it names no namespace, and its range lies inside default-pool)",
    );
    let (states, _) =
        lab.speakers.await_states(&NODES, PATIENCE, |states| agreed_owner(states, "default", "by-pool").is_some());
    served(recorder, lab, sniffer, &states, "by-pool", |address| (230..=239).contains(&address.octets()[3]))
}

/// Why the Service by-pool has no address, as one node says.
fn why_by_pool(state: &crate::state::State) -> Option<&ReasonState> {
    let service = service(state, "default", "by-pool").filter(|service| service.state == Progress::Pending)?;
    service.reasons.first()
}

/// Checks one Service of the namespace `default` from the address to the page.
fn served(
    recorder: &mut Recorder,
    lab: &Lab,
    sniffer: &Sniffer,
    states: &States,
    name: &str,
    expected: impl Fn(Ipv4Addr) -> bool,
) -> anyhow::Result<()> {
    let found = states.values().next().and_then(|state| service(state, "default", name));
    let address = found.and_then(|service| match service.addresses.as_slice() {
        [IpAddr::V4(address)] => Some(*address),
        _ => None,
    });
    let owner = agreed_owner(states, "default", name);
    let (Some(address), Some(owner)) = (address, owner) else {
        let why = found.and_then(|service| service.reasons.first());
        let why = why.map(|why| format!("{}  {}", why.code, why.message)).unwrap_or_default();
        recorder.check(name, false, format!("Service default/{name} is not announced  {why}"));
        return Ok(());
    };
    let detail = format!("Service default/{name}  EXTERNAL-IP {address}, announced by {owner}");
    recorder.check(name, expected(address), detail);
    let answers = sniffer.who_has(address);
    let right = answers == BTreeSet::from([lab.network.mac_of(&owner)?]);
    recorder.check(&format!("{name}-one-answer"), right, who_answers(address, &answers, &owner));
    page(recorder, lab, &format!("{name}-http"), address, name, &owner);
    Ok(())
}

fn what_does_nothing(recorder: &mut Recorder) -> anyhow::Result<()> {
    recorder.chapter("5  What in your files does nothing, or not what it seems to");
    let state = speakers::ask(NODES[0]).context("node-a does not answer")?;
    for finding in &state.findings {
        recorder.event(&line(finding));
    }
    let expected = [
        ("LB2001", "traefik-system/traefik"),
        ("LB2001", "default/static-ip"),
        ("LB2002", "default/static-ip"),
        ("LB0008", "production-pool"),
        ("LB0008", "development-pool"),
        ("LB0006", "Application"),
    ];
    let missing: Vec<String> = expected
        .iter()
        .filter(|(code, object)| {
            !state.findings.iter().any(|finding| finding.code.to_string() == *code && finding.object.contains(object))
        })
        .map(|(code, object)| format!("{code} {object}"))
        .collect();
    let detail = if missing.is_empty() {
        format!("{} findings, each with its code; the Services are served all the same", state.findings.len())
    } else {
        format!("not found: {}", missing.join(", "))
    };
    recorder.check("findings", missing.is_empty(), detail);
    recorder.state(&state);
    recorder.findings(state.findings.iter());
    Ok(())
}

fn line(finding: &Finding) -> String {
    let place = finding.location.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    format!("{}  {}{place}\n{}\nfix: {}", finding.code, finding.object, finding.message, finding.fix)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
