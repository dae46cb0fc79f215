//! The command line: one verb per file.
//!
//! Exit codes are the same for every verb: 0 fine, 1 findings, 2 could not tell (bad usage, nobody answered).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use ferrolb_rules::reason::Code;

mod bundle;
mod check;
mod completion;
mod controller;
mod explain;
mod export;
mod faces;
mod go_flags;
mod ip;
mod lab;
mod lint;
mod output;
mod plan;
mod probe;
mod process;
mod reach;
mod scan;
mod speaker;
mod standalone;
pub mod status;
mod watch;
mod why;
mod wire;

/// The verbs whose command lines are upstream's, and the names that the program may be called by instead: the image has
/// `/controller` and `/speaker`, so that upstream's start lines need no change.
const UPSTREAM_VERBS: [&str; 2] = ["controller", "speaker"];

/// Gives LoadBalancer Services addresses on bare metal and announces them.
#[derive(Parser)]
#[command(name = "ferrolb", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run in a cluster: give Services their addresses.
    Controller(controller::Args),
    /// Run on a node of a cluster: announce addresses.
    Speaker(speaker::Args),
    /// Run on a host without Kubernetes: objects come from a directory of manifests.
    Standalone(standalone::Args),
    /// Try it: a small network on this machine, three nodes, a laptop, and what happens when one node fails.
    Lab(lab::Args),
    /// Show pools, Services, peers, and what is wrong.
    Status(status::Args),
    /// Walk every rule for a Service, up to the first that fails, and say what to do about it.
    Why(why::Args),
    /// Say who has an address, and which machine answers for it.
    Ip(ip::Args),
    /// Show `status` again and again.
    Watch(watch::Args),
    /// Show the nodes or hosts, and which of them are alive.
    Peers(status::PeersArgs),
    /// Ask the wire: a real ARP request or neighbour solicitation and a TCP connection, and who answered.
    Probe(probe::Args),
    /// Ask about pools.
    #[command(subcommand)]
    Pool(scan::Pool),
    /// The same as `pool scan`.
    Scan(scan::Args),
    /// Show what becomes of each Service if these files were merged: keep, new, change, lose.
    Plan(plan::Args),
    /// Judge a cluster: will it work here? With --pre before anything is installed.
    Check(check::Args),
    /// Wait until a cluster is ready, or a Service announced, and say which stage is missing.
    Wait(check::WaitArgs),
    /// Write a cluster's configuration as clean YAML, with who has which address.
    Export(export::Args),
    /// Write everything that somebody needs who is asked for help; no secrets.
    SupportBundle(bundle::Args),
    /// Find what is wrong, does nothing or contradicts in files of a Git repository, without a cluster.
    Lint(lint::Args),
    /// Write what a shell needs to complete verbs and flags.
    Completion(completion::Args),
    /// Explain a code such as LB1104; without a code, list them all.
    Explain(explain::Args),
}

/// How a verb ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well: 0.
    Fine,
    /// Something needs attention: 1.
    Findings,
    /// What another program that was run for the user returned.
    Exit(u8),
}

