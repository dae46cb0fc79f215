//! Texts for LB1001–LB1007: a Service has no address because of pools, or because of what it asks for.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::NoPool,
        summary: "There is no IPAddressPool, so no Service can get an address",
        fix: "create an IPAddressPool in the namespace metallb-system",
        long: "\
Addresses come from IPAddressPools only; nothing is guessed from the network. Not one is loaded.
Either none was ever applied, or all lie in another namespace than the configured one (LB0008).
Services that had an address lose it when the last pool is deleted.

See it: `kubectl get ipaddresspools -A`, or POOL in `ferrolb status`.

What to do: choose addresses on the network of the hosts that no DHCP server and no machine uses,
and write a pool. An L2Advertisement beside it makes them reachable.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: default}
    spec:
      addresses: [192.168.1.200-192.168.1.220]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]",
    },
    Explanation {
        code: Code::PoolExhausted,
        summary: "The requested pool has no free address of the needed IP family",
        fix: "add a range to spec.addresses of the pool, or ask for another pool",
        long: "\
The Service names a pool by the annotation metallb.io/address-pool. Then only this pool is tried:
others are never a way out. All its addresses of the family are in use, or it has none of that
family, or the Service needs both families and the pool has only one left.

Addresses ending in .0 and .255 do not count where avoidBuggyIPs is set. Neither do addresses that
an older, overlapping pool holds (LB4004).

See it: `ferrolb status`, columns USED and FREE per family. In a cluster:
`kubectl get ipaddresspool POOL -n metallb-system -o jsonpath='{.status}'`.

What to do: add a range, delete Services that nobody needs, or drop the annotation so that any pool
may serve.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production, namespace: metallb-system}
    spec:
      addresses: [192.168.1.230/32]    # and two Services ask for this pool

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: production, namespace: metallb-system}
    spec:
      addresses: [192.168.1.230/32, 192.168.1.240/28]",
    },
    Explanation {
        code: Code::NoFreeAddress,
        summary: "No pool that serves this Service by itself has a free address",
        fix: "add addresses to a pool that serves this Service: FREE in `ferrolb status` shows where room is",
        long: "\
The Service asks for nothing in particular, so every pool is tried that hands out addresses by
itself. Left out are pools with autoAssign: false, and pools whose serviceAllocation is for other
namespaces or Services. Of the rest, none has a free address of the needed family. A Service that
requires both families needs them from one pool.

See it: `ferrolb status`, or `kubectl get ipaddresspools -n metallb-system` (column Auto Assign)
and status.availableIPv4 and status.availableIPv6 of each pool.

What to do: add a range, set autoAssign: true on a pool with room, or ask for a pool by the
annotation metallb.io/address-pool.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: the-only-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      autoAssign: false

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: the-only-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      autoAssign: true",
    },
    Explanation {
        code: Code::UnknownPool,
        summary: "The Service asks for a pool that does not exist",
        fix: "correct the annotation metallb.io/address-pool of the Service, or create the pool",
        long: "\
The annotation metallb.io/address-pool names a pool, and no pool of that name is loaded. The name is
misspelt, the pool lies outside the configured namespace (LB0008), or the newest configuration does
not load and the last good one does not have it (LB0001). No other pool is tried instead. A Service
that already has an address keeps it until there is a pool of that name: a rename reaches the pool
and the Services that name it one after the other.

See it: `kubectl get ipaddresspools -n metallb-system`, or POOL in `ferrolb status`.

What to do: write the name of a pool that exists, or create the pool. As soon as it is there the
Service gets its address; nothing has to be deleted.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/address-pool: prodution}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/address-pool: production}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::PoolNotCompatible,
        summary: "The pool's serviceAllocation excludes this Service",
        fix: "let spec.serviceAllocation of the pool include the Service, or ask for another pool",
        long: "\
A pool with serviceAllocation is for some Services only: those in its namespaces (by name or by
namespaceSelectors), those that one of its serviceSelectors matches, or, where both are given, those
that pass both. This Service asks for the pool or for an address of it, and does not pass. Asking by
annotation does not overrule the pool.

A namespaceSelectors that matches no namespace makes the pool serve nobody.

See it: `kubectl get ipaddresspool POOL -n metallb-system -o jsonpath='{.spec.serviceAllocation}'`,
and `kubectl get namespace NS --show-labels`.

What to do: add the namespace to the pool, label the namespace or the Service, or use another pool.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: shop, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      serviceAllocation: {namespaces: [shop]}          # and the Service is in shop-test

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: shop, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      serviceAllocation: {namespaces: [shop, shop-test]}",
    },
    Explanation {
        code: Code::FamilyMismatch,
        summary: "The requested addresses do not fit the IP families of the Service",
        fix: "ask for one address of each family in spec.ipFamilies: annotation metallb.io/loadBalancerIPs",
        long: "\
A Service has the IP families of its cluster IPs: one, or both. The addresses it asks for must be of
exactly these. An IPv6 address for an IPv4 Service is refused, and so is a single address for a
Service that has both families, even with PreferDualStack. Without Kubernetes the families are those
of spec.ipFamilies and spec.ipFamilyPolicy.

A Service whose cluster IPs are of both families under the policy SingleStack contradicts itself and
gets this code as well.

See it: `kubectl get service NAME -n NS -o jsonpath='{.spec.clusterIPs} {.spec.ipFamilyPolicy}'`.

What to do: ask for addresses of the right families, separated by a comma, or change the families.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: '192.168.1.205,fd00:1::205'}
    spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}",
    },
    Explanation {
        code: Code::RequestInvalid,
        summary: "The request for addresses cannot be understood",
        fix: "write one address, or one of each family separated by a comma, in metallb.io/loadBalancerIPs",
        long: "\
There are two ways to ask for an address: the annotation metallb.io/loadBalancerIPs and the field
spec.loadBalancerIP. Refused are both at once where they differ, anything that is not an IP address
(a name, a CIDR, a port at the end), two addresses of one family, and more than two. The field takes
one address only.

A Service that already has an address keeps it while its request makes no sense.

See it: `kubectl describe service NAME -n NS` has the event LoadBalancerFailed or AllocationFailed
with the value that is refused; `ferrolb status` has it too.

What to do: keep the annotation and remove the field. Kubernetes has deprecated the field.

Wrong:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, loadBalancerIP: 192.168.1.206, ports: [{port: 80}]}

Right:
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      annotations: {metallb.io/loadBalancerIPs: 192.168.1.205}
    spec: {type: LoadBalancer, ports: [{port: 80}]}",
    },
];
