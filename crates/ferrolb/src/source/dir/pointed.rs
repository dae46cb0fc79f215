//! Where the fields of objects in force stand, so that what the rules say about them can be pointed at.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_rules::reason::{Finding, Location};

use super::object::Kind;
use super::tree::{Node, Place, Value};

/// The places of fields by their names, as findings have them.
pub(super) type Fields = Arc<BTreeMap<String, (u32, u32)>>;

/// Fields of one object whose places are kept; a pool may have 2048 addresses.
const MAX_FIELDS: usize = 4096;
/// Bytes in the name of such a field. Every nested value repeats the names around it, and a file says what it likes.
const MAX_NAME: usize = 512;

/// The places of objects and of the fields that rules speak of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    objects: BTreeMap<String, (Location, Fields)>,
}

impl Places {
    pub(super) fn insert(&mut self, title: String, location: &Location, fields: &Fields) {
        self.objects.insert(title, (location.clone(), Arc::clone(fields)));
    }

    /// The finding with the place of its field, or of the nearest thing around that has one.
    pub fn point(&self, finding: Finding) -> Finding {
        let Some((whole, fields)) = self.objects.get(&finding.object).filter(|_| finding.location.is_none()) else {
            return finding;
        };
        let mut field = finding.field.as_str();
        let place = loop {
            if let Some(place) = fields.get(field) {
                break Some(place);
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = field.get(..end).unwrap_or_default(),
                None => break None,
            }
        };
        let (line, column) = place.copied().unwrap_or((whole.line, whole.column));
        finding.at(Location { file: whole.file.clone(), line, column })
    }
}

/// The places in an object: of every field of our own kinds, of a Service's annotations.
pub(super) fn fields(kind: Kind, node: &Node) -> Fields {
    let mut fields = BTreeMap::new();
    match (kind, node.get("metadata").and_then(|metadata| metadata.get("annotations"))) {
        (kind, _) if kind.is_ours() => note(node, "", &mut fields),
        (Kind::Service, Some(annotations)) => note(annotations, "metadata.annotations", &mut fields),
        _ => {}
    }
    Arc::new(fields)
}

fn note(node: &Node, path: &str, fields: &mut BTreeMap<String, (u32, u32)>) {
    if path.len() > MAX_NAME || fields.len() >= MAX_FIELDS {
        return;
    }
    if !path.is_empty() {
        let Place { line, column } = node.place;
        fields.insert(path.to_owned(), (line, column));
    }
    match &node.value {
        Value::Map(entries) => {
            for (key, below) in entries {
                let name = key.text.as_str();
                if name.len() > MAX_NAME {
                    continue;
                }
                let path = match name.contains(['.', '/']) {
                    true => format!("{path}[{name:?}]"),
                    false if path.is_empty() => name.to_owned(),
                    false => format!("{path}.{name}"),
                };
                note(below, &path, fields);
            }
        }
        Value::List(nodes) => {
            nodes.iter().enumerate().for_each(|(index, below)| note(below, &format!("{path}[{index}]"), fields));
        }
        _ => {}
    }
}
