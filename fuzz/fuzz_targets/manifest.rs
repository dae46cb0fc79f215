//! A file in the directory of manifests, read as `ferrolb standalone` reads it: what comes out are sound objects, and
//! findings that say where in the file something is wrong, in few words that fit on a line.
#![no_main]

use ferrolb::source::{Object, Parsed, Placed, parse};
use ferrolb_rules::reason::{Code, Finding, Location, Severity};
use libfuzzer_sys::fuzz_target;

const FILE: &str = "dir/file.yaml";
const NAMESPACE: &str = "metallb-system";
/// More findings than this are counted only, but an error among them and the count itself come on top.
const FINDINGS: usize = 200 + 2;
/// Bytes in a finding, however much of the file it could repeat.
const FINDING_LEN: usize = 2000;

fuzz_target!(|bytes: &[u8]| {
    let Parsed { objects, findings } = &parse(FILE, bytes, NAMESPACE);
    let lines = lines(bytes);
    assert!(findings.len() <= FINDINGS, "{} findings", findings.len());
    for finding in findings {
        says_what_and_where(finding, &lines);
    }
    for object in objects {
        is_sound(object, &lines);
    }
    if std::str::from_utf8(bytes).is_err() || bytes.contains(&0) {
        assert!(objects.is_empty(), "objects in a file that is no text");
        assert!(findings.iter().any(|finding| finding.code == Code::ManifestUnreadable), "{findings:?}");
    }
});

/// The bytes in each line. A carriage return ends a line, as it does for YAML, alone and before a line feed.
fn lines(bytes: &[u8]) -> Vec<usize> {
    let mut lines = vec![0];
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => {}
            b'\n' | b'\r' => lines.push(0),
            _ => *lines.last_mut().expect("a line") += 1,
        }
    }
    lines
}

fn lies_inside(location: &Location, lines: &[usize]) -> bool {
    let (line, column) = (location.line as usize, location.column as usize);
    let length = line.checked_sub(1).and_then(|index| lines.get(index));
    location.file == FILE && column >= 1 && length.is_some_and(|length| column <= length + 1)
}

fn says_what_and_where(finding: &Finding, lines: &[usize]) {
    let Finding { code, severity, object, message, fix, location, .. } = finding;
    let known = [
        Code::ManifestInvalid,
        Code::ManifestUnreadable,
        Code::UnknownKind,
        Code::WrongNamespace,
        Code::UnknownField,
        Code::NotYet,
    ];
    assert!(known.contains(code), "{finding:?}");
    assert!(!object.is_empty() && !message.is_empty() && !fix.is_empty(), "{finding:?}");
    assert!(!fix.contains("report this as a bug"), "{finding:?}");
    // Only the count of what is not listed belongs nowhere.
    let counts = *severity == Severity::Note && message.ends_with("are not listed");
    match location {
        Some(location) => assert!(lies_inside(location, lines), "{finding:?} is not in {lines:?}"),
        None => assert!(counts && object == FILE, "{finding:?}"),
    }
    let line = finding.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.len() <= FINDING_LEN, "{line}");
}

fn is_sound(placed: &Placed, lines: &[usize]) {
    let Placed { object, location, .. } = placed;
    assert!(lies_inside(location, lines), "{} at {location} is not in {lines:?}", object.title());
    let metadata = object.metadata();
    let name = metadata.name.as_deref().unwrap_or_default();
    assert!((1..=253).contains(&name.len()) && name.split('.').all(is_label), "{name:?}");
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    match object {
        Object::Node(_) | Object::Namespace(_) => {}
        Object::IPAddressPool(_)
        | Object::L2Advertisement(_)
        | Object::Community(_)
        | Object::BGPPeer(_)
        | Object::BGPAdvertisement(_)
        | Object::BFDProfile(_) => {
            assert_eq!(namespace, NAMESPACE, "{}", object.title());
        }
        Object::Service(_) | Object::EndpointSlice(_) | Object::Secret(_) => {
            assert!(namespace.len() <= 63 && is_label(namespace), "{namespace:?}");
        }
    }
}

/// A part of a name (RFC 1123).
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
