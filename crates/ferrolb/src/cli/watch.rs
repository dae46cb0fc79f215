//! `ferrolb watch`: the screen of `status`, again and again. On a terminal in place; elsewhere a new one whenever
//! something is different, with the time. Exit codes with `--looks`: those of `status` at the last look.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use time::OffsetDateTime;

use super::reach::Reach;
use super::status::{screen, verdict_of};
use super::{Verdict, print};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Stop after so many looks; without it, at Ctrl-C.
    #[arg(long)]
    looks: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

/// Clears the terminal and goes to its upper left corner (ECMA-48).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let in_place = std::io::stdout().is_terminal();
    let mut last = String::new();
    let mut looks = 0;
    loop {
        // Whoever watches wants to see that nobody answers, and when somebody does again.
        let (text, verdict) = match args.reach.ask() {
            Ok(answer) => (screen(&answer.state, false), verdict_of(&answer)),
            Err(error) => (format!("nobody answers: {error:#}\n"), Verdict::Exit(2)),
        };
        let now = OffsetDateTime::now_utc();
        let time = format!("{:02}:{:02}:{:02} UTC", now.hour(), now.minute(), now.second());
        if in_place {
            print(&format!("{CLEAR}{time}, every {} s, Ctrl-C ends\n\n{text}", args.interval))?;
        } else if text != last {
            print(&format!("--- {time}\n{text}"))?;
        }
        // Whoever reads may be gone; then there is nobody to go on for.
        if std::io::stdout().flush().is_err() {
            return Ok(Verdict::Fine);
        }
        last = text;
        looks += 1;
        if args.looks.is_some_and(|most| looks >= most) {
            return Ok(verdict);
        }
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}
