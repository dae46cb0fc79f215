//! Texts for LB40xx: pools, and what pools and advertisements have in common.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::PoolEmpty,
        summary: "A pool has no address",
        fix: "write at least one CIDR or range into spec.addresses, or delete the pool",
        long: "\
spec.addresses is an empty list. A pool that can never give anything is taken for a mistake, and the
whole configuration is not loaded while it is there (LB0001). A template that was rendered without
its values is the usual cause.

See it: `kubectl get ipaddresspool POOL -n metallb-system -o jsonpath='{.spec.addresses}'`.

What to do: fill in the addresses, or delete the pool. To keep a pool that gives nothing to Services
that do not ask for it, leave its addresses and set autoAssign: false.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: []

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]",
    },
    Explanation {
        code: Code::AddressRangeInvalid,
        summary: "An entry of spec.addresses is neither a CIDR nor a range of addresses",
        fix: "write a CIDR such as 192.168.1.240/28 or a range such as 192.168.1.200-192.168.1.220",
        long: "\
Two forms are understood: a CIDR (192.168.1.240/28), and a range, first and last address in full
with a dash between them, both included. A single address is a CIDR of length 32, or 128 for IPv6.
Refused are addresses without a length, a last address that is abbreviated (.200-220), ends in the
wrong order, ends of two families, octets over 255 or with leading zeros, and lengths over 32 (IPv6:
128).

Of a CIDR the bits behind the length are ignored: 192.168.1.5/24 is all of 192.168.1.0/24.

See it: `ferrolb status` gives the entry, as spec.addresses[0], what is wrong, and what to write.

What to do: correct the entry. The configuration loads again at once.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses:
      - 192.168.1.200-220
      - 192.168.1.230

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses:
      - 192.168.1.200-192.168.1.220
      - 192.168.1.230/32",
    },
    Explanation {
        code: Code::RangesOverlap,
        summary: "Two entries of one pool overlap",
        fix: "remove one of the two entries of spec.addresses, or the part that both have",
        long: "\
Some addresses are in two entries of the same pool. They would be counted twice, so the pool is
refused and the whole configuration is not loaded (LB0001), as in MetalLB. Mind that the first and
last addresses of a range are in it, and that a CIDR is wider than it may look: 192.168.1.210/28
begins at 192.168.1.208.

Two different pools that overlap are another matter: LB4004.

See it: the finding names both entries and the later one's place.

What to do: shorten one entry, or write both as one range.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220, 192.168.1.220-192.168.1.230]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.230]",
    },
    Explanation {
        code: Code::PoolsOverlap,
        summary: "Two pools overlap, and the younger one hands out only its other addresses",
        fix: "take the overlapping addresses out of spec.addresses of one of the pools",
        long: "\
MetalLB refuses the whole configuration when pools overlap. FerroLB loads it: the older pool (by
creation time, then by name) has the addresses that both list, the younger one hands out the rest.
Nobody loses an address because of it. When the older pool is deleted, the younger one takes over
its Services, with the addresses that they have, where it has these and serves the Services. So a
pool can be renamed: create the new one, delete the old one.

See it: `ferrolb status` names both pools and the ranges. Without creation times, as in a directory
of manifests, the pool that was seen first is the older one.

