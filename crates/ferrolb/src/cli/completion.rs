//! `ferrolb completion SHELL`: what a shell needs to complete verbs and flags. And what `kubectl` asks for: it completes
//! `kubectl ferrolb …` by a program `kubectl_complete-ferrolb`, which this one is where it is called so.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Verdict, print};

/// The name by which kubectl calls a plugin's completion.
pub(super) const KUBECTL: &str = "kubectl_complete-ferrolb";

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

/// What may stand in place of the last of these words, one a line, and what kubectl is to do about files: nothing where
/// there are words of ours (4), else as the shell does (0).
pub(super) fn for_kubectl(words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let root = Cli::command();
    let verb = before.iter().fold(&root, |command, word| command.find_subcommand(word).unwrap_or(command));
    let fitting: Vec<String> = if last.starts_with('-') { flags(verb) } else { verbs(verb) };
    let fitting: Vec<&String> = fitting.iter().filter(|word| word.starts_with(last)).collect();
    let lines: String = fitting.iter().map(|word| format!("{word}\n")).collect();
    format!("{lines}:{}\n", if fitting.is_empty() { 0 } else { 4 })
}

fn verbs(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown.map(|verb| verb.get_name().to_owned()).collect()
}

fn flags(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|flag| !flag.is_hide_set());
    shown.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect()
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

    #[test]
    fn kubectl_is_told_verbs_their_own_verbs_and_flags() {
        let told = |line: &str| for_kubectl(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(told("wh"), "why\n:4\n");
        assert_eq!(told("pool "), "scan\n:4\n");
        assert_eq!(told("why svc/web --kubec"), "--kubeconfig\n:4\n");
        assert!(told("").contains("status\n"), "{}", told(""));
        assert_eq!(told("lint ma"), ":0\n", "files are the shell's affair");
    }
}
