//! `ferrolb explain LB1104`: the long text of a code, offline.

use std::fmt::Write as _;

use ferrolb_rules::reason::Code;

use super::{Verdict, print};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The code, such as LB1104, 1104 or NodeExcluded.
    code: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let text = match &args.code {
        Some(code) => page(code.parse()?),
        None => list(),
    };
    print(&text)?;
    Ok(Verdict::Fine)
}

fn page(code: Code) -> String {
    let texts = code.explanation();
    let hosts = Some(code.fix_on_hosts()).filter(|fix| *fix != texts.fix);
    let hosts = hosts.map(|fix| format!("Without Kubernetes: {fix}\n")).unwrap_or_default();
    format!("{code} {}: {}\n\n{}\n\nFix: {}\n{hosts}", code.name(), texts.summary, texts.long.trim(), texts.fix)
}

fn list() -> String {
    Code::ALL.iter().fold(String::new(), |mut out, code| {
        let _ = writeln!(out, "{code}  {:<34}  {}", code.name(), code.explanation().summary);
        out
    })
}
