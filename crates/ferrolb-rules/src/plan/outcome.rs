//! What a plan says about one Service, and how it says it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::ground::{EXCLUDE, Ground};
use super::judge::Judgement;
use crate::config::Pool;
use crate::names::{NodeName, ServiceKey};
use crate::reason::{Code, Finding, Severity};

/// One Service's part of the plan.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// The Service.
    pub service: ServiceKey,
    /// The addresses of its status.
    pub addresses: Arc<[IpAddr]>,
    pool: Option<Arc<Pool>>,
    /// The node that announces it.
    pub owner: Option<NodeName>,
    /// On which of its interfaces this node would announce it; `None` means on all.
    pub interfaces: Option<Arc<BTreeSet<String>>>,
    code: Option<Code>,
    /// Per node of the ground, why that one does not announce it.
    nodes: Vec<Option<Code>>,
    /// The interfaces to announce on, where the owner has none of them.
    missing: Option<Arc<BTreeSet<String>>>,
    /// The same, where any node has none of them.
    lacked: Option<Arc<BTreeSet<String>>>,
    ground: Arc<Ground>,
}

impl ServicePlan {
    pub(super) fn new(service: ServiceKey, judgement: &Judgement, owner: Option<usize>, ground: Arc<Ground>) -> Self {
        let owner = owner.filter(|_| judgement.code.is_none());
        let owner_name = owner.and_then(|owner| ground.nodes.get(owner)).cloned();
        let nodes = judgement
            .nodes
            .iter()
            .enumerate()
            .map(|(index, code)| {
                let why = if ground.is_alive(index) { Code::NotElected } else { Code::NodeNotAlive };
                code.or((Some(index) != owner).then_some(why))
            })
            .collect();
        Self {
            service,
            addresses: judgement.addresses.clone(),
            pool: judgement.pool.clone(),
            missing: owner.and_then(|owner| judgement.missing.get(&owner)).cloned(),
            lacked: judgement.missing.values().next().cloned(),
            owner: owner_name,
            interfaces: judgement.interfaces.clone(),
            code: judgement.code.or(judgement.dark),
            nodes,
            ground,
        }
    }

    /// The pool of its addresses in the running configuration.
    pub fn pool(&self) -> Option<&str> {
        self.pool.as_ref().map(|pool| pool.name.as_str())
    }

    /// Why nobody announces it; `None`: somebody does, as far as this node can tell.
    pub fn code(&self) -> Option<Code> {
        self.code.or(self.missing.as_ref().map(|_| Code::InterfaceMissing))
    }

    /// The same with words.
    pub fn finding(&self) -> Option<Finding> {
        let code = self.code()?;
        Some(Finding::new(code, Severity::Error, self.object(), self.message(code)))
    }

    /// What is worth knowing although it is announced.
    pub fn warnings(&self) -> Vec<Finding> {
        if self.owner.is_none() || !self.ground.all_excluded {
            return Vec::new();
        }
        let message = "every node carries the label node.kubernetes.io/exclude-from-external-load-balancers; \
                       it is announced all the same"
            .to_owned();
        vec![Finding::new(Code::AllNodesExcluded, Severity::Warning, self.object(), message)]
    }

    /// Per node, why that one does not announce it.
    pub fn node_codes(&self) -> impl Iterator<Item = (&NodeName, Code)> {
        self.ground.nodes.iter().zip(&self.nodes).filter_map(|(node, code)| Some((node, (*code)?)))
    }

    /// The same with words.
    pub fn node_findings(&self) -> impl Iterator<Item = (&NodeName, Finding)> {
        self.node_codes().map(|(node, code)| {
            let message = match (code, &self.owner) {
                (Code::NotElected, Some(owner)) if self.ground.claims => {
                    format!("{node} is a candidate; {owner} has the address")
                }
                (Code::NotElected, Some(owner)) => format!("{node} is a candidate; {owner} is the elected one"),
                _ => format!("{node}: {}", code.explanation().summary),
            };
            let mut finding = Finding::new(code, Severity::Note, self.object(), message);
            finding.fix = finding.fix.replace("node NODE", &format!("node {node}"));
            (node, finding)
        })
    }

    fn object(&self) -> String {
        format!("Service/{}", self.service)
    }

    fn message(&self, code: Code) -> String {
        let list = || {
            let items: Vec<String> =
                self.node_codes().map(|(node, code)| format!("{node} {code} {}", code.name())).collect();
            items.join(", ")
        };
        let pool = self.pool().unwrap_or_default();
        let names: Vec<&str> = self.lacked.iter().flat_map(|names| names.iter()).map(String::as_str).collect();
        let names = names.join(" or ");
        if let (Some(owner), Some(_)) = (&self.owner, &self.missing) {
            return format!("{owner} is elected, and none of its interfaces that can announce is {names}");
        }
        match code {
            Code::NoAddress => "it has no address yet".to_owned(),
            Code::NoAdvertisement => {
                let others = self.pool.iter().flat_map(|pool| &pool.l2_advertisements);
                let others: Vec<&str> = others.map(|one| one.name.as_str()).collect();
                let why = match others.as_slice() {
                    [] => String::new(),
                    others => format!(": the serviceSelectors of {} do not match its labels", others.join(" and ")),
                };
                format!("no L2Advertisement selects pool {pool:?} for this Service{why}")
            }
            Code::NoReadyEndpoints => "none of its endpoints is ready".to_owned(),
            Code::NoCandidate => format!("no node may announce it: {}", list()),
            Code::NodeNotAlive => format!("none of the nodes that may announce it is alive: {}", list()),
            Code::InterfaceMissing if names.is_empty() => {
                format!("no node has an interface that can announce it: {}", list())
            }
            Code::InterfaceMissing => format!("it is to be announced on {names}, and no node can: {}", list()),
            Code::AddressNotConfigured => {
                let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
                format!("no single pool has {}", addresses.join(" and "))
            }
            code if self.nodes.is_empty() => code.explanation().summary.to_owned(),
            Code::NodeExcluded => {
                format!("no node may announce it: all that could carry the label {EXCLUDE} ({})", list())
            }
            code => format!("no node may announce it: {} ({})", within(code.explanation().summary), list()),
        }
    }
}

/// A sentence as a part of another.
fn within(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
