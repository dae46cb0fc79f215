//! What is kept of the objects that every process of a cluster follows.

use ferrolb_rules::annotations::{self, ALLOCATED_FROM};
use ferrolb_rules::drain::DRAIN;
use k8s_openapi::api::core::v1::{Namespace, Node, NodeCondition, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde_json::json;

/// Of them is read from a store only who else holds the annotation that the controller writes (LB2005), so nearly always
/// nothing. Not only emptied: a list that was read has room for four of them, 700 bytes for each object.
pub(super) fn managed_fields(object: &mut impl Resource) {
    let metadata = object.meta_mut();
    let all = metadata.managed_fields.take().unwrap_or_default();
    metadata.managed_fields = all.into_iter().find(|entry| annotations::holds(entry).is_some()).map(|entry| {
        let held = json!({"f:metadata": {"f:annotations": {format!("f:{ALLOCATED_FROM}"): {}}}});
        let plain = ManagedFieldsEntry {
            manager: entry.manager,
            fields_v1: Some(FieldsV1(held)),
            ..ManagedFieldsEntry::default()
        };
        vec![plain]
    });
}

/// Of a Namespace is read: its name and its labels.
pub(super) fn namespace(namespace: &mut Namespace) {
    namespace.metadata.annotations = None;
}

/// The conditions of a Node that are read.
const READ: [&str; 2] = ["NetworkUnavailable", "Ready"];

/// Of a Node is read: labels, what may show that it is being emptied or taken away, whether its network is available and
/// itself ready, and its addresses.
pub(super) fn node(node: &mut Node) {
    let metadata = std::mem::take(&mut node.metadata);
    node.metadata = ObjectMeta {
        name: metadata.name,
        annotations: metadata.annotations.and_then(|mut all| Some([all.remove_entry(DRAIN)?].into())),
        labels: metadata.labels,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    };
    node.spec = node.spec.take().map(|spec| {
        let taints =
            spec.taints.map(|taints| taints.into_iter().map(|taint| Taint { time_added: None, ..taint }).collect());
        NodeSpec { unschedulable: spec.unschedulable, taints, ..NodeSpec::default() }
    });
    node.status = node.status.take().map(|status| {
        let conditions = status.conditions.unwrap_or_default().into_iter();
        let read = conditions.filter(|condition| READ.contains(&condition.type_.as_str()));
        // Without its heartbeat, which is new every time.
        let plain = read.map(|one| NodeCondition { status: one.status, type_: one.type_, ..NodeCondition::default() });
        NodeStatus { addresses: status.addresses, conditions: Some(plain.collect()), ..NodeStatus::default() }
    });
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn of_a_node_everything_is_kept_that_may_show_that_it_is_being_emptied_or_taken_away_and_no_heartbeat() {
        let value = json!({
            "metadata": {"name": "a", "annotations": {DRAIN: "true", "other": "x"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "podCIDR": "10.0.0.0/24", "unschedulable": true,
                "taints": [{"key": "k", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}]},
            "status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "False", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}});
        let mut read: Node = serde_json::from_value(value).unwrap();
        node(&mut read);
        let kept = json!({
            "metadata": {"name": "a", "annotations": {DRAIN: "true"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        assert_eq!(read, serde_json::from_value::<Node>(kept).unwrap());
    }

    #[test]
    fn of_managed_fields_not_even_the_room_is_kept() {
        let metadata = r#"{"name": "a", "managedFields": [{"manager": "kubectl", "operation": "Update"}]}"#;
        let mut read = Namespace { metadata: serde_json::from_str(metadata).unwrap(), ..Namespace::default() };
        managed_fields(&mut read);
        let name = Some("a".to_owned());
        assert_eq!(read.metadata, ObjectMeta { name, ..ObjectMeta::default() }, "no list rather than an empty one");
    }

    #[test]
    fn who_holds_the_controllers_annotation_is_kept_unless_it_is_a_controller() {
        let of = |manager: &str| {
            let metadata = json!({"annotations": {ALLOCATED_FROM: "p"}, "managedFields": [
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}},
                {"manager": manager, "operation": "Apply", "apiVersion": "v1",
                 "fieldsV1": {"f:metadata": {"f:annotations": {"f:metallb.io/ip-allocated-from-pool": {}, "f:x": {}}}}}]});
            let mut read = Service { metadata: serde_json::from_value(metadata).unwrap(), ..Service::default() };
            managed_fields(&mut read);
            annotations::holder(&read)
        };
        assert_eq!(of("argocd-controller"), Some("argocd-controller".to_owned()));
        assert_eq!((of("metallb-controller"), of("controller")), (None, None));
    }
}
