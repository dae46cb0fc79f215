//! Which object a finding is about, as an Event names it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::{ObjectRef, Store};

use super::stores::Configuration;

impl Configuration {
    /// The object of ours that a finding names as `Kind/namespace/name`; none if it is not there, or of another kind.
    /// `kubectl describe` shows only Events with the object's UID.
    pub fn reference(&self, object: &str) -> Option<ObjectReference> {
        fn uid<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<String>
        where
            K: kube::Resource<DynamicType = ()> + Clone + 'static,
        {
            store.get(&ObjectRef::new(name).within(namespace))?.meta().uid.clone()
        }
        let mut parts = object.splitn(3, '/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let version = if kind == "BGPPeer" { "metallb.io/v1beta2" } else { "metallb.io/v1beta1" };
        let uid = match kind {
            "IPAddressPool" => uid(&self.pools, namespace, name),
            "L2Advertisement" => uid(&self.l2_advertisements, namespace, name),
            "Community" => uid(&self.communities, namespace, name),
            "BGPAdvertisement" => uid(&self.bgp_advertisements, namespace, name),
            "BGPPeer" => uid(&self.bgp_peers, namespace, name),
            "BFDProfile" => uid(&self.bfd_profiles, namespace, name),
            _ => None,
        };
        Some(ObjectReference {
            api_version: Some(version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid.or_else(|| self.malformed.uid(kind, namespace, name))?),
            ..ObjectReference::default()
        })
    }
}
