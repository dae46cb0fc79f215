//! `BGPPeer` between its two versions, and the ConversionReview in which an API server asks for it (spec §1.8).
//!
//! v1beta2 is stored. Fields of the same name are copied. Two things differ from upstream, both because it loses what
//! people wrote: a timer that was left out stays left out (quirk Q-2; a timer of zero would switch holding off), and
//! what only v1beta2 can say travels through v1beta1 in the annotation [`KEPT_FIELDS`], so that reading a peer as
//! v1beta1 and writing it back changes nothing. What v1beta1 says itself wins over the annotation.
//!
//! Nothing here fails because of an annotation: one that makes no sense is left where it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bgp_peer::{BGPPeer, BGPPeerSpec, DynamicAsn, PeerAddressSource, SecretReference};
use super::bgp_peer_v1beta1::{BGPPeerV1Beta1, BGPPeerV1Beta1Spec, LegacyNodeSelector, LegacyRequirement};

/// Annotation of a v1beta1 peer: the fields that only v1beta2 has, as JSON. It is not stored.
pub const KEPT_FIELDS: &str = "metallb.io/v1beta2-fields";

const OLD: &str = "metallb.io/v1beta1";
const NEW: &str = "metallb.io/v1beta2";

/// What v1beta1 cannot say. A timer is here only when it is zero on purpose, because v1beta1 means by zero that there
/// is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kept {
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    local_asn: Option<u32>,
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    dynamic_asn: Option<DynamicAsn>,
    #[serde(skip_serializing_if = "String::is_empty")]
    interface: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keepalive_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_secret: Option<SecretReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_graceful_restart: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    vrf: String,
    #[serde(rename = "disableMP", skip_serializing_if = "Option::is_none")]
    disable_mp: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dual_stack_address_family: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_address_from: Option<PeerAddressSource>,
}

impl Kept {
    /// What of a peer has no place in v1beta1. Booleans that are false by default are worth no annotation.
    fn of(spec: &BGPPeerSpec) -> Self {
        Self {
            local_asn: spec.local_asn,
            dynamic_asn: spec.dynamic_asn,
            interface: spec.interface.clone(),
            hold_time: spec.hold_time.clone().filter(|time| is_zero(time)),
            keepalive_time: spec.keepalive_time.clone().filter(|time| is_zero(time)),
            connect_time: spec.connect_time.clone(),
            password_secret: spec.password_secret.clone(),
            enable_graceful_restart: spec.enable_graceful_restart,
            vrf: spec.vrf.clone(),
            disable_mp: spec.disable_mp.filter(|set| *set),
            dual_stack_address_family: spec.dual_stack_address_family.filter(|set| *set),
            peer_address_from: spec.peer_address_from.clone(),
        }
    }
}

/// To the stored version. The metadata is the same but for the annotation, which has become fields.
impl From<&BGPPeerV1Beta1> for BGPPeer {
    fn from(old: &BGPPeerV1Beta1) -> Self {
        let mut metadata = old.metadata.clone();
        let kept = take_kept(&mut metadata);
        Self { metadata, spec: modern_spec(&old.spec, kept.unwrap_or_default()), status: None }
    }
}

/// To the old version. A peer without AS number or address gets 0 or an empty one, which v1beta1 cannot do without.
impl From<&BGPPeer> for BGPPeerV1Beta1 {
    fn from(new: &BGPPeer) -> Self {
        let mut metadata = new.metadata.clone();
        put_kept(&mut metadata, &Kept::of(&new.spec));
        Self { metadata, spec: legacy_spec(&new.spec), status: None }
    }
}

fn modern_spec(old: &BGPPeerV1Beta1Spec, kept: Kept) -> BGPPeerSpec {
    let peer_asn = nonzero(Some(old.peer_asn));
    BGPPeerSpec {
        my_asn: old.my_asn,
        peer_asn,
        local_asn: kept.local_asn,
        dynamic_asn: kept.dynamic_asn.filter(|_| peer_asn.is_none()),
        peer_address: old.peer_address.clone(),
        interface: if old.peer_address.is_empty() { kept.interface } else { String::new() },
        source_address: old.source_address.clone(),
        peer_port: nonzero(old.peer_port),
        hold_time: set_time(old.hold_time.as_ref()).or(kept.hold_time),
        keepalive_time: set_time(old.keepalive_time.as_ref()).or(kept.keepalive_time),
        connect_time: kept.connect_time,
        router_id: old.router_id.clone(),
        node_selectors: old.node_selectors.iter().map(modern).collect(),
        password: old.password.clone(),
        password_secret: kept.password_secret.filter(|_| old.password.is_empty()),
        bfd_profile: old.bfd_profile.clone(),
        enable_graceful_restart: kept.enable_graceful_restart,
        ebgp_multi_hop: old.ebgp_multi_hop,
        vrf: kept.vrf,
        disable_mp: kept.disable_mp,
        dual_stack_address_family: kept.dual_stack_address_family,
        peer_address_from: kept.peer_address_from.filter(|_| old.peer_address.is_empty()),
    }
}

fn legacy_spec(new: &BGPPeerSpec) -> BGPPeerV1Beta1Spec {
    BGPPeerV1Beta1Spec {
        my_asn: new.my_asn,
        peer_asn: new.peer_asn.unwrap_or_default(),
        peer_address: new.peer_address.clone(),
        source_address: new.source_address.clone(),
        peer_port: new.peer_port,
        hold_time: new.hold_time.clone(),
        keepalive_time: new.keepalive_time.clone(),
        router_id: new.router_id.clone(),
        node_selectors: new.node_selectors.iter().map(legacy).collect(),
        password: new.password.clone(),
        bfd_profile: new.bfd_profile.clone(),
        ebgp_multi_hop: new.ebgp_multi_hop,
    }
}

