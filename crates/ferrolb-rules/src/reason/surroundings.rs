//! Texts for LB0051 to LB0069: the cluster around us, as `ferrolb check` finds it.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::PodSecurityForbids,
        summary: "Pod Security of the namespace does not allow the speaker's pods",
        fix: "kubectl label namespace metallb-system pod-security.kubernetes.io/enforce=privileged --overwrite",
        long: "\
The speaker answers ARP on the network of its host. For that its pods need the host's network, host
ports and the capability NET_RAW, which the Pod Security levels `baseline` and `restricted` forbid.
The pods are then never created: the DaemonSet says 0 of n, and only its events tell why. Addresses
are given, because the controller is allowed to run, and nobody announces them.

It comes about where the namespace carries a label of a stricter level, or carries none and the
cluster has a stricter default, as Talos has. In Git the labels often sit in an application that is
synced after the one that needs them.

See it: `ferrolb check`, or `kubectl describe daemonset -n metallb-system metallb-speaker`.

What to do: label the namespace, in the manifest that creates it or in the Application's
`syncPolicy.managedNamespaceMetadata`. The DaemonSet then tries again by itself.

Wrong:
    apiVersion: v1
    kind: Namespace
    metadata: {name: metallb-system, labels: {pod-security.kubernetes.io/enforce: baseline}}

