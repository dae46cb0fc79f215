//! What to do on a host without Kubernetes, for the codes whose general advice is a command of kubectl's.

use super::Code;

/// Code and fix. A test holds that every fix with kubectl in it is either here or cannot be said without a cluster.
pub(super) const FIXES: &[(Code, &str)] = &[
    (
        Code::NoAllocator,
        "wait ten seconds; if it stays, read the log of the host that has the ROLE in `ferrolb status`",
    ),
    (Code::NoReadyEndpoints, "see why the backends are not ready, or correct the EndpointSlice in the manifests"),
    (
        Code::NodeExcluded,
        "remove the label node.kubernetes.io/exclude-from-external-load-balancers from the Node in the manifests",
    ),
    (
        Code::NodeNetworkUnavailable,
        "mend the host's network, and correct the condition NetworkUnavailable of its Node in the manifests",
    ),
    (Code::InvalidAddress, "remove the status from the Service's manifest: it does not belong there"),
    (Code::NoAddress, "look at why it got none: `ferrolb status` says it for each Service"),
    (
        Code::AllNodesExcluded,
        "remove the label node.kubernetes.io/exclude-from-external-load-balancers from the Nodes in the manifests",
    ),
    (Code::NodeDrained, "nothing, or take the sign off its Node in the manifests when it shall announce again"),
    (Code::AnnouncerSilent, "wait a moment; if it stays, read the log of ferrolb on that host"),
    (Code::UnknownAnnotation, "write the name that was meant, or remove the line from the manifest"),
    (
        Code::AdvertisedPoolMissing,
        "correct the name in spec.ipAddressPools, or write that pool; `ferrolb status` lists those that exist",
    ),
    (Code::NoNodeSelected, "change spec.nodeSelectors, or metadata.labels of a Node in the manifests"),
    (Code::CommunityDuplicate, "rename or remove one of the two: `grep -rn 'kind: Community' DIR` finds them"),
    (Code::SecretMismatch, "give all hosts the same --secret-file, and restart ferrolb where it was another"),
    (Code::PeerLabelUnusable, "write the label into the host's Node; in IPv6 addresses dashes for colons"),
    (Code::AdvertisedPeerMissing, "correct the name in spec.peers, or write that BGPPeer"),
];
