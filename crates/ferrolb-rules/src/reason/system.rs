//! Texts for LB00xx: the program itself, its manifests and its saved state.
//!
//! Read by people who have been woken up, so every long text goes the same way: what it means, how it comes about, how
//! to see it, what to do, then an example that triggers it and the same example put right.

use super::{Code, Explanation};

/// Stands in for a code without texts; a test proves that no code needs it.
pub(super) const UNEXPLAINED: Explanation =
    Explanation { code: Code::NotYet, summary: "no explanation", fix: "report this as a bug", long: "" };

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::ConfigurationStale,
        summary: "The newest configuration has errors, so the last good one stays in force",
        fix: "correct the errors that stand beside this code in `ferrolb status`",
        long: "\
Pools, advertisements and communities are loaded together or not at all: one bad field in one object
keeps the whole set from loading. Addresses that are in use stay, and go on being announced. What
waits is everything new: a pool added since then does not exist yet. If no configuration has loaded
since the program started, nothing is handed out.

See it: `ferrolb status` lists each error with object and field. In a cluster, look at the metric
metallb_k8s_client_config_stale_bool (1 means stale) and at the log of the controller.

What to do: correct every error listed. The next change of any object loads the whole set again; no
restart is needed.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.201]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.201/32]",
    },
    Explanation {
        code: Code::NoAllocator,
        summary: "No live host hands out addresses at the moment",
        fix: "wait ten seconds, then look at ROLE in `ferrolb status`, or at `kubectl get pods -n metallb-system`",
        long: "\
One process at a time chooses addresses: in a cluster the controller, without Kubernetes the live
host whose name sorts first. New Services wait until it has chosen. Addresses in use are not
touched.

After a start this is normal for some seconds: a host first listens for the others, so that it
does not hand out what somebody else already has. If it stays, the host that allocates is alive but
its choices do not arrive here, or the controller does not run.

See it: `ferrolb status` shows in the column ROLE which host allocates. In a cluster:
`kubectl get pods -n metallb-system`.

What to do: look at the log of that host or pod. Between hosts, let UDP port 7946 (or the one given
by --ml-bindport) through in both directions.

Wrong:
    nft add rule inet filter input udp dport 7946 drop

Right:
    nft insert rule inet filter input udp dport 7946 accept",
    },
    Explanation {
        code: Code::StateUnusable,
        summary: "The saved assignments cannot be read or written",
        fix: "make --state-dir a writable directory on a local disk with free space: `df -h DIR; ls -ld DIR`",
        long: "\
A host without Kubernetes keeps in its state directory which Service has which address, so that a
restart moves nothing. The directory cannot be created or written, the disk is full, or the file
assignments.json is damaged. A damaged file is set aside as assignments.damaged, not deleted.

An assignment that cannot be saved is not used: better no address than one that is somebody else's
after the next restart.

See it: the message of this finding names the file and the error of the operating system.

What to do: free space or mend the permissions. After damage, start again: other hosts of the group
hand their copy back. On a single host, addresses that Services ask for by annotation come back the
same; the others may change.

Wrong:
    ferrolb standalone --manifests /etc/ferrolb --node-name host-a --state-dir /proc/ferrolb

Right:
    ferrolb standalone --manifests /etc/ferrolb --node-name host-a --state-dir /var/lib/ferrolb",
    },
    Explanation {
        code: Code::ManifestInvalid,
        summary: "A manifest is not valid YAML or does not fit its kind",
        fix: "correct the file at the line and column that stand beside this code",
        long: "\
The file cannot be understood: the YAML is broken, a field has the wrong type, or a required field
such as spec.addresses is missing. What the file said when it was last good stays in force, so a
slip of the keyboard takes no address away. If it was never good, its objects do not exist.

See it: `ferrolb status` gives file, line and column. The real mistake is often one line above:
a tab, a lost blank after a colon, an indentation that is one off.

What to do: correct the file. It is read again as soon as it changes.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system
    spec:
      addresses: [192.168.1.240/28]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]",
    },
    Explanation {
        code: Code::ManifestUnreadable,
        summary: "A manifest cannot be read from the disk",
        fix: "make the file plain, readable UTF-8 text: `chmod a+r FILE; file FILE`",
        long: "\
The program found the file and cannot read it. Either the user it runs as lacks the permission, or
the bytes are not UTF-8, or the file is larger than a manifest can sensibly be, or it is a symbolic
link that leads nowhere or in a circle. What was read from it before stays in force. A warning of
this code says that a file ends where it went on before, as if it were half written: for a while (a
second between documents, a minute within a line) what it said before stays in force.

See it: the message says which of these it is. `ls -lL FILE` follows links and shows permissions,
`file FILE` shows the encoding.

What to do: mend the permission or the link, save the file as UTF-8, or split it.

Wrong:
    install -m 0600 -o root pool.yaml /etc/ferrolb/pool.yaml    # and ferrolb runs as another user

Right:
    install -m 0644 -o root pool.yaml /etc/ferrolb/pool.yaml",
    },
    Explanation {
        code: Code::UnknownKind,
        summary: "An object of a kind that this program does not use was skipped",
        fix: "check apiVersion and kind for typing mistakes, or leave the object there: it does no harm",
        long: "\
Read from a directory of manifests are Service, EndpointSlice, Node, Namespace, and the kinds of
metallb.io. Everything else in the directory, a Deployment say, is skipped, because a host without
Kubernetes has nothing to do with it.

It matters when the object was meant for us: then kind or apiVersion has a typing mistake, and the
pool or advertisement does not exist. `ferrolb lint FILE` also says it of a file that was named and
is neither an object nor values of the chart, such as a template or a helmfile.

See it: the finding in `ferrolb status` names the kind and the file.

What to do: correct the kind; mind upper and lower case. MetalLB's former kind AddressPool is gone:
write an IPAddressPool, and an L2Advertisement beside it.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IpAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]",
    },
    Explanation {
        code: Code::DuplicateObject,
        summary: "Two manifests define the same object, and only the first by file name counts",
        fix: "delete one of the two definitions, or give one of the objects another name",
        long: "\
Kind, namespace and name are the same in two places of the directory. An API server would keep the
one applied last; a directory has no last, so the file that comes first by name counts and the
other does nothing. An editor's copy of a file (pool-old.yaml) is the usual cause.

See it: the finding names the file that does nothing and the one that counts.
`grep -rl 'name: default-pool' DIR` finds both.

What to do: delete the one that is out of date; keep spare copies outside of the directory.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.220]}
    ---
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.230]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec: {addresses: [192.168.1.200-192.168.1.230]}",
    },
    Explanation {
        code: Code::WrongNamespace,
        summary: "A metallb.io object lies outside the configured namespace and is ignored",
        fix: "set metadata.namespace to metallb-system (or to the value of --namespace)",
        long: "\
Pools, advertisements and communities are read from one namespace only, as MetalLB does:
metallb-system, unless --namespace (in a cluster METALLB_NAMESPACE) says otherwise. An object
without metadata.namespace belongs to the namespace default, so leaving the line out has the same
effect.

Services are not concerned: they are served from every namespace.

See it: `ferrolb status` names the object. In a cluster: `kubectl get ipaddresspools -A`.

What to do: move the object.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement}
    spec: {ipAddressPools: [default-pool]}

