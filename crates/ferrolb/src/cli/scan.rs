//! `ferrolb pool scan [POOL|RANGE]`: is anything else using these addresses? Every one is asked for by ARP or NDP.
//!
//! An IPv6 range that is too large to ask for all of it is asked for where Services have addresses, and said to be left
//! out otherwise: nobody can sweep a /64. Exit codes: 0 only Services' own nodes answer, 1 somebody else does, 2 the
//! question could not be asked, or somebody answers and nobody could be asked whether that is right.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::bail;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::probe::{Asked, Claim, Faces, Who};
use ferrolb_rules::range::AddressRange;
use ferrolb_rules::reason::{Code, Finding, Severity};
use serde::Serialize;

use super::output::{Format, show};
use super::reach::{Reach, patiently_here};
use super::wire::{Answers, interfaces, towards};
use super::{Verdict, faces};
use crate::state::State;

/// Addresses in one sweep.
const LARGEST_SWEEP: usize = 4096;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The pool, or addresses such as 192.168.1.200-192.168.1.220; without it, every pool.
    what: Option<String>,
    /// Ask on this interface; without it, on the one whose network has the addresses.
    #[arg(long)]
    interface: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What is asked about pools.
#[derive(clap::Subcommand)]
pub(super) enum Pool {
    /// Ask the wire for every address of a pool or range: is anything else using it?
    Scan(Args),
}

/// What a sweep found.
#[derive(Debug, PartialEq, Serialize)]
struct Scanned {
    /// How many addresses were asked for.
    asked: usize,
    /// Those that somebody answers for.
    used: Vec<Used>,
    /// IPv6 ranges that are too large to ask for all of them; only the Services' addresses in them were.
    only_services_of: Vec<String>,
    /// Why nobody could be asked which addresses are our own; then nobody who answers is a stranger for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_asked: Option<String>,
}

/// An address that a machine answers for.
#[derive(Debug, PartialEq, Serialize)]
struct Used {
    address: IpAddr,
    macs: Vec<MacAddr>,
    /// The nodes among them.
    nodes: Vec<String>,
    /// The Service or node that has it; none: a stranger uses it, unless nobody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// What is wrong with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
}

impl Used {
    /// Whether a device that is none of ours answers, be it beside the one that may.
    fn is_strangers(&self) -> bool {
        let code = self.finding.as_ref().map(|finding| finding.code);
        self.holder.is_none() || matches!(code, Some(Code::AddressInUse | Code::ForeignClaim))
    }
}

/// Sweeps pools for addresses that are in use.
pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let range = args.what.as_deref().and_then(|what| AddressRange::parse(what).ok());
    let (state, not_asked) = match (&range, args.reach.ask()) {
        (_, Ok(answer)) => (Some(answer.state), None),
        // The wire answers all the same.
        (Some(_), Err(error)) => (None, Some(format!("{error:#}"))),
        (None, Err(error)) => return Err(error),
    };
    let sweep = sweep(args.what.as_deref(), range, state.as_ref())?;
    let here = interfaces()?;
    let asked = format!("the LAN for {} addresses", sweep.addresses.len());
    let found = patiently_here(&asked, || scan(args, &sweep, state.as_ref(), &here))?;
    let scanned = Scanned { not_asked, ..found };
    let names = || scanned.used.iter().map(|one| format!("{}\n", one.address)).collect();
    show(args.output, &scanned, || screen(&scanned), names)?;
    Ok(verdict(&scanned))
}

fn verdict(scanned: &Scanned) -> Verdict {
    let wrong = scanned.used.iter().any(|one| one.finding.is_some());
    match (wrong, &scanned.not_asked) {
        (true, _) => Verdict::Findings,
        (false, Some(_)) if !scanned.used.is_empty() => Verdict::Exit(2),
        (false, _) => Verdict::Fine,
    }
}

