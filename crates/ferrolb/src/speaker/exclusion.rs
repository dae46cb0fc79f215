//! The file of interfaces to leave alone (`excludel2.yaml`, spec §6.3), read once at start.

use std::path::Path;
use std::{fs, io};

use anyhow::Context as _;
use ferrolb_rules::reason::Code;
use regex::Regex;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    announced_interfaces_to_exclude: Option<Vec<String>>,
}

/// The expression that matches the names of interfaces to leave alone; none where there is no file.
///
/// # Errors
/// The file is there and cannot be read, is no such YAML, or holds an expression that cannot be understood.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Regex>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| said(path, "cannot be read"))?,
    };
    parse(&text).with_context(|| said(path, "cannot be used")).map(Some)
}

fn said(path: &Path, what: &str) -> String {
    format!("{} {} {what}; `ferrolb explain {0}` shows what it looks like", Code::ExclusionInvalid, path.display())
}

fn parse(text: &str) -> anyhow::Result<Regex> {
    let file = serde_saphyr::from_str::<Option<File>>(text)?;
    let expressions = file.and_then(|file| file.announced_interfaces_to_exclude).unwrap_or_default();
    for expression in &expressions {
        Regex::new(expression).with_context(|| format!("{expression:?} is no regular expression"))?;
    }
    // Without any expression nothing is excluded, and this one matches nothing.
    let parts: Vec<String> = expressions.iter().map(|expression| format!("({expression})")).collect();
    let all = if parts.is_empty() { "[^\\s\\S]".to_owned() } else { parts.join("|") };
    Regex::new(&all).context("the expressions together are too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(text: &str, name: &str) -> bool {
        parse(text).unwrap().is_match(name)
    }

    #[test]
    fn any_expression_excludes_and_is_not_anchored() {
        let text = "announcedInterfacesToExclude: ['^docker.*', 'wan']\n";
        assert!(excluded(text, "docker0"));
        assert!(excluded(text, "eth-wan1"));
        assert!(!excluded(text, "eth0"));
    }

    #[test]
    fn an_empty_list_or_file_excludes_nothing() {
        for text in ["announcedInterfacesToExclude: []\n", "announcedInterfacesToExclude:\n", "{}\n", ""] {
            assert!(!excluded(text, "eth0"), "{text:?}");
            assert!(!excluded(text, ""), "{text:?}");
        }
    }

    #[test]
    fn an_absent_file_is_fine_and_a_bad_one_is_named_with_its_code() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("excludel2.yaml");
        assert!(read(&path).unwrap().is_none());
        fs::write(&path, "announcedInterfacesToExclude: ['a(']\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("LB0026") && error.contains("a(") && error.contains("excludel2.yaml"), "{error}");
        fs::write(&path, "announcedInterfacesToExclude: {a: b}\n").unwrap();
        assert!(read(&path).is_err());
    }
}
