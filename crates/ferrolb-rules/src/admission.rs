//! Is an object that somebody writes accepted, and what is said about it? (spec §2.2, decisions D1, D3)
//!
//! The answer comes from the one validator, [`config::parse`], asked about everything known with the object put in its
//! place. Refused is what is wrong with the object itself, and what its coming breaks elsewhere. Not refused is what was
//! wrong before: one bad object must not keep people from writing others. Everything else that the validator finds about
//! the object is a warning, which `kubectl` prints and nothing stops: overlapping pools, pools that nobody advertises.
//!
//! An object on its way out is always accepted, and so is one outside our namespace that is already there: it counts for
//! nothing, and people must be able to take a finalizer or a label off it.

use std::sync::Arc;

use kube_core::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api;
use crate::config::{self, Resources};
use crate::reason::{Code, Finding, Severity};

#[cfg(test)]
mod tests;

/// The kinds that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BGPPeer`, in version v1beta2.
    BgpPeer,
    /// `IPAddressPool`.
    IpAddressPool,
    /// `BGPAdvertisement`.
    BgpAdvertisement,
    /// `Community`.
    Community,
    /// `BFDProfile`.
    BfdProfile,
    /// `L2Advertisement`.
    L2Advertisement,
}

impl Kind {
    /// All of them, with the path that the API server calls each by (spec §2.2).
    pub const PATHS: [(&'static str, Self); 6] = [
        ("/validate-metallb-io-v1beta2-bgppeer", Self::BgpPeer),
        ("/validate-metallb-io-v1beta1-ipaddresspool", Self::IpAddressPool),
        ("/validate-metallb-io-v1beta1-bgpadvertisement", Self::BgpAdvertisement),
        ("/validate-metallb-io-v1beta1-community", Self::Community),
        ("/validate-metallb-io-v1beta1-bfdprofile", Self::BfdProfile),
        ("/validate-metallb-io-v1beta1-l2advertisement", Self::L2Advertisement),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::BgpPeer => "BGPPeer",
            Self::IpAddressPool => "IPAddressPool",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::Community => "Community",
            Self::BfdProfile => "BFDProfile",
            Self::L2Advertisement => "L2Advertisement",
        }
    }
}

/// Everything of our namespace that is known, without the object asked about or with it as it was.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What a configuration is made of, but for Secrets.
    pub resources: Resources,
}

/// What the API server is told about one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Why it is refused; empty: it is not.
    pub refused: Vec<String>,
    /// What `kubectl` prints, each at most [`LONGEST_WARNING`] characters.
    pub warnings: Vec<String>,
}

/// The object cannot be read as what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be read: {1}")]
pub struct Malformed(&'static str, String);

/// What of a warning the API server promises to pass on.
pub const LONGEST_WARNING: usize = 256;
/// So many mistakes are listed; whoever has more will look at the object as a whole.
const LISTED: usize = 8;
/// Upstream's words; programs look for the beginning.
const DISABLE_MP: &str = "disable mp is deprecated and has no effect: remove spec.disableMP";

/// Judges a request: the `request` of an AdmissionReview for this kind, `namespace` being ours.
///
/// # Errors
/// The object is not what it is said to be.
pub fn judge(kind: Kind, request: &Value, namespace: &str, known: &Known) -> Result<Verdict, Malformed> {
    let object = match request["operation"].as_str() {
        Some("CREATE" | "UPDATE") => &request["object"],
        Some("DELETE") if kind == Kind::BfdProfile => return Ok(deletion(request, namespace, known)),
        _ => return Ok(Verdict::default()),
    };
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Verdict::default());
    }
    let elsewhere = request["namespace"].as_str().filter(|other| *other != namespace);
    let findings = match elsewhere {
        Some(_) => readable(kind, object).map(|()| Findings::default())?,
        None => look(kind, object, known)?,
    };
    let mut verdict = findings.verdict();
    if let Some(other) = elsewhere {
        let finding = misplaced(kind, request, namespace, other);
        match request["operation"].as_str() {
            Some("CREATE") => verdict.refused.push(finding.to_string()),
            _ => verdict.warnings.push(warning(&finding)),
        }
    }
    if kind == Kind::BgpPeer && object["spec"]["disableMP"] == true {
        verdict.warnings.push(DISABLE_MP.to_owned());
    }
    Ok(verdict)
}

