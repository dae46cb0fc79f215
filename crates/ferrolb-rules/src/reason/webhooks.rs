//! Texts for LB0041 to LB0049: the webhooks, their certificates, and who trusts them.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::WebhookCertificateMissing,
        summary: "The webhooks have no certificate, so the API server cannot call them",
        fix: "let the controller write Secret metallb-webhook-cert: `kubectl describe role -n metallb-system`",
        long: "\
The controller makes the certificates of its webhooks itself and keeps them in the Secret
metallb-webhook-cert, so that all its replicas serve the same. The Secret is not there and could not
be created, or it could not be read or written: a right is missing, or the API server does not
answer. With --disable-cert-rotation it is the files tls.crt and tls.key that are missing or do not
belong together.

Addresses are given and announced all the same. Objects are still accepted, because the webhooks
may fail (failurePolicy Ignore), but mistakes in them show only afterwards, and BGPPeers of version
v1beta1 can be neither read nor written.

See it: `kubectl get secret metallb-webhook-cert -n metallb-system`, and the log of the controller.

What to do: give the controller's Role the rights on secrets that the manifests have, or create the
Secret empty. It is tried again by itself.

Wrong:
    kubectl delete role metallb-controller -n metallb-system

Right:
    kubectl apply -f metallb.yaml",
    },
    Explanation {
        code: Code::WebhookNotTrusted,
        summary: "The API server was not told which certificate authority the webhooks have",
        fix: "allow patch on validatingwebhookconfigurations and customresourcedefinitions: see the log",
        long: "\
The API server calls a webhook only if its certificate comes from the authority in the field
caBundle: in the ValidatingWebhookConfiguration metallb-webhook-configuration, and for the
conversion of BGPPeers in the CustomResourceDefinition bgppeers.metallb.io. The controller fills
both in, by server-side apply under its own field manager, and could not: the right is missing, or
the change was refused.

Objects are still accepted, because the webhooks may fail (failurePolicy Ignore), but mistakes in
them show only afterwards, and BGPPeers of version v1beta1 can be neither read nor written.

See it: the log of the controller names the object and the answer of the API server.

What to do: give the controller's ClusterRole the rights that the manifests have. In GitOps, never
write caBundle into a manifest: a field that is not written there is no difference.

Wrong:
    kubectl delete clusterrole metallb:controller

Right:
    kubectl apply -f metallb.yaml",
    },
    Explanation {
        code: Code::WebhookNotReached,
        summary: "The API server does not get through to the webhooks",
        fix: "let the API server reach port 9443 of the controller's pod: firewall, network policy, network plugin",
        long: "\
`ferrolb check` asked the API server to judge a pool that only the webhook refuses, without storing
it (a dry run). It was accepted, or the call failed: the API server did not get an answer from the
controller. Often the API server runs on the host's network and a firewall or a network policy keeps
it from the pods; or the controller does not run, or was started with --webhook-mode=disabled.

With failurePolicy Ignore, which is the default, objects are accepted all the same: addresses are
given and announced, mistakes show only afterwards, and BGPPeers of version v1beta1 can be neither
read nor written. With Fail nothing of ours can be written.

See it: `kubectl get endpointslices -n metallb-system -l
kubernetes.io/service-name=metallb-webhook-service` names the pod, and the log of the API server
has the line `failed calling webhook`.

What to do: allow TCP port 9443 from the machines of the API server to the controller's pods. With
networkpolicies.enabled the chart's policy allows it.

Wrong:
    # a policy that lets only pods of the namespace in
    spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}

Right:
    spec: {podSelector: {}, ingress: [{ports: [{port: 9443, protocol: TCP}]}]}",
    },
];
