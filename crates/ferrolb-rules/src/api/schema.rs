//! Pieces of schema that several kinds share and that a derive cannot write (spec §1.2).

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A number without bounds or format.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// A number that the schema calls `int32` and does not bound, whatever the Rust type.
pub(super) fn int32(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32"})
}

/// An AS number that may be 0: 32 bits without sign, which only `int64` can hold.
pub(super) fn asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
}

/// An AS number that may not be 0.
pub(super) fn nonzero_asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 1, "maximum": u32::MAX})
}

/// One label selector. The operator is any string here; what it may be is looked at when it is parsed.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Selects by labels; everything in it must hold. Empty selects all.",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that must have exactly these values.",
                "additionalProperties": {"type": "string"},
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements, all of which must hold.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "description": "The label looked at."},
                        "operator": {"type": "string", "description": "In, NotIn, Exists or DoesNotExist."},
                        "values": {
                            "type": "array",
                            "description": "For In and NotIn at least one value, otherwise none.",
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string"},
                        },
                    },
                },
            },
        },
    })
}

/// A list of label selectors, any of which may match.
pub(super) fn selectors(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": selector(generator)})
}

/// A list of standard conditions with the limits that Kubernetes sets on them, one of each type.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    let label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    let type_pattern = format!(r"^({label}(\.{label})*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$");
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When the status last changed.",
                },
                "message": {"type": "string", "maxLength": 32768, "description": "The same for people; may be empty."},
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the object that was looked at.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, as one word for programs.",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds.",
                },
                "type": {
                    "type": "string", "maxLength": 316, "pattern": type_pattern,
                    "description": "What the condition is about.",
                },
            },
        },
    })
}

/// One CEL rule and what the API server says when it does not hold.
fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// A field that may not change once set, in a status.
pub(super) fn immutable() -> Value {
    json!([rule("self == oldSelf", "Value is immutable")])
}

/// The same for graceful restart, whose message differs (spec §1.6). As a transition rule on a field without default
/// it is only looked at when the old and the new object both have the field [Q-1].
pub(super) fn graceful_restart_immutable() -> Value {
    json!([rule("self == oldSelf", "EnableGracefulRestart cannot be changed after creation")])
}

/// The addresses of a pool: at least one, and of each entry what can be told without a library for addresses (decision
/// D1: such pools are refused with no pod of ours running). Whatever upstream takes is taken. What regular expressions
/// cannot tell (the syntax of IPv6, the order of its ends) is for [`crate::config`] to say.
///
/// The limits are there because an API server counts what a rule may cost at worst before it accepts it. Upstream
/// has none; nobody writes two thousand entries into one pool, or longer ones.
pub(super) fn addresses(_: &mut SchemaGenerator) -> Schema {
    let wanted = "write a CIDR such as 192.168.1.0/24 or a range such as 192.168.1.200-192.168.1.220";
    let v4 = "([0-9]{1,3}\\\\.){3}[0-9]{1,3}";
    let range = format!("self.matches('^\\\\s*{v4}\\\\s*-\\\\s*{v4}\\\\s*$')");
    let number = |side: usize| {
        let octets = [(0, 16_777_216), (1, 65_536), (2, 256), (3, 1)];
        octets
            .map(|(at, weight)| format!("int(self.split('-')[{side}].trim().split('.')[{at}]) * {weight}"))
            .join(" + ")
    };
    let families = "self.split('-')[0].contains(':') == self.split('-')[1].contains(':')";
    json_schema!({
        "type": "array",
        "maxItems": 2048,
        "items": {
            "type": "string",
            "maxLength": 100,
            "x-kubernetes-validations": [
                rule(
                    "self.matches('^\\\\s*[0-9a-fA-F:.]+\\\\s*(/[0-9]+|-\\\\s*[0-9a-fA-F:.]+)\\\\s*$')",
                    &format!("LB4002: invalid CIDR or invalid IP range: {wanted}; a single address is written 192.168.1.5/32"),
                ),
                rule(
                    &format!("self.contains(':') || self.matches('^\\\\s*{v4}\\\\s*(/|-\\\\s*{v4}\\\\s*$)')"),
                    "LB4002: invalid CIDR or invalid IP range: an IPv4 address is four numbers with dots, and both ends of a range are written in full: \
                     192.168.1.200-192.168.1.220",
                ),
                rule(
                    "self.contains(':') || \
                     !self.matches('25[6-9]|2[6-9][0-9]|[3-9][0-9][0-9]|/0*(3[3-9]|[4-9][0-9]|[1-9][0-9][0-9])')",
                    "LB4002: invalid CIDR or invalid IP range: the numbers of an IPv4 address go up to 255, and its prefix length up to 32",
                ),
                rule(
                    &format!("self.matches('[fF]{{4}}:') || !self.contains('-') || {families}"),
                    "LB4002: invalid IP range: one end of the range is IPv4 and the other IPv6; write one entry for each family",
                ),
                rule(
                    &format!("!{range} || {} <= {}", number(0), number(1)),
                    "LB4002: invalid IP range: the range starts after its end; write the lower address first",
                ),
            ],
        },
        "x-kubernetes-validations": [rule("size(self) > 0", &format!("LB4001: pool has no prefixes defined; {wanted}"))],
    })
}

