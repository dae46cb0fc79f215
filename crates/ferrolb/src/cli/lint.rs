//! `ferrolb lint`: what in these files is wrong, does nothing or contradicts, without a cluster.
//!
//! For a hook before each commit: `ferrolb lint .` at the top of the repository. Exit codes: 0 nothing, 1 findings, 2
//! the files could not be read.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use ferrolb_rules::reason::{Code, Finding, Location, Severity};
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use crate::source::{Written, collect, review};

/// What standard input is called in findings.
const PIPE: &str = "stdin";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Files and directories of YAML or JSON; `-` is standard input, such as the output of `kustomize build`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The namespace that metallb.io objects are read from; without it, the one the chart is installed into.
    #[arg(long)]
    namespace: Option<String>,
    /// The least severity that counts for the exit code.
    #[arg(long, value_enum, default_value_t = Threshold::Warning)]
    failure_threshold: Threshold,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threshold {
    Error,
    Warning,
    Note,
}

impl Threshold {
    fn counts(self, finding: &Finding) -> bool {
        match self {
            Self::Error => finding.severity == Severity::Error,
            Self::Warning => finding.severity != Severity::Note,
            Self::Note => true,
        }
    }
}

#[derive(Serialize)]
struct Document {
    files: usize,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let files = read(&args.paths)?;
    let review = review(&files, args.namespace.as_deref());
    let mut findings = review.findings;
    findings.extend(review.unapplied);
    findings.extend(files.iter().filter(|file| is_empty_pipe(file)).map(|_| empty_pipe()));
    let document = Document { files: review.files, findings };
    show(args.output, &document, || screen(document.files, &document.findings), || names(&document.findings))?;
    let counts = document.findings.iter().any(|finding| args.failure_threshold.counts(finding));
    Ok(if counts { Verdict::Findings } else { Verdict::Fine })
}

/// The files of these paths; `-` is standard input.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Written>> {
    let (pipe, paths): (Vec<PathBuf>, Vec<PathBuf>) = paths.iter().cloned().partition(|path| path == Path::new("-"));
    let mut files = collect(&paths).map_err(anyhow::Error::msg)?;
    if !pipe.is_empty() {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
        files.push(Written { name: PIPE.to_owned(), bytes, named: true });
    }
    if files.is_empty() {
        bail!("no file ending in .yaml, .yml or .json is there");
    }
    Ok(files)
}

fn is_empty_pipe(file: &Written) -> bool {
    file.name == PIPE && file.bytes.iter().all(u8::is_ascii_whitespace)
}

/// Whoever was to print it has most likely failed.
fn empty_pipe() -> Finding {
    let fix = "look at what the command before the pipe says: `kustomize build DIR`, `helm template …`";
    Finding::new(Code::ManifestInvalid, Severity::Error, PIPE, "standard input is empty: nothing was read")
        .with_fix(fix)
        .at(Location { file: PIPE.to_owned(), line: 1, column: 1 })
}

/// A place and a name, one a line.
fn names(findings: &[Finding]) -> String {
    let place = |finding: &Finding| finding.location.as_ref().map(|place| format!("{place} ")).unwrap_or_default();
    findings.iter().map(|finding| format!("{}{} {}\n", place(finding), finding.code, finding.object)).collect()
}

/// The screen: one finding in two or three lines, the place first so that editors jump there.
pub(super) fn screen(files: usize, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        if let Some(place) = &finding.location {
            let _ = write!(out, "{place}: ");
        }
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let _ = writeln!(out, "{severity} {} {}", finding.code, finding.object);
        let _ = writeln!(out, "    {}", finding.message);
        let _ = writeln!(out, "    fix: {}", finding.fix);
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let files = plural(files, "file");
    let _ = match findings.first() {
        None => writeln!(out, "{files}: nothing to complain about"),
        Some(first) => writeln!(
            out,
            "\n{files}: {}, {}, {}.  More about a code: ferrolb explain {}",
            plural(errors, "error"),
            plural(warnings, "warning"),
            plural(notes, "note"),
            first.code
        ),
    };
    out
}
