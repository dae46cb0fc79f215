//! What the LAN's answer means: who answers for an address, held against who says that it announces it (`ferrolb probe`,
//! `ferrolb pool scan`).
//!
//! Only what the answers decide is said. A machine that does not answer for its own address may have any MAC address, so
//! as long as one node is not identified nobody is called a stranger; and a machine does not hear itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_proto::ethernet::MacAddr;

use crate::reason::{Code, Finding, Severity};

#[cfg(test)]
mod tests;

/// Who is said to have an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Claim {
    /// Nobody could be asked.
    #[default]
    Unknown,
    /// No Service has it.
    Nobody,
    /// Somebody has it.
    Held {
        /// A Service, or the node whose own address it is: `Service/default/web`.
        by: String,
        /// The nodes that say that they answer for it; none where it is not announced, or only to routers.
        nodes: Vec<String>,
        /// The MAC address that the first of them says it announces with.
        mac: Option<MacAddr>,
        /// Why it is not announced, where it is not.
        reason: Option<Box<Finding>>,
    },
}

/// Whose MAC addresses are whose, as one machine sees it on one interface.
#[derive(Clone, Debug, Default)]
pub struct Faces {
    /// The nodes that are identified.
    pub nodes: BTreeMap<MacAddr, String>,
    /// The nodes that are not.
    pub missing: BTreeSet<String>,
    /// The MAC addresses of the machine that asks.
    pub own: BTreeSet<MacAddr>,
    /// The names by which the machine that asks is a node.
    pub own_names: BTreeSet<String>,
    /// The interface that is asked on, in words.
    pub place: String,
}

/// A machine that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// This node.
    Node(&'a str),
    /// None of the nodes.
    Stranger,
    /// Nobody can tell.
    Unknown,
}

impl Faces {
    /// Who has a MAC address.
    pub fn who(&self, mac: MacAddr) -> Who<'_> {
        match self.nodes.get(&mac) {
            Some(node) => Who::Node(node),
            None if self.missing.is_empty() && !self.nodes.is_empty() => Who::Stranger,
            None => Who::Unknown,
        }
    }
}

/// An address that was asked for, and who answered.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The address.
    pub address: IpAddr,
    /// Who is said to have it.
    pub claim: &'a Claim,
    /// The MAC addresses that answered, each once.
    pub answers: &'a [MacAddr],
    /// Whose they are.
    pub faces: &'a Faces,
}

