//! `ferrolb status`: what a running process knows, over its local socket; what a cluster tells; what files come to.
//!
//! The server writes one JSON document ([`State`]) and closes; there is no request.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use comfy_table::{Table, presets};
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Answer, Reach};
use crate::state::{AdvertisementState, PoolState, Progress, ReasonState, RouterState, ServiceState, State};

/// Where a standalone process listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ferrolb/ferrolb.sock";

/// How long to wait for an answer: the server answers from memory, so silence means that it hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Print the notes, too: what works and does nothing, or could be written better.
    #[arg(long)]
    notes: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let answer = args.reach.ask()?;
    let state = &answer.state;
    show(args.output, state, || screen(state, args.notes), || names(state))?;
    Ok(verdict_of(&answer))
}

/// What is not seen may be wrong as well as right.
pub(super) fn verdict_of(answer: &Answer) -> Verdict {
    match (answer.denied.is_empty(), answer.state.ok) {
        (false, _) => Verdict::Exit(2),
        (true, true) => Verdict::Fine,
        (true, false) => Verdict::Findings,
    }
}

#[derive(clap::Args)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The hosts alone. One that is not alive is a finding; where none is known, nothing can be told.
pub(super) fn peers_only(args: &PeersArgs) -> anyhow::Result<Verdict> {
    let answer = args.reach.ask()?;
    answer.denied.refuse_without(&["Node", "Pod"])?;
    let state = answer.state;
    let screen = || {
        let mut out = String::new();
        peers(&state, &mut out);
        if out.is_empty() { "no host is known\n".to_owned() } else { out }
    };
    let names = || state.peers.iter().map(|peer| format!("{}\n", peer.name)).collect();
    show(args.output, &state.peers, screen, names)?;
    Ok(match state.peers.as_slice() {
        [] => Verdict::Exit(2),
        peers if peers.iter().all(|peer| peer.alive) => Verdict::Fine,
        _ => Verdict::Findings,
    })
}

/// Asks the process behind a socket for its state.
///
/// # Errors
/// Nobody listens there, the answer took too long, or it makes no sense.
pub fn ask(socket: &Path) -> anyhow::Result<State> {
    let object = format!("--socket {}", socket.display());
    let none = |message: String| {
        anyhow::anyhow!("{}", Finding::new(Code::NoAnswer, Severity::Error, object.as_str(), message))
    };
    let mut stream = UnixStream::connect(socket).map_err(|error| {
        none(match error.kind() {
            ErrorKind::PermissionDenied => "you may not open it; ask as the user that the process runs as".to_owned(),
            ErrorKind::NotFound => "there is none: `ferrolb standalone` does not run here, or has another".to_owned(),
            ErrorKind::ConnectionRefused => "nobody listens there any more: the process has ended".to_owned(),
            _ => error.to_string(),
        })
    })?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .map_err(|error| none(format!("the process did not answer within {} s: {error}", ANSWER_TIMEOUT.as_secs())))?;
    serde_json::from_str(&text)
        .map_err(|error| none(format!("what answers is another program, or another release of this one: {error}")))
}

fn names(state: &State) -> String {
    state.services.iter().map(|service| format!("service/{}/{}\n", service.namespace, service.name)).collect()
}

/// The screen for people: Services first, what is wrong with them right below, then pools, hosts and what else is found.
/// Notes are only counted, unless asked for: at night they are in the way.
pub fn screen(state: &State, with_notes: bool) -> String {
    let mut out = String::new();
    services(state, &mut out);
    pools(state, &mut out);
    routers(state, &mut out);
    peers(state, &mut out);
    let (notes, findings): (Vec<&Finding>, Vec<&Finding>) =
        state.findings.iter().partition(|finding| is_note(finding) && !is_of_trouble(state, finding));
    list(&findings, &mut out);
    if with_notes {
        list(&notes, &mut out);
    }
    let _ = writeln!(out, "{}", verdict(state));
    let _ = match (with_notes, notes.len()) {
        (true, _) | (false, 0) => Ok(()),
        (false, 1) => writeln!(out, "1 note (ferrolb status --notes)"),
        (false, count) => writeln!(out, "{count} notes (ferrolb status --notes)"),
    };
    out
}

