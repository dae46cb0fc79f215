//! Label selectors, parsed once: a list of them is OR-ed, the requirements inside one are AND-ed (spec §1.2).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_core::SelectorExt;

use super::Report;
use crate::reason::Code;

/// One parsed label selector. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    requirements: kube_core::Selector,
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// The operator or its values make no sense; the text says which.
    pub fn parse(selector: &LabelSelector) -> Result<Self, String> {
        for expression in selector.match_expressions.iter().flatten() {
            let empty = expression.values.as_ref().is_none_or(Vec::is_empty);
            match expression.operator.as_str() {
                "In" | "NotIn" if empty => {
                    return Err(format!("{} {} has no values", expression.key, expression.operator));
                }
                "Exists" | "DoesNotExist" if !empty => {
                    return Err(format!("{} {} takes no values", expression.key, expression.operator));
                }
                _ => {}
            }
        }
        let requirements = kube_core::Selector::try_from(selector.clone()).map_err(|error| error.to_string())?;
        Ok(Self { requirements })
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.matches(labels)
    }

    /// Whether any selector of a list matches; an empty list restricts nothing.
    pub fn any_matches(list: &[Self], labels: &BTreeMap<String, String>) -> bool {
        list.is_empty() || list.iter().any(|selector| selector.matches(labels))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.requirements)
    }
}

/// Parses a list of selectors, refusing what cannot be understood (V14) and what stands there twice (V13, V27, V31).
pub(super) fn parse_list(
    list: &[LabelSelector],
    report: &mut Report,
    object: &str,
    field: &str,
    name: &str,
) -> Vec<Selector> {
    let mut parsed = Vec::new();
    for (index, selector) in list.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if let Some(twice) = list[..index].iter().position(|earlier| normal(earlier) == normal(selector)) {
            let message = format!("duplicate definition of {name}: the selector is the same as number {twice}");
            report.error(Code::DuplicateEntry, object, field, message);
            continue;
        }
        if let Some(twice) = repeated(selector) {
            let message = format!("duplicate definition of {twice} in {name}");
            report.error(Code::DuplicateEntry, object, field, message);
            continue;
        }
        match Selector::parse(selector) {
            Ok(selector) => parsed.push(selector),
            Err(why) => report.error(Code::SelectorInvalid, object, field, format!("invalid selector: {why}")),
        }
    }
    parsed
}

/// A match expression: key, operator, sorted values.
type Expression = (String, String, Vec<String>);

/// The same selector in another order is the same selector.
fn normal(selector: &LabelSelector) -> (BTreeMap<String, String>, Vec<Expression>) {
    let mut expressions: Vec<Expression> = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|expression| {
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            (expression.key.clone(), expression.operator.clone(), values)
        })
        .collect();
    expressions.sort();
    (selector.match_labels.clone().unwrap_or_default(), expressions)
}

/// An expression or a value that stands twice inside one selector.
fn repeated(selector: &LabelSelector) -> Option<String> {
    let (_, expressions) = normal(selector);
    for (index, (key, operator, values)) in expressions.iter().enumerate() {
        if index > 0 && expressions[index - 1] == expressions[index] {
            return Some(format!("match expression {key} {operator}"));
        }
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("value {:?} of {key}", pair[0]));
        }
    }
    None
}
