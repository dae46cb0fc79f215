//! `ferrolb plan -f FILES`: what becomes of each Service's address if these files were merged.
//!
//! What is now comes from a cluster, from a process on this host, or from other files. Exit codes: 0 nothing is lost, 1
//! a Service loses or changes its address or will not be served, 2 nobody answers or a file cannot be read.

use std::path::PathBuf;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::bail;
use ferrolb_rules::changes::{Change, Verdict as Fate, apply, compare};
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::{Finding, Severity};
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Answer, Reach, files};
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
    let (wanted, _) = files(&args.files, args.reach.namespace.as_deref())?;
    let (now, options) = match answer {
        Answer { known: Some(known), .. } => known,
        Answer { state, .. } => {
            if wanted.resources.pools.is_empty() {
                bail!(
                    "a process tells its Services but not its pools; give all its manifests, or compare files with \
                     --manifests DIR"
                );
            }
            (of_state(&state), picture::Options { files: true, announce_if_all_excluded: true, ..Default::default() })
        }
    };
    let document = decide(&now, &wanted, &options, args.prune);
    let names =
        || document.changes.iter().map(|change| format!("{} {}\n", change.verdict.word(), change.service)).collect();
    show(args.output, &document, || screen(&document), names)?;
    let errors = document.findings.iter().any(|finding| finding.severity == Severity::Error);
    let bad = errors || document.changes.iter().any(|change| change.verdict.is_bad());
    Ok(if bad { Verdict::Findings } else { Verdict::Fine })
}

fn decide(now: &Known, wanted: &Known, options: &picture::Options, prune: bool) -> Document {
    let then = apply(now, wanted, prune);
    let applied = picture::Options { as_if_applied: true, ..options.clone() };
    let (before, after) = (picture::draw(now, options), picture::draw(&then, &applied));
    // What was said before is not news.
    let news = after.findings.iter().filter(|finding| !before.findings.contains(finding));
    Document { changes: compare(&before, &after), findings: news.cloned().collect() }
}

/// The Services of a process with the addresses that they have. Of the rest of their specification nothing is known; the
/// files have it.
fn of_state(state: &State) -> Known {
    let service = |one: &crate::state::ServiceState| {
        let mut service = Service::default();
        service.metadata.name = Some(one.name.clone());
        service.metadata.namespace = Some(one.namespace.clone());
        let port = ServicePort { port: 80, ..ServicePort::default() };
        service.spec = Some(ServiceSpec {
            type_: Some("LoadBalancer".to_owned()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        });
        let entry = |ip: &std::net::IpAddr| LoadBalancerIngress { ip: Some(ip.to_string()), ..Default::default() };
        let ingress = Some(one.addresses.iter().map(entry).collect());
        let load_balancer = Some(LoadBalancerStatus { ingress });
        service.status = Some(ServiceStatus { load_balancer, ..ServiceStatus::default() });
        Arc::new(service)
    };
    Known { services: state.services.iter().map(service).collect(), ..Known::default() }
}

fn screen(document: &Document) -> String {
    let mut out = String::new();
    for finding in &document.findings {
        let _ = writeln!(out, "{} {}: {}\n    fix: {}", finding.code, finding.object, finding.message, finding.fix);
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
