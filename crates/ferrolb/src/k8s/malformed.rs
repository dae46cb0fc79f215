//! Objects of ours that do not fit their kind, although the API server has them.
//!
//! An API server keeps what was stored under an older or laxer definition (one without a schema, say), whatever the
//! present one would refuse. A list is decoded as a whole, so one such object would make its kind unreadable, and nothing
//! would be decided any more. Here each object is decoded for itself. What does not fit is no object of the store but a
//! finding, which keeps the configuration from loading as any other mistake in it does: a pool that cannot be read is not
//! a pool that is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ferrolb_rules::reason::{Code, Finding, Severity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::Event;

/// Kind, namespace and name.
type Key = (String, String, String);

/// Objects that do not fit, of all kinds; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Malformed {
    why: Arc<Mutex<BTreeMap<Key, InvalidObject>>>,
}

impl Malformed {
    /// Takes in what a watch brings of one kind. Returns what is left for the store: the objects that fit; none where only
    /// the list of those that do not has changed.
    pub(super) fn sort<K>(
        &self,
        event: Event<DeserializeGuard<K>>,
        listing: &mut Vec<(Key, InvalidObject)>,
    ) -> Option<Event<K>>
    where
        K: Resource<DynamicType = ()>,
    {
        match event {
            Event::Init => {
                listing.clear();
                Some(Event::Init)
            }
            Event::InitApply(DeserializeGuard(Ok(object))) => Some(Event::InitApply(object)),
            Event::InitApply(DeserializeGuard(Err(invalid))) => {
                listing.push((key::<K>(&invalid), bare(invalid)));
                None
            }
            Event::InitDone => {
                let kind = K::kind(&()).into_owned();
                let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
                why.retain(|(other, ..), _| *other != kind);
                why.append(&mut std::mem::take(listing).into_iter().collect());
                Some(Event::InitDone)
            }
            Event::Apply(DeserializeGuard(Ok(object))) => {
                self.forget::<K>(&object);
                Some(Event::Apply(object))
            }
            // The store keeps the object as it was; the finding says that this is not the newest.
            Event::Apply(DeserializeGuard(Err(invalid))) => {
                let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
                why.insert(key::<K>(&invalid), bare(invalid));
                None
            }
            Event::Delete(DeserializeGuard(Ok(object))) => {
                self.forget::<K>(&object);
                Some(Event::Delete(object))
            }
            Event::Delete(DeserializeGuard(Err(invalid))) => {
                let key = key::<K>(&invalid);
                self.why.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                None
            }
        }
    }

    fn forget<K: Resource<DynamicType = ()>>(&self, object: &K) {
        let metadata = object.meta();
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = (K::kind(&()).into_owned(), part(&metadata.namespace), part(&metadata.name));
        self.why.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// The UID of an object that does not fit.
    pub(super) fn uid(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get(&key)?.metadata.uid.clone()
    }

    /// What does not fit, in order of kind and name. Kinds that nothing is done with yet are worth a warning.
    pub fn findings(&self) -> Vec<Finding> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        let finding = |((kind, namespace, name), invalid): (&Key, &InvalidObject)| {
            let severity = match kind.as_str() {
                "IPAddressPool" | "L2Advertisement" | "Community" => Severity::Error,
                _ => Severity::Warning,
            };
            let message = format!("it does not fit its kind: {}", plain_words(kind, &invalid.error));
            Finding::new(Code::ObjectMalformed, severity, format!("{kind}/{namespace}/{name}"), message)
        };
        why.iter().map(finding).collect()
    }
}

/// Kinds of which no value is repeated: the decoder does not say in which field it found it, and a password is one.
const WITH_SECRETS: [&str; 2] = ["BGPPeer", "Secret"];

