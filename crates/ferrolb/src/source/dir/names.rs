//! What Kubernetes accepts as a name (RFC 1123), and which known word somebody may have meant.

/// Why a text is no name of an object (RFC 1123 subdomain), if it is none.
pub fn subdomain_fault(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some(format!("it has {} characters and may have 253", name.len()));
    }
    name.split('.').find_map(part_fault)
}

/// Why a text is no name of a namespace (RFC 1123 label), if it is none.
pub(super) fn label_fault(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some(format!("it has {} characters and may have 63", name.len()));
    }
    part_fault(name)
}

fn part_fault(part: &str) -> Option<String> {
    if let Some(bad) = part.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        return Some(format!("{bad:?} is not allowed in it; lower-case letters, digits and `-` are"));
    }
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c != '-');
    if alphanumeric(part.chars().next()) && alphanumeric(part.chars().next_back()) {
        return None;
    }
    Some("it must begin and end with a letter or digit".to_owned())
}

/// The known word that is nearest to a mistyped one, if any is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    // Distances take time by the product of the lengths; no field has a name this long.
    if word.len() > 64 {
        return None;
    }
    let word = plain(word);
    let allowed = if word.chars().count() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