/// Asks on each interface for what is in its network.
fn scan(args: &Args, sweep: &Sweep, state: Option<&State>, here: &[super::wire::Interface]) -> anyhow::Result<Scanned> {
    let mut used = Vec::new();
    let mut left: Vec<IpAddr> = sweep.addresses.iter().copied().collect();
    while let Some(first) = left.first() {
        let on = towards(here, *first, args.interface.as_deref()).map_err(|finding| anyhow::anyhow!("{finding}"))?;
        let same = |address: &IpAddr| {
            towards(here, *address, args.interface.as_deref()).is_ok_and(|other| other.name == on.name)
        };
        let (now, later): (Vec<IpAddr>, Vec<IpAddr>) = left.iter().partition(|address| same(address));
        let nodes = state.map(|state| faces::of_nodes(state, here)).unwrap_or_default();
        let mut asked = now.clone();
        asked.extend(nodes.into_iter().filter(|node| !sweep.addresses.contains(node)));
        let heard = on.ask(&asked, true)?;
        let faces = faces::faces(state, here, on, &heard);
        used.extend(now.iter().filter_map(|address| of_address(*address, &heard, state, &faces)));
        left = later;
    }
    used.sort_by_key(|one| one.address);
    let only_services_of = sweep.only_services_of.clone();
    Ok(Scanned { asked: sweep.addresses.len(), used, only_services_of, not_asked: None })
}

fn of_address(address: IpAddr, heard: &Answers, state: Option<&State>, faces: &Faces) -> Option<Used> {
    let macs: Vec<MacAddr> = heard.get(&address)?.iter().map(|(mac, _)| *mac).collect();
    let claim = faces::claim(state, address);
    let finding = match &claim {
        Claim::Held { by, .. } if by.starts_with("Node/") => Some(of_node(address, by)),
        claim => Asked { address, claim, answers: &macs, faces }.verdict(),
    };
    let node = |mac: &MacAddr| if let Who::Node(node) = faces.who(*mac) { Some(node.to_owned()) } else { None };
    let holder = if let Claim::Held { by, .. } = claim { Some(by) } else { None };
    Some(Used { address, nodes: macs.iter().filter_map(node).collect(), macs, holder, finding })
}

/// A node's own address is rightly answered, and does not belong into a pool.
fn of_node(address: IpAddr, node: &str) -> Finding {
    let message = format!("{address} is {}'s own address", node.replacen('/', " ", 1));
    Finding::new(Code::NodeAddressInPool, Severity::Warning, node, message)
}

fn screen(scanned: &Scanned) -> String {
    let mut out = String::new();
    for one in &scanned.used {
        let macs: Vec<String> = one.macs.iter().map(ToString::to_string).collect();
        let nodes = if one.nodes.is_empty() { String::new() } else { format!(" ({})", one.nodes.join(", ")) };
        let holder = one.holder.as_deref().map(|holder| holder.replacen('/', " ", 1));
        let holder = holder.unwrap_or_else(|| match &scanned.not_asked {
            None => "NOT a Service: some other device has it".to_owned(),
            Some(_) => "in use; whose it is, nobody could be asked".to_owned(),
        });
        let code = one.finding.as_ref().map(|finding| format!("  {}", finding.code)).unwrap_or_default();
        let _ = writeln!(out, "{:<15}  {}{nodes}  {holder}{code}", one.address, macs.join(" "));
        if let Some(finding) = &one.finding {
            let _ = writeln!(out, "    why    {}\n    fix    {}", finding.message, finding.fix);
        }
    }
    for range in &scanned.only_services_of {
        let _ = writeln!(out, "{range}: too many IPv6 addresses to ask for all; only those that Services have were");
    }
    let (asked, used) = (scanned.asked, scanned.used.len());
    let strangers = scanned.used.iter().filter(|one| one.is_strangers()).count();
    let _ = match &scanned.not_asked {
        None => writeln!(out, "{asked} addresses asked for, {used} in use, {strangers} of them by strangers"),
        Some(why) => writeln!(
            out,
            "{asked} addresses asked for, {used} in use; which are our own could not be asked:\n    {why}"
        ),
    };
    out
}

