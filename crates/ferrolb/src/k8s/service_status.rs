//! Writing a Service's status, and nothing else of it (spec §4.1).
//!
//! One `PUT services/status` with metadata and status: the API server takes the spec from what it has, so that a field
//! that we do not know cannot be lost, and the annotation goes in the same request. The verb is `update`, the one
//! that upstream's role has. The resource version that the decision was made on goes with it: whatever changed since is
//! a conflict, never overwritten.

use std::time::Duration;

use ferrolb_rules::reason::Code;
use k8s_openapi::api::core::v1::{Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{PostParams, Request};
use kube::{Client, Resource as _};
use serde::{Deserialize, Serialize};

/// Who we are in managed fields.
pub const FIELD_MANAGER: &str = "metallb-controller";

/// What is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatusWrite {
    api_version: &'static str,
    kind: &'static str,
    /// All of the Service's metadata as it was read, with the annotation as it shall be.
    pub metadata: ObjectMeta,
    spec: SpecWritten,
    /// All of its status.
    pub status: ServiceStatus,
}

/// The API server fills in `ipMode` by the type that is written, before it takes the spec from what it has.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct SpecWritten {
    r#type: Option<String>,
}

impl ServiceStatusWrite {
    /// Puts it together for a Service of this type.
    pub fn new(r#type: Option<&str>, metadata: ObjectMeta, status: ServiceStatus) -> Self {
        let r#type = r#type.map(str::to_owned);
        Self { api_version: "v1", kind: "Service", metadata, spec: SpecWritten { r#type }, status }
    }
}

/// How a write ended.
#[derive(Debug)]
pub enum Written {
    /// It is stored, under this resource version.
    Stored(String),
    /// The Service has changed since it was read.
    Conflict,
    /// The Service is gone.
    Gone,
    /// We may not write it; in the API server's words.
    Denied(String),
    /// It may be stored or not.
    Failed(anyhow::Error),
}

#[derive(Deserialize)]
struct Answer {
    metadata: AnswerMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMetadata {
    resource_version: String,
}

/// Writes. After `limit` it gives up: by then another controller may lead (decision D17).
pub async fn write(client: &Client, write: &ServiceStatusWrite, limit: Duration) -> Written {
    match tokio::time::timeout(limit, put(client, write)).await {
        Ok(Ok(version)) => Written::Stored(version),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Written::Conflict,
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Written::Gone,
        Ok(Err(kube::Error::Api(status))) if super::code_of(status.code) == Code::AccessDenied => {
            Written::Denied(status.message.clone())
        }
        Ok(Err(kube::Error::Api(status))) => Written::Failed(anyhow::anyhow!("{}", status.message)),
        Ok(Err(error)) => Written::Failed(error.into()),
        Err(_) => Written::Failed(anyhow::anyhow!("no answer within {limit:?}")),
    }
}

async fn put(client: &Client, write: &ServiceStatusWrite) -> Result<String, kube::Error> {
    let namespace = write.metadata.namespace.as_deref();
    let name = write.metadata.name.as_deref().unwrap_or_default();
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let body = serde_json::to_vec(write).map_err(kube::Error::SerdeError)?;
    let request = Request::new(Service::url_path(&(), namespace))
        .replace_subresource("status", name, &parameters, body)
        .map_err(kube::Error::BuildRequest)?;
    // Of the answer only the version matters: the object itself comes by the watch.
    let answer: Answer = client.request(request).await?;
    Ok(answer.metadata.resource_version)
}
