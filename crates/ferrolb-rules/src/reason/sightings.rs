//! Texts for LB12xx: what the wire says.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::NobodyAnswers,
        summary: "Nobody answers for the address on the network of the machine that asks",
        fix: "ask from another machine of that network; if it is silent too, look at switch, VLAN and Wi-Fi between",
        long: "\
`ferrolb probe` has sent an ARP request or a neighbour solicitation, and no answer came within 0.7
seconds, although a node says that it announces the address. (Where nobody could be asked who
announces it, there may be nobody.) So question or answer is lost on the way.

That `ping` is not answered is not this: in most modes kube-proxy answers no ICMP, unless the
speaker does (speaker.answerPing, --answer-ping). ARP is asked here.

What loses them: Wi-Fi, where access points and adapters drop broadcasts for others; a virtual
switch that lets one MAC or IP address through a port (Proxmox: the filter of IP addresses; VMware:
forged transmits; clouds: always); another VLAN; a switch with protection against ARP spoofing.

See it: on the node that announces, `tcpdump -eni eth0 arp` while you ask: does the question arrive,
does the answer leave? Then the same on the machine that asks.

What to do: let the switch allow several addresses for the node, put both into the same VLAN, use a
cable; the announcing node can also be another one: see nodeSelectors of the L2Advertisement.

Wrong:
    qm set 101 --net0 virtio,bridge=vmbr0,firewall=1    # and the filter of IP addresses is on

