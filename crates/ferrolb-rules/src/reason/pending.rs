//! Texts for LB10xx: a Service has no address.

use super::Explanation;

pub(super) const TABLE: &[Explanation] = &[];
