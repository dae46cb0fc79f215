//! `ferrolb probe ADDRESS|svc/NAME`: what the wire says, whoever claims what. A real ARP request or neighbour
//! solicitation on the network of the address, and a TCP connection. What the answers mean is
//! [`ferrolb_rules::probe`]'s affair.
//!
//! Exit codes: 0 the right machine answers, 1 it does not, 2 the question could not be asked from here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::bail;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::probe::{Asked, Claim, Who, is_undecided};
use ferrolb_rules::reason::Finding;
use serde::Serialize;

use super::output::{Format, show};
use super::reach::{Reach, patiently_here};
use super::why::split;
use super::wire::{Answers, Interface, interfaces, towards};
use super::{Verdict, faces};
use crate::state::State;

/// How long a TCP connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The address, or the Service: svc/NAME or NAMESPACE/NAME.
    target: String,
    /// The Service's namespace; without it, the only one that has a Service of that name.
    #[arg(short = 'n', short_alias = 'i', long = "service-namespace")]
    in_namespace: Option<String>,
    /// Ask on this interface; without it, on the one whose network has the address.
    #[arg(long)]
    interface: Option<String>,
    /// Connect to this TCP port, 0 for none; without it, to those of the Service.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What one address got.
#[derive(Debug, Serialize)]
struct Probed {
    address: IpAddr,
    /// What was sent: ARP, NDP.
    protocol: &'static str,
    /// Who answered; absent where nobody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<Answer>>,
    /// How each TCP port took a connection.
    ports: BTreeMap<u16, String>,
    /// What is wrong.
    findings: Vec<Finding>,
}

/// A machine that answered.
#[derive(Debug, Serialize)]
struct Answer {
    mac: MacAddr,
    /// Which node it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// After how long it answered.
    milliseconds: f64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let (addresses, state) = match args.target.parse::<IpAddr>() {
        // Whoever cannot be asked who is who says nothing about it; the wire answers all the same.
        Ok(address) => (vec![address], args.reach.ask().map(|answer| answer.state).ok()),
        Err(_) => {
            let state = args.reach.ask()?.state;
            (of_service(&args.target, args.in_namespace.as_deref(), &state)?, Some(state))
        }
    };
    let here = interfaces()?;
    let probe = |address| probe(address, args, state.as_ref(), &here);
    let probed = || addresses.into_iter().map(probe).collect::<anyhow::Result<Vec<Probed>>>();
    let probed = patiently_here(&format!("for {}", args.target), probed)?;
    let answers = || probed.iter().flat_map(|one| one.answers.iter().flatten());
    let names = || answers().map(|answer| format!("{}\n", answer.mac)).collect();
    show(args.output, &probed, || probed.iter().map(screen).collect(), names)?;
    Ok(verdict(&probed))
}

/// A finding outweighs a question that could not be asked.
fn verdict(probed: &[Probed]) -> Verdict {
    let mut codes = probed.iter().flat_map(|one| &one.findings).map(|finding| finding.code);
    match codes.clone().count() {
        0 => Verdict::Fine,
        _ if codes.all(is_undecided) => Verdict::Exit(2),
        _ => Verdict::Findings,
    }
}

/// The addresses of a Service.
fn of_service(target: &str, in_namespace: Option<&str>, state: &State) -> anyhow::Result<Vec<IpAddr>> {
    let (namespace, name) = split(target, in_namespace);
    let fits = |one: &&crate::state::ServiceState| {
        one.name == name && namespace.is_none_or(|namespace| one.namespace == namespace)
    };
    let Some(service) = state.services.iter().find(fits) else {
        bail!("there is no Service {name} of type LoadBalancer; `ferrolb status` lists them")
    };
    if service.addresses.is_empty() {
        bail!("{name} has no address yet: ferrolb why {}/{name}", service.namespace);
    }
    Ok(service.addresses.clone())
}

