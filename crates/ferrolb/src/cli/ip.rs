//! `ferrolb ip ADDRESS`: who has it, from which pool, which machine answers for it and since when, and who did before.
//!
//! Exit codes: 0 a Service has it and it is announced, 1 nobody has it or it is not announced, 2 nobody answers, or what
//! would tell may not be read.

use std::fmt::Write as _;
use std::net::IpAddr;

use ferrolb_rules::range::AddressRange;
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Reach, parse};
use crate::look::cluster::Denied;
use crate::state::{Progress, ServiceState, State, Turn};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The address.
    address: String,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Serialize)]
struct Document<'a> {
    address: IpAddr,
    pools: Vec<&'a str>,
    services: Vec<&'a ServiceState>,
    /// Who began to announce those Services, the newest first; none: not known.
    timeline: Option<Vec<&'a Turn>>,
}

/// Turns on the screen.
pub(super) const TURNS: usize = 10;

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let address: IpAddr = parse(&args.address, "IP address")?;
    let answer = args.reach.ask()?;
    let state = &answer.state;
    let document = look(state, address);
    let names = || document.services.iter().map(|one| format!("service/{}/{}\n", one.namespace, one.name)).collect();
    show(args.output, &document, || screen(&document, state.as_if_applied), names)?;
    Ok(verdict(&document, &answer.denied))
}

/// Who announces is what speakers report: without the reports nobody knows.
fn verdict(document: &Document<'_>, denied: &Denied) -> Verdict {
    let announced = |service: &&ServiceState| service.state == Progress::Announced;
    if !document.services.is_empty() && document.services.iter().all(announced) {
        return Verdict::Fine;
    }
    let untold = !document.services.is_empty() && (denied.has("ServiceL2Status") || denied.has("ServiceBGPStatus"));
    if untold { Verdict::Exit(2) } else { Verdict::Findings }
}

fn look(state: &State, address: IpAddr) -> Document<'_> {
    let has = |range: &String| AddressRange::parse(range).is_ok_and(|range| range.contains(address));
    let pools = state.pools.iter().filter(|pool| pool.ranges.iter().any(has));
    let services: Vec<&ServiceState> =
        state.services.iter().filter(|service| service.addresses.contains(&address)).collect();
    let about = |turn: &&Turn| services.iter().any(|one| (&one.namespace, &one.name) == (&turn.namespace, &turn.name));
    let timeline = state.timeline.as_ref().map(|turns| turns.iter().filter(about).collect());
    Document { address, pools: pools.map(|pool| pool.name.as_str()).collect(), services, timeline }
}

fn screen(document: &Document<'_>, as_if_applied: bool) -> String {
    let mut out = String::new();
    let pools = match document.pools.as_slice() {
        [] => "it lies in no pool".to_owned(),
        pools => format!("pool {}", pools.join(" and ")),
    };
    if document.services.is_empty() {
        let _ = writeln!(out, "{}: no Service has it; {pools}", document.address);
    }
    for service in &document.services {
        let name = format!("{}/{}", service.namespace, service.name);
        let _ = writeln!(out, "{}: {name}, {pools}", document.address);
        let mac = service.mac.map(|mac| format!(", MAC address {mac}")).unwrap_or_default();
        let interfaces = match service.interfaces.join(", ") {
            names if names.is_empty() => String::new(),
            names => format!(" on {names}"),
        };
        let _ = match &service.node {
            _ if as_if_applied && service.state == Progress::Announced => {
                writeln!(out, "    would be announced; by whom is not known from files")
            }
            Some(node) => writeln!(out, "    announced by {node}{interfaces}{mac}"),
            None => writeln!(out, "    NOT announced: ferrolb why {name}"),
        };
    }
    let several = document.services.len() != 1;
    for turn in document.timeline.iter().flatten().take(TURNS) {
        let _ = writeln!(out, "    {}", line(turn, several));
    }
    out
}

/// What happened, and when; with the Service where several are told of.
pub(super) fn line(turn: &Turn, several: bool) -> String {
    let note = turn.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let Turn { at, node, protocol, .. } = turn;
    let service = if several { format!(" {}/{}", turn.namespace, turn.name) } else { String::new() };
    format!("{at}  {node} began to announce{service} ({protocol}){note}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::PoolState;

    #[test]
    fn an_address_is_fine_only_where_it_is_announced_and_unknown_where_that_may_not_be_read() {
        let address: IpAddr = "192.168.1.201".parse().unwrap();
        let verdict_of = |state: Option<Progress>, denied: &[&str]| {
            let service = |state| ServiceState { state, addresses: vec![address], ..ServiceState::default() };
            let state = State { services: state.into_iter().map(service).collect(), ..State::default() };
            verdict(&look(&state, address), &Denied::for_test(denied))
        };
        assert_eq!(verdict_of(Some(Progress::Announced), &[]), Verdict::Fine);
        assert_eq!(verdict_of(Some(Progress::Allocated), &[]), Verdict::Findings);
        assert_eq!(verdict_of(None, &[]), Verdict::Findings);
        assert_eq!(verdict_of(Some(Progress::Allocated), &["ServiceL2Status"]), Verdict::Exit(2));
        assert_eq!(verdict_of(Some(Progress::Announced), &["ServiceL2Status"]), Verdict::Fine);
    }

    #[test]
    fn an_address_is_told_with_its_service_pool_machine_and_history_or_that_nobody_has_it() {
        let pool = PoolState {
            name: "p".to_owned(),
            ranges: vec!["192.168.1.200-192.168.1.220".to_owned()],
            ..Default::default()
        };
        let service = ServiceState {
            namespace: "a".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["192.168.1.201".parse().unwrap()],
            state: Progress::Announced,
            node: Some("nuc-1".to_owned()),
            mac: Some("02:00:00:00:00:01".parse().unwrap()),
            interfaces: vec!["eth0".to_owned()],
            ..ServiceState::default()
        };
        let turn = |at: &str, name: &str, node: &str, note: Option<&str>| Turn {
            at: at.to_owned(),
            namespace: "a".to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            protocol: "layer2".to_owned(),
            note: note.map(str::to_owned),
        };
        let timeline = vec![
            turn("2026-01-01T10:10:00Z", "web", "nuc-1", Some("192.168.1.201 taken over from nuc-2")),
            turn("2026-01-01T10:05:00Z", "dns", "nuc-3", None),
            turn("2026-01-01T10:00:00Z", "web", "nuc-2", None),
        ];
        let state = State { pools: vec![pool], services: vec![service], timeline: Some(timeline), ..State::default() };
        let text = |address: &str| screen(&look(&state, address.parse().unwrap()), false);
        assert_eq!(
            text("192.168.1.201"),
            "192.168.1.201: a/web, pool p\n    announced by nuc-1 on eth0, MAC address 02:00:00:00:00:01\n    \
             2026-01-01T10:10:00Z  nuc-1 began to announce (layer2): 192.168.1.201 taken over from nuc-2\n    \
             2026-01-01T10:00:00Z  nuc-2 began to announce (layer2)\n"
        );
        assert_eq!(text("192.168.1.202"), "192.168.1.202: no Service has it; pool p\n");
        assert_eq!(text("10.0.0.1"), "10.0.0.1: no Service has it; it lies in no pool\n");
    }
}
