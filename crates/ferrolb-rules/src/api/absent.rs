//! What is left out, or written as `null`, read the way an API server reads it.
//!
//! An API server drops a `null` wherever the schema does not allow one, before it looks at anything else; and of all
//! kinds only IPAddressPool must have a `spec` (spec §1.3). serde alone refuses both, which would make files that
//! `kubectl apply` takes unreadable for hosts without an API server.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default of the field. Use with `#[serde(default)]`, which covers the field that is missing.
pub(super) fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Lets a spec be left out of its object.
///
/// serde gives a missing field one chance: its type may ask for an option. So the type carries
/// `#[serde(remote = "Self")]`, which makes the derived code two plain functions, and this macro wraps them in traits
/// that do ask for an option.
macro_rules! spec_may_be_absent {
    ($spec:ty) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Present($spec);
                impl<'de> serde::Deserialize<'de> for Present {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        <$spec>::deserialize(deserializer).map(Present)
                    }
                }
                let present = <Option<Present> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(present.map_or_else(Self::default, |present| present.0))
            }
        }
        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$spec>::serialize(self, serializer)
            }
        }
    };
}
pub(super) use spec_may_be_absent;
