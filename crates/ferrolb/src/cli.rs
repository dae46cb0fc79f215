//! The command line: one verb per file.
//!
//! Exit codes are the same for every verb: 0 fine, 1 findings, 2 could not tell (bad usage, nobody answered).

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod explain;
mod lab;
mod standalone;
pub mod status;

/// Gives LoadBalancer Services addresses on bare metal and announces them.
#[derive(Parser)]
#[command(name = "ferrolb", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run on a host without Kubernetes: objects come from a directory of manifests.
    Standalone(standalone::Args),
    /// Try it: a small network on this machine, three nodes, a laptop, and what happens when one node fails.
    Lab(lab::Args),
    /// Show pools, Services, peers, and what is wrong.
    Status(status::Args),
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
    let cli = Cli::parse();
    let result = match cli.verb {
        Verb::Standalone(args) => standalone::run(args),
        Verb::Lab(args) => lab::run(args),
        Verb::Status(args) => status::run(&args),
        Verb::Explain(args) => explain::run(&args),
    };
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Ok(Verdict::Exit(code)) => ExitCode::from(code),
        Err(error) => {
            // `{:#}` and not `{:?}`: a stripped binary would print an empty backtrace.
            let _ = writeln!(io::stderr(), "ferrolb: {error:#}");
            ExitCode::from(2)
        }
    }
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
