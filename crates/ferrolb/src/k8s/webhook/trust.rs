//! Who is told which authority our webhooks have: the webhook configuration, and the definition of BGPPeer (spec §2.3).
//!
//! Both get `caBundle` by server-side apply under our own field manager, and only when it differs, so that a program that
//! applies manifests sees nothing of its own changed. What is not there is left out, and what is being deleted is left
//! alone; a watch tells when that changes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ferrolb_rules::api::well_known::WEBHOOK_CONFIGURATION;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::{ByteString, ClusterResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::k8s::stores::Watches;

/// The field manager that everything of the webhooks is written under.
pub(super) const FIELD_MANAGER: &str = "metallb-webhook";
/// The definition whose versions are converted.
const BGP_PEERS: &str = "bgppeers.metallb.io";

/// The two objects, followed.
pub(super) struct Targets {
    configuration: Store<ValidatingWebhookConfiguration>,
    definition: Store<CustomResourceDefinition>,
    /// By name, the version that was told last. While a store still has that one, our change is on its way to us.
    told: BTreeMap<&'static str, Option<String>>,
}

impl Targets {
    /// Follows these two objects and no other of their kinds.
    pub(super) fn follow(watches: &mut Watches, client: &Client) -> Self {
        let only = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self {
            configuration: watches.follow(Api::all(client.clone()), only(WEBHOOK_CONFIGURATION), |_| ()),
            definition: watches.follow(
                Api::all(client.clone()),
                only(BGP_PEERS),
                |crd: &mut CustomResourceDefinition| {
                    // Schemas are large, and nobody reads them here.
                    crd.spec.versions.clear();
                    crd.metadata.annotations = None;
                },
            ),
            told: BTreeMap::new(),
        }
    }

    /// Whether all of them that are there have this bundle.
    pub(super) fn know(&self, bundle: &[u8]) -> bool {
        let configuration = self.configuration.state().first().and_then(|found| missing_in_webhooks(found, bundle));
        let definition = self.definition.state().first().and_then(|found| missing_in_definition(found, bundle));
        configuration.is_none() && definition.is_none()
    }

    /// The namespace whose webhooks the configuration calls, where it is not ours: there is one such object in a cluster, and it
    /// belongs to another installation. Whoever wrote its authority into it then would only fight with the other.
    pub(super) fn belongs_to(&self, namespace: &str) -> Option<String> {
        self.configuration.state().first().and_then(|found| other_namespace(found, namespace))
    }

    /// Tells this bundle to whom does not have it.
    ///
    /// # Errors
    /// The API server refuses one of the two changes; the other one is tried all the same.
    pub(super) async fn tell(&mut self, client: &Client, bundle: &[u8]) -> anyhow::Result<()> {
        let configuration = self.configuration.state().first().cloned();
        let definition = self.definition.state().first().cloned();
        let first = match configuration {
            Some(found) => {
                self.apply(client, WEBHOOK_CONFIGURATION, &*found, missing_in_webhooks(&found, bundle)).await
            }
            None => Ok(()),
        };
        let second = match definition {
            Some(found) => self.apply(client, BGP_PEERS, &*found, missing_in_definition(&found, bundle)).await,
            None => Ok(()),
        };
        first.and(second)
    }

    /// Applies what is missing in an object, once per version of it.
    async fn apply<K>(
        &mut self,
        client: &Client,
        name: &'static str,
        found: &K,
        missing: Option<Value>,
    ) -> anyhow::Result<()>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let version = found.resource_version();
        let Some(patch) = missing.filter(|_| self.told.get(name) != Some(&version)) else { return Ok(()) };
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let kind = K::kind(&()).into_owned();
        match Api::<K>::all(client.clone()).patch(name, &how, &Patch::Apply(&patch)).await {
            Ok(_) => {
                self.told.insert(name, version);
                tracing::info!(op = "webhook", kind, name, "the API server knows the webhooks' certificate authority");
                Ok(())
            }
            // It went away in between; the watch says when it is back.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(anyhow::Error::new(error).context(format!("caBundle of {kind} {name}"))),
        }
    }

    /// Removes the webhook configuration, if it is one that we have filled in.
    ///
    /// # Errors
    /// The API server refuses.
    pub(super) async fn remove_configuration(&self, client: &Client) -> anyhow::Result<()> {
        let Some(found) = self.configuration.state().first().cloned() else { return Ok(()) };
        let filled = found.webhooks.iter().flatten().any(|webhook| webhook.client_config.ca_bundle.is_some());
        if !filled || found.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        // If it is another one by now, it is not ours to remove.
        let same = Preconditions { uid: found.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        Api::<ValidatingWebhookConfiguration>::all(client.clone()).delete(WEBHOOK_CONFIGURATION, &params).await?;
        tracing::info!(op = "webhook", name = WEBHOOK_CONFIGURATION, "removed, because what it calls is being removed");
        Ok(())
    }
}

