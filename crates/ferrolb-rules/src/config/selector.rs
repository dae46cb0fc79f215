//! Label selectors, parsed once: a list of them is OR-ed, the requirements inside one are AND-ed (spec §1.2).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_core::SelectorExt;

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
