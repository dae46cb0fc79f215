//! Texts for LB11xx: an address is not announced.

use super::Explanation;

pub(super) const TABLE: &[Explanation] = &[];
