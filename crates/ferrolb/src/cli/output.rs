//! How verbs print: a screen for people, or the same as a document for programs.
//!
//! No colours, ever: what is wrong is said in words and marks, which survive a log, a pipe and a ticket.

use clap::ValueEnum;
use serde::Serialize;

use super::print;

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// Prints a document in the form asked for. `screen` and `names` are made only where they are.
pub(super) fn show<T: Serialize>(
    format: Format,
    document: &T,
    screen: impl FnOnce() -> String,
    names: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => screen(),
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
        Format::Yaml => serde_saphyr::to_string(document)?,
        Format::Name => names(),
    };
    Ok(print(&text)?)
}
