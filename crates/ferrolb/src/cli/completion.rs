//! `ferrolb completion SHELL`: what a shell needs to complete verbs and flags.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Verdict, print};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell; its documentation says where such scripts go.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    print(&script(args.shell)?)?;
    Ok(Verdict::Fine)
}

fn script(shell: Shell) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ferrolb", &mut bytes);
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell).unwrap();
            assert!(["lint", "why", "plan", "explain"].iter().all(|verb| script.contains(verb)), "{shell}");
        }
    }
}