/// Parses the command line, runs the verb, and says on standard error what went wrong.
pub fn main() -> ExitCode {
    if called().as_deref() == Some(completion::KUBECTL) {
        let words: Vec<String> = env::args().skip(1).collect();
        let _ = print(&completion::for_kubectl(&words));
        return ExitCode::SUCCESS;
    }
    let args = match arguments(env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            complain(&process::wrong_flag(&error));
            return ExitCode::from(2);
        }
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    let result = match cli.verb {
        Verb::Controller(args) => controller::run(&args),
        Verb::Speaker(args) => speaker::run(&args),
        Verb::Standalone(args) => standalone::run(args),
        Verb::Lab(args) => lab::run(args),
        Verb::Status(args) => status::run(&args),
        Verb::Why(args) => why::run(&args),
        Verb::Ip(args) => ip::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Peers(args) => status::peers_only(&args),
        Verb::Probe(args) => probe::run(&args),
        Verb::Pool(scan::Pool::Scan(args)) | Verb::Scan(args) => scan::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Wait(args) => check::wait(&args),
        Verb::Export(args) => export::run(&args),
        Verb::SupportBundle(args) => bundle::run(&args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Explain(args) => explain::run(&args),
    };
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Ok(Verdict::Exit(code)) => ExitCode::from(code),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// What clap has to say: help and version, or what is wrong with the command line and where to read more.
fn answer(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = writeln!(
            io::stderr(),
            "\n{} {}: `ferrolb explain {0}` says more",
            Code::FlagInvalid,
            Code::FlagInvalid.name()
        );
    }
    ExitCode::from(2)
}

/// Says on standard error what went wrong.
fn complain(error: &anyhow::Error) {
    // `{:#}` and not `{:?}`: a stripped binary would print an empty backtrace.
    let _ = writeln!(io::stderr(), "ferrolb: {error:#}");
}

/// The name that the program was called by.
fn called() -> Option<String> {
    let path = env::args_os().next()?;
    Some(Path::new(&path).file_name()?.to_str()?.to_owned())
}

/// The arguments as clap takes them: the verb from the program's name where that says it, and upstream's verbs with
/// their flags rewritten from Go's manner.
fn arguments(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, go_flags::FlagError> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let called = args.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    if let Some(verb) = called.filter(|name| UPSTREAM_VERBS.contains(name)) {
        let verb = verb.to_owned();
        args.splice(..1, ["ferrolb".into(), verb.into()]);
    }
    if let Some(verb) = role(args.get(1), &|name| env::var_os(name).is_some()) {
        args.insert(1, verb.into());
    }
    let command = Cli::command();
    let verb = args.get(1).and_then(|verb| verb.to_str()).filter(|name| UPSTREAM_VERBS.contains(name));
    if let Some(verb) = verb.and_then(|name| command.find_subcommand(name)) {
        let flags = go_flags::rewrite(verb, args.split_off(2))?;
        args.extend(flags);
    }
    Ok(args)
}

/// What MetalLB's own manifests mean, which give the container nothing but flags: its image knew which program it has.
/// Ours is one program for both; who has a node's name is a speaker, who makes the membership's Secret is the controller.
fn role(first: Option<&OsString>, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let flag = first?.to_str()?;
    if !flag.starts_with('-') || ["-h", "--help", "-V", "--version"].contains(&flag) {
        return None;
    }
    if has("METALLB_NODE_NAME") {
        return Some("speaker");
    }
    (has("METALLB_ML_SECRET_NAME") || has("METALLB_DEPLOYMENT")).then_some("controller")
}

/// Writes to standard output. A closed pipe (`ferrolb status | head`) is no error: the reader has what it wanted.
///
/// # Errors
/// Any other failure to write.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(arguments(line.iter().map(OsString::from)).unwrap())
    }

    #[test]
    fn the_definition_of_the_command_line_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn where_there_are_only_flags_the_environment_tells_which_program_is_meant() {
        let flag = OsString::from("--port=7472");
        let of = |first: &str, names: &[&str]| role(Some(&OsString::from(first)), &|name| names.contains(&name));
        assert_eq!(of("--port=7472", &["METALLB_NODE_NAME", "METALLB_ML_SECRET_KEY_PATH"]), Some("speaker"));
        assert_eq!(of("-port=7472", &["METALLB_ML_SECRET_NAME", "METALLB_DEPLOYMENT"]), Some("controller"));
        assert_eq!(role(Some(&flag), &|_| false), None, "nobody knows");
        assert_eq!(of("--help", &["METALLB_NODE_NAME"]), None);
        assert_eq!(of("status", &["METALLB_NODE_NAME"]), None);
        assert_eq!(role(None, &|_| true), None);
    }

    #[test]
    fn the_program_called_as_controller_or_speaker_is_that_verb() {
        assert!(matches!(parsed(&["/controller", "-port=9120"]).unwrap().verb, Verb::Controller(_)));
        assert!(matches!(parsed(&["speaker", "--port", "9120"]).unwrap().verb, Verb::Speaker(_)));
        assert!(matches!(parsed(&["ferrolb", "speaker", "-port", "9120"]).unwrap().verb, Verb::Speaker(_)));
        assert!(matches!(parsed(&["/ferrolb", "explain", "LB0001"]).unwrap().verb, Verb::Explain(_)));
    }

    #[test]
    fn other_verbs_keep_their_own_manner() {
        let args = arguments(["ferrolb", "explain", "--", "-x"].map(OsString::from)).unwrap();
        assert_eq!(args, ["ferrolb", "explain", "--", "-x"]);
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts_and_interfaces_add_up() {
        let line = ["speaker", "-port=1", "-port=2", "-node-name=n", "-namespace=x", "-interface=a", "-interface", "b"];
        let Verb::Speaker(args) = parsed(&line).unwrap().verb else { panic!("another verb") };
        let settings = speaker::settings(&args).unwrap();
        assert_eq!(settings.interfaces.unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
