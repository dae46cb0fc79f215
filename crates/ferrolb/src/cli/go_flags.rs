//! Command lines as Go programs take them, so that upstream's own start lines run us unchanged (spec §8.6).
//!
//! Go takes `-flag` for `--flag`, `--flag value` for `--flag=value` whatever the value looks like, and a switch bare or
//! with `=true`, `=false` and a few shorter words, never with a word after a blank. Here such a line is rewritten into
//! `--flag=value` throughout, which is what clap then parses. One thing is not copied: Go stops at the first word that
//! is no flag and silently ignores the rest; that is an error here, because it is always a mistake.

use std::ffi::OsString;

use clap::Command;

/// Above this likeness (0 to 1) a flag is offered as what may have been meant.
const LIKELY: f64 = 0.7;

/// The line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    /// No such flag.
    #[error("unknown flag {flag}{hint}", hint = hint(nearest.as_deref()))]
    Unknown {
        /// As it was written, without its value.
        flag: String,
        /// The flag that looks most like it.
        nearest: Option<String>,
    },
    /// A flag at the end that needs a value.
    #[error("--{0} needs a value: --{0}=VALUE")]
    NoValue(String),
    /// A switch with a value that is neither true nor false.
    #[error("--{name}={value}: use --{name} or --{name}=true to switch it on, --{name}=false to switch it off")]
    NotABoolean {
        /// The switch.
        name: String,
        /// Its value.
        value: String,
    },
    /// A word that belongs to no flag.
    #[error("unexpected argument {word:?}{hint}", hint = after_switch(switch.as_deref()))]
    Stray {
        /// The word.
        word: String,
        /// The switch just before it, whose value it may have been meant to be.
        switch: Option<String>,
    },
    /// Something with dashes that is no flag.
    #[error("{0:?} is not a flag: flags look like --name or --name=value")]
    Malformed(String),
    /// Not Unicode.
    #[error("{0:?} is not valid Unicode")]
    NotUnicode(OsString),
}

fn hint(nearest: Option<&str>) -> String {
    nearest
        .map_or_else(|| "; --help lists all".to_owned(), |name| format!("; did you mean --{name}? (--help lists all)"))
}

fn after_switch(switch: Option<&str>) -> String {
    switch.map_or_else(String::new, |name| format!(": a value for --{name} is written --{name}=true or --{name}=false"))
}

/// Rewrites the arguments of a verb (without the program's name and the verb) for clap. Which flags there are, and
/// which of them are switches, is read from the verb's own definition.
pub(super) fn rewrite(verb: &Command, args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, FlagError> {
    let mut rewritten = Vec::new();
    let mut switch_before = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let arg = arg.into_string().map_err(FlagError::NotUnicode)?;
        if arg == "--" {
            return match args.next() {
                None => Ok(rewritten),
                Some(word) => Err(FlagError::Stray { word: word.to_string_lossy().into_owned(), switch: None }),
            };
        }
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            return Err(FlagError::Stray { word: arg, switch: switch_before });
        };
        if flag.starts_with(['-', '=']) {
            return Err(FlagError::Malformed(arg));
        }
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        switch_before = None;
        if matches!(name, "h" | "help") {
            rewritten.push("--help".into());
            continue;
        }
        let Some(is_switch) = is_switch(verb, name) else {
            let written = arg.split('=').next().unwrap_or(&arg).to_owned();
            return Err(FlagError::Unknown { flag: written, nearest: nearest(verb, name) });
        };
        let value = match value {
            _ if is_switch => {
                switch_before = value.is_none().then(|| name.to_owned());
                boolean(name, value.unwrap_or("true"))?.to_string()
            }
            Some(value) => value.to_owned(),
            None => match args.next() {
                Some(value) => value.into_string().map_err(FlagError::NotUnicode)?,
                None => return Err(FlagError::NoValue(name.to_owned())),
            },
        };
        rewritten.push(format!("--{name}={value}").into());
    }
    Ok(rewritten)
}

/// Whether the verb has this flag, and then whether it works without a value.
fn is_switch(verb: &Command, name: &str) -> Option<bool> {
    let flag = verb.get_arguments().find(|flag| flag.get_long() == Some(name))?;
    Some(flag.get_num_args().is_some_and(|count| count.min_values() == 0))
}