fn probe(address: IpAddr, args: &Args, state: Option<&State>, here: &[Interface]) -> anyhow::Result<Probed> {
    let claim = faces::claim(state, address);
    let (answers, mut findings) = match towards(here, address, args.interface.as_deref()) {
        Ok(interface) => {
            let nodes = state.map(|state| faces::of_nodes(state, here)).unwrap_or_default();
            let mut asked = vec![address];
            asked.extend(nodes.into_iter().filter(|node| *node != address));
            let heard = interface.ask(&asked, false)?;
            let (answers, finding) = judge(address, &claim, state, (here, interface), &heard);
            (Some(answers), Vec::from_iter(finding))
        }
        Err(finding) => (None, vec![*finding]),
    };
    findings
        .iter_mut()
        .filter(|finding| is_undecided(finding.code))
        .for_each(|finding| elsewhere(finding, state, address));
    let ports = match args.port {
        Some(0) => Vec::new(),
        Some(port) => vec![port],
        None => state.map(|state| ports_of(address, state)).unwrap_or_default(),
    };
    let ports: BTreeMap<u16, String> = ports.into_iter().map(|port| (port, connect(address, port))).collect();
    let alone = answers.is_some() && findings.is_empty();
    let asked = Asked { address, claim: &claim, answers: &[], faces: &ferrolb_rules::probe::Faces::default() };
    let refused = ports.iter().filter(|(_, outcome)| *outcome != "open");
    findings.extend(refused.filter(|_| alone).map(|(port, outcome)| asked.refused(*port, outcome)));
    Ok(Probed { address, protocol: if address.is_ipv4() { "ARP" } else { "NDP" }, answers, ports, findings })
}

/// Who answered, and what that means.
fn judge(
    address: IpAddr,
    claim: &Claim,
    state: Option<&State>,
    (here, interface): (&[Interface], &Interface),
    heard: &Answers,
) -> (Vec<Answer>, Option<Finding>) {
    let faces = faces::faces(state, here, interface, heard);
    let answers = heard.get(&address).map(Vec::as_slice).unwrap_or_default();
    let macs: Vec<MacAddr> = answers.iter().map(|(mac, _)| *mac).collect();
    let finding = Asked { address, claim, answers: &macs, faces: &faces }.verdict();
    let answer = |(mac, after): &(MacAddr, Duration)| Answer {
        mac: *mac,
        node: if let Who::Node(node) = faces.who(*mac) { Some(node.to_owned()) } else { None },
        milliseconds: after.as_secs_f64() * 1000.0,
    };
    (answers.iter().map(answer).collect(), finding)
}

/// Says from which node to ask instead, where one is known.
fn elsewhere(finding: &mut Finding, state: Option<&State>, address: IpAddr) {
    let Some(state) = state else { return };
    let service = state.services.iter().find(|service| service.addresses.contains(&address));
    let owner = service.and_then(|service| service.node.as_deref());
    let other = state.peers.iter().find(|peer| peer.alive && !peer.own && Some(peer.name.as_str()) != owner);
    if let Some(peer) = other {
        finding.fix =
            format!("ask from {}, there in the speaker's pod or on the host: ferrolb probe {address}", peer.name);
    }
}

