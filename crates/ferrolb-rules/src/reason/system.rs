//! Texts for LB00xx: the program itself.

use super::{Code, Explanation};

/// Stands in for a code without texts; a test proves that no code needs it.
pub(super) const UNEXPLAINED: Explanation =
    Explanation { code: Code::NotYet, summary: "no explanation", fix: "report this as a bug", long: "" };

pub(super) const TABLE: &[Explanation] = &[];