/// The decoder's message without the names that types have in our program.
pub fn plain_words(kind: &str, error: &str) -> String {
    let mut words = error.to_owned();
    if WITH_SECRETS.contains(&kind)
        && let Some((found, expected)) = error.rsplit_once(", expected ")
        && let Some(at) = found.find(['`', '"']).filter(|_| found.starts_with("invalid "))
    {
        let found = found.get(..at).unwrap_or_default().trim_end();
        words = format!("{found} (not shown), expected {expected}");
    }
    for (jargon, plain) in [
        ("invalid type: ", "found the wrong kind of value: "),
        ("Invalid type. Expected", "the wrong kind of value; expected"),
        ("invalid value: ", "found a value that does not fit: "),
        ("invalid length ", "found the wrong number of entries: "),
        ("missing field ", "missing is "),
        ("unknown variant ", "unknown is the word "),
        ("unknown field ", "unknown is the field "),
        (": sequence,", ": a list,"),
        (": map,", ": a mapping,"),
        (": null,", ": nothing,"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a mapping"),
        ("boolean `", "the boolean `"),
        ("integer `", "the number `"),
        ("floating point `", "the number `"),
        ("string \"", "the text \""),
        ("expected a string", "expected text"),
        ("expected a boolean", "expected true or false"),
    ] {
        words = words.replace(jargon, plain);
    }
    for (name, range) in [
        ("u8", "0 to 255"),
        ("u16", "0 to 65535"),
        ("u32", "0 to 4294967295"),
        ("i32", "-2147483648 to 2147483647"),
        ("u64", "0 upwards"),
        ("i64", "-9223372036854775808 to 9223372036854775807"),
    ] {
        words = words.replace(&format!("xpected {name}"), &format!("xpected a whole number from {range}"));
    }
    // A place in the answer of the API server helps nobody.
    let place = words.rfind(" at line ").filter(|at| words[*at..].contains(" column "));
    place.and_then(|at| words.get(..at)).map_or_else(|| words.clone(), str::to_owned)
}

/// Only what is read of it.
fn bare(invalid: InvalidObject) -> InvalidObject {
    let metadata = ObjectMeta { uid: invalid.metadata.uid, ..ObjectMeta::default() };
    InvalidObject { metadata, error: invalid.error }
}

fn key<K: Resource<DynamicType = ()>>(invalid: &InvalidObject) -> Key {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    (K::kind(&()).into_owned(), part(&invalid.metadata.namespace), part(&invalid.metadata.name))
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::api::IPAddressPool;

    use super::*;

    fn guarded(name: &str, addresses: &str) -> DeserializeGuard<IPAddressPool> {
        let yaml = format!("metadata: {{name: {name}, namespace: m}}\nspec: {{addresses: {addresses}}}");
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn run(malformed: &Malformed, events: Vec<Event<DeserializeGuard<IPAddressPool>>>) -> usize {
        let mut listing = Vec::new();
        events.into_iter().filter_map(|event| malformed.sort(event, &mut listing)).count()
    }

    #[test]
    fn one_object_that_does_not_fit_keeps_no_other_from_being_read_and_is_named() {
        let malformed = Malformed::default();
        let list = || {
            let bad = guarded("bad", "192.168.1.0/24");
            vec![
                Event::Init,
                Event::InitApply(bad),
                Event::InitApply(guarded("good", "[10.0.0.0/24]")),
                Event::InitDone,
            ]
        };
        assert_eq!(run(&malformed, list()), 3);
        let findings = malformed.findings();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].code, findings[0].object.as_str()), (Code::ObjectMalformed, "IPAddressPool/m/bad"));
        assert_eq!(findings[0].severity, Severity::Error);
        // A list that does not have it any more.
        run(&malformed, vec![Event::Init, Event::InitDone]);
        assert_eq!(malformed.findings(), []);
    }

    #[test]
    fn what_is_said_has_no_words_of_our_program() {
        for (error, words) in [
            (
                "invalid type: string \"x\", expected a sequence at line 1 column 7",
                "found the wrong kind of value: the text \"x\", expected a list",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "found a value that does not fit: the number `-1`, expected a whole number from 0 to 4294967295",
            ),
            ("missing field `addresses`", "missing is `addresses`"),
        ] {
            assert_eq!(plain_words("IPAddressPool", error), words);
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for error in [
            "invalid type: integer `12345678`, expected a string at line 1 column 7",
            "invalid type: string \"12345678, expected `x`\", expected struct Reference",
        ] {
            let words = plain_words("BGPPeer", error);
            assert!(!words.contains("12345678") && words.contains("(not shown), expected"), "{words}");
        }
        assert_eq!(plain_words("BGPPeer", "missing field `myASN`"), "missing is `myASN`");
    }

    #[test]
    fn an_object_that_is_mended_or_deleted_is_forgotten() {
        let malformed = Malformed::default();
        let bad = || guarded("pool", "{}");
        assert_eq!(run(&malformed, vec![Event::Apply(bad())]), 0);
        assert_eq!(malformed.findings().len(), 1);
        assert_eq!(run(&malformed, vec![Event::Apply(guarded("pool", "[10.0.0.0/24]"))]), 1);
        assert_eq!(malformed.findings(), []);
        run(&malformed, vec![Event::Apply(bad()), Event::Delete(bad())]);
        assert_eq!(malformed.findings(), []);
    }
}
