//! Texts for LB13xx: a route is planned and not with a router.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::BgpSessionDown,
        summary: "The BGP session with a router is not established",
        fix: "compare address, AS numbers and password with the router's; the message has its last word",
        long: "\
This node tries to talk BGP to the router and has no session, so the router knows nothing of what
this node announces. The message says why the last try ended. The session is tried again by itself,
a few seconds apart.

No answer at all: the router is off or not reachable, nothing listens on the port, or the passwords
differ. TCP-MD5 is checked by the kernels, and a kernel that finds a wrong password, or none, throws
the packet away without a word: it looks as if the router were not there. A router on another
network than the node needs ebgpMultiHop. Refused: the router runs no BGP, or does not know this
node as a neighbour. A NOTIFICATION: the router says what it does not like; Bad Peer AS means that
myASN or peerASN is not what the router has.

See it: `ferrolb status` shows every router under ROUTER with state and last error. On the router:
`show bgp neighbors` (FRR) or `show protocols all` (BIRD).

What to do: make both ends say the same.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64513, peerASN: 64512, peerAddress: 192.168.1.1}    # the router is 64513

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1}",
    },
    Explanation {
        code: Code::BgpRouteUntold,
        summary: "A route cannot be told to a router although the session is established",
        fix: "let both ends speak the family, and give the interface to the router an address of it",
        long: "\
The session stands, and routes of one kind cannot go over it. Either the router does not speak the
address family on this session: it has to be activated at both ends. Or the interface that leads to
the router has no address of that family, so there is nothing that could stand as the next hop. Or
a route carries so many communities that it does not fit into a BGP message.

Everything else goes over the session as if nothing were wrong.

See it: `ferrolb status` names the router and the family; `ip address` shows what the interface has.

What to do: activate the family at the router, or give the interface an address.

Wrong:
    router bgp 64513
     neighbor 192.168.1.11 remote-as 64512

Right:
    router bgp 64513
     neighbor 192.168.1.11 remote-as 64512
     address-family ipv6 unicast
      neighbor 192.168.1.11 activate",
    },
    Explanation {
        code: Code::BfdSessionDown,
        summary: "The BFD session that watches over the way to a router is not up",
        fix: "switch BFD on for this node at the router, and let UDP ports 3784 and 4784 through",
        long: "\
The peer has a bfdProfile, and BFD is not up. While it never was, that ends nothing: routes are
announced, and a dead router is noticed by the hold time only. Where it was up and then fell, the
router or the way to it is dead; the BGP session was ended for that, and its own finding says so.

Nothing heard: the router runs no BFD for this node, or a firewall drops UDP port 3784 (4784 where
the router is more than one hop away). Both ends must mean the same distance: with ebgpMultiHop BFD
is multihop here, so it must be at the router, and where the profile has a minimumTtl, packets need
at least that. iBGP with a router on the same link is one hop; BIRD takes it for multihop unless its
neighbour says `direct`. A port that is in use: another BFD daemon runs on this node. Switched off
by the router: somebody has shut it down there.

See it: `ferrolb status` shows the state under BFD. On the router: `show bfd peers` (FRR) or
`show bfd sessions` (BIRD).

What to do: make both ends say the same, or take bfdProfile away.

Wrong:
    router bgp 64513
     neighbor 192.168.1.11 remote-as 64512

Right:
    router bgp 64513
     neighbor 192.168.1.11 remote-as 64512
     neighbor 192.168.1.11 bfd",
    },
    Explanation {
        code: Code::NoDefaultGateway,
        summary: "The router is to be the node's default gateway, and the node has no default route with one",
        fix: "see `ip route show default` on the node, or write peerAddress or nodeLabel instead",
        long: "\
spec.peerAddressFrom.defaultGateway of the BGPPeer says that each node talks to the gateway of its
own default route. The main route table of this node has no default route of that family with a
gateway: there is none at all, or one that leads out of an interface without naming a router. So
there is nobody to talk to. As soon as such a route is there the session is opened. One that there
is already goes on while the route is missing; another gateway takes a new session.

Where there are several default routes, the one with the smallest metric counts, and of several
gateways of one route the smallest address.

See it: `ip route show default` and `ip -6 route show default` on the node.

What to do: give the node a default route, or say otherwise where its router is.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddressFrom: {defaultGateway: IPv6}}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddressFrom: {defaultGateway: IPv4}}",
    },
];