fn misplaced(kind: Kind, request: &Value, ours: &str, other: &str) -> Finding {
    let object = format!("{}/{other}/{}", kind.name(), request["name"].as_str().unwrap_or_default());
    Finding::new(Code::WrongNamespace, Severity::Error, object, format!("resource must be created in {ours} namespace"))
        .at_field("metadata.namespace")
        .with_fix(format!("write namespace: {ours}"))
}

/// A profile that a peer names stays.
fn deletion(request: &Value, namespace: &str, known: &Known) -> Verdict {
    let name = request["name"].as_str().unwrap_or_default();
    let here = request["namespace"] == namespace;
    let users =
        known.resources.bgp_peers.iter().filter(|peer| here && !name.is_empty() && peer.spec.bfd_profile == name);
    let refused = users.take(LISTED).map(|peer| {
        let peer = peer.metadata.name.as_deref().unwrap_or_default();
        let message = format!("failed to delete BFDProfile {name}, used by BGPPeer {peer}");
        Finding::new(Code::ProfileInUse, Severity::Error, format!("BFDProfile/{namespace}/{name}"), message)
            .with_fix(format!("remove bfdProfile from BGPPeer {peer} first"))
            .to_string()
    });
    Verdict { refused: refused.collect(), warnings: Vec::new() }
}

/// What was found with the object in its place: about it, or because of it.
#[derive(Default)]
struct Findings {
    errors: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Findings {
    fn verdict(&self) -> Verdict {
        let mut refused: Vec<String> = self.errors.iter().take(LISTED).map(ToString::to_string).collect();
        if self.errors.len() > LISTED {
            refused.push(format!("and {} more", self.errors.len() - LISTED));
        }
        Verdict { refused, warnings: self.notes.iter().take(LISTED).map(warning).collect() }
    }
}

/// A finding about the object at hand in one short line.
fn warning(finding: &Finding) -> String {
    let code = finding.code;
    let whole = format!("{code} {}. Fix: {}", finding.message, finding.fix);
    let whole = whole.replace(char::is_control, " ");
    if whole.chars().count() <= LONGEST_WARNING {
        return whole;
    }
    let rest = format!("… (ferrolb explain {code})");
    let kept = LONGEST_WARNING - rest.chars().count();
    whole.chars().take(kept).chain(rest.chars()).collect()
}

/// Reads the object, puts it in its place and looks at everything.
fn look(kind: Kind, object: &Value, known: &Known) -> Result<Findings, Malformed> {
    let mut known = known.resources.clone();
    // What may come later keeps nothing from being written now (spec §2.2).
    known.bgp_advertisements = known.bgp_advertisements.iter().map(config::without_aliases).collect();
    let mut with = known.clone();
    let name = |metadata: &Value| {
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}/{}", kind.name(), text("namespace"), text("name"))
    };
    let this = name(&object["metadata"]);
    match kind {
        Kind::IpAddressPool => place(&mut with.pools, read(kind, object)?),
        Kind::L2Advertisement => place(&mut with.l2_advertisements, read(kind, object)?),
        Kind::Community => place(&mut with.communities, read(kind, object)?),
        Kind::BgpPeer => place(&mut with.bgp_peers, read_peer(object)?),
        Kind::BgpAdvertisement => {
            place(&mut with.bgp_advertisements, read(kind, object)?);
            with.bgp_advertisements = with.bgp_advertisements.iter().map(config::without_aliases).collect();
        }
        Kind::BfdProfile => place(&mut with.bfd_profiles, read(kind, object)?),
    }
    let (before, after) = (outcome(&known), outcome(&with));
    let mut findings = Findings::default();
    let mut broken = 0;
    for finding in after {
        let about_it = finding.object == this;
        let new = !before.contains(&finding);
        match finding.severity {
            Severity::Error if about_it || new => findings.errors.push(finding),
            Severity::Error => broken += 1,
            // Of what it does to others only what is new: an advertisement that takes a pool away, say.
            _ if about_it || new => findings.notes.push(finding),
            _ => {}
        }
    }
    if broken > 0 {
        let message = format!(
            "accepted, but without effect for now: {broken} errors in other objects keep the configuration from loading"
        );
        findings.notes.push(Finding::new(Code::ConfigurationStale, Severity::Warning, this, message));
    }
    Ok(findings)
}

