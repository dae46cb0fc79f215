//! The CustomResourceDefinitions, generated from the types.
//!
//! What a derive writes differs from what Kubernetes' own generator writes, and [`finish`] takes the difference out:
//! `nullable` on all that is optional, `null` among the values of optional enums, a `spec` that must be there, formats
//! that Kubernetes does not know. The result is kept in `deploy/crds.yaml` by a snapshot test.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ServiceReference, WebhookClientConfig, WebhookConversion,
};
use kube_core::crd::v1::CustomResourceExt;

use super::{
    BFDProfile, BGPAdvertisement, BGPPeer, BGPPeerV1Beta1, Community, ConfigurationState, IPAddressPool,
    L2Advertisement, ServiceBGPStatus, ServiceL2Status, well_known,
};

/// Every definition that a cluster needs, by name. BGPPeer has two versions and a conversion webhook; its certificate
/// authority is filled in by whoever makes the certificate.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        finish(BFDProfile::crd()),
        finish(BGPAdvertisement::crd()),
        finish(bgp_peer()),
        finish(Community::crd()),
        finish(ConfigurationState::crd()),
        finish(IPAddressPool::crd()),
        finish(L2Advertisement::crd()),
        finish(ServiceBGPStatus::crd()),
        finish(ServiceL2Status::crd()),
    ]
}

/// Both versions of BGPPeer in one definition, the old one first (spec §1.1).
fn bgp_peer() -> CustomResourceDefinition {
    let mut peer = BGPPeer::crd();
    peer.spec.versions.splice(0..0, BGPPeerV1Beta1::crd().spec.versions);
    peer.spec.conversion = Some(CustomResourceConversion {
        strategy: "Webhook".into(),
        webhook: Some(WebhookConversion {
            client_config: Some(WebhookClientConfig {
                service: Some(ServiceReference {
                    name: well_known::WEBHOOK_SERVICE.into(),
                    namespace: well_known::DEFAULT_NAMESPACE.into(),
                    path: Some(well_known::CONVERSION_PATH.into()),
                    port: None,
                }),
                ..WebhookClientConfig::default()
            }),
            // Versions of the review itself, the preferred one first. Upstream lists v1beta1 and v1beta2, which are those of
            // BGPPeer, so that it happens to be asked in the outdated form (spec §1.1).
            conversion_review_versions: vec!["v1".into(), "v1beta1".into()],
        }),
    });
    peer
}

/// Makes a derived definition say what Kubernetes' own generator would.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let spec_required = crd.spec.names.kind == "IPAddressPool";
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for root in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        plain(root);
        root.required = spec_required.then(|| vec!["spec".into()]);
    }
    crd
}

/// Takes out of a schema, all the way down, what only schemars writes.
fn plain(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.description = schema.description.take().map(|text| text.replace('\n', " "));
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(plain);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        plain(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        plain(values);
    }
}