/// The words that Go takes for true and false.
fn boolean(name: &str, value: &str) -> Result<bool, FlagError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FlagError::NotABoolean { name: name.to_owned(), value: value.to_owned() }),
    }
}

fn nearest(verb: &Command, name: &str) -> Option<String> {
    let flags = verb.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(clap::Arg::get_long);
    let likeness =
        flags.map(|flag| (strsim::jaro_winkler(flag, name), flag)).filter(|(likeness, _)| *likeness > LIKELY);
    likeness.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, flag)| flag.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn verb() -> Command {
        let switch = |name: &'static str| Arg::new(name).long(name).num_args(0..=1).action(ArgAction::Set);
        Command::new("controller")
            .arg(Arg::new("port").long("port").num_args(1))
            .arg(Arg::new("ml-labels").long("ml-labels").num_args(1))
            .arg(Arg::new("log-level").long("log-level").num_args(1))
            .arg(switch("webhook-http2"))
    }

    fn rewritten(args: &[&str]) -> Result<Vec<String>, FlagError> {
        let args = rewrite(&verb(), args.iter().map(OsString::from))?;
        Ok(args.into_iter().map(|arg| arg.into_string().unwrap()).collect())
    }

    #[test]
    fn one_dash_two_dashes_blank_and_equals_mean_the_same() {
        for line in [&["-port=9120"][..], &["--port=9120"], &["-port", "9120"], &["--port", "9120"]] {
            assert_eq!(rewritten(line), Ok(vec!["--port=9120".to_owned()]), "{line:?}");
        }
    }

    #[test]
    fn a_value_may_be_empty_begin_with_a_dash_or_hold_an_equals_sign() {
        let line = ["--port", "-1", "-ml-labels=a=b,c=d", "--log-level", "--port", "--ml-labels=", "--port", "--"];
        let expected = ["--port=-1", "--ml-labels=a=b,c=d", "--log-level=--port", "--ml-labels=", "--port=--"];
        assert_eq!(rewritten(&line).unwrap(), expected);
    }

    #[test]
    fn a_switch_is_bare_or_has_one_of_gos_words() {
        for (written, means) in [
            ("--webhook-http2", true),
            ("-webhook-http2", true),
            ("--webhook-http2=true", true),
            ("--webhook-http2=T", true),
            ("--webhook-http2=1", true),
            ("-webhook-http2=false", false),
            ("--webhook-http2=0", false),
        ] {
            assert_eq!(rewritten(&[written]).unwrap(), [format!("--webhook-http2={means}")], "{written}");
        }
        let error = rewritten(&["--webhook-http2=yes"]).unwrap_err().to_string();
        assert!(error.contains("--webhook-http2=yes: use --webhook-http2 or --webhook-http2=true"), "{error}");
    }

    #[test]
    fn a_switch_takes_no_value_after_a_blank_and_the_error_says_how_to_write_it() {
        let error = rewritten(&["--webhook-http2", "false", "--port=1"]).unwrap_err();
        assert_eq!(error, FlagError::Stray { word: "false".into(), switch: Some("webhook-http2".into()) });
        assert!(error.to_string().ends_with("--webhook-http2=true or --webhook-http2=false"), "{error}");
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let error = rewritten(&["--log-levle=debug"]).unwrap_err().to_string();
        assert_eq!(error, "unknown flag --log-levle; did you mean --log-level? (--help lists all)");
        let error = rewritten(&["-zzz"]).unwrap_err().to_string();
        assert_eq!(error, "unknown flag -zzz; --help lists all");
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        assert_eq!(rewritten(&["--port"]), Err(FlagError::NoValue("port".into())));
        assert_eq!(rewritten(&["---port=1"]), Err(FlagError::Malformed("---port=1".into())));
        assert_eq!(rewritten(&["--=1"]), Err(FlagError::Malformed("--=1".into())));
        assert_eq!(rewritten(&["-"]), Err(FlagError::Stray { word: "-".into(), switch: None }));
        assert_eq!(rewritten(&["--", "x"]), Err(FlagError::Stray { word: "x".into(), switch: None }));
        assert_eq!(rewritten(&["--port=1", "--"]).unwrap(), ["--port=1"]);
    }

    #[test]
    fn help_is_asked_for_in_every_way() {
        for word in ["-h", "--h", "-help", "--help"] {
            assert_eq!(rewritten(&[word]).unwrap(), ["--help"], "{word}");
        }
    }
}
