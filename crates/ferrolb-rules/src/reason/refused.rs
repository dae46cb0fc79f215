//! Texts for LB1008–LB1016: an address cannot be given, shared or kept.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::SharingRefused,
        summary: "Another Service has the address, and the two may not share it",
        fix: "give both Services the same annotation metallb.io/allow-shared-ip, or ask for another address",
        long: "\
Two Services share an address only if both say so: metallb.io/allow-shared-ip with the same value,
not empty. With externalTrafficPolicy: Local they must have the same selector as well, and a Local
Service does not share with a Cluster one. The reason: traffic for one address arrives at one node,
and that node must have the pods of both.

See it: the message names the Services that have the address. In a cluster:
`kubectl get services -A | grep 192.168.1.205`.

What to do: give both the same key, and the same externalTrafficPolicy and selector; or ask for
another address. The key is any text; it only has to be equal.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: dns-tcp
      annotations: {metallb.io/allow-shared-ip: dns, metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: dns}, ports: [{port: 53, protocol: TCP}]}
    ---
    apiVersion: v1
    kind: Service
    metadata:
      name: dns-udp
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: dns-udp    # and dns-tcp as above
      annotations: {metallb.io/allow-shared-ip: dns, metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}",
    },
    Explanation {
        code: Code::PortInUse,
        summary: "The address may be shared, but another Service on it has the same port",
        fix: "change spec.ports[].port of one Service, or let it have an address of its own",
        long: "\
Services that share an address must differ in every pair of protocol and port: a packet for TCP/443
can go to one of them only. TCP/53 and UDP/53 are different and go together. What counts is port,
the one that clients use; targetPort and nodePort play no part.

See it: the message names protocol, port and the Service that has it. In a cluster:
`kubectl get service NAME -n NS -o jsonpath='{.spec.ports}'`.

What to do: use another port, remove the request for this address so that another one is picked, or
put both names behind one ingress controller.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: admin    # and the Service web has TCP/443 under the same key and address
      annotations: {metallb.io/allow-shared-ip: front, metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: admin}, ports: [{port: 443}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: admin
      annotations: {metallb.io/allow-shared-ip: front, metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: admin}, ports: [{port: 8443, targetPort: 443}]}",
    },
    Explanation {
        code: Code::ClusterIpsMissing,
        summary: "The Service lacks the cluster IPs that its IP families call for",
        fix: "set spec.ipFamilyPolicy to PreferDualStack or SingleStack, or give the cluster both families",
        long: "\
Which families a load balancer address must have follows from the cluster IPs of the Service. There
are none yet, or they make no sense, or the Service says RequireDualStack and has only one. The last
happens in clusters whose Service network is of one family.

A new Service without cluster IPs is normal for a moment: the API server is about to give them.

See it: `kubectl get service NAME -n NS -o jsonpath='{.spec.clusterIPs} {.spec.ipFamilyPolicy}'`.

What to do: in a cluster of one family, do not require two. Do not copy clusterIP: None from a
headless Service: a Service of type LoadBalancer needs a cluster IP.

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      ipFamilyPolicy: RequireDualStack
      clusterIPs: [10.96.0.20]
      ports: [{port: 80}]

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      ipFamilyPolicy: PreferDualStack
      clusterIPs: [10.96.0.20]
      ports: [{port: 80}]",
    },
    Explanation {
        code: Code::OtherClass,
        summary: "The Service belongs to another load balancer by its loadBalancerClass",
        fix: "create the Service anew without spec.loadBalancerClass, or start FerroLB with --lb-class CLASS",
        long: "\
Services choose their load balancer by spec.loadBalancerClass. FerroLB without --lb-class serves
those that have no class; with --lb-class X it serves those of class X and no others. This one is
meant for somebody else. If that is so, all is well and there is nothing to do.

See it: `kubectl get service NAME -n NS -o jsonpath='{.spec.loadBalancerClass}'`.

What to do if it was meant for us: Kubernetes does not let the class of a Service change, so delete
the Service and create it without the field, or with the class we serve. The Helm value for
--lb-class is loadBalancerClass. An annotation such as metallb.universe.tf/loadBalancer-class has no
effect (LB2001).

Wrong:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      loadBalancerClass: example.org/other    # and FerroLB runs without --lb-class
      ports: [{port: 80}]

Right:
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: LoadBalancer
      ports: [{port: 80}]",
    },
    Explanation {
        code: Code::AddressNotInPool,
        summary: "The requested address belongs to no pool, or the two do not share one pool",
        fix: "add the address to one IPAddressPool, or ask for one that a pool has (`ferrolb status` lists ranges)",
        long: "\
Only addresses of a pool are given, even when a Service asks for one by itself. This one lies in no
pool. Two addresses, one of each family, must come from the same pool. With avoidBuggyIPs: true,
addresses ending in .0 and .255 count as not in the pool.

See it: `kubectl get ipaddresspools -n metallb-system` shows the ranges. A range is inclusive at
both ends: 192.168.1.200-192.168.1.220 has 21 addresses.

What to do: widen the pool, if the address is free on the network, or ask for another one. For an
address that only this Service shall have, write a pool of one address with autoAssign: false.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web    # and the only pool is 192.168.1.200-192.168.1.220
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.221}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.220}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::PoolMismatch,
        summary: "The requested address lies outside the requested pool",
        fix: "remove the annotation metallb.io/address-pool from the Service",
        long: "\
The Service asks for an address and for a pool, and the address is in another pool. Both cannot be
granted, and neither is more important, so it gets nothing.