fn other_namespace(found: &ValidatingWebhookConfiguration, namespace: &str) -> Option<String> {
    let services = found.webhooks.iter().flatten().filter_map(|webhook| webhook.client_config.service.as_ref());
    services.map(|service| &service.namespace).find(|other| *other != namespace).cloned()
}

/// What to apply to the webhook configuration; none where nothing is missing. Applying says everything that we own, so
/// all webhooks are in it.
fn missing_in_webhooks(found: &ValidatingWebhookConfiguration, bundle: &[u8]) -> Option<Value> {
    let wanted = ByteString(bundle.to_vec());
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    let missing = webhooks.iter().any(|webhook| webhook.client_config.ca_bundle.as_ref() != Some(&wanted));
    (missing && found.metadata.deletion_timestamp.is_none()).then(|| {
        let ours = |name: &String| json!({"name": name, "clientConfig": {"caBundle": wanted}});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": WEBHOOK_CONFIGURATION},
            "webhooks": webhooks.iter().map(|webhook| ours(&webhook.name)).collect::<Vec<_>>(),
        })
    })
}

/// What to apply to the definition of BGPPeer; none where nothing is missing, or where no webhook converts.
fn missing_in_definition(found: &CustomResourceDefinition, bundle: &[u8]) -> Option<Value> {
    let wanted = ByteString(bundle.to_vec());
    let webhook = found.spec.conversion.as_ref().and_then(|conversion| conversion.webhook.as_ref())?;
    let has = webhook.client_config.as_ref().and_then(|config| config.ca_bundle.as_ref());
    (has != Some(&wanted) && found.metadata.deletion_timestamp.is_none()).then(|| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": BGP_PEERS},
            "spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": wanted}}}},
        })
    })
}

#[cfg(test)]
mod tests {
    //! Tests of what is applied to whom.

    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> ValidatingWebhookConfiguration {
        let webhook = |(index, bundle): (usize, &Option<&str>)| {
            json!({
                "name": format!("w{index}"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"caBundle": bundle.map(|text| ByteString(text.as_bytes().to_vec()))},
            })
        };
        let webhooks: Vec<_> = bundles.iter().enumerate().map(webhook).collect();
        serde_json::from_value(json!({"metadata": {"name": WEBHOOK_CONFIGURATION}, "webhooks": webhooks})).unwrap()
    }

    fn definition(conversion: &Value) -> CustomResourceDefinition {
        serde_json::from_value(json!({
            "metadata": {"name": BGP_PEERS},
            "spec": {
                "group": "metallb.io", "scope": "Namespaced", "versions": [], "conversion": conversion,
                "names": {"kind": "BGPPeer", "plural": "bgppeers"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn one_webhook_without_the_bundle_has_all_of_them_applied_and_nothing_else() {
        let patch = missing_in_webhooks(&configuration(&[Some("new"), Some("old"), None]), b"new").unwrap();
        let webhooks = patch["webhooks"].as_array().unwrap();
        assert_eq!(webhooks.len(), 3, "a webhook that is left out would lose what we own in it");
        for (index, webhook) in webhooks.iter().enumerate() {
            assert_eq!(*webhook, json!({"name": format!("w{index}"), "clientConfig": {"caBundle": "bmV3"}}));
        }
        assert!(missing_in_webhooks(&configuration(&[Some("new"), Some("new")]), b"new").is_none());
        assert!(missing_in_webhooks(&configuration(&[]), b"new").is_none());
    }

    #[test]
    fn a_configuration_that_calls_another_namespace_is_of_another_installation() {
        let mut found = configuration(&[None]);
        assert_eq!(other_namespace(&found, "metallb-system"), None);
        let service = json!({"name": "metallb-webhook-service", "namespace": "other"});
        found.webhooks.as_mut().unwrap()[0].client_config.service = serde_json::from_value(service).unwrap();
        assert_eq!(other_namespace(&found, "metallb-system").as_deref(), Some("other"));
        assert_eq!(other_namespace(&found, "other"), None);
    }

    #[test]
    fn what_is_being_deleted_is_left_alone() {
        let mut going = configuration(&[None]);
        let time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        going.metadata.deletion_timestamp = Some(time.clone());
        assert!(missing_in_webhooks(&going, b"new").is_none());
        let mut going = definition(&json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}));
        assert!(missing_in_definition(&going, b"new").is_some());
        going.metadata.deletion_timestamp = Some(time);
        assert!(missing_in_definition(&going, b"new").is_none());
    }

    #[test]
    fn a_definition_that_nothing_converts_is_not_made_to() {
        assert!(missing_in_definition(&definition(&json!({"strategy": "None"})), b"new").is_none());
        assert!(missing_in_definition(&definition(&Value::Null), b"new").is_none());
    }
}
