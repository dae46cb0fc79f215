//! The routers of the BGP story, as Debian has them: FRR and BIRD, each with a kernel to program, both with BFD, both taking
//! note when a route asks for other ways (RFC 8326).

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::isolate::SCRATCH;
use super::network::{Network, ROUTERS};

/// Where Debian has FRR's daemons.
pub(super) const FRR: &str = "/usr/lib/frr";
/// Commands that routers need, and the packages that have them.
pub(super) const TOOLS: [(&str, &str); 2] = [("bird", "bird2"), ("bgpd", "frr")];
/// How long a daemon may take to start.
const START: Duration = Duration::from_secs(10);

const BFD: &str = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n";
/// What goes away goes last: whoever is asked for other ways has no better one then.
const BGP: &str = "\
router bgp 64513
 bgp router-id 192.168.1.1
 no bgp ebgp-requires-policy
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 neighbor nodes passive
 neighbor nodes bfd
 neighbor nodes bfd profile fast
 neighbor 192.168.1.11 peer-group nodes
 neighbor 192.168.1.12 peer-group nodes
 neighbor 192.168.1.13 peer-group nodes
 address-family ipv4 unicast
  neighbor nodes route-map prefer in
  maximum-paths 8
 exit-address-family
bgp community-list standard leaving permit graceful-shutdown
route-map prefer permit 10
 match community leaving
 set local-preference 0
route-map prefer permit 20
";
const BIRD: &str = "\
router id 192.168.1.2;
protocol device { }
protocol kernel { merge paths yes; ipv4 { export all; }; }
protocol bfd { interface \"eth0\" { interval 50 ms; multiplier 3; }; }
filter ways { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }
template bgp node { local 192.168.1.2 as 64514; passive yes; bfd yes; error wait time 1, 2; ipv4 { import filter ways; export none; }; }
protocol bgp a from node { neighbor 192.168.1.11 as 64512; }
protocol bgp b from node { neighbor 192.168.1.12 as 64512; }
protocol bgp c from node { neighbor 192.168.1.13 as 64512; }
";

/// FRR and BIRD, running. They end with the lab.
pub(super) struct Routers {
    directory: PathBuf,
    bgpd: Child,
    _others: Vec<Child>,
}

impl Routers {
    /// Starts both.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) fn start(network: &Network) -> anyhow::Result<Self> {
        let directory = Path::new(SCRATCH).join("frr");
        fs::create_dir_all(&directory)?;
        let mut files = vec![directory.clone()];
        for (daemon, config) in [("zebra", ""), ("bfdd", BFD), ("bgpd", BGP)] {
            let file = directory.join(format!("{daemon}.conf"));
            fs::write(&file, config)?;
            files.push(file);
        }
        // They give up being root, and have to write there.
        let frr = User::from_name("frr")?.context("there is no user frr: is FRR installed?")?;
        for file in files {
            chown(file, Some(frr.uid.as_raw()), Some(frr.gid.as_raw()))?;
        }
        let zebra = frr_daemon(network, &directory, "zebra")?;
        let bfdd = frr_daemon(network, &directory, "bfdd")?;
        let bgpd = frr_daemon(network, &directory, "bgpd")?;
        let bird = bird(network)?;
        Ok(Self { directory, bgpd, _others: vec![zebra, bfdd, bird] })
    }

    /// Ends FRR's bgpd and starts it anew.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn restart_frr(&mut self, network: &Network) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.bgpd.id())?), Signal::SIGTERM)?;
        self.bgpd.wait()?;
        self.bgpd = frr_daemon(network, &self.directory, "bgpd")?;
        Ok(())
    }
}

fn frr_daemon(network: &Network, directory: &Path, daemon: &str) -> anyhow::Result<Child> {
    let own = format!("{}/", directory.display());
    let vty = directory.join(format!("{daemon}.vty"));
    let _ = fs::remove_file(&vty);
    let mut command = Command::new(format!("{FRR}/{daemon}"));
    command.args(["-z", &format!("{own}zserv"), "--vty_socket", &own, "-i", &format!("{own}{daemon}.pid")]);
    command.args(["-f", &format!("{own}{daemon}.conf")]);
    match daemon {
        "bfdd" => command.args(["--bfdctl", &format!("{own}bfdd.sock")]),
        "bgpd" => command.args(["-P", "0"]),
        _ => &mut command,
    };
    let child = quiet(network, ROUTERS[0], command)?;
    await_file(&vty, daemon)?;
    Ok(child)
}

fn bird(network: &Network) -> anyhow::Result<Child> {
    let directory = Path::new(SCRATCH).join("bird");
    fs::create_dir_all(&directory)?;
    let file = |name: &str| directory.join(name);
    fs::write(file("conf"), BIRD)?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(file("conf")).arg("-s").arg(file("ctl")).arg("-P").arg(file("pid"));
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
    let child = quiet(network, ROUTERS[1], command)?;
    await_file(&file("ctl"), "bird")?;
    Ok(child)
}

fn quiet(network: &Network, router: &str, mut command: Command) -> anyhow::Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    network.machine(router)?.spawn(command).with_context(|| format!("cannot run {name}"))
}

fn await_file(file: &Path, daemon: &str) -> anyhow::Result<()> {
    let end = Instant::now() + START;
    while !file.exists() {
        anyhow::ensure!(Instant::now() < end, "{daemon} does not start");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
