//! Communities: values and aliases (spec §3.6, rules V37, V39, V40).

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_proto::bgp::{Attributes, Community, LargeCommunity};

use super::{Report, object};
use crate::api;
use crate::reason::Code;

/// A parsed community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommunityValue {
    /// `A:B`, RFC 1997.
    Standard(u16, u16),
    /// `large:A:B:C`, RFC 8092.
    Large(u32, u32, u32),
}

impl CommunityValue {
    /// Parses a literal.
    ///
    /// # Errors
    /// Says what is wrong in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let invalid = |why: &str| format!("invalid community value {text:?}: {why}");
        match parts.as_slice() {
            [high, low] => match (high.parse(), low.parse()) {
                (Ok(high), Ok(low)) => Ok(Self::Standard(high, low)),
                _ => Err(invalid("both parts are numbers from 0 to 65535")),
            },
            ["large", a, b, c] => match (a.parse(), b.parse(), c.parse()) {
                (Ok(a), Ok(b), Ok(c)) => Ok(Self::Large(a, b, c)),
                _ => Err(invalid("all three parts are numbers from 0 to 4294967295")),
            },
            [_, _, _, _] => Err(invalid("a large community starts with the word large")),
            _ => Err(format!("invalid community format: {text:?} is neither A:B nor large:A:B:C")),
        }
    }
}

impl CommunityValue {
    /// Says it with a route.
    pub(crate) fn add_to(self, attributes: &mut Attributes) {
        match self {
            Self::Standard(high, low) => {
                attributes.communities.insert(Community(u32::from(high) << 16 | u32::from(low)));
            }
            Self::Large(global, first, second) => {
                attributes.large_communities.insert(LargeCommunity { global, first, second });
            }
        }
    }
}

/// Parses all aliases; they are global over all objects.
pub(super) fn parse(communities: &[Arc<api::Community>], report: &mut Report) -> BTreeMap<String, CommunityValue> {
    let mut sorted: Vec<_> = communities.iter().collect();
    sorted.sort_by_key(|community| community.metadata.name.clone());
    let mut aliases = BTreeMap::new();
    for community in sorted {
        let name = object("Community", &community.metadata);
        for (index, alias) in community.spec.communities.iter().enumerate() {
            let field = format!("spec.communities[{index}]");
            match CommunityValue::parse(&alias.value) {
                Err(why) => {
                    let message = format!("parsing community {:?}: {why}", alias.name);
                    report.error(Code::CommunityInvalid, &name, format!("{field}.value"), message);
                }
                Ok(value) => {
                    if aliases.insert(alias.name.clone(), value).is_some() {
                        let message = format!("duplicate definition of community {:?}", alias.name);
                        report.error(Code::CommunityDuplicate, &name, format!("{field}.name"), message);
                    }
                }
            }
        }
    }
    aliases
}
