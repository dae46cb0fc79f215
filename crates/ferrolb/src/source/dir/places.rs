//! From the name of a field, as findings have it, to its place in the file.

use super::tree::{Node, Place, Value};

/// The document itself, or an entry of a `List` in it.
pub(super) fn find<'a>(node: &'a Node, wanted: &impl Fn(&Node) -> bool) -> Option<&'a Node> {
    if wanted(node) {
        return Some(node);
    }
    let items = node.get("items")?;
    let Value::List(items) = &items.value else { return None };
    items.iter().find_map(|item| find(item, wanted))
}

/// The place of `spec.addresses[0]` or `metadata.annotations["a/b"]`: of the key or the entry named last, or of the
/// deepest part of the way that exists.
pub(super) fn of_field(root: &Node, field: &str) -> Place {
    let (mut node, mut place) = (root, root.place);
    for part in parts(field) {
        let next = match (&part, &node.value) {
            (Part::Name(name), Value::Map(entries)) => {
                entries.iter().find(|(key, _)| key.text == *name).map(|(key, node)| (node, key.place))
            }
            (Part::Index(index), Value::List(nodes)) => nodes.get(*index).map(|node| (node, node.place)),
            _ => None,
        };
        let Some((below, at)) = next else { return place };
        (node, place) = (below, at);
    }
    place
}

/// The same, but of the value that the field has, as faults of a wrong type are placed.
pub(super) fn of_value(root: &Node, field: &str) -> Place {
    let mut node = root;
    for part in parts(field) {
        let next = match (&part, &node.value) {
            (Part::Name(name), Value::Map(_)) => node.get(name),
            (Part::Index(index), Value::List(nodes)) => nodes.get(*index),
            _ => None,
        };
        let Some(below) = next else { return node.place };
        node = below;
    }
    node.place
}

#[derive(Debug, PartialEq)]
enum Part {
    Name(String),
    Index(usize),
}

fn parts(field: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let Some((name, after)) = quoted.split_once("\"]") else { return parts };
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let Some((index, after)) = index.split_once(']') else { return parts };
            let Ok(index) = index.parse() else { return parts };
            parts.push(Part::Index(index));
            rest = after;
        } else {
            let plain = rest.trim_start_matches('.');
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (name, after) = plain.split_at(end);
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_apart_as_it_was_put_together() {
        let name = |text: &str| Part::Name(text.to_owned());
        assert_eq!(parts("spec.addresses[0]"), [name("spec"), name("addresses"), Part::Index(0)]);
        let annotation = "metadata.annotations[\"metallb.io/address-pool\"]";
        assert_eq!(parts(annotation), [name("metadata"), name("annotations"), name("metallb.io/address-pool")]);
        assert_eq!(parts("a[1].b"), [name("a"), Part::Index(1), name("b")]);
        assert_eq!(parts(""), []);
        assert_eq!(parts("a[x"), [name("a")]);
    }
}