/// What keeps nothing from working: the annotations of the block LB2001, too, which are refused nobody and do nothing.
fn is_note(finding: &Finding) -> bool {
    let of_annotation = (2000..3000).contains(&finding.code.number());
    finding.severity == Severity::Note || of_annotation && finding.severity != Severity::Error
}

/// Whether a note is on a Service that is not served: then it is mostly the cause.
fn is_of_trouble(state: &State, finding: &Finding) -> bool {
    let of = |one: &ServiceState| finding.object == format!("Service/{}/{}", one.namespace, one.name);
    state.services.iter().any(|one| one.state != Progress::Announced && of(one))
}

/// The last line: what to make of it all.
fn verdict(state: &State) -> String {
    let troubled = state.services.iter().filter(|service| service.state != Progress::Announced).count();
    let noteworthy = state.findings.iter().any(|finding| !is_note(finding));
    match (troubled, noteworthy) {
        (0, false) if state.services.iter().any(|service| shown(service).next().is_some()) => {
            "the Services are served; see the warnings above".to_owned()
        }
        (0, false) => "fine: nothing to do".to_owned(),
        (0, true) if state.services.is_empty() => "see the findings above".to_owned(),
        (0, true) => "the Services are served; see the findings above".to_owned(),
        (troubled, _) => format!("{troubled} of {} Services are not served; each says why above", state.services.len()),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    table
}

fn push_table(out: &mut String, table: &Table) {
    for line in table.to_string().lines() {
        let _ = writeln!(out, "{}", line.trim());
    }
    out.push('\n');
}

fn services(state: &State, out: &mut String) {
    if state.services.is_empty() {
        let _ = writeln!(out, "no Service of type LoadBalancer\n");
        return;
    }
    let mut rows = table(&["SERVICE", "ADDRESS", "STATE", "NODE", "MAC", "TRY"]);
    for service in &state.services {
        rows.add_row(vec![
            format!("{}/{}", service.namespace, service.name),
            join(service.addresses.iter().map(ToString::to_string)),
            progress(service, state.as_if_applied),
            service.node.clone().unwrap_or_else(|| "-".to_owned()),
            service.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string()),
            join(service.try_urls.iter().cloned()),
        ]);
    }
    push_table(out, &rows);
    for service in &state.services {
        for (number, reason) in shown(service).enumerate() {
            let _ = writeln!(out, "{}/{}  {}", service.namespace, service.name, reason.code);
            let _ = writeln!(out, "    why    {}", reason.message);
            let _ = writeln!(out, "    fix    {}", reason.fix);
            let _ = match &service.since {
                Some(since) if number == 0 && service.state != Progress::Announced => {
                    writeln!(out, "    since  {since}\n")
                }
                _ => writeln!(out),
            };
        }
    }
}

/// The first reason is the one to look at; the reasons of single nodes are for `-o json`.
fn shown(service: &ServiceState) -> impl Iterator<Item = &ReasonState> {
    service.reasons.iter().filter(|reason| reason.node.is_none())
}

fn progress(service: &ServiceState, as_if_applied: bool) -> String {
    match service.state {
        Progress::Announced if as_if_applied => "would be announced",
        Progress::Pending => "pending",
        Progress::Allocated if service.node.is_some() => "allocated, announced in part",
        Progress::Allocated => "allocated, NOT announced",
        Progress::Announced => "announced",
    }
    .to_owned()
}

