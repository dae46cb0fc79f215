//! Which nodes are being emptied and hand their addresses over while they still work (decision D18).
//!
//! Kubernetes has no one sign for it: `kubectl drain` cordons a node, other programs taint it, and people want to say it
//! themselves. So it is said which signs count, and none does unless it is said: a cordoned node may serve for months.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::Node;

/// Node annotation, read where it counts: the node is to hand its addresses over. With any value but `false`.
pub const DRAIN: &str = "ferrolb.io/drain";

/// A sign that a node is being emptied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// It is cordoned (`spec.unschedulable`), as `kubectl cordon` and `kubectl drain` leave it.
    Cordon,
    /// It has the annotation [`DRAIN`].
    Annotation,
    /// It has a taint with this key, whatever its value and effect.
    Taint(String),
}

impl Trigger {
    fn is_on(&self, node: &Node) -> bool {
        let spec = node.spec.as_ref();
        match self {
            Self::Cordon => spec.and_then(|spec| spec.unschedulable) == Some(true),
            Self::Annotation => {
                let value = node.metadata.annotations.as_ref().and_then(|all| all.get(DRAIN));
                value.is_some_and(|value| value != "false")
            }
            Self::Taint(key) => {
                let mut taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
                taints.any(|taint| taint.key == *key)
            }
        }
    }
}

/// The text names no sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of cordon, annotation and taint:KEY")]
pub struct UnknownTrigger(pub String);

impl FromStr for Trigger {
    type Err = UnknownTrigger;

    fn from_str(text: &str) -> Result<Self, UnknownTrigger> {
        match (text, text.strip_prefix("taint:")) {
            ("cordon", _) => Ok(Self::Cordon),
            ("annotation", _) => Ok(Self::Annotation),
            (_, Some(key)) if !key.is_empty() => Ok(Self::Taint(key.to_owned())),
            _ => Err(UnknownTrigger(text.to_owned())),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordon => f.write_str("cordon"),
            Self::Annotation => f.write_str("annotation"),
            Self::Taint(key) => write!(f, "taint:{key}"),
        }
    }
}

/// The signs in a list as the flag has it, with commas between them; none in an empty one.
///
/// # Errors
/// A part is no sign.
pub fn parse(list: &str) -> Result<BTreeSet<Trigger>, UnknownTrigger> {
    list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::parse).collect()
}

/// Whether a node shows one of these signs.
pub fn is_drained(node: &Node, triggers: &BTreeSet<Trigger>) -> bool {
    triggers.iter().any(|trigger| trigger.is_on(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;

    fn triggers(list: &str) -> BTreeSet<Trigger> {
        parse(list).unwrap()
    }

    fn node(inside: &str) -> Node {
        object(&format!("apiVersion: v1\nkind: Node\n{inside}"))
    }

    #[test]
    fn each_sign_counts_only_where_it_is_said_to() {
        let cordoned = node("metadata: {name: a}\nspec: {unschedulable: true}");
        let annotated = node("metadata: {name: a, annotations: {ferrolb.io/drain: ''}}");
        let tainted = node("metadata: {name: a}\nspec: {taints: [{key: reboot, effect: NoSchedule}]}");
        for (drained, sign) in [(&cordoned, "cordon"), (&annotated, "annotation"), (&tainted, "taint:reboot")] {
            assert!(is_drained(drained, &triggers(sign)), "{sign}");
            let others: BTreeSet<Trigger> =
                triggers("cordon,annotation,taint:reboot,taint:x").difference(&triggers(sign)).cloned().collect();
            assert!(!is_drained(drained, &others) && !is_drained(drained, &BTreeSet::new()), "{sign}");
        }
        let not = node("metadata: {name: a, annotations: {ferrolb.io/drain: 'false'}}\nspec: {unschedulable: false}");
        assert!(!is_drained(&not, &triggers("cordon,annotation")));
    }

    #[test]
    fn signs_are_written_as_they_are_read_and_nothing_else_is_one() {
        for text in ["cordon", "annotation", "taint:node.kubernetes.io/not-ready"] {
            assert_eq!(text.parse::<Trigger>().unwrap().to_string(), text);
        }
        for text in ["", "Cordon", "taint", "taint:", "label:x"] {
            assert_eq!(text.parse::<Trigger>(), Err(UnknownTrigger(text.to_owned())));
        }
        assert_eq!(triggers("cordon, taint:x"), BTreeSet::from([Trigger::Cordon, Trigger::Taint("x".to_owned())]));
        assert_eq!(triggers(""), BTreeSet::new());
        assert_eq!(parse("cordon,x"), Err(UnknownTrigger("x".to_owned())));
    }
}
