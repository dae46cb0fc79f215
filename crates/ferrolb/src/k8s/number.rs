//! Anything that can be hashed, by a number that is as good as unique.
//!
//! What is only compared need not be kept: of thousands of objects the texts would be half a kilobyte each.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::LazyLock;

/// Two times 64 bits of hash, keyed anew in each process.
pub type Number = (u64, u64);

/// Makes [`Number`]s.
#[derive(Debug, Default)]
struct Hashers(RandomState, RandomState);

static HASHERS: LazyLock<Hashers> = LazyLock::new(Hashers::default);

/// The number of a value.
pub fn number(value: &impl Hash) -> Number {
    (HASHERS.0.hash_one(value), HASHERS.1.hash_one(value))
}