/// Everything the validator says.
fn outcome(resources: &Resources) -> Vec<Finding> {
    match config::parse(resources) {
        Ok(config) => config.findings,
        Err(invalid) => invalid.0,
    }
}

/// Puts an object in the place of the one of its name, or adds it.
fn place<K: Resource<DynamicType = ()>>(list: &mut Vec<Arc<K>>, object: K) {
    let name = object.meta().name.clone();
    list.retain(|other| other.meta().name != name);
    list.push(Arc::new(object));
}

fn read<T: DeserializeOwned>(kind: Kind, object: &Value) -> Result<T, Malformed> {
    serde_json::from_value(object.clone()).map_err(|error| Malformed(kind.name(), error.to_string()))
}

/// Also takes a peer in the old version, for webhook configurations that do not have it converted.
fn read_peer(object: &Value) -> Result<api::BGPPeer, Malformed> {
    if object["apiVersion"] == "metallb.io/v1beta1" {
        return read(Kind::BgpPeer, object).map(|old: api::BGPPeerV1Beta1| api::BGPPeer::from(&old));
    }
    read(Kind::BgpPeer, object)
}

fn readable(kind: Kind, object: &Value) -> Result<(), Malformed> {
    match kind {
        Kind::BgpPeer => read_peer(object).map(drop),
        Kind::IpAddressPool => read::<api::IPAddressPool>(kind, object).map(drop),
        Kind::BgpAdvertisement => read::<api::BGPAdvertisement>(kind, object).map(drop),
        Kind::Community => read::<api::Community>(kind, object).map(drop),
        Kind::BfdProfile => read::<api::BFDProfile>(kind, object).map(drop),
        Kind::L2Advertisement => read::<api::L2Advertisement>(kind, object).map(drop),
    }
}

/// Answers an AdmissionReview; `known` is asked for only when the review makes sense. An object that cannot be read is
/// refused as a bad request.
///
/// # Errors
/// It is no AdmissionReview with a request.
pub fn answer(kind: Kind, review: &Value, namespace: &str, known: &Known) -> Result<Value, String> {
    let request = &review["request"];
    if review["kind"] != "AdmissionReview" || !request["uid"].is_string() {
        return Err("this is no AdmissionReview with a request".to_owned());
    }
    let status = |code: u16, reason: &str, message: String| json!({"code": code, "reason": reason, "message": message});
    let mut response = json!({"uid": request["uid"], "allowed": true});
    match judge(kind, request, namespace, known) {
        Ok(verdict) => {
            if !verdict.refused.is_empty() {
                response["allowed"] = json!(false);
                response["status"] = status(403, "Forbidden", verdict.refused.join("\n"));
            }
            if !verdict.warnings.is_empty() {
                response["warnings"] = json!(verdict.warnings);
            }
        }
        Err(malformed) => {
            response["allowed"] = json!(false);
            response["status"] = status(400, "BadRequest", malformed.to_string());
        }
    }
    Ok(json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}))
}