Right:
    apiVersion: metallb.io/v1beta1
    kind: L2Advertisement
    metadata: {name: default-advertisement, namespace: metallb-system}
    spec: {ipAddressPools: [default-pool]}",
    },
    Explanation {
        code: Code::UnknownField,
        summary: "A field that its kind does not have does nothing",
        fix: "correct the spelling, capitals too, or remove the field",
        long: "\
The object is in force, but this field of it is not: no such field exists. A typing mistake, a wrong
indentation, or a field of another kind. An API server drops such fields, often without a word.

See it: `ferrolb status` gives the path of the field, with file, line and column.

What to do: compare with `kubectl explain KIND.spec`. Mind the capitals: avoidBuggyIPs,
ipAddressPools, autoAssign. If the field is there in a newer MetalLB only, this release does
without.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: reserved, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      auto-assign: false

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: reserved, namespace: metallb-system}
    spec:
      addresses: [192.168.1.240/28]
      autoAssign: false",
    },
    Explanation {
        code: Code::NotYet,
        summary: "Valid and understood, but this release does not do it yet",
        fix: "do without the object or field, or keep MetalLB where it is needed",
        long: "\
The object or field is part of the MetalLB API and nothing is wrong with it. This release of FerroLB
does not act on it, and says so instead of keeping silent. It can stay where it is: a later release
will use it without a change.

See it: the finding names the kind or field. `ferrolb --version` shows the release; its changelog
says what has been added since.

What to do: see whether it can be done without. Shorter intervals of a BFDProfile find a dead router
as fast as its echo mode; and where BFD does not watch yet (a peer with vrf), a short
holdTime finds it within a few seconds.

Wrong:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, vrf: red, bfdProfile: fast}