What to do: during a rename nothing, just finish it. Else separate the ranges.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.220]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production, namespace: metallb-system}
    spec: {addresses: [192.168.1.216/29]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.215]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production, namespace: metallb-system}
    spec: {addresses: [192.168.1.216/29]}",
    },
    Explanation {
        code: Code::DuplicateEntry,
        summary: "A value stands twice in a list where it can stand only once",
        fix: "remove one of the two entries that the message names",
        long: "\
The same pool, namespace or selector is listed twice, or one selector has the same value or
expression twice. It changes nothing, but MetalLB refuses it as a sign of a mistake, and a
configuration that works here must work there. The whole configuration is not loaded while it is
there (LB0001).

Selectors count as the same whatever the order of their labels.

See it: `ferrolb status` gives the object and the place in the list, counted from 0.

What to do: remove one. If two entries were meant to differ, correct the one that was copied.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: shop, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      serviceAllocation: {namespaces: [shop, shop]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: shop, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      serviceAllocation: {namespaces: [shop, shop-test]}",
    },
    Explanation {
        code: Code::SelectorInvalid,
        summary: "A label selector cannot be understood",
        fix: "use matchLabels, or an operator In or NotIn with values, Exists or DoesNotExist without",
        long: "\
A selector of a pool or advertisement has an expression that makes no sense: an operator that does
not exist, or In or NotIn without values. The operators are In, NotIn, Exists and DoesNotExist,
written just so; the last two take no values. Guessing what was meant could announce on the wrong
nodes, so the whole configuration is not loaded (LB0001).

See it: `ferrolb status` gives the object, the field and the place in the list.

What to do: correct the expression. For labels that must be equal, matchLabels is shorter and harder
to get wrong.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:
      - matchExpressions: [{key: role, operator: Equals, values: [edge]}]

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:
      - matchExpressions: [{key: role, operator: In, values: [edge]}]",
    },
    Explanation {
        code: Code::OutOfRange,
        summary: "A number lies outside the range that its field allows",
        fix: "write a number in the range that the message gives; a weight is from 1 to 100",
        long: "\
The field takes a number in certain limits, and this one is beyond them. In an L2Advertisement it is
the weight of an entry of preferredNodeSelectors, from 1 to 100. Weights of all entries that match a
node are added up, and the node with the highest sum is preferred. 0 would mean no preference:
leave the entry out. In a BFDProfile intervals are from 10 to 60000 milliseconds, detectMultiplier
from 2 to 255, minimumTtl from 1 to 254. In a BGPAdvertisement med is from 0 to 4294967295 and
asPathPrepend from 0 to 32.

An API server that has our definitions refuses such an object; from a directory of manifests it gets
as far as here. The whole configuration is not loaded (LB0001).

See it: `ferrolb status` gives object, field and number.

What to do: write a number within the limits. Of weights only the order of the sums counts.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      preferredNodeSelectors:
      - {weight: 1000, preference: {matchLabels: {role: edge}}}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      preferredNodeSelectors:
      - {weight: 100, preference: {matchLabels: {role: edge}}}",
    },
    Explanation {
        code: Code::PoolNotAdvertised,
        summary: "No advertisement selects this pool, so its addresses will not be reachable",
        fix: "add the pool to spec.ipAddressPools of an L2Advertisement, or create one without that list",
        long: "\
The pool gives addresses to Services, and no L2Advertisement is for it: neither by name, nor by
label, nor as one that is for all pools. Services get an EXTERNAL-IP and nobody answers there
(LB1101).

A second pool is often forgotten in the advertisement that names the first. Where the addresses are
announced by something else, a static route say, ignore this.

See it: `ferrolb status`, column ADVERTISED BY; `kubectl get l2advertisements -n metallb-system`.

What to do: name the pool, or let one advertisement be for all pools.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.240/28]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement, namespace: metallb-system}
    spec: {ipAddressPools: [default-pool]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.240/28]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement, namespace: metallb-system}
    spec: {ipAddressPools: [production-pool]}",
    },
    Explanation {
        code: Code::NodeAddressInPool,
        summary: "A pool has an address that is a node's own",
        fix: "leave the addresses of nodes out of the pool",
        long: "\
status.addresses of a Node names an InternalIP that lies in the pool. A Service that got it would
take over the traffic of the node itself: SSH, kubelet, perhaps the API server.

Such an address is handed out last: only when the pools have nothing else free, or to a Service that
asks for it. A lab of one node may want exactly that; then ignore this. An address that a Service
has already, it keeps.

See it: the message names addresses and nodes. In a cluster: `kubectl get nodes -o wide`.

What to do: write the pool without them.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.0/24]}
    ---
    apiVersion: v1
    kind: Node
    metadata: {name: node-a}
    status: {addresses: [{type: InternalIP, address: 192.168.1.10}]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.250]}",
    },
];
