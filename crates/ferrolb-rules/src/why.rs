//! Why a Service is or is not served: every rule in order, up to the first that fails.
//!
//! The rules themselves are elsewhere ([`crate::service`], [`crate::plan`]) and answer with a code. Here each code has
//! its place in one order, the order in which an address comes into being: everything before the failing rule holds,
//! everything after it was not reached. So the same walk can be made from a cluster, from a process and from files.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::names::ServiceKey;
use crate::reason::{Code, Finding};

#[cfg(test)]
mod tests;

/// The rules, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `spec.type` is LoadBalancer.
    Kind,
    /// `spec.loadBalancerClass` is the one served here.
    Class,
    /// The pools and advertisements load.
    Configuration,
    /// There is a pool at all.
    Pool,
    /// What the Service asks for can be had.
    Request,
    /// Somebody has given it its address.
    Address,
    /// The address belongs to a pool of the configuration.
    Membership,
    /// An advertisement selects the pool and the Service.
    Advertisement,
    /// An endpoint is ready.
    Endpoints,
    /// The address is not shared while an advertisement selects Services.
    Sharing,
    /// A speaker runs.
    Speaker,
    /// A node may announce it.
    Node,
    /// The elected node has the interface.
    Interface,
    /// No other device has the address.
    Conflict,
    /// The elected node answers for it.
    Announced,
}

impl Rule {
    /// Every rule in order.
    pub const ALL: [Self; 15] = [
        Self::Kind,
        Self::Class,
        Self::Configuration,
        Self::Pool,
        Self::Request,
        Self::Address,
        Self::Membership,
        Self::Advertisement,
        Self::Endpoints,
        Self::Sharing,
        Self::Speaker,
        Self::Node,
        Self::Interface,
        Self::Conflict,
        Self::Announced,
    ];

    /// The rule as a sentence that is true when it holds.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Kind => "it is of type LoadBalancer",
            Self::Class => "its loadBalancerClass is served here",
            Self::Configuration => "the configuration loads",
            Self::Pool => "there is an IPAddressPool",
            Self::Request => "what it asks for can be had",
            Self::Address => "it has an address",
            Self::Membership => "the address belongs to a pool",
            Self::Advertisement => "an advertisement selects pool and Service",
            Self::Endpoints => "an endpoint is ready",
            Self::Sharing => "sharing and service selectors do not meet",
            Self::Speaker => "a speaker runs",
            Self::Node => "a node may announce it",
            Self::Interface => "that node has the interface",
            Self::Conflict => "no other device has the address",
            Self::Announced => "that node answers for it",
        }
    }

    /// The rule that fails with this code.
    pub const fn of(code: Code) -> Self {
        match code {
            // What cannot be read is of no type at all.
            Code::NotLoadBalancer | Code::ManifestInvalid => Self::Kind,
            Code::OtherClass => Self::Class,
            Code::ConfigurationStale | Code::ConfigurationHeld => Self::Configuration,
            Code::NoPool => Self::Pool,
            Code::NoAllocator
            | Code::NoAddress
            | Code::InvalidAddress
            | Code::ControllerAway
            | Code::NodeUnknown
            | Code::MembershipDeaf
            | Code::StateUnusable => Self::Address,
            Code::AddressNotConfigured => Self::Membership,
            Code::NoAdvertisement => Self::Advertisement,
            Code::NoReadyEndpoints => Self::Endpoints,
            Code::SharedAddressWithServiceSelectors => Self::Sharing,
            Code::NoSpeaker => Self::Speaker,
            Code::NoCandidate
            | Code::NodeNotAlive
            | Code::NodeNetworkUnavailable
            | Code::NodeExcluded
            | Code::NodeDrained
            | Code::NodeNotSelected
            | Code::NoLocalEndpoints
            | Code::NoBgpPeer
            | Code::HealthCheckFailing => Self::Node,
            Code::InterfaceMissing => Self::Interface,
            Code::AddressInUse | Code::ForeignClaim => Self::Conflict,
            code => match code.number() {
                1002..=1099 => Self::Request,
                4001..=4999 => Self::Configuration,
                _ => Self::Announced,
            },
        }
    }
}

/// What is known about a Service, from wherever.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Their pool.
    pub pool: Option<String>,
    /// Who announces it.
    pub announced_by: Option<String>,
    /// Whether it is announced; files only tell that it would be.
    pub served: bool,
    /// What is wrong with it, the first cause first; or, where it is served, what else is worth knowing.
    pub reasons: Vec<Finding>,
    /// Per node, why that one does not announce it.
    pub nodes: Vec<(String, Finding)>,
    /// The rules that nobody looked at, and why in a few words: files know of no speaker, and who may not read pods does
    /// not see one either.
    pub unknown: BTreeMap<Rule, &'static str>,
    /// What may not be read: then a rule that seems to fail for want of it says nothing.
    pub denied: Option<Finding>,
}

/// How one rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It holds.
    Holds,
    /// It is the first that does not.
    Fails,
    /// An earlier one fails.
    NotReached,
    /// Nobody looked.
    Unknown,
}

/// One rule of a walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which rule.
    pub rule: Rule,
    /// How it came out.
    pub mark: Mark,
    /// What makes it hold, where that is known; or why it is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fact: String,
}

/// Every rule for one Service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Walk {
    /// `namespace/name`.
    pub service: String,
    /// Whether every rule holds, as far as they were looked at.
    pub served: bool,
    /// The rules in order.
    pub steps: Vec<Step>,
    /// The first that fails, with its fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Finding>,
    /// Per node, why that one does not announce it.
    pub nodes: Vec<NodeReason>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Finding>,
    /// The rule that the cause belongs to.
    #[serde(skip)]
    stops_at: Option<Rule>,
}

