//! MetalLB's rules as pure functions.
//!
//! Nothing here performs I/O, reads a clock or runs a task: resources go in, decisions come out. The compiler holds us
//! to it (three locks: the dependency list, this crate's `clippy.toml`, and CI, which checks the crate alone).
//!
//! | module | question it answers |
//! |---|---|
//! | [`api`] | what do the `metallb.io` kinds look like? |
//! | [`range`] | which addresses does `a-b` or a CIDR mean? |
//! | [`config`] | what do these resources mean together, and what is wrong with them? |
//! | [`alloc`] | which addresses does a Service get? |
//! | [`service`] | what must be written to a Service's status, and what is said about it? |
//! | [`l2`] | which node answers for an address? |
//! | [`plan`] | what does this node announce, and why is everything else not announced? |
//! | [`drain`] | which nodes are being emptied, and hand their addresses over? |
//! | [`admission`] | is this object accepted, and what is said about it? |
//! | [`annotations`] | which annotations of a Service do nothing? |
//! | [`table`] | who got which address, as told among hosts without an API server? |
//! | [`picture`] | what does a set of objects come to, seen once and from outside? |
//! | [`why`] | which rule is the first that fails for a Service? |
//! | [`changes`] | what would become of every Service if other objects were in force? |
//! | [`probe`] | what does it mean who answers for an address on the LAN? |
//! | [`sighting`] | who else answers for an address, as speakers tell it? |
//! | [`surroundings`] | will it work in this cluster? |
//! | [`values`] | which values of the chart do nothing? |
//! | [`reason`] | what do we call each way in which something does not work? |

pub mod admission;
pub mod alloc;
pub mod annotations;
pub mod api;
pub mod changes;
pub mod config;
pub mod drain;
#[cfg(test)]
mod fixtures;
pub mod l2;
pub mod names;
pub mod picture;
pub mod plan;
pub mod probe;
pub mod range;
pub mod reason;
pub mod service;
pub mod sighting;
pub mod slice;
pub mod surroundings;
pub mod table;
pub mod values;
pub mod why;
