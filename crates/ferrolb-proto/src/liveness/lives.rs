//! Whether a host that greets has lived before, under a generation that is as late as the one it has now.
//!
//! Of two lives of a host the later generation counts, and generations come from a clock. A clock can go back: a host
//! without a battery starts in 1970. What it says then would be taken for old news, for ever. So each start has a random
//! number beside the generation, and whoever knows a generation as late of another start tells it; the host takes a
//! later one and goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// "This is who I am."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting<'a> {
    pub(super) name: &'a str,
    pub(super) generation: u64,
    /// Random, another one at every start.
    pub(super) life: u64,
}

/// The start that each name was heard of last, by its latest generation.
#[derive(Debug, Default)]
pub(super) struct Lives {
    latest: BTreeMap<String, (u64, u64, SocketAddr)>,
}

impl Lives {
    /// Takes note. Returns the generation that this host must overtake, if there is one; `known` is the latest that is
    /// known of it from elsewhere.
    pub(super) fn greeted(&mut self, from: SocketAddr, greeting: &Greeting<'_>, known: Option<u64>) -> Option<u64> {
        if let Some(known) = known.filter(|known| *known > greeting.generation) {
            return Some(known);
        }
        if let Some((generation, life, at)) = self.latest.get(greeting.name)
            && (*generation, *life) != (greeting.generation, greeting.life)
            && (*generation > greeting.generation || (*generation == greeting.generation && *at == from))
        {
            return Some(*generation);
        }
        self.latest.insert(greeting.name.to_owned(), (greeting.generation, greeting.life, from));
        None
    }
}