/// Why a node does not announce a Service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeReason {
    /// The node.
    pub node: String,
    /// Which reason.
    pub code: Code,
    /// In words.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// Walks the rules.
pub fn walk(service: &ServiceKey, seen: &Seen) -> Walk {
    let mut reasons = seen.reasons.clone();
    let cause = (!seen.served)
        .then(|| if reasons.is_empty() { unexplained(service, &seen.addresses) } else { reasons.remove(0) });
    let failing = cause.as_ref().map(|cause| Rule::of(cause.code));
    let denied = seen.denied.clone().filter(|_| failing.is_some_and(|failing| seen.unknown.contains_key(&failing)));
    let mark = |rule: Rule| match failing {
        Some(failing) if rule > failing => Mark::NotReached,
        Some(failing) if rule == failing && denied.is_none() => Mark::Fails,
        _ if unjudged(rule, failing, seen).is_some() => Mark::Unknown,
        _ => Mark::Holds,
    };
    let step = |rule: Rule| {
        let mark = mark(rule);
        let fact = match mark {
            Mark::Holds => fact(rule, seen),
            Mark::Unknown => unjudged(rule, failing, seen).unwrap_or_default().to_owned(),
            Mark::Fails | Mark::NotReached => String::new(),
        };
        Step { rule, mark, fact }
    };
    let steps = Rule::ALL.into_iter().map(step).collect();
    let nodes = seen.nodes.iter();
    Walk {
        service: service.to_string(),
        served: seen.served,
        steps,
        cause: denied.or(cause),
        nodes: nodes
            .map(|(node, finding)| NodeReason {
                node: node.clone(),
                code: finding.code,
                message: finding.message.clone(),
                fix: finding.fix.clone(),
            })
            .collect(),
        notes: reasons,
        stops_at: failing,
    }
}

/// Why nobody can say whether a rule before the failing one holds.
fn unjudged(rule: Rule, failing: Option<Rule>, seen: &Seen) -> Option<&'static str> {
    let told = seen.unknown.get(&rule).copied();
    let silent = failing == Some(Rule::Announced) && rule == Rule::Conflict;
    let addressless = failing.is_some() && seen.addresses.is_empty() && rule >= Rule::Address;
    told.or_else(|| addressless.then_some("not known: it has no address"))
        .or_else(|| silent.then_some("not known: nobody says that he asked"))
}

/// Not served, and nobody says why: a code all the same.
pub fn unexplained(service: &ServiceKey, addresses: &[IpAddr]) -> Finding {
    let object = format!("Service/{service}");
    let severity = crate::reason::Severity::Error;
    if addresses.is_empty() {
        return Finding::new(Code::NoAddress, severity, object, "it has no address yet");
    }
    Finding::new(Code::AnnouncerSilent, severity, object, "no node says that it announces it")
}

fn fact(rule: Rule, seen: &Seen) -> String {
    let addresses = || seen.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    match (rule, &seen.pool, &seen.announced_by) {
        (Rule::Address, _, _) => addresses(),
        (Rule::Membership, Some(pool), _) => pool.clone(),
        (Rule::Announced, _, Some(node)) => node.clone(),
        _ => String::new(),
    }
}

impl fmt::Display for Walk {
    /// The screen for people: the verdict first, because that is what they came for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |step: &Step| step.mark == Mark::Unknown;
        match &self.cause {
            None if self.steps.iter().any(unknown) => {
                writeln!(f, "{} is served, as far as is known\n", self.service)?;
            }
            None => writeln!(f, "{} is served\n", self.service)?,
            Some(cause) if self.is_undecided() => {
                writeln!(
                    f,
                    "it is not known whether {} is served: {} {}\n",
                    self.service,
                    cause.code,
                    cause.code.name()
                )?;
            }
            Some(cause) => writeln!(f, "{} is NOT served: {} {}\n", self.service, cause.code, cause.code.name())?,
        }
        for step in &self.steps {
            let mark = match step.mark {
                Mark::Holds => "✓",
                Mark::Fails => "✗",
                Mark::NotReached => "·",
                Mark::Unknown => "?",
            };
            let line = format!("  {mark} {:<43}{}", step.rule.sentence(), step.fact);
            writeln!(f, "{}", line.trim_end())?;
            if step.rule == Rule::Node {
                self.write_nodes(f)?;
            }
            if self.stops_at == Some(step.rule)
                && let Some(cause) = &self.cause
            {
                let place = cause.location.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
                writeln!(f, "      why  {}{place}\n      fix  {}", cause.message, cause.fix)?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\n  ! {} {}\n      fix  {}", note.code, note.message, note.fix)?;
        }
        match &self.cause {
            Some(cause) => writeln!(f, "\nThe whole story: ferrolb explain {}", cause.code),
            None => Ok(()),
        }
    }
}

impl Walk {
    /// Whether it cannot be told if the Service is served, because what would tell may not be read.
    pub fn is_undecided(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.code == Code::AccessDenied)
    }

    fn write_nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.cause.as_ref().is_some_and(|cause| cause.code == Code::NoCandidate);
        for reason in &self.nodes {
            // A node that merely lost the election could announce it.
            let mark = if reason.code == Code::NotElected { "✓" } else { "✗" };
            writeln!(f, "      {mark} {}  {} {}", reason.node, reason.code, reason.message)?;
            // Where no node may, what to do differs from node to node.
            if several && reason.code != Code::NotElected {
                writeln!(f, "          fix  {}", reason.fix)?;
            }
        }
        Ok(())
    }
}
