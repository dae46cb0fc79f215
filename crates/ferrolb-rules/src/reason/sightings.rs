//! Texts for LB12xx: what the wire says.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[Explanation {
    code: Code::ForeignClaim,
    summary: "Another device on the network says that an announced address is its own",
    fix: "find the device by the MAC address given and move it, or take the address out of the pool",
    long: "\
The address is announced by a node, and a device that is none of the nodes says the same of itself.
It was asleep when the address was checked, was plugged in later, or was given the address by hand
or by a DHCP server. Whoever is heard last gets the traffic, so connections break at random.

The address stays announced: taking it away would give it to the other one. It is defended as RFC
5227 has it: each time that the stranger speaks up the network is told again where it is, once in
ten seconds at most.

See it: the message has the interface and the MAC address. From a host,
`arping -I eth0 192.168.1.205` gets two answers. The router's list of DHCP leases says who it is.

What to do: keep pool and DHCP apart, give the device another address, or ask for another one for
the Service. The warning ends half a minute after the device was heard last.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.100-192.168.1.150]    # and somebody gave a camera 192.168.1.120 by hand

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]    # a range that is written down as ours",
}];
