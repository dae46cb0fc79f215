//! YAML text as a tree in which every value knows its line and column.
//!
//! The parser's own way leads straight into types and forgets places on the way. Here the text becomes a [`Node`]
//! first, so that a wrong value deep inside the third document of a file can still be pointed at. What a plain word
//! is, does not depend on where it stands: as for kubectl, which reads YAML 1.1, `5` is a number, and `true`, `no`, `on`
//! and `y` are booleans; in quotes all of them are text.
//!
//! Limits hold before anything is expanded: depth, number of values, and how much aliases may repeat.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::AliasLimits;

/// Deeper nesting than this is refused. Services have some ten levels, definitions of custom kinds up to sixty.
const MAX_DEPTH: usize = 100;
/// More values than this in one file are refused.
const MAX_NODES: usize = 1_000_000;
/// Aliases may add this many values to a file.
const MAX_REPLAYED: usize = 100_000;

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A mapping's key and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// Why a text is not YAML, and where.
#[derive(Clone, Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) place: Place,
}

impl Node {
    /// The value under `key`, where this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Says of everything here that it stands so many lines further down. Returns how many values that are.
    fn move_down(&mut self, lines: u32) -> usize {
        let move_place = |place: &mut Place| place.line = place.line.saturating_add(lines);
        move_place(&mut self.place);
        let within: usize = match &mut self.value {
            Value::List(list) => list.iter_mut().map(|node| node.move_down(lines)).sum(),
            Value::Map(entries) => {
                entries.iter_mut().for_each(|(key, _)| move_place(&mut key.place));
                entries.iter_mut().map(|(_, node)| node.move_down(lines)).sum()
            }
            _ => 0,
        };
        within + 1
    }

    /// The text, where this is one that is not empty.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// What stands here, for messages: `the number 5`.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Integer(value) => format!("the number {value}"),
            Value::Unsigned(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) => format!("the text {:?}", shorten(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// At most forty characters of a text.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// At most `most` characters of a text, on one line, with escapes for what does not print or turns others round.
pub(super) fn printable(text: &str, most: usize) -> String {
    let escaped = text.chars().flat_map(|c| {
        let escape = (!matches!(c, '"' | '\'' | '\\')).then(|| c.escape_debug());
        let plain = escape.is_none().then_some(c);
        escape.into_iter().flatten().chain(plain)
    });
    let mut short: String = escaped.clone().take(most).collect();
    if escaped.clone().nth(most).is_some() {
        short.push('…');
    }
    short
}

/// Reads every document of a text; empty ones are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    serde_saphyr::from_multiple_with_options::<Node>(text, options()).map_err(|error| {
        let place = error.location().map_or(Place { line: 1, column: 1 }, place);
        SyntaxError { message: plain_words(&error.without_snippet().to_string()), place }
    })
}

/// The same for a text of which a part is broken: each document by itself, those that can be read and what is wrong with the
/// others. A line that begins with `---` ends a document wherever it stands (YAML 1.2.2 §9.1.2).
pub(super) fn documents_apart(text: &str) -> (Vec<Node>, Vec<SyntaxError>) {
    let (mut sound, mut broken, mut room) = (Vec::new(), Vec::new(), MAX_NODES);
    let mut read = |document: &str, above: u32| match documents(document) {
        Ok(mut nodes) => {
            let count: usize = nodes.iter_mut().map(|node| node.move_down(above)).sum();
            // The limit is one for the file.
            room = room.saturating_sub(count);
            if room > 0 {
                sound.append(&mut nodes);
            }
        }
        Err(mut error) => {
            error.place.line = error.place.line.saturating_add(above);
            broken.push(error);
        }
    };
    let (mut from, mut above, mut at) = (0, 0, 0);
    for (line, number) in text.split_inclusive('\n').zip(0..) {
        let marks =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marks && at > from {
            read(&text[from..at], above);
            (from, above) = (at, number);
        }
        at += line.len();
    }
    read(&text[from..], above);
    (sound, broken)
}

/// The parser's message on one line, without the place, which is said elsewhere, and without advice to programmers.
fn plain_words(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(", ").replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    let place = line.rfind(" at line ").filter(|at| line[*at..].contains(", column "));
    place.and_then(|at| line.get(..at)).map_or_else(|| line.clone(), str::to_owned)
}

fn options() -> serde_saphyr::Options {
    let alias_limits: AliasLimits = serde_saphyr::alias_limits! {
        max_total_replayed_events: MAX_REPLAYED,
        max_replay_stack_depth: 16,
        max_alias_expansions_per_anchor: 10_000,
    };
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_documents: 10_000,
            max_aliases: 10_000,
            max_anchors: 10_000,
        },
        emit_comments: false,
        strict_booleans: false,
        alias_limits: alias_limits,
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place { line: clamp(location.line()), column: clamp(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.referenced), text: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = sequence.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}