fn take_kept(metadata: &mut ObjectMeta) -> Option<Kept> {
    let annotations = metadata.annotations.as_mut()?;
    let kept = serde_json::from_str(annotations.get(KEPT_FIELDS)?).ok()?;
    annotations.remove(KEPT_FIELDS);
    if annotations.is_empty() {
        metadata.annotations = None;
    }
    Some(kept)
}

fn put_kept(metadata: &mut ObjectMeta, kept: &Kept) {
    if *kept == Kept::default() {
        return;
    }
    // A struct of strings, numbers and booleans always serialises.
    if let Ok(text) = serde_json::to_string(kept) {
        metadata.annotations.get_or_insert_default().insert(KEPT_FIELDS.to_owned(), text);
    }
}

/// Upstream leaves numbers that are 0 out of what it writes, so that 0 and absent are the same.
fn nonzero<T: Default + PartialEq>(number: Option<T>) -> Option<T> {
    number.filter(|number| *number != T::default())
}

/// A timer of v1beta1: programs that know the type write `0s` where people write nothing.
fn set_time(time: Option<&String>) -> Option<String> {
    time.filter(|time| !is_zero(time)).cloned()
}

/// Whether a Go duration has no length, in whatever units.
fn is_zero(time: &str) -> bool {
    let mut digits = time.chars().filter(char::is_ascii_digit).peekable();
    digits.peek().is_some() && digits.all(|digit| digit == '0')
}

/// A selector of v1beta1 as one of v1beta2. What is empty is absent there.
fn modern(selector: &LegacyNodeSelector) -> LabelSelector {
    let expressions = selector.match_expressions.iter().map(|legacy| LabelSelectorRequirement {
        key: legacy.key.clone(),
        operator: legacy.operator.clone(),
        values: Some(legacy.values.clone()).filter(|values| !values.is_empty()),
    });
    LabelSelector {
        match_labels: Some(selector.match_labels.clone()).filter(|labels| !labels.is_empty()),
        match_expressions: Some(expressions.collect::<Vec<_>>()).filter(|expressions| !expressions.is_empty()),
    }
}

/// A selector of v1beta2 as one of v1beta1. Absent values become an empty list, which v1beta1 refuses if written back.
fn legacy(selector: &LabelSelector) -> LegacyNodeSelector {
    let expressions = selector.match_expressions.iter().flatten().map(|modern| LegacyRequirement {
        key: modern.key.clone(),
        operator: modern.operator.clone(),
        values: modern.values.clone().unwrap_or_default(),
    });
    LegacyNodeSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: expressions.collect(),
    }
}

/// Answers a ConversionReview, `v1` or `v1beta1`: version and `uid` of the request are echoed. One object that cannot be
/// converted fails the review as a whole, as an API server wants it.
///
/// # Errors
/// It is no ConversionReview with a request.
pub fn answer(review: &Value) -> Result<Value, String> {
    let (version, request) = (&review["apiVersion"], &review["request"]);
    if review["kind"] != "ConversionReview" || !request["uid"].is_string() {
        return Err("this is no ConversionReview with a request".to_owned());
    }
    let desired = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
    let converted = objects.iter().map(|object| convert(object, desired)).collect::<Result<Vec<_>, _>>();
    let response = match converted {
        Ok(objects) => json!({
            "uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"},
        }),
        Err(why) => json!({
            "uid": request["uid"], "convertedObjects": [],
            "result": {"status": "Failure", "reason": "BadRequest", "code": 400, "message": why},
        }),
    };
    Ok(json!({"apiVersion": version, "kind": "ConversionReview", "response": response}))
}

/// One object as it came, in another version. All that is not concerned, status included, stays as it is: an API server
/// that writes a peer through v1beta1 would otherwise store it without its status.
fn convert(object: &Value, desired: &str) -> Result<Value, String> {
    let current = object["apiVersion"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let unreadable = |error: serde_json::Error| format!("BGPPeer {name:?} cannot be read as {current}: {error}");
    if object["kind"] != "BGPPeer" {
        return Err(format!("only BGPPeer has two versions, not {}", object["kind"]));
    }
    let converted = match (current, desired) {
        _ if current == desired => return Ok(object.clone()),
        (OLD, NEW) => {
            let old: BGPPeerV1Beta1 = serde_json::from_value(object.clone()).map_err(unreadable)?;
            serde_json::to_value(BGPPeer::from(&old))
        }
        (NEW, OLD) => {
            let new: BGPPeer = serde_json::from_value(object.clone()).map_err(unreadable)?;
            serde_json::to_value(BGPPeerV1Beta1::from(&new))
        }
        _ => return Err(format!("BGPPeer {name:?} cannot be converted from {current:?} to {desired:?}")),
    }
    .map_err(unreadable)?;
    let mut result = object.clone();
    result["apiVersion"] = json!(desired);
    result["spec"] = converted["spec"].clone();
    match converted["metadata"].get("annotations") {
        Some(annotations) => result["metadata"]["annotations"] = annotations.clone(),
        None => {
            if let Some(metadata) = result["metadata"].as_object_mut() {
                metadata.remove("annotations");
            }
        }
    }
    Ok(result)
}
