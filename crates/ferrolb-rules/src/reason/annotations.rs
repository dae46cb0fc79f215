//! Texts for LB20xx: annotations on Services. None of these keeps a Service from being served (decision D13).

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::UnknownAnnotation,
        summary: "An annotation that looks like one of MetalLB's does nothing",
        fix: "write the name that was meant, or remove it: `kubectl annotate service NAME -n NS KEY-`",
        long: "\
The name has metallb or ferrolb in it, and nobody reads it: a typing mistake, or advice that was
never right. Read are only metallb.io/address-pool, metallb.io/loadBalancerIPs and
metallb.io/allow-shared-ip (with metallb.universe.tf/ as their old prefix), and the two of our own,
ferrolb.io/health-check and ferrolb.io/bind-address. Capitals count. The Service is served as if the
annotation were not there.

Often met is loadBalancer-class: the class is a field, spec.loadBalancerClass, and a Service needs
it only where FerroLB runs with --lb-class.

See it: `ferrolb status` gives the annotation, and what it may have been meant to be.

What to do: correct the name or remove it, in Git as well, or it comes back.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations:
        metallb.universe.tf/loadBalancer-class: metallb
        metallb.io/loadBalancerIP: 192.168.1.205
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations:
        metallb.io/loadBalancerIPs: 192.168.1.205
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::OutputAnnotation,
        summary: "An annotation that the controller writes is not read, so setting it does nothing",
        fix: "remove it from the manifest; to choose a pool, write metallb.io/address-pool",
        long: "\
ip-allocated-from-pool tells which pool the address of a Service came from. It is written by the
controller after the choice and never looked at before. Copied from a live Service into Git, it only
looks as if it chose the pool. Under the old prefix, metallb.universe.tf/, nobody even writes it.

See it: `kubectl get service NAME -n NS -o jsonpath='{.metadata.annotations}'`, and the pool that
the address is really of in `ferrolb status -o json`.

What to do: remove it from the manifest. If a certain pool is wanted, ask by the annotation
metallb.io/address-pool. Mind that a Service whose address is of another pool then gets a new
address.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.universe.tf/ip-allocated-from-pool: production}
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/address-pool: production}
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::DeprecatedAnnotation,
        summary: "An annotation stands there under its old name, which still works",
        fix: "write metallb.io/ instead of metallb.universe.tf/ in the name of the annotation",
        long: "\
The prefix metallb.universe.tf/ is the former one. address-pool, loadBalancerIPs and allow-shared-ip
are still read under it, so nothing is broken. If the same annotation is there under metallb.io/
too, that one counts, even if it is empty, and the old one does nothing.

See it: `kubectl get services -A -o yaml | grep metallb.universe.tf`.

What to do: change the prefix when you next touch the manifest. Write the new name and remove the
old one in one step: a Service that for a moment asks for nothing could be given another address.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.universe.tf/address-pool: production}
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/address-pool: production}
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::AnnotationInvalid,
        summary: "The value of an annotation makes no sense, so the annotation is ignored",
        fix: "write what the annotation takes: health-check tcp://HOST:PORT, bind-address lo, bgp-communities A:B",
        long: "\
The annotation is one of ours and its value is none. ferrolb.io/health-check takes tcp://HOST:PORT
or http://HOST:PORT/PATH; a TCP check needs a port, HTTP has port 80 unless another is written, an
IPv6 address stands in brackets. ferrolb.io/bind-address takes lo and nothing else.
ferrolb.io/bgp-communities takes values with commas between them, A:B or large:A:B:C; the names that
a Community object gives to values count in advertisements only.

The Service is served as if the annotation were not there: without a health check every host counts
as healthy, without binding local programs do not receive the traffic. Of communities only those
that make no sense are left out.

See it: `ferrolb status` says what is wrong with the value.

What to do: correct the value, or remove the annotation.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations:
        ferrolb.io/health-check: 127.0.0.1:8080/healthz
        ferrolb.io/bind-address: 'true'
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations:
        ferrolb.io/health-check: http://127.0.0.1:8080/healthz
        ferrolb.io/bind-address: lo
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::ForeignOutputAnnotation,
        summary: "Another program holds an annotation of the controller at a value that is not true",
        fix: "take metallb.io/ip-allocated-from-pool out of what the other program applies (Git, Helm, Argo CD)",
        long: "\
metallb.io/ip-allocated-from-pool is ours to write. Another field manager owns it on this Service
and keeps it at another pool than the address is of. FerroLB does not fight over it: the address is
right, the annotation is wrong, and people or dashboards that read it are misled.

It comes about when a live Service is copied into Git with all its annotations, and a tool applies
it again and again.

See it: `kubectl get service NAME -n NS -o yaml --show-managed-fields`; the manager whose fields
list f:metallb.io/ip-allocated-from-pool is the one.

What to do: remove the line from the manifest and let the tool apply it. The controller then writes
the true value.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web    # as applied by Argo CD; the address is of default-pool
      annotations: {metallb.io/ip-allocated-from-pool: production}
    spec: {type: LoadBalancer, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
];
