//! Texts for LB40xx: pools, advertisements, communities.

use super::Explanation;

pub(super) const TABLE: &[Explanation] = &[];