Right:
    apiVersion: metallb.io/v1beta2
    kind: BGPPeer
    metadata: {name: router, namespace: metallb-system}
    spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, vrf: red, holdTime: 3s}",
    },
    Explanation {
        code: Code::NodeUnknown,
        summary: "The node that this process runs as has no Node object with an InternalIP",
        fix: "make --node-name the name of a Node object that has an address of type InternalIP",
        long: "\
Hosts find one another by Node objects: metadata.name says who it is, the address of type InternalIP
says where. Without them the others do not know this host, and node selectors do not match it. A
host alone on its network can do without.

The usual cause is a name that differs: --node-name (or METALLB_NODE_NAME) says web1, the manifest
says web1.example.org. Names are compared letter by letter.

See it: `ferrolb status` shows the hosts under HOST with their addresses. In a cluster:
`kubectl get nodes -o wide`.

What to do: write the Node, or correct the name.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: web1.example.org}    # and ferrolb standalone --node-name web1

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: web1}                # and ferrolb standalone --node-name web1
    status:
      addresses:
      - {type: InternalIP, address: 192.168.1.11}",
    },
    Explanation {
        code: Code::MembershipOff,
        summary: "No secret is given, so hosts form no group and this host decides alone",
        fix: "start every host with --secret-file and the same secret: `head -c 32 /dev/urandom | base64 > FILE`",
        long: "\
Hosts talk to one another only with a secret that all of them share. `ferrolb standalone` without
--secret-file therefore neither looks for other hosts nor answers them: it chooses addresses itself
and announces all of them itself. There is no failover.

With one host that is right, and this is only a note. With two, both announce the same addresses:
the network sees two MAC addresses for one IP address, and connections break at random.

See it: `ferrolb status` shows one host and the line `no failover: 1 live host`.

What to do: create one secret, copy it to all hosts, readable by ferrolb only, and start each host
with it. If there is one host and there shall be one, do nothing.

Wrong:
    ferrolb standalone --manifests /etc/ferrolb --node-name web1
    ferrolb standalone --manifests /etc/ferrolb --node-name web2    # on the second host

Right:
    ferrolb standalone --manifests /etc/ferrolb --node-name web1 --secret-file /etc/ferrolb.secret
    ferrolb standalone --manifests /etc/ferrolb --node-name web2 --secret-file /etc/ferrolb.secret",
    },
    Explanation {
        code: Code::NodeNameTaken,
        summary: "Two hosts run under the same node name",
        fix: "give each host its own --node-name, the one that its Node object has",
        long: "\
Hosts are known by their names: the name decides who allocates addresses and who announces which
one. Two hosts with one name both believe to be meant, and both answer for the same addresses.

It comes about when a machine or its configuration was copied, or when a host was replaced and the
old one is still running.

See it: `ferrolb status` on any host; the message names both IP addresses.

What to do: stop one of the two, or give it a name of its own and a Node object with its own
InternalIP. The address that a name belongs to is the InternalIP of its Node object.

Wrong:
    ferrolb standalone --node-name web1 ...    # on 192.168.1.11
    ferrolb standalone --node-name web1 ...    # on 192.168.1.12, copied from web1

Right:
    ferrolb standalone --node-name web1 ...    # on 192.168.1.11
    ferrolb standalone --node-name web2 ...    # on 192.168.1.12",
    },
    Explanation {
        code: Code::SecretMismatch,
        summary: "Another host uses another secret",
        fix: "let all speakers read the Secret anew: `kubectl rollout restart -n metallb-system daemonset/metallb-speaker`",
        long: "\
Hosts tell each other what they know in datagrams that are sealed with the shared secret. What does
not open is dropped. A host with another secret is therefore as good as dead for this one, and this
one for it: both believe to be alone, and both announce the same addresses.

It comes about when the secret was changed on some hosts only, or when a file was copied with an
editor that added a line end in the middle. Spaces and line ends at the very end do not count.

In a cluster it is so when the Secret that the speakers share (metallb-memberlist) was deleted and
made anew, and a pod starts before the others have found the new key. They look every five seconds,
the kubelet shows it to them within two minutes, and for ten minutes they use both. Until then the
new pod announces nothing, and the others go on: no address has two owners. If it is still so after
two minutes, the Secret is mounted by `subPath` somewhere, which the kubelet never renews, or a
kubelet does not reach the API server. To shut out at once who knows the old key, restart them, too.

See it: `ferrolb status` names the nodes from which such datagrams came within the last ten seconds;
the log says `datagram dropped`.

What to do: write one secret to the same file on all hosts and restart FerroLB on them. In a cluster
`kubectl rollout restart -n metallb-system daemonset/metallb-speaker`, if waiting does not mend it.

Wrong:
    openssl rand -base64 32 > /etc/ferrolb/secret    # run once on every host

Right:
    openssl rand -base64 32 > /etc/ferrolb/secret    # run once, then copied to every host",
    },
    Explanation {
        code: Code::MembershipDeaf,
        summary: "Membership cannot listen on the host's address, so the other hosts cannot be met",
        fix: "give the Node the InternalIP that this host has (`ip -brief addr`), and free the UDP port",
        long: "\
Hosts meet at the InternalIPs of their Node objects, on one UDP port. This host could not listen
there. Either it has no such address: the InternalIP is mistyped, --node-name is another host's, or
the interface has no address yet. Or another program has the port already, most often a second
FerroLB on the same machine.

A host that cannot meet the others announces nothing, because they may announce already. It tries
again every second, and goes on by itself as soon as it works.

See it: the message names address and port. `ip -brief addr` shows the addresses of this host,
`ss -ulpn` who has which UDP port.

What to do: correct the InternalIP or the name, or stop the other program. Another port is set by
--ml-bindport, on all hosts the same.

Wrong:
    apiVersion: v1
    kind: Node
    metadata: {name: web1}                # and this host has 192.168.1.11
    status:
      addresses:
      - {type: InternalIP, address: 192.168.1.111}

Right:
    apiVersion: v1
    kind: Node
    metadata: {name: web1}                # and this host has 192.168.1.11
    status:
      addresses:
      - {type: InternalIP, address: 192.168.1.11}",
    },
    Explanation {
        code: Code::ManifestsDiffer,
        summary: "The manifests of this host lack objects that another live host has",
        fix: "give all hosts the same files; an object ends when the last live host has deleted it",
        long: "\
All hosts are to have the same manifests. This one has lost objects that others still have, or never
had them: a copy that broke off, a directory that is not mounted, a host that is updated later than
the others. While files are on their way to all hosts this is normal, and over in a moment.

What was there stays in force here as it was last, and the addresses stay where they are, so that
one host's files cannot take an address off all of them. Only after a restart does this host not
know any more what the objects said; then it leaves them to the others, and changes none of their
addresses.

See it: the message names the objects and the hosts that have them. Compare the directories:
`find DIR -type f -exec sha256sum {} + | sort -k2` on two hosts.

What to do: bring the files to this host. To end an object, delete it on all live hosts.

Wrong:
    web1:/etc/ferrolb/manifests: pool.yaml                # the copy broke off
    web2:/etc/ferrolb/manifests: pool.yaml web.yaml

Right:
    web1:/etc/ferrolb/manifests: pool.yaml web.yaml
    web2:/etc/ferrolb/manifests: pool.yaml web.yaml",
    },
];