impl Asked<'_> {
    /// What is wrong; `None` where the LAN agrees with what is said.
    pub fn verdict(&self) -> Option<Finding> {
        if self.answers.is_empty() {
            return self.silence();
        }
        let (mut nodes, mut strangers, mut unknown) = (BTreeSet::new(), Vec::new(), Vec::new());
        for mac in self.answers {
            match self.faces.who(*mac) {
                Who::Node(node) => drop(nodes.insert(node)),
                Who::Stranger => strangers.push(*mac),
                Who::Unknown => unknown.push(*mac),
            }
        }
        let announcers = self.announcers();
        if let (Some(_), _) | (None, true) = (strangers.first(), self.is_free() && !unknown.is_empty()) {
            strangers.extend(unknown);
            return Some(self.stranger(&strangers));
        }
        if *self.claim == Claim::Unknown {
            return (self.answers.len() > 1).then(|| self.unidentified(self.answers));
        }
        let uninvited: Vec<&str> =
            nodes.iter().copied().filter(|node| announcers.iter().all(|one| one != node)).collect();
        let invited: Vec<&str> = nodes.into_iter().filter(|node| announcers.iter().any(|one| one == node)).collect();
        if !uninvited.is_empty() {
            return Some(self.uninvited(&uninvited));
        }
        if invited.len() > 1 {
            let message = format!("{} both answer for {} and both announce it", invited.join(" and "), self.address);
            return Some(self.finding(Code::TwoAnnouncers, message));
        }
        let other = |mac: &&MacAddr| self.announced_mac().is_some_and(|announced| announced != **mac);
        let doubtful = unknown.iter().find(other).is_some() || (!unknown.is_empty() && self.answers.len() > 1);
        doubtful.then(|| self.unidentified(&unknown))
    }

    /// The port of an address that is answered for as it should be takes no connection.
    pub fn refused(&self, port: u16, outcome: &str) -> Finding {
        let message =
            format!("the right machine answers for {}, and TCP port {port} does not: {outcome}", self.address);
        self.finding(Code::ConnectionFails, message)
    }

    fn silence(&self) -> Option<Finding> {
        let (address, faces) = (self.address, self.faces);
        Some(match self.claim {
            Claim::Unknown => {
                let message =
                    format!("nobody answers for {address} on {}; who announces it could not be asked", faces.place);
                self.finding(Code::NobodyAnswers, message)
            }
            Claim::Nobody => {
                self.finding(Code::AddressUnclaimed, format!("no Service has {address}, and nobody answers for it"))
            }
            // Not announced, and why; or only routers are told, by BGP.
            Claim::Held { reason, nodes, .. } if nodes.is_empty() => return reason.as_deref().cloned(),
            Claim::Held { nodes, mac, .. } => {
                let own = mac.is_some_and(|mac| faces.own.contains(&mac))
                    || nodes.iter().any(|node| faces.own_names.contains(node));
                let names = nodes.join(" and ");
                if own {
                    let message =
                        format!("this machine, {names}, announces {address} itself and does not hear its own answer");
                    return Some(self.finding(Code::AskedFromOwner, message));
                }
                let message = format!("{names} announces {address}, and nobody answers for it on {}", faces.place);
                self.finding(Code::NobodyAnswers, message)
            }
        })
    }

    fn stranger(&self, macs: &[MacAddr]) -> Finding {
        let is = if self.faces.missing.is_empty() { "is no node" } else { "is no node that could be identified" };
        let message = format!("{} is answered by {}, which {is}", self.address, list(macs));
        let code = if self.announcers().is_empty() { Code::AddressInUse } else { Code::ForeignClaim };
        self.finding(code, message)
    }

    fn uninvited(&self, nodes: &[&str]) -> Finding {
        let answer = format!("{} for {}", if nodes.len() == 1 { "answers" } else { "answer" }, self.address);
        let beside = match self.announcers() {
            [] => "which nobody announces".to_owned(),
            announcers => format!("which {} announces", announcers.join(" and ")),
        };
        self.finding(Code::NodeAnswersUnasked, format!("{} {answer}, {beside}", nodes.join(" and ")))
    }

    fn unidentified(&self, macs: &[MacAddr]) -> Finding {
        let missing = match self.faces.missing.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => String::new(),
            missing => format!("; {} did not answer for their own addresses", missing.join(" and ")),
        };
        let message =
            format!("{} is answered by {}, and nobody knows whose that is{missing}", self.address, list(macs));
        self.finding(Code::AnswerUnidentified, message)
    }

    /// Nobody is said to announce it, and that is known.
    fn is_free(&self) -> bool {
        *self.claim != Claim::Unknown && self.announcers().is_empty()
    }

    fn announcers(&self) -> &[String] {
        if let Claim::Held { nodes, .. } = self.claim { nodes } else { &[] }
    }

    fn announced_mac(&self) -> Option<MacAddr> {
        if let Claim::Held { mac, .. } = self.claim { *mac } else { None }
    }

    fn finding(&self, code: Code, message: String) -> Finding {
        let object = match self.claim {
            Claim::Held { by, .. } => by.clone(),
            _ => self.address.to_string(),
        };
        Finding::new(code, Severity::Error, object, message)
    }
}

/// Whether a code says that the question could not be decided from here, rather than that something is wrong.
pub const fn is_undecided(code: Code) -> bool {
    matches!(code, Code::AskedFromOwner | Code::OffTheNetwork)
}

fn list(macs: &[MacAddr]) -> String {
    macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
