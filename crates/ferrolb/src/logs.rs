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
    Ok(Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("ferrolb", ours))
}

/// Logs from here on, for the whole process.
///
/// # Errors
/// [`UnknownLevel`].
pub fn start(level: &str) -> Result<(), UnknownLevel> {
    let filter = filter(level)?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(Lines { now: OffsetDateTime::now_utc });
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
        let (file, line) = match keys.from_log() {
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
    fn from_log(&mut self) -> Option<(String, u64)> {
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
        self.put(field, format!("{value:?}"));
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
