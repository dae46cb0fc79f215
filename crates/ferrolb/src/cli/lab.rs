//! `ferrolb lab`: the whole thing on this machine, without a cluster and without touching the machine.

use super::Verdict;
use crate::lab::{self, Options, Story};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print one JSON object in the end and nothing else.
    #[arg(long)]
    json: bool,
    /// Which story to tell: l2 (layer 2), or bgp (with FRR and BIRD as routers; needs root).
    #[arg(long, value_name = "NAME", default_value = "l2")]
    story: Story,
    /// Bring everything up and open a shell on the lab's laptop, or run the command after `--` there.
    #[arg(long, conflicts_with_all = ["json", "story"])]
    shell: bool,
    /// What to run in place of a shell.
    #[arg(last = true, requires = "shell", value_name = "COMMAND")]
    command: Vec<String>,
    /// Used by the lab itself: run as process 1 of its namespaces, as the child of this process.
    #[arg(long, hide = true)]
    inside: Option<i32>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Verdict> {
    let options = Options { json: args.json, story: args.story, shell: args.shell.then_some(args.command) };
    let code = match args.inside {
        None => lab::run(&options)?,
        Some(parent) => lab::run_inside(&options, parent)?,
    };
    Ok(if code == 0 { Verdict::Fine } else { Verdict::Exit(code) })
}
