//! Tests of the program from outside: style limits, and what happens on real interfaces in namespaces.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod asked;
mod bfd;
mod bgp;
mod built;
mod cli;
mod codes;
mod hosts;
mod l2;
mod lab;
mod ping;
mod segment;
mod standalone;
mod switch;
mod tidy;
mod tools;
mod troubles;
