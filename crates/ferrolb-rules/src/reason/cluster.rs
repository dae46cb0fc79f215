//! Texts for LB0020–LB0099: the program and the API server of a cluster.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::KindMissing,
        summary: "The API server does not know one of the metallb.io kinds",
        fix: "install the CRDs: `kubectl apply -f deploy/crds.yaml`, or crds.enabled=true in the chart",
        long: "\
Pools, advertisements and the other kinds under metallb.io are custom resources. The API server
serves a kind only after its CustomResourceDefinition was applied. Until every kind is served,
nothing is decided: what is not known yet would look like what is gone.

It comes about when the CRDs come later than the program, in another wave of a GitOps sync for
instance, or when they were deleted. Deleting a CRD deletes every object of its kind.

See it: `kubectl get crds | grep metallb.io`; the log names the kind.

What to do: apply the CRDs. Nothing has to be restarted, it is tried again about every second.

Wrong:
    crds:
      enabled: false    # and nobody else installs them

Right:
    crds:
      enabled: true",
    },
    Explanation {
        code: Code::AccessDenied,
        summary: "The API server refuses what the program must read or write",
        fix: "apply the ClusterRoles and Roles of this release: the log names the verb and the resource",
        long: "\
The program works with the rights of its service account. One of them is missing, or its token is
not accepted. What can be read is used, but nothing is decided before everything has been read once.

It comes about when a newer image runs with the roles of an older release, when roles were cut down
by hand, or when the binding names another service account or namespace.

See it: the log line with this code has the API server's own words. To ask it:
`kubectl auth can-i list services --as system:serviceaccount:metallb-system:controller`.

What to do: apply the manifests or the chart of the same release as the image. Nothing has to be
restarted.

Wrong:
    image: ferrolb:v2    # with the roles of v1

Right:
    image: ferrolb:v2    # with the roles that came with v2",
    },
    Explanation {
        code: Code::ApiServerAway,
        summary: "The API server does not answer as it should",
        fix: "see whether the API server is up: `kubectl get --raw /readyz`",
        long: "\
A watch was cut and could not be begun again at once. Addresses that are announced go on being
announced, and assignments stay. What waits is everything new: Services created meanwhile get their
addresses when the API server is back.

It comes about when the API server restarts or is overloaded, or when the network to it is cut.

See it: the log line with this code has the error; `kubectl get --raw /readyz`.

What to do: nothing if it was a restart, it is tried again with a growing delay. If it stays, look
at the API server and at the network between it and this pod.

Wrong:
    kubectl get --raw /readyz
    The connection to the server 192.168.1.10:6443 was refused

Right:
    kubectl get --raw /readyz
    ok",
    },
];
