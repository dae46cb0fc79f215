//! Texts for LB1111–LB1120: an address is not announced because of the address, of the Service, or of what
//! is on the wire.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::AddressNotConfigured,
        summary: "The address of the Service belongs to no pool of the running configuration",
        fix: "put the address back into a pool, or let the controller give a new one: is it running?",
        long: "\
The Service has an address in its status that no pool has, or two that no single pool has, so no
advertisement can be for it. Mostly this is a matter of seconds: the pool was changed a moment ago,
and the controller is about to move the Service. It stays where the controller does not run, where
the newest pools do not load (LB0001), or where another program wrote the address.

See it: `kubectl get service NAME -n NS -o jsonpath='{.status.loadBalancer}'` and
`kubectl get ipaddresspools -n metallb-system`.

What to do: see that the controller runs (`kubectl get deployments -n metallb-system`) and that no
LB0001 is reported; then the Service gets a new address. To keep the old one, add it to a pool.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.210-192.168.1.220]    # and the status says 192.168.1.201

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]",
    },
    Explanation {
        code: Code::InvalidAddress,
        summary: "The status of the Service holds something that is not an IP address",
        fix: "stop the other load balancer that writes the status: `kubectl get service NAME -n NS -o yaml`",
        long: "\
status.loadBalancer.ingress has an entry that cannot be announced: a host name, or text that is no
IP address. FerroLB writes addresses only, so another program wrote this one: a cloud's controller,
the service load balancer of k3s, or somebody by hand. Two programs that serve one Service overwrite
each other for ever.

See it: `kubectl get service NAME -n NS -o yaml --show-managed-fields`; the entry of managedFields
with f:loadBalancer names the writer.

What to do: switch the other one off (k3s: --disable=servicelb), or give this Service its own
spec.loadBalancerClass. Then clear the entry, and the controller writes an address.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, ports: [{port: 80}]}
    status: {loadBalancer: {ingress: [{hostname: lb-1.example.org}]}}

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: LoadBalancer, ports: [{port: 80}]}
    status: {loadBalancer: {ingress: [{ip: 192.168.1.201}]}}",
    },
    Explanation {
        code: Code::NoAddress,
        summary: "The Service has no address yet, so there is nothing to announce",
        fix: "look at why it got none: `kubectl describe service NAME -n NS`, or `ferrolb status`",
        long: "\
Announcing comes after allocating. EXTERNAL-IP of this Service is still <pending>: the real reason
is a code LB10xx, told where addresses are given, and this one only says that the speaker waits.

If there is no such code, nobody gives addresses at the moment (LB0002): the controller does not
run, or its host has just started.

See it: events AllocationFailed or LoadBalancerFailed in `kubectl describe service NAME -n NS`; the
code beside the Service in `ferrolb status`.

What to do: follow the LB10xx code: `ferrolb explain LB1003` and so on. Most often pools are full,
the pool that is asked for does not exist, or no pool is configured.

Wrong:
    kubectl get service web     # EXTERNAL-IP <pending>, and no IPAddressPool exists
    kubectl delete pod -n metallb-system -l app.kubernetes.io/component=speaker

Right:
    kubectl describe service web
    kubectl apply -f pool.yaml",
    },
    Explanation {
        code: Code::NotLoadBalancer,
        summary: "The Service is not of type LoadBalancer, so its address is no longer announced",
        fix: "set spec.type: LoadBalancer if it shall have an address",
        long: "\
Only Services of type LoadBalancer get addresses. This one has changed its type, or is another one
of the same name. Its address has gone back to the pool, and its announcement has ended.

The fields externalIPs and loadBalancerIP make no load balancer of a Service of type ClusterIP or
NodePort.

See it: `kubectl get service NAME -n NS`, column TYPE.

What to do: if the change was a mistake, set the type again. To get the same address back, ask for
it by the annotation metallb.io/loadBalancerIPs before somebody else gets it.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: ClusterIP
      loadBalancerIP: 192.168.1.205
      ports: [{port: 80}]

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.205}
    spec:
      type: LoadBalancer
      ports: [{port: 80}]",
    },
    Explanation {
        code: Code::HealthCheckFailing,
        summary: "The health check of the Service fails on this node",
        fix: "make what ferrolb.io/health-check asks for answer on this host: `curl -v URL`",
        long: "\
The annotation ferrolb.io/health-check says what to ask on each host: tcp://HOST:PORT must accept a
connection, http://HOST:PORT/PATH must answer 200 to 299 (a redirect is a failure). It is asked
every half second; no answer within a second is a failure. Two failures in a row take the host out,
one success brings it back. A check that has not been answered yet counts as failing, so after a
start this is normal for a moment. Said of all hosts, nobody announces the address.

See it: `ferrolb status -o json` shows which host fails. On that host ask the same:
`curl -v http://127.0.0.1:8080/healthz`.

What to do: start the program behind the Service, or correct the annotation. Ask at 127.0.0.1, not
at the address of the Service: that one may be on another host.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {ferrolb.io/health-check: 'http://192.168.1.201/healthz'}
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {ferrolb.io/health-check: 'http://127.0.0.1/healthz'}
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::NoCandidate,
        summary: "No node at all may announce the address",
        fix: "read the reason given for each node: `ferrolb status -o json`, then follow that code",
        long: "\
A node may announce an address if it is alive, its network is available, it does not carry the
exclude label, an advertisement selects it, and it has a ready endpoint where externalTrafficPolicy
is Local. Every node fails one of these, not always the same one: an advertisement may select the
two nodes on which no pod runs.

See it: the reasons per node, each with its code, in `ferrolb status -o json`. In a cluster also:
`kubectl get nodes --show-labels` and `kubectl get pods -n metallb-system -o wide`.

What to do: pick the node that should announce, and remove what stands in its way.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:    # node-1 is switched off for good
      - matchLabels: {kubernetes.io/hostname: node-1}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:
      - matchLabels: {node-role.example.org/edge: ''}    # a label that several nodes carry",
    },
    Explanation {
        code: Code::AllNodesExcluded,
        summary: "Every node is labelled to be left out, and the address is announced all the same",
        fix: "speaker.ignoreExcludeLB: true, or `kubectl label nodes --all node.kubernetes.io/exclude-from-external-load-balancers-`",
        long: "\
All nodes that could announce carry node.kubernetes.io/exclude-from-external-load-balancers. MetalLB
would announce nothing at all then, which is hardly what anybody wants: the label mostly comes from
an installer that puts it on control planes. FerroLB announces and warns. As soon as one node
without the label can announce, only such nodes do, and addresses move there.

See it: `kubectl get nodes -L node.kubernetes.io/exclude-from-external-load-balancers`.

What to do: say what you mean. Remove the label from the nodes that shall announce, or ignore it
everywhere: Helm value speaker.ignoreExcludeLB: true, flag --ignore-exclude-lb. Then this warning is
gone, and a new node without the label changes nothing.

Wrong:
    apiVersion: v1
    kind: Node
    metadata:
      name: the-only-node
      labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}

