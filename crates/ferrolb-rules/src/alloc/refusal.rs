//! Why an address was not given, in upstream's words (spec §4.5, §4.6, §4.10).

use std::net::IpAddr;

use crate::names::ServiceKey;
use crate::range::Family;
use crate::reason::Code;

/// A refusal. Its text is what upstream's event says after the colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No pool that serves this Service automatically has what it needs.
    #[error("no available IPs")]
    NoFreeAddress,
    /// The requested pool has no free address of the family.
    #[error("no available IPs in pool {pool:?}{}", if *.dual { " for dual IPFamily" } else { "" })]
    PoolExhausted {
        /// The pool asked for.
        pool: String,
        /// Whether both families were needed.
        dual: bool,
        /// The family that is missing, where it is one.
        family: Option<Family>,
    },
    /// The requested pool does not exist; and which one may be meant.
    #[error("unknown pool {0:?}")]
    UnknownPool(String, Option<String>),
    /// The requested pool does not serve this Service.
    #[error("pool {0} not compatible for ip assignment")]
    NotCompatible(String),
    /// The addresses belong to no pool, or to no single one.
    #[error("{} is not allowed in config", quoted(.0))]
    NotInConfig(Vec<IpAddr>),
    /// More than two addresses.
    #[error("more than two addresses {}", quoted(.0))]
    MoreThanTwo(Vec<IpAddr>),
    /// Two addresses of one family.
    #[error("{} has the same family", quoted(.0))]
    SameFamily(Vec<IpAddr>),
    /// Another Service has the address under another sharing key.
    #[error("can't change sharing key for {:?}, address also in use by {}", .service.to_string(), list(.others))]
    Sharing {
        /// Who asks.
        service: ServiceKey,
        /// The address.
        address: IpAddr,
        /// Who has it.
        others: Vec<ServiceKey>,
    },
    /// Another Service has the port on the address.
    #[error("port {protocol}/{port} is already in use on {:?}", .address.to_string())]
    PortInUse {
        /// The address.
        address: IpAddr,
        /// The protocol's name.
        protocol: String,
        /// The Service port.
        port: i32,
        /// Who has it.
        other: ServiceKey,
    },
    /// The requested addresses lie outside the requested pool.
    #[error("{} is not compatible with requested address pool {pool}", quoted(.addresses))]
    PoolMismatch {
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
        /// The pool asked for.
        pool: String,
    },
    /// The requested addresses do not fit the Service's families.
    #[error("requested loadBalancer IP(s) {} does not match the ipFamily of the service", quoted(.0))]
    FamilyMismatch(Vec<IpAddr>),
}

impl super::Allocator {
    /// The refusal of a pool that does not exist.
    pub fn unknown_pool(&self, pool: &str) -> Refusal {
        Refusal::unknown_pool(pool, self.pools.keys())
    }
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NoFreeAddress => Code::NoFreeAddress,
            Self::PoolExhausted { .. } => Code::PoolExhausted,
            Self::UnknownPool(..) => Code::UnknownPool,
            Self::NotCompatible(_) => Code::PoolNotCompatible,
            Self::NotInConfig(_) => Code::AddressNotInPool,
            Self::MoreThanTwo(_) | Self::SameFamily(_) => Code::RequestInvalid,
            Self::Sharing { .. } => Code::SharingRefused,
            Self::PortInUse { .. } => Code::PortInUse,
            Self::PoolMismatch { .. } => Code::PoolMismatch,
            Self::FamilyMismatch(_) => Code::FamilyMismatch,
        }
    }

    /// A pool that does not exist, with the one of these whose name is nearest to it.
    pub fn unknown_pool<'a>(pool: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let near = known.map(|known| (strsim::damerau_levenshtein(known, pool), known));
        let near = near.filter(|(distance, _)| *distance <= 2 && *distance < pool.len()).min();
        Self::UnknownPool(pool.to_owned(), near.map(|(_, known)| known.clone()))
    }

    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::NoFreeAddress => {
                "add addresses to an IPAddressPool with autoAssign that serves this namespace and IP family".to_owned()
            }
            Self::PoolExhausted { pool, family, .. } => match family {
                Some(family) => format!("add {family} addresses to IPAddressPool {pool:?}, or ask for another pool"),
                None => format!("add addresses to IPAddressPool {pool:?}, or ask for another pool"),
            },
            Self::UnknownPool(_, Some(meant)) => {
                format!("did you mean {meant:?}? Correct the annotation metallb.io/address-pool")
            }
            Self::UnknownPool(pool, None) => {
                format!(
                    "create IPAddressPool {pool:?} in the namespace of the configuration, or correct the annotation metallb.io/address-pool"
                )
            }
            Self::NotCompatible(pool) => {
                format!(
                    "let spec.serviceAllocation of IPAddressPool {pool:?} include this Service, or ask for another pool"
                )
            }
            Self::NotInConfig(addresses) => {
                format!("add {} to one IPAddressPool, or ask for an address of an existing pool", quoted(addresses))
            }
            Self::MoreThanTwo(_) | Self::SameFamily(_) => "ask for one address, or for one of each family".to_owned(),
            Self::Sharing { others, .. } => format!(
                "give this Service and {} the same metallb.io/allow-shared-ip (and with externalTrafficPolicy: Local the same selector), or ask for another address",
                list(others)
            ),
            Self::PortInUse { other, protocol, port, .. } => {
                format!("use another port than {protocol}/{port}, which {other} has, or another address")
            }
            Self::PoolMismatch { pool, .. } => {
                format!("remove the annotation metallb.io/address-pool, or ask for an address of {pool:?}")
            }
            Self::FamilyMismatch(_) => {
                "ask for one address for each IP family of the Service, or change spec.ipFamilies".to_owned()
            }
        }
    }
}

/// `["10.0.0.1" "fc00::1"]`, as upstream prints addresses.
pub fn quoted(addresses: &[IpAddr]) -> String {
    let items: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", items.join(" "))
}

fn list(services: &[ServiceKey]) -> String {
    services.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
