//! One loop per machine: packets and time in, packets and state out. What is decided, is decided elsewhere.

pub mod answers;
pub mod bfd;
pub mod bgp;
pub mod gateways;
pub mod key;
pub mod l2;
pub mod lateness;
pub mod liveness;
pub mod membership;
pub mod owners;
pub mod routers;
pub mod segment;
