//! `ferrolb lab`: a small network on this machine, the shipped program on three of its nodes, the first user's own
//! manifests, and a story of which every line is a measurement (decision D14).
//!
//! ```text
//! isolate   namespaces that hold everything and leave nothing behind
//!  └ network    five machines on a switch          manifests   what the nodes read
//!     ├ speakers    ferrolb standalone on 3 nodes  pods        what answers behind the addresses
//!     ├ wire, browser   how the laptop sees it: ARP frames, HTTP requests
//!     ├ story ─► record     what is checked, in order; told as it happens, or one JSON object
//!     └ bgp, routers        the other story: FRR and BIRD, and clients behind them
//! ```
//!
//! Nothing is played: a node fails when its switch port goes down, an address moves when the neighbours' kernels say so.
//! The one stand-in is kube-proxy's, and the output says so. Left out here: clusters, conflicts.

use std::time::Duration;

use anyhow::Context as _;

use crate::cli;

mod bgp;
mod browser;
mod isolate;
mod manifests;
mod network;
mod pods;
mod record;
mod routers;
mod shell;
mod speakers;
mod story;
mod wire;

use manifests::{BACKENDS, Manifests};
use network::{NODES, Network};
use record::{CheckFailed, Recorder};
use speakers::{Speakers, agreed_owner};

/// How long things may take that take a second or two: a slow machine gets time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Commands that the lab runs, and the Debian packages that have them.
const TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("nft", "nftables")];

/// What can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Story {
    /// Layer 2: a pool, Traefik, a plug that is pulled.
    #[default]
    L2,
    /// BGP: two routers, three nodes, traffic spread over all of them.
    Bgp,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// One JSON object in place of the story.
    pub json: bool,
    /// Which story.
    pub story: Story,
    /// A shell in the lab, or this command if it is not empty, in place of the story.
    pub shell: Option<Vec<String>>,
}

/// Runs the lab in a process tree of its own and returns its exit code: 0 all well, 1 a check failed, 2 could not tell;
/// for a shell, what the shell returned.
///
/// # Errors
/// The machine does not let it be built; the message says what to do.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    require_tools(options.story)?;
    let mut arguments = Vec::new();
    if options.story == Story::Bgp {
        arguments.push("--story=bgp".to_owned());
    }
    arguments.extend(options.json.then(|| "--json".to_owned()));
    if let Some(command) = &options.shell {
        arguments.push("--shell".to_owned());
        if !command.is_empty() {
            arguments.push("--".to_owned());
            arguments.extend(command.iter().cloned());
        }
    }
    Ok(isolate::code_of(isolate::run_inside(&arguments)?))
}

/// The same, as process 1 of the namespaces.
///
/// # Errors
/// As [`run`].
pub fn run_inside(options: &Options, parent: i32) -> anyhow::Result<u8> {
    isolate::settle(parent)?;
    shell::place_programs()?;
    match &options.shell {
        Some(command) => in_shell(command),
        None => tell_story(options.json, options.story),
    }
}

fn require_tools(story: Story) -> anyhow::Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:" + routers::FRR;
    let more: &[_] = if story == Story::Bgp { &routers::TOOLS } else { &[] };
    let missing: Vec<&str> = TOOLS
        .iter()
        .chain(more)
        .filter(|(tool, _)| !std::env::split_paths(&path).any(|directory| directory.join(tool).exists()))
        .map(|(_, package)| *package)
        .collect();
    anyhow::ensure!(
        missing.is_empty(),
        "the lab needs tools that are not here; on Debian or Ubuntu: sudo apt-get install {}",
        missing.join(" ")
    );
    // FRR's daemons become another user, whom a user namespace of an ordinary user does not have.
    anyhow::ensure!(
        story == Story::L2 || nix::unistd::geteuid().is_root(),
        "the BGP story needs root: sudo ferrolb lab --story bgp"
    );
    Ok(())
}

/// The lab, running.
struct Lab {
    network: Network,
    manifests: Manifests,
    speakers: Speakers,
}

impl Lab {
    fn start(network: Network) -> anyhow::Result<Self> {
        let manifests = Manifests::create()?;
        pods::start(&network, &BACKENDS)?;
        pods::start_proxy(&network, &BACKENDS)?;
        let speakers = Speakers::start(&network, &shell::program(), manifests.directory())?;
        Ok(Self { network, manifests, speakers })
    }
}

fn tell_story(json: bool, story: Story) -> anyhow::Result<u8> {
    let mut recorder = Recorder::new(json);
    let result = match story {
        Story::L2 => story::tell(&mut recorder),
        Story::Bgp => bgp::tell(&mut recorder),
    };
    let failed_check = result.as_ref().is_err_and(anyhow::Error::is::<CheckFailed>);
    if let Err(error) = &result
        && !failed_check
    {
        recorder.check("lab", false, format!("the lab itself failed: {error:#}"));
    }
    let outcome = recorder.finish(result.is_ok());
    if !outcome.ok {
        eprint!("\nThe last lines of the nodes' logs:\n{}", Speakers::logs());
    }
    if json {
        cli::print(&(serde_json::to_string_pretty(&outcome)? + "\n"))?;
    }
    Ok(match (outcome.ok, &result) {
        (true, _) => 0,
        (false, Err(_)) if !failed_check => 2,
        (false, _) => 1,
    })
}

fn in_shell(command: &[String]) -> anyhow::Result<u8> {
    eprintln!("bringing up a router, three nodes and a laptop on one switch...");
    let mut lab = Lab::start(Network::build()?)?;
    lab.manifests.add_later_files()?;
    lab.manifests.add_production_pool()?;
    let (_, took) = lab.speakers.await_states(&NODES, PATIENCE, |states| {
        BACKENDS.iter().all(|backend| agreed_owner(states, backend.namespace, backend.name).is_some())
    });
    took.with_context(|| format!("the Services are not announced; the nodes' logs:\n{}", Speakers::logs()))?;
    shell::run(&lab.network, lab.manifests.directory(), command)
}