See it: `kubectl get service NAME -n NS -o jsonpath='{.metadata.annotations}'`; the ranges of the
pools are in `ferrolb status`.

What to do: an address says enough; remove the annotation metallb.io/address-pool. Or keep the pool
and ask for one of its addresses, or for none in particular.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web    # the pool production is 192.168.1.240/28
      annotations: {metallb.io/address-pool: production, metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/address-pool: production, metallb.io/loadBalancerIPs: 192.168.1.245}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::AddressNotAllowed,
        summary: "The address that the Service had is no longer allowed and was given up",
        fix: "put the address back into a pool that serves this Service, or tell its users the new one",
        long: "\
An address stays with its Service as long as a pool has it and serves the Service. That has ended:
the range was taken out, serviceAllocation changed, or sharing is no longer possible because a key,
a selector or a port changed. The Service gets another address if there is one. Clients and DNS
records that know the old one must be told.

See it: the event ClearAssignment in `kubectl describe service NAME -n NS` has the old address and
the cause; `ferrolb status` shows which address it has now.

What to do: to get the old one back, restore the pool and ask for the address by annotation.
autoAssign and priorities never take an address away, so autoAssign: false retires a pool gently.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.210-192.168.1.220]    # and a Service has 192.168.1.205

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.205/32, 192.168.1.210-192.168.1.220]",
    },
    Explanation {
        code: Code::SecondFamilyUnavailable,
        summary: "The Service prefers both IP families and got an address of only one",
        fix: "add addresses of the missing family to the same pool, or set ipFamilyPolicy: SingleStack",
        long: "\
With PreferDualStack a Service that has cluster IPs of both families would like an address of each.
Both come from one pool, and the pool of the first address has none of the other family left. The
Service works with the one it has. The second is added, without changing the first, as soon as the
pool has it.

See it: the event AdditionalAssignFailed in `kubectl describe service NAME -n NS`; FREE per family
in `ferrolb status`.

What to do: give the pool ranges of both families. A second pool with the other family is no help.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28, 'fd00:1::/120']",
    },
    Explanation {
        code: Code::PoolOverlap,
        summary: "The address of the Service lies in two pools, and the older pool holds that part",
        fix: "take the overlapping addresses out of one of the two pools; see LB4004",
        long: "\
Two pools overlap, and this Service has an address out of the part that they share, counted to the
younger of them. It keeps the address and stays reachable. The younger pool hands out no further
address of that part while the older one exists.

It matters where the two pools are not for the same Services or are announced in different ways:
then it is an accident which rules apply.

See it: `ferrolb status` names both pools, and shows LB4004 for the younger one.

What to do: decide which pool the addresses belong to and take them out of the other. A Service
whose pool goes away keeps its address if the remaining pool has it and serves it.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: new-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200/29]    # and default-pool is 192.168.1.200-192.168.1.220

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: new-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.224/29]",
    },
    Explanation {
        code: Code::RivalWriter,
        summary: "Another controller writes other addresses into the Service's status, again and again",
        fix: "switch the other load balancer off, or give it a class of its own: k3s by `--disable servicelb`",
        long: "\
A Service has one status, and whoever writes it last is believed. Here the addresses that were
written are replaced by somebody else's at once, and so on: the address that clients are told
changes all the time. After six rounds within a minute this controller writes only once a minute, so
that the API server is not kept busy; the address stays reserved for the Service.

The usual rivals are the load balancer that k3s brings along (servicelb), a cloud provider's
controller, and a second installation of MetalLB.

See it: the event names who writes; `kubectl get svc NAME -o yaml --show-managed-fields` shows the
same, under the subresource status.

What to do: one load balancer for one Service. Switch the other off, or let the Services that it is
meant for say so by spec.loadBalancerClass.

Wrong:
    k3s server

Right:
    k3s server --disable servicelb",
    },
];
