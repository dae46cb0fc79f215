//! Texts for LB1101–LB1110: an address is not announced because nobody is asked to, or because of the node.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::NoAdvertisement,
        summary: "No L2Advertisement selects the pool or the Service, so nobody announces the address",
        fix: "name the pool in spec.ipAddressPools of an L2Advertisement, or write one without that list",
        long: "\
A pool only says which addresses there are. That they are announced on the network takes an
L2Advertisement which selects the pool, and the Service too where it has serviceSelectors. There is
none. The Service shows its address, and nothing answers there.

An advertisement without ipAddressPools and ipAddressPoolSelectors is for every pool. As soon as it
names one pool, it is for that one only: a pool added later is not covered.

See it: `ferrolb status`, column ADVERTISED BY. In a cluster:
`kubectl get l2advertisements -n metallb-system`.

What to do: add the pool to spec.ipAddressPools, or remove that list to announce all pools.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement, namespace: metallb-system}
    spec:
      ipAddressPools: [default-pool]    # and the address is of production-pool

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement, namespace: metallb-system}
    spec:
      ipAddressPools: [default-pool, production-pool]",
    },
    Explanation {
        code: Code::NoReadyEndpoints,
        summary: "No endpoint of the Service is ready, so announcing its address would help nobody",
        fix: "get an endpoint ready: `kubectl get endpointslices -n NS -l kubernetes.io/service-name=NAME` lists them",
        long: "\
An address is announced while at least one endpoint can serve: it is ready, or it is terminating and
still serving. No pod matches the selector, or none passes its readiness probe. As soon as one does,
the address is announced.

Without Kubernetes a Service that has neither a selector nor an EndpointSlice counts as ready. One
with a selector waits for an EndpointSlice, which nobody there writes.

See it: `kubectl get endpointslices -n NS -l kubernetes.io/service-name=NAME -o yaml`, conditions of
each endpoint; `kubectl get pods -n NS -l app=NAME`.

What to do: compare the selector with the labels of the pods, then look at why pods are not ready.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      selector: {app: wbe}    # and the pods have the label app=web
      ports: [{port: 80}]

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      selector: {app: web}
      ports: [{port: 80}]",
    },
    Explanation {
        code: Code::NoLocalEndpoints,
        summary: "With externalTrafficPolicy: Local, no ready endpoint runs on this node",
        fix: "do nothing if another node announces it, else run a pod here or set externalTrafficPolicy: Cluster",
        long: "\
With externalTrafficPolicy: Local a node serves only pods of its own. A node without a ready one
would throw the traffic away, so it is no candidate. Said of one node this is normal. Said of all
nodes that may announce, the address is dead: the pods run on nodes that the advertisement or a
label excludes, or their endpoints carry no nodeName.

See it: `kubectl get pods -n NS -o wide` (column NODE); reasons per node in
`ferrolb status -o json`.

What to do: let the pods run on announcing nodes, let the advertisement select the nodes of the
pods, or use Cluster, which hides the address of the client from the pods.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      externalTrafficPolicy: Local    # and no pod runs on a node that the advertisement selects
      selector: {app: web}
      ports: [{port: 80}]

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      externalTrafficPolicy: Cluster
      selector: {app: web}
      ports: [{port: 80}]",
    },
    Explanation {
        code: Code::NodeExcluded,
        summary: "The node is labelled to be left out by load balancers, so it does not announce",
        fix: "speaker.ignoreExcludeLB: true, or `kubectl label node NODE node.kubernetes.io/exclude-from-external-load-balancers-`",
        long: "\
The label node.kubernetes.io/exclude-from-external-load-balancers on a Node, with any value, even
false, takes it out. kubeadm and Talos put it on control-plane nodes, because a cloud's load
balancer should not send traffic there. In a cluster of one node, or of control planes only, it
leaves nobody to announce. That no node at all is left has a code of its own: LB1117.

See it: `kubectl get nodes -L node.kubernetes.io/exclude-from-external-load-balancers`.

What to do: remove the label, or ignore it: Helm value speaker.ignoreExcludeLB: true, flag
--ignore-exclude-lb. On Talos take it out of machine.nodeLabels, or it comes back.

Wrong:
    apiVersion: v1
    kind: Node
    metadata:
      name: node-1
      labels: {node.kubernetes.io/exclude-from-external-load-balancers: 'false'}

Right:
    apiVersion: v1
    kind: Node
    metadata:
      name: node-1
      labels: {}",
    },
    Explanation {
        code: Code::NodeNetworkUnavailable,
        summary: "The node reports its network as unavailable, so it does not announce",
        fix: "mend the node's network plugin; `kubectl describe node NODE`, or the status of the Node, says why",
        long: "\
The Node has the condition NetworkUnavailable with status True. The network plugin, or the cloud's
controller, says by it that pods on this node cannot be reached yet. Traffic sent there would be
lost, so the node is no candidate until the condition is False.

On a node that has just joined this is normal for a minute. If it stays, the plugin's pod does not
run there, or nobody who set the condition is left to clear it.

See it: `kubectl describe node NODE`, section Conditions; `kubectl get pods -n kube-system -o wide`.

What to do: get the plugin's pod on that node running. If the plugin was replaced and the condition
is a leftover, restart the pod of the new one, which writes the condition anew.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1}
    status:
      conditions:
      - {type: NetworkUnavailable, status: 'True', reason: NoRouteCreated}

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: node-1}
    status:
      conditions:
      - {type: NetworkUnavailable, status: 'False', reason: RouteCreated}",
    },
    Explanation {
        code: Code::InterfaceMissing,
        summary: "No interface of this node that may announce the address can do so",
        fix: "bring the interface up; name it in spec.interfaces or --interface as `ip -brief link` shows it",
        long: "\
The interfaces that may announce are those that spec.interfaces of the L2Advertisement and the flag
--interface name, or all. This node has none of them that could: there is no interface of that name,
or it is down or without carrier, or belongs to a bridge or bond (then name the bridge or bond), or
does no ARP. Names are compared letter by letter: no patterns, no aliases.

Without Kubernetes a host that can announce on no interface at all says so to the others, and they
announce. Interfaces that an advertisement names have no part in the election, as in MetalLB: an
elected node without them stays silent, and so does everybody else.

Typical for clusters of mixed hardware: the same port is eth0 on one machine and enp3s0 on the next.

See it: `ip -brief link` on the node; `ferrolb status` lists the interfaces in use.

What to do: bring the interface up, or list all the names that occur, since each node uses those it
has. Without spec.interfaces every suitable interface announces, which is right for most networks.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      interfaces: ['eth*']

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      interfaces: [eth0, enp3s0]",
    },
    Explanation {
        code: Code::SharedAddressWithServiceSelectors,
        summary: "The address may be shared, and an advertisement for it selects single Services",
        fix: "remove metallb.io/allow-shared-ip from the Service, or serviceSelectors from the L2Advertisement",
        long: "\
Services that share an address must be announced by the same node. An advertisement with
serviceSelectors may treat each of them differently, and two nodes could end up answering for one
address. So a Service with the annotation metallb.io/allow-shared-ip (any value, even empty, even if
it shares with nobody) is not announced where a matching advertisement has serviceSelectors.

See it: `kubectl get l2advertisements -n metallb-system -o yaml | grep -A5 serviceSelectors`.

What to do: give shared addresses a pool and an advertisement without serviceSelectors, or remove
the annotation from Services that do not share.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: dns, namespace: metallb-system}
    spec:
      ipAddressPools: [shared-pool]
      serviceSelectors:
      - matchLabels: {app: dns}    # and the Service has metallb.io/allow-shared-ip

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: dns, namespace: metallb-system}
    spec:
      ipAddressPools: [shared-pool]",
    },
    Explanation {
        code: Code::NotElected,
        summary: "Another node is the better candidate, so this one stays silent",
        fix: "do nothing: `ferrolb status` shows in the column NODE who announces the address",
        long: "\
By layer 2 one node announces an address, the others stand by. All nodes rank the candidates in the
same way, by a hash of node name and address, after the weights of preferredNodeSelectors. This node
may announce and is not first. That is no fault: it takes over when the first one fails.

It is a fault only if nobody announces: then look at the node that should.

See it: `ferrolb status`, column NODE. In a cluster: `kubectl get servicel2statuses -A`, or the
event nodeAssigned in `kubectl describe service NAME -n NS`.

What to do: nothing. To move an address to a certain node, prefer that node. To spread the load, use
more than one address: the hash spreads them over the nodes.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      nodeSelectors:    # forces the node, and leaves nobody to take over
      - matchLabels: {kubernetes.io/hostname: node-1}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: on-the-lan, namespace: metallb-system}
    spec:
      preferredNodeSelectors:
      - {weight: 100, preference: {matchLabels: {kubernetes.io/hostname: node-1}}}",
    },
    Explanation {
        code: Code::NodeNotAlive,
        summary: "The other nodes do not hear this node, so it is no candidate",
        fix: "start FerroLB on that node, with the others' secret, and let UDP port 7946 through both ways",
        long: "\
Speakers watch one another with small sealed packets. From this node none arrive: it is off, its
network is cut, its speaker does not run, a firewall drops port 7946, or it has another secret than
the rest and its packets cannot be opened. Its addresses are announced by others meanwhile.

See it: `ferrolb status`, column ALIVE of the hosts. In a cluster:
`kubectl get pods -n metallb-system -o wide`.

What to do: bring the node back. If it runs, compare the secrets (`sha256sum FILE` on each host) and
let UDP port 7946 through in both directions. Another port can be set, but it must be the same on
all nodes.

Wrong:
    ferrolb standalone --manifests /etc/ferrolb --node-name web1 --secret-file /etc/secret-a
    ferrolb standalone --manifests /etc/ferrolb --node-name web2 --secret-file /etc/secret-b

Right:
    ferrolb standalone --manifests /etc/ferrolb --node-name web1 --secret-file /etc/secret-a
    ferrolb standalone --manifests /etc/ferrolb --node-name web2 --secret-file /etc/secret-a",
    },
    Explanation {
        code: Code::NodeNotSelected,
        summary: "No advertisement for this address selects this node",
        fix: "change spec.nodeSelectors of the L2Advertisement, or metadata.labels of the Node",
        long: "\
The L2Advertisements for this address have nodeSelectors, and none of them matches the labels of
this node. For nodes that shall not announce, that is what was wanted. Selectors in the list are
alternatives; within one selector everything must match. No nodeSelectors means every node.

See it: `kubectl get nodes --show-labels` and
`kubectl get l2advertisements -n metallb-system -o jsonpath='{.items[*].spec.nodeSelectors}'`.

What to do: label the node or change the selector. Without Kubernetes labels are those of the Node
manifests; a host without a manifest has only the label kubernetes.io/hostname.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:    # one selector: both labels at once
      - matchLabels: {zone: a, role: edge}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: edge, namespace: metallb-system}
    spec:
      nodeSelectors:    # two selectors: either label
      - matchLabels: {zone: a}
      - matchLabels: {role: edge}",
    },
];
