//! `ferrolb plan -f FILES`: what becomes of each Service's address if these files were merged.
//!
//! What is now comes from a cluster, from a process on this host, or from other files. Exit codes: 0 nothing is lost, 1
//! a Service loses or changes its address or will not be served, or something in the files cannot be taken as it is
//! meant, 2 nobody answers or tells everything, or there is nothing in the files that could be merged.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use ferrolb_rules::changes::{Change, Verdict as Fate, apply, compare, to_come};
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::{Finding, Severity};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Reach, files};
use crate::look::cluster::DECIDED_BY;
use crate::state::State;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The files and directories that are to be merged; `-` is standard input. Repeatable.
    #[arg(short = 'f', long = "filename", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Objects of metallb.io that the files do not have go, as Argo CD and Flux do it with `prune`.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Serialize)]
struct Document {
    changes: Vec<Change>,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let answer = args.reach.ask()?;
    // What is not seen would be new, or gone, or nothing at all.
    answer.denied.refuse_without(&DECIDED_BY)?;
    let wanted = files(&args.files, args.reach.namespace.as_deref())?;
    let mut unread = wanted.unread;
    unread.extend(answer.unread.into_iter().filter(|finding| !wanted.findings.contains(finding)));
    let (now, options) = match (answer.known, answer.state) {
        (Some(known), _) => known,
        (None, state) => {
            let options = picture::Options { files: true, announce_if_all_excluded: true, ..Default::default() };
            (of_state(&state, args.reach.namespace())?, options)
        }
    };
    let mut document = decide(&now, &wanted.known, &options, args.prune);
    document.findings.splice(..0, unread.iter().cloned());
    let names =
        || document.changes.iter().map(|change| format!("{} {}\n", change.verdict.word(), change.service)).collect();
    show(args.output, &document, || screen(&document), names)?;
    let errors = document.findings.iter().any(|finding| finding.severity == Severity::Error);
    if wanted.is_empty && !unread.is_empty() {
        return Ok(Verdict::Exit(2));
    }
    let bad = errors || !unread.is_empty() || document.changes.iter().any(Change::is_bad);
    Ok(if bad { Verdict::Findings } else { Verdict::Fine })
}

fn decide(now: &Known, wanted: &Known, options: &picture::Options, prune: bool) -> Document {
    let then = apply(now, wanted, prune);
    let applied = picture::Options { as_if_applied: true, to_come: to_come(now, wanted), ..options.clone() };
    let (before, after) = (picture::draw(now, options), picture::draw(&then, &applied));
    // What was said before is not news.
    let news = after.findings.iter().filter(|finding| !before.findings.contains(finding));
    Document { changes: compare(&before, &after), findings: news.cloned().collect() }
}

/// What a process tells of itself, as the objects that it has it from: pools, who advertises them, and Services with the
/// addresses that they have. What it does not tell (selectors, ports) is not in a pool's way, and files that have the
/// Service say it again.
fn of_state(state: &State, namespace: &str) -> anyhow::Result<Known> {
    let mut known = Known::default();
    for pool in &state.pools {
        let metadata = json!({ "name": pool.name, "namespace": namespace });
        let version = "metallb.io/v1beta1";
        known.resources.pools.push(object(json!({
            "apiVersion": version, "kind": "IPAddressPool", "metadata": metadata, "spec": { "addresses": pool.ranges },
        }))?);
        if !pool.advertised_by.is_empty() {
            known.resources.l2_advertisements.push(object(json!({
                "apiVersion": version, "kind": "L2Advertisement", "metadata": metadata,
                "spec": { "ipAddressPools": [pool.name] },
            }))?);
        }
    }
    for service in &state.services {
        let ingress: Vec<Value> = service.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        known.services.push(object(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": service.name, "namespace": service.namespace },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
            "status": { "loadBalancer": { "ingress": ingress } },
        }))?);
    }
    Ok(known)
}

fn object<T: DeserializeOwned>(object: Value) -> anyhow::Result<Arc<T>> {
    Ok(Arc::new(serde_json::from_value(object)?))
}

fn screen(document: &Document) -> String {
    let mut out = String::new();
    for finding in &document.findings {
        let place = finding.location.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let Finding { code, object, message, fix, .. } = finding;
        let _ = writeln!(out, "{place}{code} {object}: {message}\n    fix: {fix}");
    }
    if !document.findings.is_empty() {
        out.push('\n');
    }
    for change in &document.changes {
        let _ = writeln!(out, "{change}");
        if let Some(reason) = &change.reason {
            let _ = writeln!(out, "           {} {}\n           fix: {}", reason.code, reason.message, reason.fix);
        }
    }
    let count = |fate: Fate| document.changes.iter().filter(|change| change.verdict == fate).count();
    let fates = [Fate::Keep, Fate::New, Fate::Change, Fate::Lose, Fate::Pending, Fate::Gone];
    let counts: Vec<String> =
        fates.iter().filter(|fate| count(**fate) > 0).map(|fate| format!("{} {}", count(*fate), fate.word())).collect();
    let counts = if counts.is_empty() { "no Service of type LoadBalancer".to_owned() } else { counts.join(", ") };
    let _ = writeln!(out, "\n{counts}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PoolState, ServiceState};

    #[test]
    fn what_a_process_tells_is_compared_with_files() {
        let pool = PoolState {
            name: "p".to_owned(),
            ranges: vec!["192.168.1.200-192.168.1.220".to_owned()],
            advertised_by: vec!["all".to_owned()],
            ..PoolState::default()
        };
        let service = ServiceState {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["192.168.1.205".parse().unwrap()],
            ..ServiceState::default()
        };
        let state = State { pools: vec![pool], services: vec![service], ..State::default() };
        let now = of_state(&state, "metallb-system").unwrap();
        let options = picture::Options { files: true, ..picture::Options::default() };
        let wanted = |range: &str| {
            let mut wanted = Known::default();
            wanted.resources.pools = vec![
                object(json!({
                    "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                    "metadata": { "name": "p", "namespace": "metallb-system" }, "spec": { "addresses": [range] },
                }))
                .unwrap(),
            ];
            wanted
        };
        let lines = |range: &str| screen(&decide(&now, &wanted(range), &options, false));
        assert_eq!(lines("192.168.1.200-192.168.1.220"), "keep     default/web  192.168.1.205  (p)\n\n1 keep\n");
        assert_eq!(
            lines("192.168.1.210-192.168.1.220"),
            "change   default/web  192.168.1.205 -> 192.168.1.210  (p)\n\n1 change\n"
        );
    }
}
