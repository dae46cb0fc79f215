//! From the tree to a Kubernetes type, without losing the place of anything.
//!
//! A deserializer over [`Node`]: a value of the wrong type is reported with its field path and its place, and a field
//! that the type skips is reported as unknown, because skipping is what the type asks the deserializer for. A field
//! that is `null` counts as absent, as it does for the API server.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Key, Node, Place, Value};

/// A field that the type does not have.
#[derive(Clone, Debug)]
pub(super) struct Unknown {
    /// The whole path, `spec.addreses`.
    pub(super) field: String,
    /// The field's own name.
    pub(super) name: String,
    /// The names that would have been right there.
    pub(super) valid: &'static [&'static str],
    pub(super) place: Place,
}

/// A value that does not fit its type.
#[derive(Clone, Debug)]
pub(super) struct Misfit {
    pub(super) field: String,
    pub(super) message: String,
    /// The field is not there at all; the place is then that of what it belongs into.
    pub(super) missing: bool,
    pub(super) place: Place,
}

/// Reads a tree as a `T`, with the fields that `T` does not have.
pub(super) fn read<T: DeserializeOwned>(node: &Node) -> (Result<T, Misfit>, Vec<Unknown>) {
    let unknown = RefCell::new(Vec::new());
    let cursor =
        Cursor { node, path: &Path::Root, name: None, siblings: &[], unknown: &unknown, number_is_text: false };
    let result = T::deserialize(cursor).map_err(|fault| fault.placed(&Path::Root, node).into_misfit(node));
    (result, unknown.into_inner())
}

/// The way from the object to a value, as a chain on the stack.
enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) if name.contains(['.', '/']) => write!(f, "{parent}[{name:?}]"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

/// An error on its way up: the innermost place wins.
#[derive(Debug)]
struct Fault {
    message: String,
    missing: Option<&'static str>,
    place: Option<(String, Place)>,
}

impl Fault {
    fn new(message: String) -> Self {
        Self { message, missing: None, place: None }
    }

    fn placed(mut self, path: &Path<'_>, node: &Node) -> Self {
        if self.place.is_none() {
            let field = match (path, self.missing) {
                (_, None) => path.to_string(),
                (Path::Root, Some(name)) => name.to_owned(),
                (_, Some(name)) => format!("{path}.{name}"),
            };
            self.place = Some((field, node.place));
        }
        self
    }

    fn into_misfit(self, root: &Node) -> Misfit {
        let (field, place) = self.place.unwrap_or_else(|| (String::new(), root.place));
        Misfit { field, message: self.message, missing: self.missing.is_some(), place }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("{field} is required and missing"), missing: Some(field), place: None }
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("the {} does not fit here; expected {}", found_words(&found), expected_words(expected)))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found the {}", expected_words(expected), found_words(&found)))
    }
}

/// What a type calls itself, in words of somebody who writes manifests.
fn expected_words(expected: &dyn de::Expected) -> String {
    let name = expected.to_string();
    match name.as_str() {
        "i8" => "a whole number from -128 to 127".to_owned(),
        "i16" => "a whole number from -32768 to 32767".to_owned(),
        "i32" => "a whole number from -2147483648 to 2147483647".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "i64" | "u64" | "usize" | "isize" | "integer" => "a smaller whole number".to_owned(),
        "a string" | "string" | "str" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "IntOrString" => "a whole number or text".to_owned(),
        name if name.starts_with("struct ") || !name.contains(' ') => "a mapping with fields".to_owned(),
        other => other.to_owned(),
    }
}

/// What was found, likewise.
fn found_words(found: &de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => format!("boolean {value}"),
        de::Unexpected::Unsigned(value) => format!("number {value}"),
        de::Unexpected::Signed(value) => format!("number {value}"),
        de::Unexpected::Float(value) => format!("number {value}"),
        de::Unexpected::Str(text) => format!("text {:?}", super::tree::shorten(text)),
        de::Unexpected::Unit => "nothing".to_owned(),
        de::Unexpected::Seq => "list".to_owned(),
        de::Unexpected::Map => "mapping".to_owned(),
        other => other.to_string(),
    }
}

