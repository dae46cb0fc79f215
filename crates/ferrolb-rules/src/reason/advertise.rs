//! Texts for LB41xx and LB42xx: layer-2 advertisements and BGP communities.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::AdvertisedPoolMissing,
        summary: "An advertisement names a pool that does not exist",
        fix: "correct the name in spec.ipAddressPools, or write that pool; `kubectl get ipaddresspools -A` lists all",
        long: "\
spec.ipAddressPools has a name that no pool bears: misspelt, not created yet, deleted, or in another
namespace (LB0008). The other names of the list are in force. If this was the only one, the
advertisement is for no pool at all, not for every pool.

See it: `ferrolb status` names the advertisement and the pool.
`kubectl get ipaddresspools,l2advertisements -n metallb-system` shows both side by side.

What to do: correct or remove the name. If the pool is still to come, this goes away by itself.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.240/28]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec: {ipAddressPools: [default]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.240/28]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec: {ipAddressPools: [default-pool]}",
    },
    Explanation {
        code: Code::PreferenceInvalid,
        summary: "The selector of a preferred node cannot be understood",
        fix: "correct spec.preferredNodeSelectors[].preference: operators are In, NotIn, Exists, DoesNotExist",
        long: "\
An entry of preferredNodeSelectors has a weight and a preference, and the preference is a label
selector. This one has an operator that does not exist, or In or NotIn without values. The whole
configuration is not loaded while it is there (LB0001).

A preference is only a wish: if no node matches it, the others announce. To forbid nodes, use
nodeSelectors.

See it: `ferrolb status` gives the advertisement and the number of the entry, counted from 0.

What to do: correct the expression, or use matchLabels.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      preferredNodeSelectors:
      - weight: 50
        preference: {matchExpressions: [{key: role, operator: In}]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      preferredNodeSelectors:
      - weight: 50
        preference: {matchExpressions: [{key: role, operator: In, values: [edge]}]}",
    },
    Explanation {
        code: Code::NoNodeSelected,
        summary: "The node selectors of an advertisement match no node, so nobody announces for it",
        fix: "change spec.nodeSelectors, or metadata.labels of a Node: `kubectl label node NODE KEY=VALUE`",
        long: "\
The advertisement restricts which nodes announce, and not one of the nodes known has these labels.
Addresses for which there is no other advertisement are announced by nobody. The labels may have
been on a node that is gone: a replaced machine comes back without them.

See it: `kubectl get nodes --show-labels`. Without Kubernetes labels are those of the Node
manifests, and a host without a manifest has only kubernetes.io/hostname.

What to do: put the label on a node, better on two, or change the selector. The change counts at
once.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1, labels: {kubernetes.io/hostname: node-1}}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:
      - matchLabels: {role: edge}

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1, labels: {kubernetes.io/hostname: node-1, role: edge}}
    ---
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:
      - matchLabels: {role: edge}",
    },
    Explanation {
        code: Code::CommunityInvalid,
        summary: "The value of a BGP community is neither A:B nor large:A:B:C",
        fix: "write A:B with numbers up to 65535, or large:A:B:C with numbers up to 4294967295",
        long: "\
A Community object gives names to BGP communities. A standard one is two numbers of 16 bits with a
colon between them. A large one is the word large and three numbers of 32 bits. This value is
neither: a number is too great or not decimal, or the word large is missing before three numbers. An
AS number over 65535 fits only into a large community.

The whole configuration, pools included, is not loaded while it is there (LB0001).

See it: `ferrolb status` gives the object, the alias and the value.

What to do: correct the value. Names such as no-export are not built in: define them (65535:65281).

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: Community
    metadata: {name: communities, namespace: metallb-system}
    spec:
      communities:
      - {name: from-the-cluster, value: '4200000001:100:1'}

Right:
    apiVersion: metallb.io/v1beta1
    kind: Community
    metadata: {name: communities, namespace: metallb-system}
    spec:
      communities:
      - {name: from-the-cluster, value: 'large:4200000001:100:1'}",
    },
    Explanation {
        code: Code::CommunityDuplicate,
        summary: "A name for a BGP community is defined twice",
        fix: "rename or remove one of the two: `kubectl get communities -n metallb-system -o yaml`",
        long: "\
Names of communities are global: all Community objects together make one list, and a name must be in
it once only, even if both definitions have the same value. A second file that was copied from the
first is the usual cause.

The whole configuration, pools included, is not loaded while it is there (LB0001).

See it: `ferrolb status` gives the object with the second definition.

What to do: remove one definition, or give it another name and use that in the advertisements.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: Community
    metadata: {name: communities, namespace: metallb-system}
    spec:
      communities:
      - {name: backup, value: '64512:100'}
      - {name: backup, value: '64512:200'}

Right:
    apiVersion: metallb.io/v1beta1
    kind: Community
    metadata: {name: communities, namespace: metallb-system}
    spec:
      communities:
      - {name: backup, value: '64512:100'}
      - {name: backup-far, value: '64512:200'}",
    },
    Explanation {
        code: Code::CommunityUnknown,
        summary: "A BGPAdvertisement has a community that is neither a value nor a name that is defined",
        fix: "write A:B or large:A:B:C, or define the name in a Community object",
        long: "\
An entry of spec.communities is a value, or a name from a Community object. This one has no value's
form, and no Community object defines it. Names that routers know by themselves, such as no-export,
are not built in: define them (65535:65281).

The whole configuration, pools included, is not loaded while it is there (LB0001).

See it: `ferrolb status` gives the object and the entry;
`kubectl get communities -n metallb-system -o yaml` lists the names that there are.

What to do: correct the name, or define it.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-router, namespace: metallb-system}
    spec: {communities: [no-export]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: Community
    metadata: {name: communities, namespace: metallb-system}
    spec:
      communities:
      - {name: no-export, value: '65535:65281'}
    ---
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-router, namespace: metallb-system}
    spec: {communities: [no-export]}",
    },
];
