//! Texts for LB0061 to LB0069: what a process must have to start at all, and whom the other verbs ask.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::SocketUnusable,
        summary: "The local socket for `ferrolb status` cannot be made",
        fix: "give --socket a path of at most 100 characters in a directory that may be written: `ls -ld DIR`",
        long: "\
`ferrolb standalone` answers `ferrolb status` and the other verbs that ask on a socket in the file
system. It does not start without: a process that nobody can ask is of no use on a bad day.

Either another process answers there already, most often a second FerroLB on this host; or the path
leads through something that is no directory, or may not be written; or it names a file that is no
socket, which is left alone; or it is longer than the 107 bytes that the kernel allows. A socket
that a dead process left behind is no obstacle, it is replaced.

See it: the message names the path and the cause. `ss -xlp` shows who listens where.

What to do: stop the other process, or give each its own --socket and --state-dir, and tell the
verbs that ask: `ferrolb status --socket PATH`, or FERROLB_SOCKET=PATH in the environment.

Wrong:
    ferrolb standalone --node-name web1 --socket /run/ferrolb/ferrolb.sock ...
    ferrolb standalone --node-name web1 --socket /run/ferrolb/ferrolb.sock ...    # once more

Right:
    ferrolb standalone --node-name web1 --socket /run/ferrolb/ferrolb.sock ...",
    },
    Explanation {
        code: Code::NoAnswer,
        summary: "Nobody answers: there is no process to ask, or it does not speak",
        fix: "look whether it runs, and name its socket: `pgrep -a ferrolb; ferrolb status --socket PATH`",
        long: "\
`ferrolb status` and the other verbs that ask go to the socket of `ferrolb standalone` if there is
one, else to the cluster that kubectl would ask. This time nobody gave an answer.

Either nothing runs here; or it was started with another --socket; or the socket belongs to another
user and may not be opened; or the process hangs; or it is of another release, and its answer cannot
be understood. Nothing can be said about the Services then, so the exit code is 2, not 1. Addresses
that are announced are not touched by asking.

See it: the message names the socket and the error. `ss -xlp | grep ferrolb` shows where one
listens.

What to do: start it, or say where it is. Against a cluster: --kubeconfig FILE, or --context NAME;
without either, --manifests DIR judges files and asks nobody.

Wrong:
    ferrolb standalone --socket /run/web1.sock ...
    ferrolb status

Right:
    ferrolb standalone --socket /run/web1.sock ...
    ferrolb status --socket /run/web1.sock",
    },
    Explanation {
        code: Code::SecretUnusable,
        summary: "The file with the shared secret cannot be used",
        fix: "write one, and copy it to every host: `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`",
        long: "\
Hosts talk to one another in datagrams that are sealed with a secret which all of them share. The
file that --secret-file names is not there, may not be read, or holds nothing but blanks. Without
the secret the host would be deaf, and might announce what another host announces; so it does not
start.

It comes about by a typing mistake in the path, by a file that root wrote for itself, or by a copy
that broke off.

See it: `ls -l FILE`. The content is any text or bytes; blanks and line ends at its end do not
count.

What to do: copy the file from a host that works. A new secret must go to all hosts at once. A host
that shall stay alone leaves --secret-file out.

Wrong:
    touch /etc/ferrolb/secret
    ferrolb standalone --secret-file /etc/ferrolb/secret ...

Right:
    (umask 077; head -c 32 /dev/urandom | base64 > /etc/ferrolb/secret)
    ferrolb standalone --secret-file /etc/ferrolb/secret ...",
    },
    Explanation {
        code: Code::SecretWeak,
        summary: "The shared secret is easy to guess or to read",
        fix: "use 32 random bytes that root alone may read: `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`",
        long: "\
Who has the secret can make any host give its addresses away, or take them. It protects only as far
as it cannot be guessed and cannot be read. This one is shorter than 16 bytes, or its file may be
read by every user of this host. It is used all the same: a warning is no reason to stop serving.

See it: `wc -c FILE; ls -l FILE`.

What to do: take the right to read from others with `chmod o-r FILE`; that needs no restart for the
secret itself. For a longer one, write it on one host, copy it to all, and restart them.

Wrong:
    echo secret > /etc/ferrolb/secret                     # 6 bytes, mode 0644

Right:
    (umask 077; head -c 32 /dev/urandom | base64 > /etc/ferrolb/secret)",
    },
    Explanation {
        code: Code::PrivilegeMissing,
        summary: "The program may not open the sockets that announcing needs",
        fix: "run it as root, or give it the capability: `setcap cap_net_raw+ep $(command -v ferrolb)`",
        long: "\
ARP requests and neighbour solicitations are answered from packet sockets, which take the capability
CAP_NET_RAW. The program runs without it and could give Services addresses that nobody would find;
so it says so and ends.

More is needed only for more: CAP_NET_ADMIN where a Service's address is bound to lo on hosts
without Kubernetes, and CAP_SYS_NICE for the real-time priority of the thread that watches the
neighbours (without it that thread runs at ordinary priority, and the log says so).

See it: `getpcaps PID`, or `grep Cap /proc/PID/status`. In a cluster: securityContext.capabilities
of the speaker's container; a namespace whose Pod Security is not `privileged` forbids it (LB0051).

What to do: run as root, set AmbientCapabilities in the systemd unit, or keep NET_RAW in the
DaemonSet.

Wrong:
    [Service]
    User=ferrolb
    ExecStart=/usr/local/bin/ferrolb standalone ...

Right:
    [Service]
    User=ferrolb
    AmbientCapabilities=CAP_NET_RAW
    ExecStart=/usr/local/bin/ferrolb standalone ...",
    },
    Explanation {
        code: Code::StateInUse,
        summary: "Another process uses the state directory",
        fix: "stop the other process, or give each its own --state-dir: `fuser -v DIR/lock`",
        long: "\
The state directory holds which Service has which address. Two processes that write it would undo
each other's assignments, and after a restart an address could belong to two Services. The first
process holds a lock on the file `lock` in it for as long as it lives; a second one does not start.

It comes about when a service is started by hand while systemd runs it already, or when a test and
the real thing share the default directory /var/lib/ferrolb.

See it: `fuser -v DIR/lock` or `lsof DIR/lock` shows who holds it.

What to do: stop one of the two. The lock ends with its process, also after a crash; the file itself
may stay. Several processes on one machine each have their own --state-dir, --socket and
--node-name.

Wrong:
    ferrolb standalone --node-name web1 --state-dir /var/lib/ferrolb ...
    ferrolb standalone --node-name web2 --state-dir /var/lib/ferrolb ...

Right:
    ferrolb standalone --node-name web1 --state-dir /var/lib/ferrolb-web1 ...
    ferrolb standalone --node-name web2 --state-dir /var/lib/ferrolb-web2 ...",
    },
];
