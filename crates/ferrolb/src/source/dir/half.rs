//! Files that are only half written. An editor, `rsync --inplace` or a full disk leaves the beginning of a file behind,
//! and YAML cut off in the middle is often whole YAML that says less. What was running must not be withdrawn for it.
//!
//! A new text is compared with the last good one. If objects are gone, or the last object is another than before, and the
//! text ends where the old one went on, it is held back for a while: the less likely it is that somebody meant it, the
//! longer. Once that time has passed and the file still says the same, it counts. A text that lost nothing counts at once.

use std::collections::HashMap;
use std::time::Duration;

use super::document::{Parsed, Placed};
use super::object::{Object, ObjectKey};

/// Where a text was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing is left but comments: nobody deletes objects so.
    BeforeAll,
    /// Within a line: there is no line's end.
    InLine,
    /// Within a document, at the end of a line.
    InDocument,
    /// Between two documents, as if the last ones had been deleted.
    Between,
}

impl Cut {
    /// How long the text is held back; `None` until the file changes.
    pub(super) const fn patience(self) -> Option<Duration> {
        match self {
            Self::BeforeAll => None,
            Self::InLine => Some(Duration::from_secs(60)),
            Self::InDocument => Some(Duration::from_secs(5)),
            Self::Between => Some(Duration::from_secs(1)),
        }
    }

    /// Where that is, in words.
    pub(super) const fn place(self) -> &'static str {
        match self {
            Self::BeforeAll => "before the first object",
            Self::InLine => "in the middle of a line",
            Self::InDocument => "in the middle of an object",
            Self::Between => "after one of its objects",
        }
    }
}

/// Whether and where `new` is cut off, where `old` was the whole.
pub(super) fn cut((old, was): (&str, &Parsed), (new, is): (&str, &Parsed)) -> Option<Cut> {
    if !loses(&was.objects, &is.objects) {
        return None;
    }
    let begins_old = old.starts_with(new.trim_end());
    if begins_old && is.objects.is_empty() {
        return Some(Cut::BeforeAll);
    }
    if new.trim_start().starts_with(['{', '[']) && !begins_old {
        // JSON that is cut off is never whole.
        return None;
    }
    if !new.ends_with('\n') {
        let inside = begins_old && !matches!(old.as_bytes().get(new.len()), Some(b'\n' | b'\r') | None);
        if inside {
            return Some(Cut::InLine);
        }
        // Somebody's editor writes no last line's end; one that did before was interrupted.
        if old.ends_with('\n') && !begins_old {
            return Some(Cut::InDocument);
        }
    }
    let after = if begins_old { old.get(new.trim_end().len()..) } else { after_last_lines(old, new) }?;
    let next = after.lines().map(str::trim_end).find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    let separated = next.starts_with("---") || next == "..." || new.trim_end().ends_with("\n---");
    Some(if separated { Cut::Between } else { Cut::InDocument })
}

/// Whether an object is gone, or the last one is another than it was.
fn loses(was: &[Placed], is: &[Placed]) -> bool {
    let now: HashMap<ObjectKey, &Object> = is.iter().map(|placed| (placed.object.key(), &placed.object)).collect();
    let gone = was.iter().any(|placed| !now.contains_key(&placed.object.key()));
    let last = is.last().map(|placed| &placed.object);
    let changed = last.is_some_and(|last| {
        let before = was.iter().find(|placed| placed.object.key() == last.key());
        before.is_some_and(|before| before.object != *last)
    });
    gone || changed
}

/// What follows in `old` after the two lines that `new` ends with.
fn after_last_lines<'a>(old: &'a str, new: &str) -> Option<&'a str> {
    let mut ends = new.trim_end().rmatch_indices('\n').map(|(at, _)| at);
    let from = ends.nth(1).map_or(0, |at| at + 1);
    let tail = new.trim_end().get(from..)?;
    let at = old.rfind(tail).filter(|at| *at == 0 || old.as_bytes().get(at - 1) == Some(&b'\n'))?;
    old.get(at + tail.len()..).filter(|after| after.starts_with(['\n', '\r']))
}