/// What one peer alone can be wrong about (spec §3.7, V1 to V9), in upstream's words.
pub(super) fn one_peer() -> Value {
    json!([
        rule("self.myASN != 0", "LB4301: missing local ASN; write your own AS number into myASN"),
        rule(
            "(has(self.peerASN) && self.peerASN != 0) || has(self.dynamicASN)",
            "LB4301: missing peer ASN and dynamicASN; write one of them",
        ),
        rule(
            "!(has(self.peerASN) && self.peerASN != 0 && has(self.dynamicASN))",
            "LB4301: both peer ASN and dynamicASN specified; remove one of them",
        ),
        rule(
            "!has(self.ebgpMultiHop) || !self.ebgpMultiHop || ((!has(self.peerASN) || self.peerASN != self.myASN) && \
             (!has(self.dynamicASN) || self.dynamicASN != 'internal'))",
            "LB4301: invalid ebgp-multihop parameter set for an ibgp peer; remove ebgpMultiHop",
        ),
        rule(
            "(has(self.peerAddress) && self.peerAddress != '') || (has(self.interface) && self.interface != '') || \
             has(self.peerAddressFrom)",
            "LB4302: peer has no Address or Interface specified; write peerAddress or interface",
        ),
        rule(
            "!(has(self.peerAddress) && self.peerAddress != '' && has(self.interface) && self.interface != '')",
            "LB4302: peer has both Address and Interface specified; remove one of them",
        ),
        rule(
            "!has(self.peerAddressFrom) || ((!has(self.peerAddress) || self.peerAddress == '') && \
             (!has(self.interface) || self.interface == ''))",
            "LB4302: peer has peerAddressFrom beside peerAddress or interface; remove one of them",
        ),
        rule(
            "!has(self.peerAddressFrom) || \
             (has(self.peerAddressFrom.nodeLabel) && self.peerAddressFrom.nodeLabel != '') != \
             has(self.peerAddressFrom.defaultGateway)",
            "LB4302: peerAddressFrom needs nodeLabel or defaultGateway, and not both",
        ),
    ])
}

/// The reconnect interval of a peer: whole seconds, 1 to 65535 (spec §1.6).
pub(super) fn connect_time() -> Value {
    json!([
        rule(
            "duration(self) >= duration('1s') && duration(self) < duration('65536s')",
            "connect time should be between 1 seconds to 65535",
        ),
        rule("duration(self).getMilliseconds() % 1000 == 0", "connect time should contain a whole number of seconds"),
    ])
}

/// Advertisements for selected Services are for single addresses (spec §1.5).
pub(super) fn no_aggregation_with_service_selectors() -> Value {
    json!([rule(
        "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || \
         ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
         (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
        "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with default \
         aggregationLength (32) and aggregationLengthV6 (128)",
    )])
}
