//! The kinds that are used, and how each is read from a tree.

use std::sync::Arc;

use ferrolb_rules::api::{
    BFDProfile, BGPAdvertisement, BGPPeer, BGPPeerV1Beta1, Community, IPAddressPool, L2Advertisement,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::tree;
use super::typed::{self, Misfit, Unknown};
use crate::source::Objects;

/// Kind, namespace (empty for cluster-wide kinds) and name.
pub(super) type ObjectKey = (&'static str, String, String);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $version:literal, $list:ident, namespaced: $namespaced:literal,)+) => {
        /// An object of a kind that is used.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($(#[doc = $doc])+ $name(Arc<$name>),)+ }

        /// A kind that is used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($name,)+ }

        impl Kind {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            pub(super) const fn api_version(self) -> &'static str {
                match self { $(Self::$name => $version,)+ }
            }

            pub(super) const fn namespaced(self) -> bool {
                match self { $(Self::$name => $namespaced,)+ }
            }

            /// Reads a tree as this kind, with the fields that it does not have.
            fn read(self, node: &tree::Node) -> (Result<Object, Misfit>, Vec<Unknown>) {
                match self {
                    $(Self::$name => {
                        let (result, unknown) = typed::read::<$name>(node);
                        (result.map(|object| Object::$name(Arc::new(object))), unknown)
                    })+
                }
            }
        }

        impl Object {
            pub(super) const fn kind(&self) -> Kind {
                match self { $(Self::$name(_) => Kind::$name,)+ }
            }

            /// The name of its kind.
            pub fn kind_name(&self) -> &'static str {
                self.kind().name()
            }

            /// The object's metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$name(object) => &object.metadata,)+ }
            }

            /// Sets the namespace of an object that nobody else holds yet.
            pub(super) fn set_namespace(&mut self, namespace: &str) {
                match self {
                    $(Self::$name(object) => {
                        Arc::make_mut(object).metadata.namespace = Some(namespace.to_owned());
                    })+
                }
            }
        }

        impl Objects {
            /// Every object, kind by kind.
            pub fn all(&self) -> impl Iterator<Item = Object> {
                let none = std::iter::empty();
                $(let none = none.chain(self.$list.iter().cloned().map(Object::$name));)+
                none
            }
        }

        impl FromIterator<Object> for Objects {
            /// Collects the objects by kind, in the order in which they come.
            fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
                let mut all = Self::default();
                for object in objects {
                    match object { $(Object::$name(object) => all.$list.push(object),)+ }
                }
                all
            }
        }
    };
}

kinds! {
    /// Something to serve.
    Service = "v1", services, namespaced: true,
    /// Where a Service's endpoints are.
    EndpointSlice = "discovery.k8s.io/v1", endpoint_slices, namespaced: true,
    /// A host.
    Node = "v1", nodes, namespaced: false,
    /// A namespace, for its labels.
    Namespace = "v1", namespaces, namespaced: false,
    /// Passwords.
    Secret = "v1", secrets, namespaced: true,
    /// Addresses to give.
    IPAddressPool = "metallb.io/v1beta1", pools, namespaced: true,
    /// How pools are announced.
    L2Advertisement = "metallb.io/v1beta1", l2_advertisements, namespaced: true,
    /// Routers to talk BGP to.
    BGPPeer = "metallb.io/v1beta2", bgp_peers, namespaced: true,
    /// How pools are announced to routers.
    BGPAdvertisement = "metallb.io/v1beta1", bgp_advertisements, namespaced: true,
    /// How BFD watches over sessions with routers.
    BFDProfile = "metallb.io/v1beta1", bfd_profiles, namespaced: true,
    /// Names for BGP communities.
    Community = "metallb.io/v1beta1", communities, namespaced: true,
}

impl Kind {
    /// The kind of this name and version. Of peers the old version is read as well, as an API server serves it.
    pub(super) fn of(api_version: &str, kind: &str) -> Option<Self> {
        if is_old_peer(api_version, kind) {
            return Some(Self::BGPPeer);
        }
        Self::ALL.iter().copied().find(|known| known.name() == kind && known.api_version() == api_version)
    }

    /// Reads a tree of this version as this kind, with the fields that it does not have.
    pub(super) fn read_as(self, api_version: &str, node: &tree::Node) -> (Result<Object, Misfit>, Vec<Unknown>) {
        if !is_old_peer(api_version, self.name()) {
            return self.read(node);
        }
        let (result, unknown) = typed::read::<BGPPeerV1Beta1>(node);
        (result.map(|old| Object::BGPPeer(Arc::new(BGPPeer::from(&old)))), unknown)
    }

    /// Whether it is a kind of metallb.io, which counts in the configured namespace only.
    pub(super) const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::IPAddressPool
                | Self::L2Advertisement
                | Self::BGPPeer
                | Self::BGPAdvertisement
                | Self::BFDProfile
                | Self::Community
        )
    }

    /// Whether an object may leave out `spec`, as MetalLB's definitions of these kinds allow.
    pub(super) const fn spec_may_be_missing(self) -> bool {
        matches!(self, Self::L2Advertisement | Self::BGPAdvertisement | Self::BFDProfile | Self::Community)
    }
}

fn is_old_peer(api_version: &str, kind: &str) -> bool {
    kind == Kind::BGPPeer.name() && api_version == "metallb.io/v1beta1"
}

impl Object {
    pub(super) fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        let namespace = if self.kind().namespaced() { metadata.namespace.clone() } else { None };
        (self.kind().name(), namespace.unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }

    /// `Kind/namespace/name` or `Kind/name`, as findings name objects.
    pub fn title(&self) -> String {
        let (kind, namespace, name) = self.key();
        if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
    }
}
