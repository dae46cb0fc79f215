//! Texts for LB43xx: BGP peers, BGP advertisements and BFD profiles, as far as one object alone can be wrong.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::PeerAsInvalid,
        summary: "The AS numbers of a BGP peer are missing or contradict each other",
        fix: "write myASN and either peerASN or dynamicASN; ebgpMultiHop only between different numbers",
        long: "\
A BGP session joins two autonomous systems. myASN is ours and is never 0. The other one is either
known (peerASN) or taken as it comes (dynamicASN: internal for the same as ours, external for any
other); exactly one of the two must be there. ebgpMultiHop is about sessions between different
systems, so it makes no sense where both numbers are the same.

An object with this mistake is refused when it is written.

See it: `kubectl get bgppeer PEER -n metallb-system -o yaml`.

What to do: correct the fields as the message says.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerAddress: 192.168.1.1}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1}",
    },
    Explanation {
        code: Code::PeerAddressInvalid,
        summary: "A BGP peer has no usable address, or a router ID that is none",
        fix: "write either peerAddress or interface; addresses as numbers; routerID like an IPv4 address",
        long: "\
A session goes to an address (peerAddress) or over an interface without addresses (interface);
exactly one of the two must be there. peerAddress and sourceAddress are addresses, not names. The
router ID is 32 bits that are written like an IPv4 address (RFC 4271), also where all peers have
IPv6 addresses.

An object with this mistake is refused when it is written.

See it: `kubectl get bgppeer PEER -n metallb-system -o yaml`.

What to do: correct the fields as the message says.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: router.lan}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1}",
    },
    Explanation {
        code: Code::PeerTimerInvalid,
        summary: "A timer of a BGP peer is out of range or no duration",
        fix: "write Go durations such as 90s: holdTime 0s or 3s to 65535s, keepaliveTime not above it",
        long: "\
The hold time says how long silence is borne before a session ends. BGP has it in whole seconds of
16 bits: 0 for never, else at least 3 (RFC 4271). Keepalives must come at least as often, a third of
the hold time being usual. Where only one of the two is written the other follows from it; where
none is, 90 and 30 seconds are used.

An object with this mistake is refused when it is written.

See it: `kubectl get bgppeer PEER -n metallb-system -o yaml`.

What to do: correct the values, or leave both out.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, holdTime: 2s}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, holdTime: 9s}",
    },
    Explanation {
        code: Code::PeerPasswordTwice,
        summary: "A BGP peer has a password and a Secret with a password",
        fix: "keep passwordSecret and remove password",
        long: "\
The password of a session (TCP MD5) stands in the peer itself (password) or in a Secret of the type
kubernetes.io/basic-auth in the same namespace (passwordSecret). With both there it is not clear
which one the router expects. The Secret is the better place: who may read BGPPeers need not know
it.

An object with this mistake is refused when it is written.

See it: `kubectl get bgppeer PEER -n metallb-system -o yaml`.

What to do: remove one of the two.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: p, passwordSecret: {name: s}}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: s}}",
    },
    Explanation {
        code: Code::AggregationInvalid,
        summary: "The aggregation length of a BGPAdvertisement does not fit: range, serviceSelectors, or the pool",
        fix: "write a length from the pool's own (of 192.0.2.0/24: 24) to 32 or 128; none with serviceSelectors",
        long: "\
The aggregation length is the length of the prefixes that are announced: 32 (IPv6: 128) announces
each address by itself, 24 announces all 256 addresses around it with one route. There are no
lengths beyond these. An advertisement for selected Services announces single addresses, because an
aggregate would carry the traffic of the others too. And no aggregate may be larger than what its
pool has in one piece, or it would draw the traffic of addresses that are somebody else's: a pool
of 192.0.2.0/28 cannot be announced as a /24. Of a range the largest block counts, a /29 in
192.0.2.240-192.0.2.250.

An object with this mistake is refused when it is written; if it is there all the same, the
configuration does not load (LB0001).

See it: `kubectl get bgpadvertisement NAME -n metallb-system -o yaml`.

What to do: correct the length, or leave it out.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-core, namespace: metallb-system}
    spec: {aggregationLength: 33}

