//! `ferrolb plan -f FILES`: what becomes of each Service's address if these files were merged.
//!
//! What is now comes from a cluster, from a process on this host, or from other files. Exit codes: 0 nothing is lost, 1
//! a Service loses or changes its address or will not be served, or something in the files cannot be taken as it is
//! meant, 2 nobody answers or tells everything, or there is nothing in the files that could be merged.

use std::fmt::Write as _;
use std::path::PathBuf;

use ferrolb_rules::changes::{Change, Verdict as Fate, apply, compare, to_come};
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::{Finding, Severity};
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use super::reach::{Reach, files, of_process};
use crate::look::cluster::DECIDED_BY;

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
            let (here, options) = of_process(&state)?;
            unread.extend(here.unread.into_iter().filter(|finding| !wanted.findings.contains(finding)));
            (here.known, options)
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
    use crate::state::{ServiceState, StandaloneState, State};

    const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\n\
                        spec: {addresses: [192.168.1.200-192.168.1.220]}\n---\napiVersion: metallb.io/v1beta1\n\
                        kind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}\n";
    const WEB: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default, annotations: \
                       {metallb.io/loadBalancerIPs: 192.168.1.205}}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n";

    fn process(text: &str) -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), text).unwrap();
        let standalone = StandaloneState {
            manifests: directory.path().to_owned(),
            namespace: "metallb-system".to_owned(),
            ..StandaloneState::default()
        };
        let service = ServiceState {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["192.168.1.205".parse().unwrap()],
            ..ServiceState::default()
        };
        (directory, State { services: vec![service], standalone: Some(standalone), ..State::default() })
    }

    #[test]
    fn what_a_process_serves_is_compared_with_files_and_with_what_its_services_ask_for() {
        let (_directory, state) = process(&format!("{POOL}{WEB}"));
        let lines = |pool: &str| {
            let wanted = tempfile::tempdir().unwrap();
            std::fs::write(wanted.path().join("pool.yaml"), pool).unwrap();
            let wanted = files(&[wanted.path().to_owned()], Some("metallb-system")).unwrap();
            let (here, options) = of_process(&state).unwrap();
            screen(&decide(&here.known, &wanted.known, &options, false))
        };
        assert_eq!(lines(POOL), "keep     default/web  192.168.1.205  (p)\n\n1 keep\n");
        // It asks for that address, and is given no other.
        let smaller = lines(&POOL.replace("192.168.1.200-", "192.168.1.210-"));
        assert!(
            smaller.starts_with("lose     default/web  192.168.1.205 -> no address\n           LB1012 "),
            "{smaller}"
        );
    }

    #[test]
    fn a_process_whose_files_are_not_to_be_had_is_no_ground_for_a_plan() {
        let (directory, state) = process(POOL);
        let error = of_process(&state).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.starts_with("default/web is in force, and not as ") && error.ends_with("--manifests DIR"),
            "{error}"
        );
        drop(directory);
        let error = of_process(&state).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("cannot be read from here") && error.ends_with("--manifests DIR"), "{error}");
        let error = of_process(&State { standalone: None, ..state }).map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("--manifests DIR"), "{error}");
    }
}
