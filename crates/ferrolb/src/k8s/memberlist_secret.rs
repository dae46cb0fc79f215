//! The Secret that speakers seal their membership with (spec §4.11): made by the controller where there is none, never
//! changed; read by a speaker whose pod was faster (decision 87).

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};

use ferrolb_rules::api::well_known::MEMBERLIST_SECRET_KEY;

use crate::drive::membership::secret_in;

/// Sees to it that the Secret exists; `deployment` owns a new one.
///
/// # Errors
/// The API server does not let us look or create, or there is no such Deployment.
pub async fn ensure(client: &Client, namespace: &str, name: &str, deployment: Option<&str>) -> anyhow::Result<()> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = secrets.list_metadata(&by_name).await;
    let found = found.with_context(|| format!("--ml-secret-name {name}: cannot list Secrets in {namespace}"))?;
    if !found.items.is_empty() {
        return Ok(());
    }
    let deployment = deployment.filter(|deployment| !deployment.is_empty()).with_context(|| {
        format!("--ml-secret-name {name}: --deployment must name our Deployment, which will own it")
    })?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let owner = deployments.get_metadata(deployment).await;
    let owner = owner.with_context(|| format!("--deployment {deployment}: cannot read it in {namespace}"))?;
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: deployment.to_owned(),
        uid: owner.metadata.uid.unwrap_or_default(),
        ..OwnerReference::default()
    };
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    let key = ByteString(base64_without_padding(&rand::random::<[u8; 16]>()).into_bytes());
    let secret = Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(MEMBERLIST_SECRET_KEY.to_owned(), key)])),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => {
            tracing::info!(event = "secret", secret = name, "the memberlist Secret was created");
            Ok(())
        }
        // Another replica was quicker.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("--ml-secret-name {name}: cannot create it in {namespace}")),
    }
}

/// The key, as soon as there is such a Secret with one. Without the right to read it this never returns; that the right is
/// missing is said by who follows the passwords of peers, since it is the same.
pub async fn awaited(client: Client, namespace: String, name: String) -> Vec<u8> {
    let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(Api::<Secret>::namespaced(client, &namespace), by_name).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        match events.next().await {
            Some(Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret))) => {
                if let Some(key) = key_in(secret) {
                    return key;
                }
            }
            Some(Err(error)) => tracing::debug!(event = "secret", secret = name, %error, "it is asked for again"),
            Some(Ok(_)) => {}
            None => std::future::pending().await,
        }
    }
}

fn key_in(secret: Secret) -> Option<Vec<u8>> {
    secret_in(secret.data?.remove(MEMBERLIST_SECRET_KEY)?.0)
}

/// Standard alphabet, no padding: what upstream writes, since the text itself is the key.
fn base64_without_padding(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_the_mounted_file_would_be_read_as() {
        let secret = |key: &str, value: &str| Secret {
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(value.into()))])),
            ..Secret::default()
        };
        assert_eq!(key_in(secret("secretkey", "a key\n")), Some(b"a key".to_vec()));
        for without in [Secret::default(), secret("other", "x"), secret("secretkey", "\n")] {
            assert_eq!(key_in(without), None);
        }
    }

    #[test]
    fn sixteen_bytes_become_twenty_two_characters_of_standard_base64() {
        // RFC 4648 section 10, padding left out.
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64_without_padding(bytes.as_bytes()), text);
        }
        assert_eq!(base64_without_padding(&[0xff; 16]), "/////////////////////w");
    }
}