Right:
    qm set 101 --net0 virtio,bridge=vmbr0,firewall=0",
    },
    Explanation {
        code: Code::AddressUnclaimed,
        summary: "No Service has the address, and nobody answers for it",
        fix: "compare the address with those of `ferrolb status`",
        long: "\
The address is free: no Service has it, no node announces it, no device on the LAN answers for it.
Whoever connects to it gets `no route to host` after some seconds.

Mostly the address was mistyped, is remembered from an earlier time, or stands in a name server
that nobody has told of the change.

See it: `ferrolb ip ADDRESS` says which pool it lies in, `ferrolb status` which Services have which
addresses.

What to do: correct the name server or the bookmark. If a Service shall have exactly this address,
ask for it by the annotation metallb.io/loadBalancerIPs.

Wrong:
    ferrolb probe 192.168.1.210    # and the Service has 192.168.1.201

Right:
    ferrolb probe svc/web",
    },
    Explanation {
        code: Code::AskedFromOwner,
        summary: "The machine that asks announces the address itself, and a machine does not hear itself",
        fix: "ask from another machine of the network: another node, or a computer on the LAN",
        long: "\
The question went out on the LAN, and the only machine that would answer is the one that asked.
Frames that a machine sends are not received by itself, so no answer says nothing: neither that the
address is announced nor that it is not.

This is why pinging or calling the address from the node that announces it is no proof either: the
node takes such traffic to itself, and the LAN is not involved.

See it: `ferrolb ip ADDRESS` names the node that announces it.

What to do: run `ferrolb probe` on any other machine of the same network. In a cluster that may be
another node's speaker: `kubectl exec -n metallb-system POD -- /ferrolb probe ADDRESS`.

Wrong:
    node-a$ ferrolb probe 192.168.1.201    # which node-a announces

Right:
    node-b$ ferrolb probe 192.168.1.201",
    },
    Explanation {
        code: Code::OffTheNetwork,
        summary: "The machine that asks has no interface in the network of the address",
        fix: "ask from a machine of that network, or name the interface: `ferrolb probe --interface eth0 ADDRESS`",
        long: "\
ARP requests and neighbour solicitations do not pass a router. They can only be sent by a machine
that has an address in the same network; this one has none, and none was named by --interface. TCP
connections were tried, because those pass.

If no node has an address in that network either, then no router finds the address: a router asks
on the network that it takes the address to be in, and there is nobody. Then it is the pool that is
wrong, or a static route to a node is missing.

See it: `ip route get ADDRESS` on a node: with `via` in it the address is of no network of the node.

What to do: ask from a node or from a computer on the LAN. Choose pools inside the nodes' network.

Wrong:
    nodes$ ip -br address show eth0    # 192.168.1.11/24
    pool$ addresses: [192.168.2.200-192.168.2.220]

Right:
    nodes$ ip -br address show eth0    # 192.168.1.11/24
    pool$ addresses: [192.168.1.200-192.168.1.220]",
    },
    Explanation {
        code: Code::WirelessInterface,
        summary: "The interface that addresses would be answered on is Wi-Fi",
        fix: "use a cable; or keep the interface in promiscuous mode: `ip link set wlan0 promisc on`",
        long: "\
Layer 2 rests on broadcasts: a neighbour asks everybody who has an address. Access points send
broadcasts seldom, at the lowest rate, and unacknowledged; many answer ARP for their stations
themselves and know nothing of a second address; adapters drop what is not for the address that they
were given by DHCP. It works for some minutes, as long as neighbours remember, and then it does not.

Frames that a station sends in the name of another MAC address do not pass at all, so bridges and
macvlan interfaces over Wi-Fi cannot work.

See it: `iw dev` lists Wi-Fi interfaces. `ferrolb probe svc/NAME` from another machine, some minutes
after the last connection: no answer is LB1201.

What to do: give the node that announces a cable, and keep the others from announcing by
nodeSelectors of the L2Advertisement. Promiscuous mode helps with some adapters; it is lost when the
machine starts again.

Wrong:
    ip -br link show wlan0    # wlan0 UP, and the only interface of the node

Right:
    ip link set wlan0 promisc on",
    },
    Explanation {
        code: Code::NodeAnswersUnasked,
        summary: "A node answers for an address that it does not announce",
        fix: "set strictARP for kube-proxy in IPVS mode (`ferrolb check`), or take the address off that node",
        long: "\
The answer comes from the MAC address of a node that does not say that it announces the address.
Neighbours that get several answers believe the last one, so traffic goes now here, now there.

Who answers then is the kernel of that node, because it has the address on an interface. In IPVS
mode kube-proxy puts all Services' addresses on kube-ipvs0 of every node, and without strictARP the
kernels answer for them (LB0054). Or somebody added the address by hand, or keepalived did. For one
or two seconds it is also true when an address moves.

See it: on that node, `ip -br address | grep ADDRESS`; `ferrolb check` reads kube-proxy's mode.

What to do: set ipvs.strictARP: true in kube-proxy's ConfigMap and restart it; or remove the address
from the interface: `ip address del ADDRESS/32 dev eth0`.

Wrong:
    mode: ipvs
    ipvs:
      strictARP: false

Right:
    mode: ipvs
    ipvs:
      strictARP: true",
    },
    Explanation {
        code: Code::TwoAnnouncers,
        summary: "Two nodes announce the address at once, and both answer",
        fix: "let UDP and TCP port 7946 pass between the nodes; where LB0014 is told as well, do what it says",
        long: "\
Two nodes each hold themselves for the one that announces the address: they do not hear each other.
Connections break at random, because neighbours believe whoever answered last.

Nodes find out who lives by datagrams to port 7946 and by claims on the LAN. A firewall between them
that drops the first, or a switch that drops the second, splits them in two groups that each believe
the other one dead. Nodes that run already and have different secrets do not hear each other either:
then there is LB0014 as well, the port is not the cause, and speakers that are restarted all have
the same (`kubectl rollout restart -n metallb-system daemonset/metallb-speaker`).

See it: `ferrolb peers` asked of each node; `kubectl get servicel2statuses -n metallb-system`, or
`ferrolb status`, has two nodes for the Service. `ferrolb check` tries the port from this machine.

What to do: allow port 7946, UDP and TCP, and broadcast between the nodes.

Wrong:
    nft add rule inet filter input udp dport 7946 drop

Right:
    nft add rule inet filter input ip saddr 192.168.1.0/24 udp dport 7946 accept
    nft add rule inet filter input ip saddr 192.168.1.0/24 tcp dport 7946 accept",
    },
    Explanation {
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
    },
    Explanation {
        code: Code::AnswerUnidentified,
        summary: "A machine answers, and it cannot be told whose it is",
        fix: "find the machine by its MAC address: the router's list of devices, or `ip neigh` on the nodes",
        long: "\
Several machines answer, or another than the one that is said to announce the address, and at least
one of them could not be identified. Machines are identified by asking for the addresses of all
nodes; a node that is off, or whose own address is in another network, cannot be. So it may be that
node, or a second network card of a node in the same network, or a device that is none of ours.

Several answers are never right, whosever they are: neighbours believe the last one.

See it: the message has the MAC address, and the nodes that did not answer. The first half of a MAC
address names the maker: `grep -i 3c:22:fb /usr/share/ieee-data/oui.txt`.

What to do: if it is a node, read LB1211; if it is none, LB1213. Where a node has two cards in one
network, name one of them in spec.interfaces of the L2Advertisement.

Wrong:
    ferrolb probe 192.168.1.201 --socket /nowhere    # nobody tells who is who

Right:
    ferrolb probe svc/web",
    },
    Explanation {
        code: Code::ConnectionFails,
        summary: "The right machine answers for the address, and a TCP port takes no connection",
        fix: "it is not the announcement: look at port, targetPort, kube-proxy and pods of the Service",
        long: "\
One machine answers, and it is the one that announces the address. What the load balancer does is
done; what comes after the first hop is kube-proxy's (or Cilium's) work, and the pod's.

Refused at once: nothing listens behind the port, or kube-proxy has no endpoint for it. No answer in
two seconds: a firewall on node or pod network drops it, or the pod answers by another way; with
externalTrafficPolicy Local, no pod runs on that node.

`ping` says nothing about this. In most modes kube-proxy answers no ICMP, and where the speaker does
(speaker.answerPing), it answers also while every connection is refused.

See it: `kubectl get endpointslices -l kubernetes.io/service-name=NAME` for addresses and ports; the
pod itself: `kubectl port-forward pod/POD 8080:TARGETPORT`. On hosts without Kubernetes `ss -ltn`.

What to do: make spec.ports[].port what you connect to and targetPort what the pod listens on; open
the firewall of the node for that port.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, ports: [{port: 80}]}    # and the pod listens on 8080

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, ports: [{port: 80, targetPort: 8080}]}",
    },
];