/// What is to be asked for.
#[derive(Debug, Default, PartialEq)]
struct Sweep {
    addresses: BTreeSet<IpAddr>,
    only_services_of: Vec<String>,
}

fn sweep(what: Option<&str>, range: Option<AddressRange>, state: Option<&State>) -> anyhow::Result<Sweep> {
    let pools = state.into_iter().flat_map(|state| &state.pools);
    let pools = pools.filter(|pool| what.is_none_or(|what| what == pool.name));
    let ranges: Vec<AddressRange> = match range {
        Some(range) => vec![range],
        None => pools.flat_map(|pool| &pool.ranges).filter_map(|range| AddressRange::parse(range).ok()).collect(),
    };
    if let (Some(what), true) = (what, ranges.is_empty()) {
        bail!("{what} is neither a pool nor a range of addresses");
    }
    let mut sweep = Sweep::default();
    for range in ranges {
        let room = LARGEST_SWEEP.saturating_sub(sweep.addresses.len());
        match range {
            AddressRange::V4 { first, last } => {
                let all = (first.to_bits()..=last.to_bits()).take(room + 1);
                sweep.addresses.extend(all.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))));
            }
            AddressRange::V6 { first, last } if usize::try_from(range.size()).is_ok_and(|size| size <= room) => {
                let all = first.to_bits()..=last.to_bits();
                sweep.addresses.extend(all.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))));
            }
            AddressRange::V6 { .. } => {
                let services = state.into_iter().flat_map(|state| &state.services);
                let had = services.flat_map(|service| &service.addresses).filter(|address| range.contains(**address));
                sweep.addresses.extend(had);
                sweep.only_services_of.push(range.to_string());
            }
        }
    }
    if sweep.addresses.len() > LARGEST_SWEEP {
        bail!("more than {LARGEST_SWEEP} addresses; name a part of them, such as 192.168.1.0/24");
    }
    if sweep.addresses.is_empty() && sweep.only_services_of.is_empty() {
        bail!("there is no address to ask for");
    }
    Ok(sweep)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::{PeerState, PoolState, Progress, ServiceState};

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn state() -> State {
        let pool = PoolState {
            name: "p".to_owned(),
            ranges: vec!["10.0.0.1-10.0.0.3".to_owned(), "fd00::/64".to_owned(), "fd01::1-fd01::4".to_owned()],
            ..PoolState::default()
        };
        let service = ServiceState {
            namespace: "a".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::7".parse().unwrap()],
            state: Progress::Announced,
            node: Some("n".to_owned()),
            mac: Some(A),
            ..ServiceState::default()
        };
        let address = Some("10.0.0.3".parse().unwrap());
        let peer = PeerState { name: "n".to_owned(), address, ..PeerState::default() };
        State { pools: vec![pool], services: vec![service], peers: vec![peer], ..State::default() }
    }

    #[test]
    fn a_sweep_is_bounded_and_knows_pools_by_name() {
        let found = sweep(Some("p"), None, Some(&state())).unwrap();
        assert_eq!(found.addresses.len(), 3 + 1 + 4, "all of IPv4, what Services have of a /64, and a small range");
        assert!(found.addresses.contains(&"fd00::7".parse::<IpAddr>().unwrap()));
        assert_eq!(found.only_services_of, ["fd00::-fd00::ffff:ffff:ffff:ffff"]);
        assert!(sweep(Some("q"), None, Some(&state())).is_err());
        let large = AddressRange::parse("10.0.0.0/8").unwrap();
        assert!(sweep(None, Some(large), None).unwrap_err().to_string().contains("more than 4096"));
        assert!(sweep(None, None, Some(&State::default())).unwrap_err().to_string().contains("no address to ask for"));
    }

    #[test]
    fn what_a_service_has_is_fine_and_what_nobody_has_is_a_stranger() {
        let faces = Faces { nodes: [(A, "n".to_owned())].into(), ..Faces::default() };
        let other = MacAddr([2, 0, 0, 0, 0, 9]);
        let heard = Answers::from([
            ("10.0.0.1".parse().unwrap(), vec![(A, Duration::ZERO)]),
            ("10.0.0.2".parse().unwrap(), vec![(other, Duration::ZERO)]),
        ]);
        let state = state();
        let found = |text: &str| of_address(text.parse().unwrap(), &heard, Some(&state), &faces);
        let (ours, theirs) = (found("10.0.0.1").unwrap(), found("10.0.0.2").unwrap());
        assert_eq!((ours.holder.as_deref(), ours.finding.is_none()), (Some("Service/a/web"), true));
        assert_eq!(theirs.finding.as_ref().map(|finding| finding.code), Some(Code::AddressInUse));
        assert_eq!(found("10.0.0.4"), None);
        let own = Answers::from([("10.0.0.3".parse().unwrap(), vec![(A, Duration::ZERO)])]);
        let node = of_address("10.0.0.3".parse().unwrap(), &own, Some(&state), &faces).unwrap();
        let finding = node.finding.unwrap();
        assert_eq!(
            (finding.code, finding.message.as_str()),
            (Code::NodeAddressInPool, "10.0.0.3 is Node n's own address")
        );
        let scanned = Scanned {
            asked: 3,
            used: vec![ours, theirs],
            only_services_of: vec!["fd00::-fd00::f".to_owned()],
            not_asked: None,
        };
        let text = screen(&scanned);
        assert!(text.starts_with("10.0.0.1         02:00:00:00:00:01 (n)  Service a/web\n10.0.0.2"), "{text}");
        assert!(text.contains("02:00:00:00:00:09  NOT a Service: some other device has it  LB1118\n"), "{text}");
        assert!(text.contains("fd00::-fd00::f: too many IPv6 addresses"), "{text}");
        assert!(text.ends_with("3 addresses asked for, 2 in use, 1 of them by strangers\n"), "{text}");
    }

    #[test]
    fn a_stranger_beside_the_node_that_announces_is_counted() {
        let faces = Faces { nodes: [(A, "n".to_owned())].into(), ..Faces::default() };
        let other = MacAddr([2, 0, 0, 0, 0, 9]);
        let answers = vec![(A, Duration::ZERO), (other, Duration::ZERO)];
        let heard = Answers::from([("10.0.0.1".parse().unwrap(), answers)]);
        let used = of_address("10.0.0.1".parse().unwrap(), &heard, Some(&state()), &faces).unwrap();
        assert_eq!(used.finding.as_ref().map(|finding| finding.code), Some(Code::ForeignClaim));
        let text = screen(&Scanned { asked: 1, used: vec![used], only_services_of: Vec::new(), not_asked: None });
        assert!(text.ends_with("1 addresses asked for, 1 in use, 1 of them by strangers\n"), "{text}");
    }

    #[test]
    fn with_nobody_to_ask_no_one_who_answers_is_called_a_stranger() {
        let heard = Answers::from([("10.0.0.2".parse().unwrap(), vec![(A, Duration::ZERO)])]);
        let used = of_address("10.0.0.2".parse().unwrap(), &heard, None, &Faces::default()).unwrap();
        assert_eq!((used.finding.as_ref(), used.holder.as_deref()), (None, None));
        let not_asked = Some("the API server does not answer".to_owned());
        let scanned =
            Scanned { asked: 2, used: vec![used], only_services_of: Vec::new(), not_asked: not_asked.clone() };
        let text = screen(&scanned);
        assert!(text.contains("in use; whose it is, nobody could be asked\n"), "{text}");
        assert!(!text.contains("stranger") && text.contains("the API server does not answer"), "{text}");
        assert_eq!(verdict(&scanned), Verdict::Exit(2));
        let free = Scanned { asked: 2, used: Vec::new(), only_services_of: Vec::new(), not_asked };
        assert_eq!(verdict(&free), Verdict::Fine, "nobody answers, whoever has them");
    }
}