Right:
    apiVersion: v1
    kind: Namespace
    metadata: {name: metallb-system, labels: {pod-security.kubernetes.io/enforce: privileged}}",
    },
    Explanation {
        code: Code::ControllerAway,
        summary: "No controller is ready, so nobody gives addresses",
        fix: "kubectl get pods -n metallb-system -l app.kubernetes.io/component=controller",
        long: "\
The controller gives Services their addresses and says why one has none. While no controller is
ready, new Services stay without an address. Addresses that were given stay, and speakers go on
announcing them: nothing that works stops working.

It comes about while the pod is being pulled or scheduled, after it was removed, or when its node
selector or tolerations match no node.

See it: `ferrolb check`; `kubectl describe deployment -n metallb-system metallb-controller` shows
what Kubernetes says about its pods.

What to do: make the pod run. `Pending` means that no node takes it: look at nodeSelector and
tolerations. `ImagePullBackOff` means that the image cannot be had.

Wrong:
    controller:
      nodeSelector: {node-role.kubernetes.io/master: \"\"}

Right:
    controller:
      nodeSelector: {node-role.kubernetes.io/control-plane: \"\"}",
    },
    Explanation {
        code: Code::SpeakerIncomplete,
        summary: "A node that should have a ready speaker has none",
        fix: "kubectl get pods -n metallb-system -l app.kubernetes.io/component=speaker -o wide",
        long: "\
One speaker runs on every node that may announce. A node without a ready one announces nothing; what
it announced moves to another node, if there is one. With one node only, nothing is announced.

It comes about while pods are being pulled or started, when a node is cordoned off or lost, or when
Pod Security refuses the pods (LB0051).

See it: `ferrolb check` and `ferrolb wait` count ready speakers;
`kubectl describe daemonset -n metallb-system metallb-speaker` shows what Kubernetes says.

What to do: look at the pod of the node that is missing. If there is no pod, look at the events of
the DaemonSet; if there is one that is not ready, look at its log.

Wrong:
    speaker:
      nodeSelector: {node-role.kubernetes.io/master: \"\"}

Right:
    speaker:
      nodeSelector: {node-role.kubernetes.io/control-plane: \"\"}",
    },
    Explanation {
        code: Code::StrictArpOff,
        summary: "With kube-proxy in IPVS mode without strictARP, every node answers for every address",
        fix: "kubectl edit configmap -n kube-system kube-proxy, set ipvs.strictARP: true, restart kube-proxy",
        long: "\
In IPVS mode kube-proxy puts every Service's addresses on an interface of every node. Unless told
otherwise, the kernel of each node then answers ARP for them on its own, beside the node that is
meant to. Neighbours get several answers and believe the last one: traffic goes now here, now there.

It comes about with `mode: ipvs` in kube-proxy's configuration and `strictARP: false`, its default.

See it: `ferrolb check`; `arping` from another machine shows answers with several MAC addresses.

What to do: set `strictARP: true` in kube-proxy's ConfigMap, then
`kubectl rollout restart daemonset -n kube-system kube-proxy`. Or use the mode `nftables`.

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
        code: Code::RivalLoadBalancer,
        summary: "Another load balancer serves the same Services",
        fix: "keep one: uninstall the other (on k3s: --disable servicelb), or give one of the two a loadBalancerClass",
        long: "\
Services of type LoadBalancer without a class belong to whoever takes them. Where two programs do,
each writes its own address over the other's, for ever: EXTERNAL-IP flaps and neither works.

It comes about on k3s, whose own servicelb is on unless disabled (its pods are called svclb-…), and
where Cilium or kube-vip was tried before and stayed; where MetalLB is still installed, which also
answers for the same addresses; and where FerroLB is installed twice, in two namespaces.

See it: `ferrolb check`; `kubectl get daemonsets -A -o wide`; `kubectl get svc -w`.

What to do: switch one of the two off. On k3s: `--disable servicelb` in the server's arguments, or
`disable: [servicelb]` in /etc/rancher/k3s/config.yaml, then restart k3s. To keep both, give each
its own class: the chart's value loadBalancerClass, and spec.loadBalancerClass of the Services.
MetalLB goes by `helm uninstall`, or `kubectl delete` of its Deployment and DaemonSet; keep the
definitions of its kinds, or pools and advertisements go with them. Of FerroLB there is one in a
cluster: Helm refuses a second release (\"exists and cannot be imported into the current release\").

Wrong:
    # /etc/rancher/k3s/config.yaml
    disable: []

Right:
    # /etc/rancher/k3s/config.yaml
    disable: [servicelb]",
    },
    Explanation {
        code: Code::WebhookLeftover,
        summary: "A webhook that must answer has nobody behind it, so every change of our objects is refused",
        fix: "kubectl delete validatingwebhookconfiguration metallb-webhook-configuration",
        long: "\
A webhook with failurePolicy Fail makes the API server refuse every object that the webhook cannot
be asked about. If whoever answers it is gone, no pool and no advertisement can be written any more.
The message names a Service that does not exist: failed calling webhook, service not found.

It comes about when MetalLB's namespace was deleted by force: its webhook configuration belongs to
no namespace and stays. What FerroLB installs uses failurePolicy Ignore unless told otherwise.

See it: `ferrolb check`; `kubectl get validatingwebhookconfigurations`.

What to do: delete the leftover. A controller that runs makes it anew.

Wrong:
    kubectl delete namespace metallb-system --force --grace-period=0

Right:
    helm uninstall -n metallb-system metallb",
    },
    Explanation {
        code: Code::NoFailover,
        summary: "One node only may announce, so nothing takes over when it fails",
        fix: "nothing, if one node is meant; else add nodes, or let more of them announce",
        long: "\
An address moves to another node when the one that announces it fails. That needs a second node
which runs a speaker, is not excluded by label and is selected by an advertisement. With one such
node an address is away for as long as the node is.

It comes about in clusters of one node, and in larger ones where nodeSelectors or the label
node.kubernetes.io/exclude-from-external-load-balancers leave one node over.

See it: `ferrolb status` and `ferrolb check` say so in one line.

What to do: in a cluster of one node, nothing: this is a note. Elsewhere look with
`ferrolb why svc/NAME` at what keeps the other nodes out.

Wrong:
    speaker:
      nodeSelector: {kubernetes.io/hostname: nuc-1}

Right:
    speaker:
      nodeSelector: {}",
    },
    Explanation {
        code: Code::KubernetesUntried,
        summary: "This version of Kubernetes is older than those that are supported",
        fix: "upgrade to Kubernetes 1.31 or newer",
        long: "\
FerroLB is tried with Kubernetes 1.31 and newer. Its definitions of kinds apply on 1.28 as well, and
most things probably work there, but nobody has looked; on versions before 1.28 the API server
refuses the definitions, because rules in them use functions that it does not have.

It comes about in clusters that have not been upgraded for a long time.

See it: `ferrolb check --pre`; `kubectl version`.

What to do: upgrade, one minor version at a time. Until then, MetalLB of that time serves an old
cluster.

Wrong:
    Server Version: v1.27.4

Right:
    Server Version: v1.32.3",
    },
    Explanation {
        code: Code::FrrK8sPresent,
        summary: "Objects of frr-k8s are in the cluster, and FerroLB neither reads nor writes them",
        fix: "say what they say in BGPPeers and BGPAdvertisements; remove frr-k8s when nothing else uses it",
        long: "\
MetalLB in its mode frr-k8s writes an FRRConfiguration for every node, and frr-k8s, a program of its
own, makes FRR follow it. FerroLB speaks BGP in its own speaker: no FRR, no FRRConfiguration. Those
that MetalLB wrote stay behind when MetalLB goes, and as long as frr-k8s runs, its FRR goes on
announcing what they say: routes to addresses that may have moved. Those that people wrote by hand
(neighbours of other programs, prefixes to receive) do not concern FerroLB and go on as before.

It comes about after moving from MetalLB in that mode, and where frr-k8s serves other purposes too.

See it: `kubectl get frrconfigurations -A`; those that MetalLB wrote are called metallb-NODE. A BGP
router that has two sessions with one node has one from each.

What to do: check that each neighbour of a metallb-NODE object has a BGPPeer, and each prefix a pool
with a BGPAdvertisement; then delete those objects, and frr-k8s itself if nothing else needs it.

Wrong:
    apiVersion: frrk8s.metallb.io/v1beta1
    kind: FRRConfiguration
    metadata: {name: metallb-node-a, namespace: metallb-system}
    spec: {bgp: {routers: [{asn: 64512, neighbors: [{address: 192.168.1.1, asn: 64513}]}]}}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.1}",
    },
    Explanation {
        code: Code::MembershipPortBlocked,
        summary: "A datagram to a node's port 7946 does not get there, so speakers may not hear one another",
        fix: "let UDP port 7946 pass between the nodes: firewall on the nodes, rules of the network between",
        long: "\
Speakers find out who lives by datagrams to UDP port 7946. `ferrolb check --pre` sends an empty one
to each node. As long as nobody listens there, the node's kernel answers that nobody does: then the
way is open. Here nothing came back, or that the way is closed.

Where the port is blocked between two nodes, each believes the other dead and both announce the same
addresses (LB1212). From a machine that is no node the firewall may have other rules; so there it
is only a note. MetalLB's members use TCP on the same port too; FerroLB's do not.

See it: run the check on a node: it then says which pair it is. On the other node,
`tcpdump -ni eth0 udp port 7946` shows whether anything arrives.

What to do: allow the port between the nodes' addresses. If something else listens on it, end that
program, or choose another port: Helm value speaker.memberlist.mlBindPort.

Wrong:
    nft add rule inet filter input udp dport 7946 drop

Right:
    nft add rule inet filter input ip saddr 192.168.1.0/24 udp dport 7946 accept",
    },
];