/// One value on the way.
#[derive(Clone, Copy)]
struct Cursor<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
    /// The key that leads here, where the parent is a mapping.
    name: Option<&'de Key>,
    /// The fields that the parent has.
    siblings: &'static [&'static str],
    unknown: &'p RefCell<Vec<Unknown>>,
    /// A quantity may be written as a bare number.
    number_is_text: bool,
}

impl<'de> Cursor<'de, '_> {
    fn expected(&self, what: &str) -> Fault {
        let found = self.node.describe();
        let hint = match (&self.node.value, what) {
            (Value::Bool(_), "text") => {
                "; put it in quotes to make it text (yes, no, on, off, y and n are booleans, too)"
            }
            (Value::Integer(_) | Value::Unsigned(_) | Value::Float(_), "text") => "; put it in quotes to make it text",
            (Value::Text(text), "true or false") if boolean_word(text) => "; quotes make it text: take them away",
            (Value::Text(text), "a whole number") if text.parse::<i64>().is_ok() => {
                "; quotes make it text: take them away"
            }
            (Value::Null, "text") => "; write \"\" for an empty text",
            (Value::Text(_), "a list") => "; write each entry on a line of its own with `- ` before it",
            _ => "",
        };
        Fault::new(format!("expected {what}, found {found}{hint}"))
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Integer(value) => visitor.visit_i64(value),
            Value::Unsigned(value) => visitor.visit_u64(value),
            _ => Err(self.expected("a whole number")),
        }
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(nodes) => visitor.visit_seq(Elements { nodes, next: 0, cursor: self }),
            _ => Err(self.expected("a list")),
        }
    }

    fn map<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries { entries, value: None, fields, cursor: self }),
            _ => Err(self.expected("a mapping")),
        }
    }
}

/// Whether a text would be a boolean without its quotes.
fn boolean_word(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str())
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Cursor<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(_) | Value::Unsigned(_) => self.number(visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => self.list(visitor),
            Value::Map(_) => self.map(&[], visitor),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(value) if self.number_is_text => visitor.visit_string(value.to_string()),
            Value::Unsigned(value) if self.number_is_text => visitor.visit_string(value.to_string()),
            Value::Float(value) if self.number_is_text => visitor.visit_string(value.to_string()),
            _ => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(Self { number_is_text: name == "Quantity", ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.map(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.map(fields, visitor)
    }

    /// One of several words: serde's enums take their word from nobody but this.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::new(text)),
            _ => Err(self.expected("text")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(key) = self.name {
            self.unknown.borrow_mut().push(Unknown {
                field: self.path.to_string(),
                name: key.text.clone(),
                valid: self.siblings,
                place: key.place,
            });
        }
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Elements<'de, 'p> {
    nodes: &'de [Node],
    next: usize,
    cursor: Cursor<'de, 'p>,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.nodes.get(self.next) else { return Ok(None) };
        let path = Path::Index(self.cursor.path, self.next);
        self.next += 1;
        let child = Cursor { node, path: &path, name: None, siblings: &[], number_is_text: false, ..self.cursor };
        seed.deserialize(child).map(Some).map_err(|fault| fault.placed(&path, node))
    }
}

struct Entries<'de, 'p> {
    entries: &'de [(Key, Node)],
    value: Option<(&'de Key, &'de Node)>,
    /// The fields of a struct; empty for a map, whose keys are free.
    fields: &'static [&'static str],
    cursor: Cursor<'de, 'p>,
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        loop {
            let Some(((key, node), rest)) = self.entries.split_first() else { return Ok(None) };
            self.entries = rest;
            if matches!(node.value, Value::Null) && self.fields.contains(&key.text.as_str()) {
                continue;
            }
            self.value = Some((key, node));
            return seed.deserialize(StrDeserializer::new(&key.text)).map(Some);
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(Fault::new("a value without a key".to_owned()));
        };
        let path = Path::Field(self.cursor.path, &key.text);
        let child =
            Cursor { node, path: &path, name: Some(key), siblings: self.fields, number_is_text: false, ..self.cursor };
        seed.deserialize(child).map_err(|fault| fault.placed(&path, node))
    }
}
