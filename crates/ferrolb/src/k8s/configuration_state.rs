//! Our ConfigurationState: what we think of the configuration, for people (spec §3.10).
//!
//! Applied server-side, object and status, and only when something changed, so that the time of transition is that of
//! the change. Who deletes the object gets it back: the caller sees it gone and calls again.

use ferrolb_rules::api::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus, well_known};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

mod verdicts;

pub use verdicts::{Opinion, Verdicts};

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The object's name.
    pub name: String,
    /// `controller` or `speaker`.
    pub component_type: &'static str,
    /// The node, for a speaker.
    pub node: Option<String>,
    /// The condition's type.
    pub condition: &'static str,
    /// The field manager that upstream uses for it.
    pub field_manager: &'static str,
}

impl Component {
    /// The controller.
    pub fn controller() -> Self {
        Self {
            name: well_known::CONTROLLER.to_owned(),
            component_type: well_known::CONTROLLER,
            node: None,
            condition: "poolReconcilerValid",
            field_manager: "poolReconciler",
        }
    }

    /// The speaker of a node.
    pub fn speaker(node: &str) -> Self {
        Self {
            name: format!("{}{node}", well_known::SPEAKER_STATE_PREFIX),
            component_type: well_known::SPEAKER,
            node: Some(node.to_owned()),
            condition: "configReconcilerValid",
            field_manager: "configReconciler",
        }
    }

    /// The status for the newest attempt to load a configuration; `before` is what is stored, for the time of the last
    /// transition.
    pub fn status(
        &self,
        outcome: Result<(), &str>,
        before: Option<&ConfigurationStateStatus>,
        now: Timestamp,
    ) -> ConfigurationStateStatus {
        // A condition's message has a limit.
        let message =
            outcome.err().map(|cause| format!("configuration error: {cause}").chars().take(32_000).collect::<String>());
        let (status, reason) = match &message {
            None => ("True", "Reconciled"),
            Some(_) => ("False", "ConfigurationError"),
        };
        let old = before.and_then(|status| status.conditions.iter().find(|old| old.type_ == self.condition));
        let since = old.filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
        let condition = Condition {
            type_: self.condition.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.clone().unwrap_or_default(),
            last_transition_time: since.unwrap_or(Time(now)),
            observed_generation: None,
        };
        let result = if message.is_some() { ConfigurationResult::Invalid } else { ConfigurationResult::Valid };
        ConfigurationStateStatus {
            result: Some(result),
            error_summary: message.unwrap_or_default(),
            conditions: vec![condition],
        }
    }
}

/// Writes object and status.
///
/// # Errors
/// What the API server says.
pub async fn apply(
    client: &Client,
    namespace: &str,
    component: &Component,
    owner: Option<&OwnerReference>,
    status: &ConfigurationStateStatus,
) -> Result<ConfigurationState, kube::Error> {
    let api = Api::<ConfigurationState>::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(component.field_manager).force();
    let mut labels = json!({well_known::COMPONENT_TYPE_LABEL: component.component_type});
    if let Some(node) = &component.node {
        labels[well_known::NODE_NAME_LABEL] = json!(node);
    }
    let metadata = ObjectMeta {
        name: Some(component.name.clone()),
        labels: serde_json::from_value(labels).ok(),
        owner_references: owner.map(|owner| vec![owner.clone()]),
        ..ObjectMeta::default()
    };
    let whole = |rest: serde_json::Value| {
        let mut object = json!({"apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState"});
        object["metadata"] = rest;
        object
    };
    api.patch(&component.name, &parameters, &Patch::Apply(&whole(json!(metadata)))).await?;
    let mut object = whole(json!({"name": component.name}));
    object["status"] = json!(status);
    // An empty summary is not printed, but must take the place of an older one.
    object["status"]["errorSummary"] = json!(status.error_summary);
    api.patch_status(&component.name, &parameters, &Patch::Apply(&object)).await
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::config::Invalid;
    use ferrolb_rules::reason::{Code, Finding, Severity};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_configuration_that_does_not_load_is_invalid_with_every_cause_and_later_valid_again() {
        let component = Component::controller();
        let cause = |object: &str| Finding::new(Code::PoolEmpty, Severity::Error, object, "no prefixes");
        let invalid = Invalid(vec![cause("IPAddressPool/m/a"), cause("IPAddressPool/m/b")]);
        let bad = component.status(Err(&invalid.causes()), None, at(1));
        assert_eq!(bad.result, Some(ConfigurationResult::Invalid));
        assert!(
            bad.error_summary.starts_with("configuration error: LB4001 IPAddressPool/m/a"),
            "{}",
            bad.error_summary
        );
        assert!(bad.error_summary.contains("IPAddressPool/m/b"));
        assert_eq!(
            (bad.conditions[0].status.as_str(), bad.conditions[0].reason.as_str()),
            ("False", "ConfigurationError")
        );
        let good = component.status(Ok(()), Some(&bad), at(2));
        assert_eq!((good.result, good.error_summary.as_str()), (Some(ConfigurationResult::Valid), ""));
        assert_eq!(good.conditions[0].last_transition_time, Time(at(2)));
    }

    #[test]
    fn the_time_of_transition_is_that_of_the_change() {
        let component = Component::speaker("node-a");
        let first = component.status(Ok(()), None, at(1));
        assert_eq!(component.status(Ok(()), Some(&first), at(5)), first);
        assert_eq!(component.name, "speaker-node-a");
    }
}
