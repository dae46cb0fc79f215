//! The lab's network: five machines on one switch, each a network namespace, joined by veth pairs to a bridge.
//!
//! ```text
//! switch ─┬─ router  192.168.1.1
//!         ├─ node-a  192.168.1.11
//!         ├─ node-b  192.168.1.12
//!         ├─ node-c  192.168.1.13
//!         └─ laptop  192.168.1.50
//! ```
//!
//! The addresses are those that the example manifests expect around them. Frames are real, and so is a pulled plug: the
//! switch's port goes down and the machine loses its carrier.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use ferrolb_proto::ethernet::MacAddr;

use crate::net::namespace::Namespace;

/// The machine that plays the user.
pub(super) const LAPTOP: &str = "laptop";
/// The machines that run FerroLB.
pub(super) const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
/// Every machine with the last number of its address: 192.168.1.N and fd00:1::N.
pub(super) const MACHINES: [(&str, u8); 5] =
    [("router", 1), (NODES[0], 11), (NODES[1], 12), (NODES[2], 13), (LAPTOP, 50)];
/// The machines on the switch of the BGP story, with the last number of their address.
pub(super) const ROUTED: [(&str, u8); 5] =
    [(ROUTERS[0], 1), (ROUTERS[1], 2), (NODES[0], 11), (NODES[1], 12), (NODES[2], 13)];
/// The routers of the BGP story: FRR and BIRD.
pub(super) const ROUTERS: [&str; 2] = ["router-1", "router-2"];
/// Its clients, each behind a router of its own.
pub(super) const BEHIND: [(&str, &str); 2] = [(LAPTOP, ROUTERS[0]), ("desktop", ROUTERS[1])];
/// The only interface of every machine, but for those that are routers.
pub(super) const INTERFACE: &str = "eth0";

/// The IPv4 address of a machine.
pub(super) fn address_of(machine: &str) -> Option<Ipv4Addr> {
    MACHINES.iter().find(|(name, _)| *name == machine).map(|(_, number)| Ipv4Addr::new(192, 168, 1, *number))
}

/// The switch and what is plugged into it.
pub(super) struct Network {
    switch: Namespace,
    machines: BTreeMap<&'static str, Namespace>,
}

impl Network {
    /// Builds it. The switch is in the calling thread's own namespace, which must be empty.
    ///
    /// # Errors
    /// The kernel refuses something that the lab needs; the message names it.
    pub(super) fn build() -> anyhow::Result<Self> {
        let switch = Namespace::current().context("the switch")?;
        switch.pin("switch").context("cannot name the switch")?;
        // A plain switch: no spanning tree to wait for, no snooping that swallows neighbour solicitations.
        let mut cables = "link set lo up\n\
                          link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                          link set br0 up\n"
            .to_owned();
        let mut machines = BTreeMap::new();
        for (name, _) in MACHINES {
            let namespace = Namespace::new().with_context(|| format!("cannot make the machine {name}"))?;
            namespace.pin(name).with_context(|| format!("cannot name the machine {name}"))?;
            cables += &format!(
                "link add {port} type veth peer name {INTERFACE} netns {name}\nlink set {port} master br0 up\n",
                port = port_of(name)
            );
            machines.insert(name, namespace);
        }
        ip(&switch, &cables).context("cannot build the switch")?;
        for (name, number) in MACHINES {
            let route = if number == 1 { "" } else { "route add default via 192.168.1.1\n" };
            let setup = format!(
                "link set lo up\nlink set {INTERFACE} up\naddr add 192.168.1.{number}/24 dev {INTERFACE}\n\
                 addr add fd00:1::{number}/64 dev {INTERFACE} nodad\n{route}"
            );
            ip(&machines[name], &setup).with_context(|| format!("cannot give {name} its address"))?;
        }
        Ok(Self { switch, machines })
    }

