//! `ferrolb support-bundle`: everything that somebody needs who is asked for help, in one YAML document on standard output.
//! No Secret is read, and passwords inside objects are taken out.

use ferrolb_rules::surroundings;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use super::reach::{Answer, Reach};
use super::{Verdict, check, export, print};
use crate::look::cluster;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

/// What stands where a password was.
const REMOVED: &str = "(removed)";
/// Events at most, the newest ones.
const EVENTS: usize = 200;

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let Answer { state, known, .. } = args.reach.ask()?;
    let namespace = args.reach.namespace();
    let mut bundle = json!({ "version": env!("CARGO_PKG_VERSION"), "status": state });
    if known.is_some() && args.reach.manifests.is_empty() {
        let cluster = args.reach.in_cluster(async |client, _| look(client, namespace).await)?;
        if let (Some(bundle), Value::Object(cluster)) = (bundle.as_object_mut(), cluster) {
            bundle.extend(cluster);
        }
    }
    print(&serde_saphyr::to_string(&without_passwords(bundle))?)?;
    Ok(Verdict::Fine)
}

async fn look(client: Client, namespace: &str) -> anyhow::Result<Value> {
    let seen = check::look(client.clone(), namespace, false).await?;
    let (configuration, _) = export::export(client.clone(), namespace).await?;
    let mut said = Vec::new();
    let mut events = cluster::list::<Event>(Api::namespaced(client, namespace), &mut said).await?;
    events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    let events = events.iter().rev().take(EVENTS).map(|event| event_line(event)).collect::<Vec<_>>();
    let pods = seen.pods.iter().map(|pod| pod_lines(pod)).collect::<Vec<_>>();
    let configuration: Vec<Value> = serde_saphyr::from_multiple(&configuration)?;
    Ok(json!({
        "check": surroundings::check(&seen),
        "configuration": configuration,
        "events": events,
        "pods": pods,
    }))
}

fn event_line(event: &Event) -> Value {
    #[derive(Serialize)]
    struct Line<'a> {
        last: Option<String>,
        count: Option<i32>,
        reason: Option<&'a str>,
        object: String,
        message: Option<&'a str>,
    }
    let object = &event.involved_object;
    json!(Line {
        last: event.last_timestamp.as_ref().map(|time| time.0.to_string()),
        count: event.count,
        reason: event.reason.as_deref(),
        object: format!(
            "{}/{}",
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default()
        ),
        message: event.message.as_deref(),
    })
}

/// Of a pod: where it is, what it runs and with which arguments, and how it stands. Not its environment.
fn pod_lines(pod: &k8s_openapi::api::core::v1::Pod) -> Value {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let containers: Vec<Value> =
        containers.iter().map(|one| json!({ "name": one.name, "image": one.image, "args": one.args })).collect();
    json!({
        "name": pod.metadata.name,
        "node": spec.and_then(|spec| spec.node_name.clone()),
        "containers": containers,
        "phase": pod.status.as_ref().and_then(|status| status.phase.clone()),
        "conditions": pod.status.as_ref().and_then(|status| status.conditions.clone()),
        "statuses": pod.status.as_ref().and_then(|status| status.container_statuses.clone()),
    })
}

/// The document with every value of a field that is called a password taken out.
fn without_passwords(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    // Digits alone are a password, too.
                    let plain = !value.is_null() && !value.is_object() && !value.is_array();
                    let secret = plain && name.to_lowercase().contains("password");
                    let value = if secret { REMOVED.into() } else { without_passwords(value) };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(without_passwords).collect()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_digits_does_not_leave_either() {
        let peer = json!({ "spec": { "password": 12345678 } });
        assert_eq!(without_passwords(peer), json!({ "spec": { "password": REMOVED } }));
    }

    #[test]
    fn passwords_do_not_leave_the_cluster() {
        let peer = json!([{ "spec": { "password": "hunter2", "passwordSecret": { "name": "s" }, "myASN": 1 } }]);
        let expected = json!([{ "spec": { "password": REMOVED, "passwordSecret": { "name": "s" }, "myASN": 1 } }]);
        assert_eq!(without_passwords(peer), expected);
    }
}
