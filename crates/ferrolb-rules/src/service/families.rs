//! Which IP families a Service has, and so which addresses it needs (spec §4.3 steps 5–8, §4.4).

use std::net::IpAddr;

use super::{Options, View, request};
use crate::alloc::Families;
use crate::names::ServiceKey;
use crate::range::Family;

/// The families of a Service's cluster IPs, or of a set of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceFamilies {
    One(Family),
    Both,
}

/// Why a Service's families cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the Service has no cluster IP")]
    NoClusterIp,
    #[error("Service requires dual stack but not enough clusterips {0:?}")]
    NotEnough(Vec<String>),
    #[error("the families of cluster IPs {0:?} cannot be told")]
    Unclear(Vec<String>),
}

impl Problem {
    /// Whether what the Service has is given up.
    pub(super) const fn clears(&self) -> bool {
        !matches!(self, Self::Unclear(_))
    }

    /// The event that upstream emits, reason and message.
    pub(super) fn event(&self, key: &ServiceKey) -> Option<(&'static str, String)> {
        match self {
            Self::NoClusterIp => None,
            Self::NotEnough(_) => Some(("not enough clusterips", self.to_string())),
            Self::Unclear(ips) => Some((
                "noclusterIPsIPFamily",
                format!("Failed to retrieve ClusterIPs IPFamily for {:?}: {ips:?}", key.to_string()),
            )),
        }
    }

    pub(super) fn fix(&self) -> String {
        match self {
            Self::NoClusterIp => "wait for the API server to give it one; a headless Service cannot be a LoadBalancer",
            Self::NotEnough(_) => "use a dual-stack cluster, or set spec.ipFamilyPolicy to PreferDualStack",
            Self::Unclear(_) => "a Service of type LoadBalancer has one cluster IP, or one of each family",
        }
        .to_owned()
    }
}

/// The families of one address, or of two of different families; anything else has none.
pub(super) fn of_addresses(addresses: &[IpAddr]) -> Option<ServiceFamilies> {
    match addresses {
        [one] => Some(ServiceFamilies::One(Family::of(*one))),
        [a, b] if Family::of(*a) != Family::of(*b) => Some(ServiceFamilies::Both),
        _ => None,
    }
}

/// Whether the Service would like an address of each family.
pub(super) fn prefers_dual(service: &dyn View) -> bool {
    service.ip_family_policy() == Some("PreferDualStack")
}

impl ServiceFamilies {
    pub(super) const fn is_dual(self) -> bool {
        matches!(self, Self::Both)
    }

    /// What a Service's cluster IPs say; where nobody gives them, what `spec.ipFamilies` says.
    pub(super) fn of(service: &dyn View, options: &Options) -> Result<Self, Problem> {
        let ips: Vec<String> = service.cluster_ips().into_iter().map(str::to_owned).collect();
        if ips.is_empty() {
            return if options.assumes_cluster_ips(service) {
                Ok(Self::declared(service))
            } else {
                Err(Problem::NoClusterIp)
            };
        }
        if service.ip_family_policy() == Some("RequireDualStack") && ips.len() < 2 {
            return Err(Problem::NotEnough(ips));
        }
        let addresses: Option<Vec<IpAddr>> = ips.iter().map(|ip| ip.parse().ok()).collect();
        addresses.and_then(|addresses| of_addresses(&addresses)).ok_or(Problem::Unclear(ips))
    }

    /// The families that a manifest declares. One that says nothing is of the family that it asks an address of, or
    /// IPv4.
    fn declared(service: &dyn View) -> Self {
        let listed = service.ip_families();
        if listed.len() > 1 || matches!(service.ip_family_policy(), Some("PreferDualStack" | "RequireDualStack")) {
            return Self::Both;
        }
        match listed.first().copied() {
            Some("IPv6") => Self::One(Family::V6),
            Some(_) => Self::One(Family::V4),
            None => match request::addresses(service) {
                Ok(Some(wanted)) => of_addresses(&wanted).unwrap_or(Self::One(Family::V4)),
                _ => Self::One(Family::V4),
            },
        }
    }

    /// Whether recorded addresses fit: the same families, or one of the two for a Service that only prefers both.
    pub(super) fn fit_status(self, service: &dyn View, recorded: &[IpAddr]) -> bool {
        let recorded = of_addresses(recorded);
        recorded == Some(self) || (recorded.is_some() && self.is_dual() && prefers_dual(service))
    }

    /// What the allocator is asked for; `None` where the Service contradicts itself.
    pub(super) fn needed(self, service: &dyn View) -> Option<Families> {
        if let Self::One(family) = self {
            return Some(Families::One(family));
        }
        let primary = if service.ip_families().first() == Some(&"IPv6") { Family::V6 } else { Family::V4 };
        match service.ip_family_policy() {
            Some("RequireDualStack") => Some(Families::Both),
            Some("PreferDualStack") => Some(Families::Prefer { primary }),
            _ => None,
        }
    }
}
