//! A directory of manifests: which files it has, what they say, what they said when they were last good.

mod document;
mod field_rules;
mod half;
mod last_good;
mod loader;
mod names;
mod object;
mod places;
mod pointed;
mod read;
mod repository;
mod service_rules;
mod strangers;
#[cfg(test)]
mod tests;
mod tree;
mod typed;
mod watch;

pub use document::{Parsed, Placed, parse};
pub use loader::Loader;
pub use names::subdomain_fault;
pub use object::Object;
pub use pointed::Places;
pub use repository::{Review, Written, collect, review};
pub use watch::watch;