fn join(items: impl Iterator<Item = String>) -> String {
    let text = items.collect::<Vec<_>>().join(" ");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn pools(state: &State, out: &mut String) {
    if state.pools.is_empty() {
        let _ = writeln!(out, "no IPAddressPool\n");
        return;
    }
    let mut rows = table(&["POOL", "RANGE", "FAMILY", "TOTAL", "USED", "FREE", "ADVERTISED BY"]);
    for pool in &state.pools {
        for (index, count) in pool.families.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            rows.add_row(vec![
                first(pool.name.clone()),
                first(pool.ranges.join(" ")),
                count.family.to_string(),
                count.total.to_string(),
                count.assigned.to_string(),
                count.available.to_string(),
                first(advertised(state, pool)),
            ]);
        }
    }
    push_table(out, &rows);
}

/// The advertisements of a pool, each with its protocol and the interfaces: those that it names, else those that the
/// pool's addresses are announced on.
fn advertised(state: &State, pool: &PoolState) -> String {
    let of_pool = state.services.iter().filter(|service| service.pool.as_ref() == Some(&pool.name));
    let used: BTreeSet<&str> = of_pool.flat_map(|service| &service.interfaces).map(String::as_str).collect();
    let one = |advertisement: &AdvertisementState| {
        let AdvertisementState { name, protocol, interfaces } = advertisement;
        if protocol == "bgp" {
            return format!("{name} (BGP)");
        }
        let mut words = vec!["L2"];
        words.extend(interfaces.iter().map(String::as_str));
        if interfaces.is_empty() {
            words.extend(used.iter());
        }
        format!("{name} ({})", words.join(", "))
    };
    join(pool.advertisements.iter().map(one))
}

fn routers(state: &State, out: &mut String) {
    if state.routers.is_empty() {
        return;
    }
    if state.node.is_empty() {
        return routers_of_cluster(state, out);
    }
    let mut rows = table(&["ROUTER", "ADDRESS", "SESSION", "BFD", "PREFIXES", "LAST ERROR"]);
    for router in &state.routers {
        rows.add_row(vec![
            router.name.clone(),
            whereabouts(router),
            router.state.clone(),
            router.bfd.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} of {}", router.told, router.prefixes),
            router.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    push_table(out, &rows);
}

/// Where a router is; of several some, a line long.
fn whereabouts(router: &RouterState) -> String {
    let all: Vec<String> = router.address.iter().chain(&router.addresses).map(ToString::to_string).collect();
    match all.as_slice() {
        [] => "-".to_owned(),
        [one, two, more @ ..] if more.len() > 1 => format!("{one} {two} and {} more", more.len()),
        few => few.join(" "),
    }
}

/// From outside it is only seen who has told them something.
fn routers_of_cluster(state: &State, out: &mut String) {
    let mut rows = table(&["ROUTER", "ADDRESS", "TOLD BY", "SERVICES"]);
    for router in &state.routers {
        rows.add_row(vec![
            router.name.clone(),
            whereabouts(router),
            join(router.nodes.iter().cloned()),
            router.services.to_string(),
        ]);
    }
    push_table(out, &rows);
}

fn peers(state: &State, out: &mut String) {
    if state.peers.is_empty() {
        return;
    }
    let mut rows = table(&["HOST", "ADDRESS", "ALIVE", "ROLE"]);
    for peer in &state.peers {
        let role = match (peer.own, peer.allocator) {
            (true, true) => "this host, allocates",
            (true, false) => "this host",
            (false, true) => "allocates",
            (false, false) => "",
        };
        rows.add_row(vec![
            peer.name.clone(),
            peer.address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
            if peer.alive { "yes" } else { "NO" }.to_owned(),
            role.to_owned(),
        ]);
    }
    push_table(out, &rows);
    let alive = state.peers.iter().filter(|peer| peer.alive).count();
    if alive < 2 {
        let _ = writeln!(out, "no failover: {alive} live host\n");
    }
}

fn list(findings: &[&Finding], out: &mut String) {
    for finding in findings {
        let place = finding.location.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
        let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
        let _ = writeln!(out, "{}  {}{field}{place}", finding.code, finding.object);
        let _ = writeln!(out, "    why    {}", finding.message);
        let _ = writeln!(out, "    fix    {}\n", finding.fix);
    }
}
