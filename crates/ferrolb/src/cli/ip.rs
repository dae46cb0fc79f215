//! `ferrolb ip ADDRESS`: who has it, from which pool, and which machine answers for it.

use std::fmt::Write as _;
use std::net::IpAddr;

use ferrolb_rules::range::AddressRange;
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Reach, parse};
use crate::state::{ServiceState, State};

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
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let address: IpAddr = parse(&args.address, "IP address")?;
    let state = args.reach.ask()?.state;
    let document = look(&state, address);
    let names = || document.services.iter().map(|one| format!("service/{}/{}\n", one.namespace, one.name)).collect();
    show(args.output, &document, || screen(&document), names)?;
    Ok(if document.services.is_empty() { Verdict::Findings } else { Verdict::Fine })
}

fn look(state: &State, address: IpAddr) -> Document<'_> {
    let has = |range: &String| AddressRange::parse(range).is_ok_and(|range| range.contains(address));
    let pools = state.pools.iter().filter(|pool| pool.ranges.iter().any(has));
    let services = state.services.iter().filter(|service| service.addresses.contains(&address));
    Document { address, pools: pools.map(|pool| pool.name.as_str()).collect(), services: services.collect() }
}

fn screen(document: &Document<'_>) -> String {
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
            Some(node) => writeln!(out, "    announced by {node}{interfaces}{mac}"),
            None => writeln!(out, "    NOT announced: ferrolb why {name}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PoolState, Progress};

    #[test]
    fn an_address_is_told_with_its_service_pool_and_machine_or_that_nobody_has_it() {
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
        let state = State { pools: vec![pool], services: vec![service], ..State::default() };
        let text = |address: &str| screen(&look(&state, address.parse().unwrap()));
        assert_eq!(
            text("192.168.1.201"),
            "192.168.1.201: a/web, pool p\n    announced by nuc-1 on eth0, MAC address 02:00:00:00:00:01\n"
        );
        assert_eq!(text("192.168.1.202"), "192.168.1.202: no Service has it; pool p\n");
        assert_eq!(text("10.0.0.1"), "10.0.0.1: no Service has it; it lies in no pool\n");
    }
}
