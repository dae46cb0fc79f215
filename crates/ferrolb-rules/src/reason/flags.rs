//! Texts for LB0031 to LB0039: how the program was started.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::FlagInvalid,
        summary: "A flag or an environment variable is unknown or has a value that makes no sense",
        fix: "correct it as the message says; `ferrolb VERB --help` lists what a verb takes",
        long: "\
The program does not start with a command line that it does not understand: guessing might announce
the wrong addresses. Controller and speaker take the flags and variables of MetalLB, with one dash
or two, as `--flag=value` or `--flag value`. A switch stands alone or has `=true` or `=false` right
behind it; a word after a blank is not its value.

It comes about by a typo, by a flag of the other of the two programs, or by a value such as a port
above 65535, or a --node-name that no Node can have. A pod then restarts over and over
(CrashLoopBackOff); nothing else is disturbed.

See it: the message names the flag, and the nearest one that exists. In a cluster it is in
`kubectl logs` of the pod, without one on standard error, which systemd keeps for `journalctl -u`.

What to do: correct the arguments of the container or of the systemd unit, or the value in the chart
that they come from.

Wrong:
    args: [\"--port=9120\", \"--webhook-http2\", \"false\"]

Right:
    args: [\"--port=9120\", \"--webhook-http2=false\"]",
    },
    Explanation {
        code: Code::FlagWithoutEffect,
        summary: "A flag or an environment variable is accepted and does nothing",
        fix: "leave it out; the message says what stands in its place",
        long: "\
Start lines written for MetalLB run this program unchanged. A few of their flags and variables set
up things that do not exist here, above all FRR: no FRR is started or configured, and no
FRRConfiguration is written. Such a flag is accepted, so that nothing breaks, and named once at the
start, so that nobody waits for its effect. Cipher suites and curves of TLS that are not offered are
named in the same way; the others in the list are used.

It comes about after moving from MetalLB, when its manifests or values were kept.

See it: the log of the pod right after its start.

What to do: nothing has to be done. To be rid of the message, leave the flag or variable out.

Wrong:
    env:
    - {name: METALLB_BGP_TYPE, value: frr}

Right:
    env: []",
    },
    Explanation {
        code: Code::PortNotFree,
        summary: "A port to serve on cannot be had",
        fix: "find its owner with `ss -ltnp`, and free the port or choose another with the flag named in the message",
        long: "\
Metrics, health and webhooks are each served on a port. If one of them is taken, the program does
not start: running on without would hide that nothing can be seen or checked.

The speaker runs in the network of its node, so its ports are ports of the node. It comes about when
MetalLB's own speaker is still running there, when two releases are installed in one cluster, or
when another program of the node uses the port.

See it: the log of the pod names the port, the flag that sets it, and what the kernel said.

What to do: on the node, `ss -ltnp` shows who has the port. Stop that program, or choose another
port. The probes of the pod and whoever scrapes the metrics must use the same.

Wrong:
    ferrolb speaker --port=9120 ...    # while another speaker runs on the node

Right:
    ferrolb speaker --port=9121 ...",
    },
];
