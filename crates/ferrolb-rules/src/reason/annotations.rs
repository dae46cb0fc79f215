//! Texts for LB20xx: annotations on Services.

use super::Explanation;

pub(super) const TABLE: &[Explanation] = &[];
