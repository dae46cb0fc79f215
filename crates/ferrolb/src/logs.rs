//! The log of controller and speaker: one JSON object a line on standard output, with upstream's keys (spec §8.5).
//!
//! Keys are sorted. `ts` (UTC, whole seconds), `level`, `caller` and `msg` are always there; every field of an event
//! becomes a key of its own. Spans are not shown. What libraries say is shown from warnings on, with `all` everything.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Not one of upstream's words for how much to log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--log-level={0}: use all, debug, info, warn, error or none")]
pub struct UnknownLevel(String);

/// What is logged at this level, by whom.
fn filter(level: &str) -> Result<Targets, UnknownLevel> {
    let ours = match level {
        "all" => return Ok(Targets::new().with_default(LevelFilter::TRACE)),
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        "none" => LevelFilter::OFF,
        other => return Err(UnknownLevel(other.to_owned())),
    };
    // LevelFilter orders by how much is let through.
    let libraries = Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("ferrolb", ours);
    // What goes wrong between us and the API server is said once and with a code by us; the client says it every time.
    Ok(["kube_client", "kube_runtime"].iter().fold(libraries, |all, name| all.with_target(*name, LevelFilter::OFF)))
}

/// Logs from here on, for the whole process.
///
/// # Errors
/// [`UnknownLevel`].
pub fn start(level: &str) -> Result<(), UnknownLevel> {
    let filter = filter(level)?;
    // A line that cannot be written is lost; to complain about it on a closed standard error would panic.
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .event_format(Lines { now: OffsetDateTime::now_utc });
    // Logging twice would be a mistake of the program, and one that does no harm.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}

/// Writes events as lines.
struct Lines {
    now: fn() -> OffsetDateTime,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut keys = Keys::default();
        event.record(&mut keys);
        let (file, line) = match keys.take_log_caller() {
            Some(caller) => caller,
            None => (metadata.file().unwrap_or("unknown").to_owned(), u64::from(metadata.line().unwrap_or(0))),
        };
        let mut keys = keys.0;
        let file = file.rsplit('/').next().unwrap_or(&file);
        keys.insert("caller".into(), format!("{file}:{line}").into());
        keys.insert("level".into(), word(*metadata.level()).into());
        keys.insert("ts".into(), timestamp((self.now)()).into());
        keys.entry("msg".into()).or_insert_with(|| "".into());
        writeln!(writer, "{}", serde_json::to_string(&keys).map_err(|_| fmt::Error)?)
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// RFC 3339, UTC, whole seconds.
fn timestamp(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

/// The fields of an event by name; a map, so that they are written in order.
#[derive(Default)]
struct Keys(BTreeMap<String, Value>);

impl Keys {
    /// Where a line of the older `log` interface comes from; takes its bookkeeping away.
    fn take_log_caller(&mut self) -> Option<(String, u64)> {
        let file = self.0.remove("log.file");
        let line = self.0.remove("log.line");
        self.0.retain(|key, _| !key.starts_with("log."));
        Some((file?.as_str()?.to_owned(), line?.as_u64()?))
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let key = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(key.to_owned(), value.into());
    }
}

impl Visit for Keys {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // A list of texts is one in JSON too, as upstream has `ips` (spec §8.5).
        let list = (field.name() != "message" && text.starts_with('[')).then(|| serde_json::from_str(&text));
        match list {
            Some(Ok(Value::Array(list))) => self.put(field, list),
            _ => self.put(field, text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written at this level while `say` runs, with line numbers of this file left out.
    fn logged(level: &str, say: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let lines = Lines { now: || OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap() };
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(lines)
            .with_filter(filter(level).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let without_line = |line: &str| {
            let (before, after) = line.split_once("logs.rs:").unwrap();
            format!("{before}logs.rs:{}\n", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        };
        text.lines().map(without_line).collect()
    }

    #[test]
    fn a_line_is_one_object_with_sorted_keys_and_upstreams_names() {
        let error = io::Error::other("no \"luck\" <today>\n");
        let text = logged("info", || {
            tracing::info!(op = "setBalancer", event = "ipAllocated", ip = "192.0.2.1", "IP address assigned");
            tracing::error!(%error, count = 3, done = false, signed = -1, "failed to parse the configuration");
        });
        let expected = "\
{\"caller\":\"logs.rs:\",\"event\":\"ipAllocated\",\"ip\":\"192.0.2.1\",\"level\":\"info\",\"msg\":\"IP address assigned\",\
\"op\":\"setBalancer\",\"ts\":\"2023-11-14T22:13:20Z\"}
{\"caller\":\"logs.rs:\",\"count\":3,\"done\":false,\"error\":\"no \\\"luck\\\" <today>\\n\",\"level\":\"error\",\
\"msg\":\"failed to parse the configuration\",\"signed\":-1,\"ts\":\"2023-11-14T22:13:20Z\"}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_list_of_texts_is_a_list_and_a_message_is_a_text() {
        let text = logged("info", || tracing::info!(ips = ?["192.0.2.1", "fc00::1"], "[\"no list\"]"));
        assert!(text.contains("\"ips\":[\"192.0.2.1\",\"fc00::1\"]"), "{text}");
        assert!(text.contains("\"msg\":\"[\\\"no list\\\"]\""), "{text}");
    }

    #[test]
    fn a_field_cannot_pass_itself_off_as_level_or_time() {
        let text = logged("info", || tracing::warn!(level = "none", ts = 0, caller = "me"));
        assert_eq!(text, "{\"caller\":\"logs.rs:\",\"level\":\"warn\",\"msg\":\"\",\"ts\":\"2023-11-14T22:13:20Z\"}\n");
    }

    #[test]
    fn levels_let_through_what_upstreams_do() {
        let say = || {
            tracing::trace!("t");
            tracing::debug!("d");
            tracing::info!("i");
            tracing::warn!("w");
            tracing::error!("e");
            tracing::info!(target: "kube_client", "library");
            tracing::warn!(target: "hyper", "library");
            tracing::error!(target: "kube_client", "said by us with a code");
        };
        for (level, lines) in [("all", 8), ("debug", 5), ("info", 4), ("warn", 3), ("error", 1), ("none", 0)] {
            assert_eq!(logged(level, say).lines().count(), lines, "{level}");
        }
        assert!(logged("all", || tracing::trace!("t")).contains("\"level\":\"debug\""));
    }

    #[test]
    fn another_word_for_the_level_is_refused() {
        let error = filter("trace").unwrap_err().to_string();
        assert_eq!(error, "--log-level=trace: use all, debug, info, warn, error or none");
    }
}
