//! `ferrolb explain LB1104`: the long text of a code, offline.

use std::fmt::Write as _;

use ferrolb_rules::reason::Code;
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The code, such as LB1104, 1104 or NodeExcluded.
    code: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What there is to say about a code.
#[derive(Serialize)]
struct Document {
    code: Code,
    name: &'static str,
    summary: &'static str,
    fix: &'static str,
    /// Where the fix is another one on a host without Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix_on_hosts: Option<&'static str>,
    story: &'static str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    match &args.code {
        Some(code) => {
            let code = code.parse()?;
            show(args.output, &document(code), || page(code), || format!("{code}\n"))?;
        }
        None => {
            let all: Vec<Document> = Code::ALL.iter().copied().map(document).collect();
            let names = || Code::ALL.iter().map(|code| format!("{code}\n")).collect();
            show(args.output, &all, list, names)?;
        }
    }
    Ok(Verdict::Fine)
}

fn document(code: Code) -> Document {
    let texts = code.explanation();
    let hosts = code.fix_on_hosts();
    Document {
        code,
        name: code.name(),
        summary: texts.summary,
        fix: texts.fix,
        fix_on_hosts: (hosts != texts.fix).then_some(hosts),
        story: texts.long.trim(),
    }
}

fn page(code: Code) -> String {
    let Document { name, summary, fix, fix_on_hosts, story, .. } = document(code);
    let hosts = fix_on_hosts.map(|fix| format!("Without Kubernetes: {fix}\n")).unwrap_or_default();
    format!("{code} {name}: {summary}\n\n{story}\n\nFix: {fix}\n{hosts}")
}

fn list() -> String {
    Code::ALL.iter().fold(String::new(), |mut out, code| {
        let _ = writeln!(out, "{code}  {:<34}  {}", code.name(), code.explanation().summary);
        out
    })
}