fn connect(address: IpAddr, port: u16) -> String {
    match TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_WITHIN) {
        Ok(_) => "open".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The ports that a Service's own URLs name.
fn ports_of(address: IpAddr, state: &State) -> Vec<u16> {
    let service = state.services.iter().find(|service| service.addresses.contains(&address));
    let port = |url: &String| match url.split_once("://") {
        Some(("http", _)) => Some(80),
        Some(("https", _)) => Some(443),
        _ => url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
    };
    service.map(|service| service.try_urls.iter().filter_map(port).collect()).unwrap_or_default()
}

fn screen(probed: &Probed) -> String {
    let mut out = String::new();
    let Probed { address, protocol, .. } = probed;
    let machine = |answer: &Answer| match &answer.node {
        Some(node) => format!("{} ({node})", answer.mac),
        None => answer.mac.to_string(),
    };
    let _ = match probed.answers.as_deref() {
        None => writeln!(out, "{address}: nobody could be asked by {protocol}"),
        Some([]) => writeln!(out, "{address}: nobody answers {protocol}"),
        Some([one]) => {
            writeln!(out, "{address}: answered by 1 MAC address, {}, in {:.1} ms", machine(one), one.milliseconds)
        }
        Some(several) => {
            let list: Vec<String> = several.iter().map(machine).collect();
            writeln!(out, "{address}: answered by {} MAC addresses: {}", several.len(), list.join(", "))
        }
    };
    for (port, outcome) in &probed.ports {
        let _ = writeln!(out, "    TCP port {port}: {outcome}");
    }
    for finding in &probed.findings {
        let _ = writeln!(out, "    {} {}\n    why    {}", finding.code, finding.code.name(), finding.message);
        let _ = writeln!(out, "    fix    {}", finding.fix);
    }
    if let Some(first) = probed.findings.first() {
        let _ = writeln!(out, "    The whole story: ferrolb explain {}", first.code);
    }
    out
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::reason::{Code, Severity};

    use super::*;
    use crate::state::{PeerState, ServiceState};

    fn probed(macs: &[&str], codes: &[Code]) -> Probed {
        let answer = |mac: &&str| Answer { mac: mac.parse().unwrap(), node: Some("n".to_owned()), milliseconds: 0.34 };
        let finding = |code: &Code| Finding::new(*code, Severity::Error, "Service/a/web", "it is so");
        Probed {
            address: "192.168.1.201".parse().unwrap(),
            protocol: "ARP",
            answers: Some(macs.iter().map(answer).collect()),
            ports: BTreeMap::from([(80, "open".to_owned())]),
            findings: codes.iter().map(finding).collect(),
        }
    }

    #[test]
    fn the_screen_has_the_answers_the_ports_and_what_is_wrong() {
        let fine = screen(&probed(&["02:00:00:00:00:01"], &[]));
        let expected =
            "192.168.1.201: answered by 1 MAC address, 02:00:00:00:00:01 (n), in 0.3 ms\n    TCP port 80: open\n";
        assert_eq!(fine, expected);
        let two = screen(&probed(&["02:00:00:00:00:01", "02:00:00:00:00:02"], &[Code::NodeAnswersUnasked]));
        assert!(two.contains("answered by 2 MAC addresses: 02:00:00:00:00:01 (n), 02:"), "{two}");
        assert!(two.contains("    LB1211 NodeAnswersUnasked\n    why    it is so\n    fix    set strictARP"), "{two}");
        assert!(two.ends_with("    The whole story: ferrolb explain LB1211\n"), "{two}");
        assert!(screen(&probed(&[], &[Code::NobodyAnswers])).contains("nobody answers ARP"));
    }

    #[test]
    fn a_finding_is_one_and_a_question_that_cannot_be_asked_is_two() {
        let verdict = |all: &[&[Code]]| verdict(&all.iter().map(|codes| probed(&[], codes)).collect::<Vec<_>>());
        assert_eq!(verdict(&[&[], &[]]), Verdict::Fine);
        assert_eq!(verdict(&[&[], &[Code::ConnectionFails]]), Verdict::Findings);
        assert_eq!(verdict(&[&[Code::AskedFromOwner], &[Code::OffTheNetwork]]), Verdict::Exit(2));
        assert_eq!(verdict(&[&[Code::OffTheNetwork], &[Code::NobodyAnswers]]), Verdict::Findings);
    }

    #[test]
    fn whoever_cannot_ask_is_told_who_can() {
        let address: IpAddr = "192.168.1.201".parse().unwrap();
        let peer = |name: &str, alive| PeerState { name: name.to_owned(), alive, ..PeerState::default() };
        let service = ServiceState { addresses: vec![address], node: Some("a".to_owned()), ..ServiceState::default() };
        let state = State {
            peers: vec![peer("a", true), peer("b", false), peer("c", true)],
            services: vec![service],
            ..State::default()
        };
        let mut finding = Finding::new(Code::AskedFromOwner, Severity::Error, "Service/a/web", "it is");
        elsewhere(&mut finding, Some(&state), address);
        assert_eq!(finding.fix, "ask from c, there in the speaker's pod or on the host: ferrolb probe 192.168.1.201");
    }
}
