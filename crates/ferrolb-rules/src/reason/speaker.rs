//! Texts for LB0023–LB0027: what a speaker, and for the last the controller too, runs into in a cluster.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::MembershipKeyMissing,
        summary: "The secret that the speakers share is not there yet, so this one announces nothing",
        fix: "look whether the controller runs: it creates the Secret; `kubectl get secret -n metallb-system`",
        long: "\
Speakers talk to one another in datagrams that are sealed with a shared secret. The controller makes
it at its first start and keeps it in a Secret; every speaker finds it as the file `secretkey` in
the directory --ml-secret-key-path. Without it a speaker cannot know who is alive. It waits, looks
once a second, and goes on by itself when the file is there. The kubelet may take a minute for that,
so with --ml-secret-name it also reads the Secret of that name as soon as there is one.

It comes about while everything is installed at once, or when the controller does not run, or when
the Secret has been deleted: the controller looks every five minutes, and makes it anew. Until then
a new pod is not Ready; pods that run need it no more.

See it: the speaker's log; it is not Ready.

What to do: wait a few seconds after an installation. If it stays, look at the controller's log and
at the volume of the DaemonSet that mounts the Secret.

Wrong:
    kubectl delete secret memberlist -n metallb-system    # and the controller is scaled to 0

Right:
    kubectl scale deployment controller -n metallb-system --replicas=1",
    },
    Explanation {
        code: Code::SavedPlanInForce,
        summary: "The API server does not answer at start, so the plan from before the restart is in force",
        fix: "nothing for what is announced; changes wait until the API server answers: `kubectl get --raw /readyz`",
        long: "\
A speaker that starts asks the API server for Services, nodes and configuration. If no complete
answer comes within three seconds, it announces what it announced before it was restarted: that was
saved in --state-dir. As soon as everything has been read, the plan is made anew and this is over.

Meanwhile nothing new is announced and nothing is taken away: a Service deleted in the meantime may
still be answered for. If nothing was saved (a new pod has an empty directory), nothing is announced
until the API server answers.

See it: the speaker's log. It is not Ready, but it answers.

What to do: bring the API server back. Do not delete the speaker's pod: its saved plan goes with it.

Wrong:
    kubectl delete pod -n metallb-system -l app.kubernetes.io/component=speaker   # API server away

Right:
    crictl logs $(crictl ps --name kube-apiserver -q)    # on a control-plane node",
    },
    Explanation {
        code: Code::ConfigurationHeld,
        summary: "A new configuration waits because it would take an announced address away",
        fix: "wait until the controller has given the Service a new address; at most a minute",
        long: "\
A pool was removed or made smaller while a Service still has an address of it, and the address is
announced. The controller gives the Service another address, which takes milliseconds, and only then
does the speaker use the new configuration. In between the old one stays in force as a whole, so
that clients do not lose the address before there is another one.

After a minute the new configuration counts all the same, and the address is no longer announced.
If it comes to that, the controller does not run, or the Service is none that it looks after.

Two seconds are all that a configuration waits that still has the address and no advertisement for
it: an advertisement that is replaced, or renamed with its pool, is gone for a moment only.

See it: `kubectl get configurationstates -n metallb-system` shows Invalid for speakers meanwhile.

What to do: see that the controller runs. To keep the address, keep it in a pool.

Wrong:
    kubectl delete ipaddresspool in-use -n metallb-system    # while the controller does not run

Right:
    kubectl rollout status deployment controller -n metallb-system
    kubectl delete ipaddresspool in-use -n metallb-system",
    },
    Explanation {
        code: Code::ExclusionInvalid,
        summary: "The file of interfaces to leave alone cannot be used, so the speaker does not start",
        fix: "correct excludel2.yaml in the ConfigMap metallb-excludel2, or delete the ConfigMap",
        long: "\
/etc/metallb/excludel2.yaml lists regular expressions, in RE2 syntax, without look-around and
back-references. An interface whose name one of them matches anywhere is left alone. The file comes
from the ConfigMap metallb-excludel2 and may be absent; if it is there, it has to be right, because
announcing on an interface that was meant to be left alone is worse than not starting.

With the file, its list counts and no other. Without it, `lo` and the usual interfaces of containers
and tunnels are left alone.

See it: the speaker's last line names the expression.

What to do: correct the file and restart the speakers.

Wrong:
    announcedInterfacesToExclude: [\"^veth.*\", \"wan(\"]

Right:
    announcedInterfacesToExclude: [\"^veth.*\", \"wan\"]",
    },
    Explanation {
        code: Code::ObjectMalformed,
        summary: "An object that the API server has does not fit its kind and cannot be read",
        fix: "write it anew in the shape that `kubectl explain KIND.spec` shows, or delete it",
        long: "\
The API server keeps what was once stored, even if the definition of the kind that is installed now
would refuse it. A required field is missing, or a field has the wrong type: text where a list is
meant, for example. It comes about when the definitions of the kinds were hand-written without a
schema for a while, or were those of a much older release.

The object cannot be read, so nobody knows what it says. It is not treated as gone: the last good
configuration stays in force as a whole, and after a start there is none until the object is mended.
Objects of kinds that this release does nothing with are only named.

See it: the event on the object and ConfigurationState have the field and the error;
`kubectl get KIND NAME -n metallb-system -o yaml` shows the object.

What to do: apply the object again as it should be; the present definition refuses what is wrong.

Wrong:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: 192.168.1.200-192.168.1.220

Right:
    apiVersion: metallb.io/v1beta1
    kind: IPAddressPool
    metadata: {name: default-pool, namespace: metallb-system}
    spec:
      addresses: [192.168.1.200-192.168.1.220]",
    },
];
