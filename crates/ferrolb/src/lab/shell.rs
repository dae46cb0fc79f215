//! A shell on the laptop, with the lab running around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::isolate::{self, SCRATCH};
use super::network::{LAPTOP, NODES, Network};
use super::speakers::socket_of;

/// `on MACHINE COMMAND...`: the one thing that is missing from a shell on one of several machines.
const ON: &str = "#!/bin/sh
# Runs a command on another machine of the lab.
machine=$1
if [ $# -lt 2 ] || [ ! -e \"/run/netns/$machine\" ]; then
  echo 'usage: on MACHINE COMMAND...   machines: router node-a node-b node-c laptop switch' >&2
  exit 2
fi
shift
case $machine in
  node-*) FERROLB_SOCKET=/run/lab/$machine/ferrolb.sock; export FERROLB_SOCKET ;;
esac
exec nsenter --net=\"/run/netns/$machine\" -- \"$@\"
";

/// What to try.
const WELCOME: &str = "
You are on the laptop, 192.168.1.50. Nothing outside sees what you do here; `exit` ends the lab.

  ferrolb status                        what the nodes say
  curl http://192.168.1.201/            the Service traefik
  arping -i eth0 -c 3 192.168.1.201     who answers for it
  tcpdump -i eth0 -n arp                everything on the cable
  on node-a ip link set eth0 down       unplug a machine; also: on node-b ferrolb status
  ls $FERROLB_MANIFESTS                 put your own YAML there, it is read at once
";

/// Puts `ferrolb` and `on` where the shell finds them; returns that directory.
pub(super) fn place_programs() -> anyhow::Result<()> {
    let directory = bin();
    fs::create_dir_all(&directory)?;
    isolate::copy_program(&program()).context("cannot put the program into the lab")?;
    let on = directory.join("on");
    fs::write(&on, ON)?;
    fs::set_permissions(&on, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn bin() -> std::path::PathBuf {
    Path::new(SCRATCH).join("bin")
}

/// The program that the lab tries out: this very one.
pub(super) fn program() -> std::path::PathBuf {
    bin().join("ferrolb")
}

/// Runs a command on the laptop, or a shell where there is none, with the terminal as it is; returns its exit code.
pub(super) fn run(network: &Network, manifests: &Path, command: &[String]) -> anyhow::Result<u8> {
    let mut shell = match command {
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        [] => {
            eprintln!("{WELCOME}");
            interactive()?
        }
    };
    let path = std::env::var("PATH").unwrap_or_default();
    shell
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin().display()))
        .env("FERROLB_SOCKET", socket_of(NODES[0]))
        .env("FERROLB_MANIFESTS", manifests);
    let name = shell.get_program().to_string_lossy().into_owned();
    let mut child = network.machine(LAPTOP)?.spawn(shell).with_context(|| format!("cannot run {name}"))?;
    Ok(isolate::code_of(child.wait()?))
}

fn interactive() -> anyhow::Result<Command> {
    if !Path::new("/bin/bash").exists() {
        return Ok(Command::new("/bin/sh"));
    }
    let profile = Path::new(SCRATCH).join("bashrc");
    fs::write(&profile, "[ -r ~/.bashrc ] && . ~/.bashrc\nPATH=/run/lab/bin:$PATH\nPS1='lab:laptop \\w\\$ '\n")?;
    let mut bash = Command::new("/bin/bash");
    bash.arg("--rcfile").arg(profile).arg("-i");
    Ok(bash)
}