Right:
    apiVersion: v1
    kind: Node
    metadata:
      name: the-only-node
      labels: {}",
    },
    Explanation {
        code: Code::AddressInUse,
        summary: "Another device on the network uses the address, so it is not announced",
        fix: "find the device by the MAC address given and move it, or take the address out of the pool",
        long: "\
Before an address is announced for the first time, the network is asked whether somebody has it.
Somebody answered, and it is no node of ours. Two owners of one address would break connections at
random, so we stay silent. Addresses that are picked automatically skip this one.

Mostly the range of the pool lies inside the range of a DHCP server, and a phone or printer has got
the address. Two clusters with the same range look the same.

See it: the message has the MAC address. Ask again from a host: `arping -I eth0 192.168.1.205`. The
router's list of DHCP leases says who it is.

What to do: keep pool and DHCP apart, end the lease, or reserve the range in the DHCP server.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.100-192.168.1.150]    # and DHCP serves .20 to .199

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]",
    },
    Explanation {
        code: Code::ArpIgnoreUnset,
        summary: "The kernel would answer ARP for the bound address by itself",
        fix: "`sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`",
        long: "\
ferrolb.io/bind-address: lo puts the address on the loopback interface while this host owns it, so
that local programs receive its traffic. Linux answers ARP for an address of any of its interfaces
on all of them, unless arp_ignore is 1 or more. Then the kernel answers beside us: on interfaces
that the advertisement leaves out, with other MAC addresses, and earlier or later than our
announcement.

Of the values for all and for the interface the greater one counts.

See it: `sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_ignore`.

What to do: set it now with sysctl, and for the next start in a file under /etc/sysctl.d.
arp_announce=2 keeps the kernel from naming the address as sender in ARP questions of its own.

Wrong:
    net.ipv4.conf.all.arp_ignore = 0
    net.ipv4.conf.all.arp_announce = 0

Right:
    net.ipv4.conf.all.arp_ignore = 1
    net.ipv4.conf.all.arp_announce = 2",
    },
    Explanation {
        code: Code::NoBgpPeer,
        summary: "A BGP advertisement is for the Service, and no router that it is for has a session here",
        fix: "create a BGPPeer, or correct spec.peers of the BGPAdvertisement and nodeSelectors of the BGPPeer",
        long: "\
A BGPAdvertisement selects the pool of the Service and this node. It is for the routers in its
spec.peers, or for all where that is empty. None of them is a router of this node: there is no
BGPPeer at all, its nodeSelectors leave this node out, spec.peers has a name that no BGPPeer has, or
the BGPPeer cannot be used as it is written, which is then a finding of its own.

See it: `kubectl get bgppeers -n metallb-system`; without Kubernetes `ferrolb status` has a row for
each router of this node under ROUTER.

What to do: create the BGPPeer, or correct names and selectors.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: BGPAdvertisement
    metadata: {name: to-the-router, namespace: metallb-system}
    spec: {peers: [router]}    # and no BGPPeer is there

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
        code: Code::NodeDrained,
        summary: "The node is being emptied, so it hands its addresses over to other nodes",
        fix: "nothing, or `kubectl uncordon NODE` (or take taint or annotation off) when it shall announce again",
        long: "\
The speakers were told which sign means that a node is being emptied: cordon, annotation or
taint:KEY, by the Helm value speaker.drainOn or the flag --drain-on. This node shows one of them. It
stops being a candidate, and hands each address to the next one: that node announces first, and only
then does this one stop. Where no other node may announce an address, it stays here.

Nothing is such a sign unless it is said. Nodes stay cordoned for months in some clusters, and go on
serving.

See it: `kubectl get node NODE -o yaml`: spec.unschedulable, spec.taints, and the annotation
ferrolb.io/drain, which counts with any value but false.

What to do: nothing while the node is to be empty. Afterwards take the sign away; the addresses that
are this node's by the election come back, in the same way.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1}
    spec: {unschedulable: true}    # it shall announce, and speaker.drainOn is [cordon]

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1}
    spec: {}",
    },
];
