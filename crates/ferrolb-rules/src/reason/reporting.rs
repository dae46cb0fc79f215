//! Texts from LB1130: what is, or is not, told about an announcement in a cluster.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::NoSpeaker,
        summary: "No speaker runs, so nobody can announce the address",
        fix: "see why the DaemonSet has no pods: `kubectl describe daemonset metallb-speaker -n metallb-system`",
        long: "\
Addresses are handed out by the controller and announced by speakers, one on each node. There is no
speaker whose pod is ready, so the address is reserved and nothing answers for it.

It comes about when the DaemonSet was not installed, when its nodeSelector matches no node, when the
image cannot be pulled, or when Pod Security refuses the pods: the speaker needs the host's network
and NET_RAW, which the level privileged allows. The reason then stands in the events of the
DaemonSet, not in those of a pod.

See it: `kubectl get pods -n metallb-system -o wide` and
`kubectl describe daemonset metallb-speaker -n metallb-system`.

What to do: correct what the events say.

Wrong:
    apiVersion: v1
    kind: Namespace
    metadata:
      name: metallb-system
      labels: {pod-security.kubernetes.io/enforce: baseline}

Right:
    apiVersion: v1
    kind: Namespace
    metadata:
      name: metallb-system
      labels: {pod-security.kubernetes.io/enforce: privileged}",
    },
    Explanation {
        code: Code::AnnouncerSilent,
        summary: "A node should announce the address and does not report that it does",
        fix: "read the log of the speaker on that node: `kubectl get pods -n metallb-system -o wide` names its pod",
        long: "\
By what the controller knows, the named node is the one to announce the address. Its speaker has not
written a ServiceL2Status that says so. For a moment after a change that is normal. Without
Kubernetes the hosts tell one another: `ferrolb status` on any of them has what the named one says.

It comes about when the speaker cannot reach the API server (then it may well announce, and only
cannot tell), when it has an older view of the cluster, when it finds the address in use on the
network, when none of the interfaces of the advertisement exists there, or when it runs with other
settings than the controller assumes.

See it: `kubectl get servicel2statuses -n metallb-system`, the events of the Service, and the log of
the speaker on that node.

What to do: what that log says. If the log has no line about the Service, see that speaker and
controller are of the same release.

Wrong:
    kubectl logs -n metallb-system deploy/metallb-controller    # the controller announces nothing

Right:
    kubectl logs -n metallb-system metallb-speaker-x7k2p    # the pod on the named node",
    },
];