Right:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-core, namespace: metallb-system}
    spec: {aggregationLength: 24}",
    },
    Explanation {
        code: Code::ProfileInUse,
        summary: "A BFDProfile that a BGPPeer names cannot be deleted",
        fix: "remove bfdProfile from the peer first, or delete the peer: `kubectl get bgppeers -n metallb-system`",
        long: "\
A peer names this profile in spec.bfdProfile. Without the profile the peer could not be set up, and
the whole configuration would not load (LB0001). So it is refused to delete a profile as long as a
peer names it. Where the webhook cannot be reached this is not looked at, and what is left behind
shows as a peer without its profile.

See it: the column BFD Profile of `kubectl get bgppeers -n metallb-system`.

What to do: change or delete the peer first. In GitOps, remove both in one commit: what is refused
is tried again until the peer is gone.

Wrong:
    kubectl delete bfdprofile fast -n metallb-system
    kubectl delete bgppeer router -n metallb-system

Right:
    kubectl delete bgppeer router -n metallb-system
    kubectl delete bfdprofile fast -n metallb-system",
    },
    Explanation {
        code: Code::LocalPrefConflict,
        summary: "Two BGP advertisements say different local preferences about the same prefix",
        fix: "give both the same localPref, or let them differ in nodes, peers or aggregation length",
        long: "\
A route has one local preference. Two BGPAdvertisements are for one pool, from the same node to the
same router with the same prefix length, and their localPref differs, so it cannot be said which is
meant. Where serviceSelectors decide which of them is for a Service, only the Services that both
select are not announced; otherwise the whole configuration, pools included, is not loaded (LB0001).

See it: `ferrolb status` names both advertisements.

What to do: give both the same localPref, or separate them by nodeSelectors, peers, or the length.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1}
    ---
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: pool, namespace: metallb-system}
    spec: {addresses: [192.0.2.0/24]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: high, namespace: metallb-system}
    spec: {localPref: 200}
    ---
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: low, namespace: metallb-system}
    spec: {localPref: 100}

Right:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: high, namespace: metallb-system}
    spec: {localPref: 200}",
    },
    Explanation {
        code: Code::PeerSecretUnusable,
        summary: "The Secret that a BGP peer has its password from cannot be used, so there is no session",
        fix: "create a Secret of type kubernetes.io/basic-auth with the key password beside the BGPPeer",
        long: "\
spec.passwordSecret names a Secret in the namespace of the BGPPeer. It is not there, is not of type
kubernetes.io/basic-auth, or has no key password. Without the password the router would not answer,
so no session is opened. Other peers are not concerned, and as soon as the Secret is right the
session is opened. Until then the ConfigurationStates of the speakers on the nodes that the peer
selects say Invalid.

See it: `kubectl get secrets -n metallb-system`; the message says what is wrong.

What to do: create the Secret, or correct its type. The type cannot be changed: delete it first.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec:
      myASN: 64512
      peerASN: 64513
      peerAddress: 192.168.1.1
      passwordSecret: {name: router-password}    # and no such Secret

Right:
    kubectl create secret generic router-password -n metallb-system \\
      --type=kubernetes.io/basic-auth --from-literal=password=SECRET",
    },
    Explanation {
        code: Code::AdvertisedPeerMissing,
        summary: "A BGPAdvertisement names a peer that does not exist",
        fix: "correct the name in spec.peers, or create the BGPPeer: `kubectl get bgppeers -n metallb-system`",
        long: "\
spec.peers of the advertisement has a name that no BGPPeer has. For that name nothing happens, and
that may be right while the peer is still to come. Where it was the only name, the advertisement is
for nobody, and nothing is announced by it.

See it: `kubectl get bgppeers -n metallb-system`. Names are those of the objects, not the addresses
of the routers.

What to do: correct the name, or create the peer.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-router, namespace: metallb-system}
    spec: {peers: [ruoter]}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1}
    ---
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-router, namespace: metallb-system}
    spec: {peers: [router]}",
    },
    Explanation {
        code: Code::BfdProfileMissing,
        summary: "A BGP peer names a BFDProfile that does not exist, so BFD does not watch over its session",
        fix: "correct the name in spec.bfdProfile, or create the BFDProfile beside the BGPPeer",
        long: "\
spec.bfdProfile of the peer has a name that no BFDProfile in its namespace has. The session is
opened all the same and routes are announced; only BFD is missing: a router that dies without a word
is noticed when the hold time is over, which is 180 seconds where nothing else is said, and not
within a second. As soon as the profile is there BFD begins, and the session goes on meanwhile.

MetalLB refuses the whole configuration instead.

See it: `ferrolb status` shows every router with the state of its BFD session. Names are those of
the objects.

What to do: correct the name, create the profile, or take the field away if BFD is not wanted.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, bfdProfile: fats}

Right:
    apiVersion: metallb.io/v1beta1
    kind: BFDProfile
    metadata: {name: fast, namespace: metallb-system}
    spec: {receiveInterval: 50, transmitInterval: 50}
    ---
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1, bfdProfile: fast}",
    },
    Explanation {
        code: Code::PeerLabelUnusable,
        summary: "A node has no session because its label does not say where its router is",
        fix: "label the node: `kubectl label node NODE LABEL=ADDRESS`; in IPv6 addresses dashes for colons",
        long: "\
spec.peerAddressFrom.nodeLabel of the BGPPeer names a label, and each node that the peer selects
talks to the router whose address is the label's value there. A node without that label, or with a
value that is no address, has no session by this peer and announces nothing by it. The others do.
A link-local address is none here, because it does not say on which interface.

The value of a label cannot have colons, so an IPv6 address is written with dashes in their place:
2001-db8--1 for 2001:db8::1.

See it: `kubectl get nodes -L LABEL`.

What to do: label the nodes, or take those that have no such router out with nodeSelectors.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1, labels: {example.com/router: rack-7}}
    ---
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddressFrom: {nodeLabel: example.com/router}}

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1, labels: {example.com/router: 10.0.7.1}}
    ---
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddressFrom: {nodeLabel: example.com/router}}",
    },
];
