//! Protocols as bytes and state machines. No Kubernetes, no sockets, no clock, no async.
//!
//! # The machine contract
//!
//! Every machine here has one shape. It is a convention, not a trait:
//!
//! ```text
//! Machine::new(config, now)             configuration, the time and, where needed, randomness are arguments
//! machine.handle(now, input)            cannot fail: a misbehaving peer is an Output, not an Err
//! machine.handle_timeout(now)           early calls are no-ops
//! machine.next_deadline() -> Option<_>  the earliest of the `*_at` fields; None: nothing to wait for
//! machine.poll_output() -> Option<_>    after every call above, drain to None
//! ```
//!
//! A driver is one loop: drain outputs, then wait for the socket, for new desired state, or for the deadline. Decoders
//! never panic and store nothing that they do not need; each has a fuzz target.

pub mod announce;
pub mod arp;
pub mod bfd;
pub mod bgp;
pub mod duplicate;
pub mod echo;
pub mod ethernet;
pub mod liveness;
pub mod ndp;
pub mod refresh;
pub mod seal;
pub mod segment;
pub mod sim;