    /// Builds the network of the BGP story, in the same way: two routers on the nodes' switch, a client behind each.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub(super) fn build_routed() -> anyhow::Result<Self> {
        let switch = Namespace::current().context("the switch")?;
        switch.pin("switch").context("cannot name the switch")?;
        let mut machines = BTreeMap::new();
        for (name, _) in ROUTED.iter().copied().chain(BEHIND.map(|(client, _)| (client, 0))) {
            let namespace = Namespace::new().with_context(|| format!("cannot make the machine {name}"))?;
            namespace.pin(name).with_context(|| format!("cannot name the machine {name}"))?;
            machines.insert(name, namespace);
        }
        let bridge = "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n";
        let mut cables = format!("link set lo up\n{bridge}link set br0 up\n");
        for (name, _) in ROUTED {
            let port = port_of(name);
            cables += &format!(
                "link add {port} type veth peer name {INTERFACE} netns {name}\nlink set {port} master br0 up\n"
            );
        }
        ip(&switch, &cables).context("cannot build the switch")?;
        for (name, number) in ROUTED {
            let mut setup = format!(
                "link set lo up\nlink set {INTERFACE} up\naddr add 192.168.1.{number}/24 dev {INTERFACE}\n\
                 addr add fd00:1::{number}/64 dev {INTERFACE} nodad\n"
            );
            if NODES.contains(&name) {
                setup += "route add 10.9.1.0/24 via 192.168.1.1\nroute add 10.9.2.0/24 via 192.168.1.2\n";
            }
            ip(&machines[name], &setup).with_context(|| format!("cannot give {name} its address"))?;
        }
        for (number, (client, router)) in (1..).zip(BEHIND) {
            let setup = format!(
                "link add eth1 type veth peer name {INTERFACE} netns {client}\nlink set eth1 up\naddr add 10.9.{number}.1/24 dev eth1\n"
            );
            ip(&machines[router], &setup).with_context(|| format!("cannot put {client} behind {router}"))?;
            let setup = format!(
                "link set lo up\nlink set {INTERFACE} up\naddr add 10.9.{number}.2/24 dev {INTERFACE}\nroute add default via 10.9.{number}.1\n"
            );
            ip(&machines[client], &setup).with_context(|| format!("cannot give {client} its address"))?;
            machines[router].run(forward)?.with_context(|| format!("{router} does not forward"))?;
        }
        Ok(Self { switch, machines })
    }

    /// The number of next hops that a machine's kernel has for an address, by next hop, with the weight of each.
    pub(super) fn next_hops(&self, name: &str, address: Ipv4Addr) -> anyhow::Result<BTreeMap<IpAddr, u64>> {
        let routes = self.show(name, &["route", "show", &format!("{address}/32")])?;
        let read = |hop: &serde_json::Value| {
            let gateway = hop.get("gateway")?.as_str()?.parse().ok()?;
            Some((gateway, hop.get("weight").and_then(serde_json::Value::as_u64).unwrap_or(1)))
        };
        let all = routes.as_array().into_iter().flatten();
        let hops = all.flat_map(|route| match route.get("nexthops").and_then(serde_json::Value::as_array) {
            Some(hops) => hops.iter().filter_map(read).collect::<Vec<_>>(),
            None => read(route).into_iter().collect(),
        });
        Ok(hops.collect())
    }

    /// A machine.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn machine(&self, name: &str) -> anyhow::Result<&Namespace> {
        self.machines.get(name).with_context(|| format!("there is no machine {name} in the lab"))
    }

    /// Pulls a machine's plug.
    pub(super) fn unplug(&self, name: &str) -> anyhow::Result<()> {
        ip(&self.switch, &format!("link set {} down\n", port_of(name)))
    }

    /// Puts it back.
    pub(super) fn plug(&self, name: &str) -> anyhow::Result<()> {
        ip(&self.switch, &format!("link set {} up\n", port_of(name)))
    }

    /// The MAC address of a machine, as its kernel tells it.
    pub(super) fn mac_of(&self, name: &str) -> anyhow::Result<MacAddr> {
        let links = self.show(name, &["link", "show", "dev", INTERFACE])?;
        let mac = links.pointer("/0/address").and_then(serde_json::Value::as_str);
        Ok(mac.with_context(|| format!("{name} has no {INTERFACE}"))?.parse()?)
    }

    /// The neighbour entry that a machine's kernel has for an address, if it has one with a MAC address.
    pub(super) fn neighbour(&self, name: &str, address: IpAddr) -> anyhow::Result<Option<MacAddr>> {
        let entries = self.show(name, &["neigh", "show", "to", &address.to_string(), "dev", INTERFACE])?;
        let mac = entries.pointer("/0/lladdr").and_then(serde_json::Value::as_str);
        Ok(mac.map(str::parse).transpose()?)
    }

    fn show(&self, name: &str, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let mut command = Command::new("ip");
        command.arg("-json").args(arguments);
        let output = self.machine(name)?.output(command).context("cannot run ip")?;
        anyhow::ensure!(output.status.success(), "ip {arguments:?} on {name}: {}", text(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }
}

/// Has the kernel of the thread's namespace forward, and spread connections over next hops.
fn forward() -> std::io::Result<()> {
    for (name, value) in [("ip_forward", "1"), ("fib_multipath_hash_policy", "1")] {
        std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
    }
    Ok(())
}

fn port_of(machine: &str) -> String {
    format!("port-{machine}")
}

/// Runs lines of `ip -batch` in a namespace.
fn ip(namespace: &Namespace, lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    feed(namespace, command, lines)
}

/// Runs a command in a namespace with this on its standard input.
///
/// # Errors
/// It cannot be started, or it failed; the message has what it said.
pub(super) fn feed(namespace: &Namespace, mut command: Command, input: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = namespace.spawn(command).with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("cannot tell {name} what to do"))?;
    }
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "{name} refused: {}", text(&output.stderr));
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
