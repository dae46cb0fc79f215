//! Overlaps: inside one pool an error (V25), between pools a soft conflict that the older pool wins (decision D3).
//!
//! All ranges are sorted by their first address and swept once. Inside the sweep a range is compared only with those
//! that reach into it, so that ten thousand ranges cost no more than sorting them plus what really overlaps.

use std::collections::BTreeMap;

use super::pools::Parsed;
use super::{PoolConflict, Report};
use crate::range::AddressRange;
use crate::reason::{Code, Finding, Severity};

struct Span {
    range: AddressRange,
    pool: String,
    entry: usize,
}

/// Overlaps that one pool may report; a pool that is mistaken as a whole is mistaken often enough after these.
const REPORTED: usize = 16;

/// Finds overlaps, refuses those inside a pool, and notes those between pools in the younger one.
pub(super) fn check(pools: &mut BTreeMap<String, Parsed>, report: &mut Report) {
    let mut spans: Vec<Span> = pools
        .iter()
        .flat_map(|(name, parsed)| {
            let ranges = parsed.pool.ranges.iter().enumerate();
            ranges.map(|(entry, range)| Span { range: *range, pool: name.clone(), entry })
        })
        .collect();
    spans.sort_by(|a, b| {
        (a.range.first(), a.range.last(), &a.pool, a.entry).cmp(&(b.range.first(), b.range.last(), &b.pool, b.entry))
    });
    let mut open: Vec<&Span> = Vec::new();
    let mut inside = BTreeMap::<&str, Vec<(&Span, &Span)>>::new();
    let mut between = BTreeMap::<(String, String), Vec<AddressRange>>::new();
    for span in &spans {
        open.retain(|earlier| earlier.range.overlaps(&span.range));
        for earlier in &open {
            if earlier.pool == span.pool {
                let found = inside.entry(&span.pool).or_default();
                if found.len() < REPORTED {
                    found.push((earlier, span));
                }
            } else if let Some(common) = intersection(&earlier.range, &span.range) {
                let (younger, older) = by_age(pools, &earlier.pool, &span.pool);
                between.entry((younger, older)).or_default().push(common);
            }
        }
        open.push(span);
    }
    for (pool, found) in &inside {
        for (first, second) in found {
            refuse(pools, pool, first, second, report);
        }
    }
    for ((younger, older), ranges) in between {
        note(pools, &younger, &older, ranges, report);
    }
}

fn refuse(pools: &BTreeMap<String, Parsed>, pool: &str, first: &Span, second: &Span, report: &mut Report) {
    let Some(parsed) = pools.get(pool) else { return };
    let (first, second) = if first.entry < second.entry { (first, second) } else { (second, first) };
    let message = format!("{} overlaps with already defined CIDR {} of the same pool", second.range, first.range);
    let fix = format!("remove one of the two, or the part that {} has already", first.range);
    report.error_fix(Code::RangesOverlap, &parsed.object, &format!("spec.addresses[{}]", second.entry), message, fix);
}

/// The younger and the older of two pools. No creation time is younger than any; ties go by name.
fn by_age(pools: &BTreeMap<String, Parsed>, a: &str, b: &str) -> (String, String) {
    let age = |name: &str| {
        let created = pools.get(name).and_then(|parsed| parsed.created);
        (created.is_none(), created, name.to_owned())
    };
    if age(a) < age(b) { (b.to_owned(), a.to_owned()) } else { (a.to_owned(), b.to_owned()) }
}

fn note(
    pools: &mut BTreeMap<String, Parsed>,
    younger: &str,
    older: &str,
    ranges: Vec<AddressRange>,
    report: &mut Report,
) {
    let Some(parsed) = pools.get_mut(younger) else { return };
    let shown: Vec<String> = ranges.iter().take(4).map(ToString::to_string).collect();
    let more =
        if ranges.len() > shown.len() { format!(" and {} more", ranges.len() - shown.len()) } else { String::new() };
    let message = format!(
        "{}{more} overlaps with already defined CIDR of pool {older:?}, which is older: {younger:?} hands out only its other addresses",
        shown.join(", ")
    );
    report.warn(
        Finding::new(Code::PoolsOverlap, Severity::Warning, parsed.object.clone(), message)
            .at_field("spec.addresses")
            .with_fix(format!("take the addresses out of one of the two pools; nothing moves while both exist, and when {older:?} goes, {younger:?} takes over its Services' addresses")),
    );
    parsed.pool.conflicts.extend(ranges.into_iter().map(|range| PoolConflict { with: older.to_owned(), range }));
}

fn intersection(a: &AddressRange, b: &AddressRange) -> Option<AddressRange> {
    match (a, b) {
        (AddressRange::V4 { first: a, last: b }, AddressRange::V4 { first: c, last: d }) => {
            let (first, last) = (*a.max(c), *b.min(d));
            (first <= last).then_some(AddressRange::V4 { first, last })
        }
        (AddressRange::V6 { first: a, last: b }, AddressRange::V6 { first: c, last: d }) => {
            let (first, last) = (*a.max(c), *b.min(d));
            (first <= last).then_some(AddressRange::V6 { first, last })
        }
        _ => None,
    }
}
