//! `ferrolb export`: pools, advertisements and the rest of the configuration as clean YAML that can be applied again, and
//! who has which address, as comments. Passwords are in Secrets, and Secrets are not exported.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use ferrolb_rules::api::{BFDProfile, BGPAdvertisement, BGPPeer};
use ferrolb_rules::reason::Finding;
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;

use super::reach::Reach;
use super::{Verdict, print};
use crate::look::cluster;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let namespace = args.reach.namespace();
    let (text, findings) = args.reach.in_cluster(async |client, _| export(client, namespace).await)?;
    print(&text)?;
    for finding in &findings {
        let _ = writeln!(std::io::stderr(), "ferrolb: not exported: {finding}");
    }
    Ok(if findings.is_empty() { Verdict::Fine } else { Verdict::Findings })
}

/// The text, and what could not be read.
///
/// # Errors
/// The API server does not answer.
pub(super) async fn export(client: Client, namespace: &str) -> anyhow::Result<(String, Vec<Finding>)> {
    let mut said = Vec::new();
    let seen = cluster::read(client.clone(), namespace).await?;
    let mut out = String::from("# Who has which address at this moment:\n");
    for service in &seen.known.services {
        let addresses: Vec<&str> = ferrolb_rules::service::status_ips(service).collect();
        if !addresses.is_empty() && ferrolb_rules::service::is_load_balancer(service) {
            let _ = writeln!(out, "#   {}  {}", ferrolb_rules::service::key_of(service), addresses.join(","));
        }
    }
    write_all(&mut out, &seen.known.resources.pools)?;
    write_all(&mut out, &seen.known.resources.l2_advertisements)?;
    write_all(&mut out, &seen.known.resources.communities)?;
    write_all(&mut out, &cluster::list::<BGPPeer>(Api::namespaced(client.clone(), namespace), &mut said).await?)?;
    write_all(
        &mut out,
        &cluster::list::<BGPAdvertisement>(Api::namespaced(client.clone(), namespace), &mut said).await?,
    )?;
    write_all(&mut out, &cluster::list::<BFDProfile>(Api::namespaced(client, namespace), &mut said).await?)?;
    said.extend(seen.findings);
    Ok((out, said))
}

fn write_all<K: Serialize>(out: &mut String, objects: &[Arc<K>]) -> anyhow::Result<()> {
    for object in objects {
        let _ = write!(out, "---\n{}", serde_saphyr::to_string(&clean(serde_json::to_value(&**object)?))?);
    }
    Ok(())
}

/// The object as its author would write it: without status, and without what the API server adds to metadata.
fn clean(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations"));
            let empty = metadata.get_mut("annotations").and_then(Value::as_object_mut).is_some_and(|annotations| {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                annotations.is_empty()
            });
            if empty {
                metadata.remove("annotations");
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_api_server_adds_is_left_out_and_what_the_author_wrote_stays() {
        let object = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {
                "name": "p", "namespace": "metallb-system", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [], "labels": {"a": "b"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {"addresses": ["10.0.0.0/24"]},
            "status": {"assignedIPv4": 1},
        });
        assert_eq!(
            clean(object),
            json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": {"name": "p", "namespace": "metallb-system", "labels": {"a": "b"}},
                "spec": {"addresses": ["10.0.0.0/24"]},
            })
        );
    }
}
