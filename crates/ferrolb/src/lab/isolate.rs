//! A process tree of its own: the lab runs as process 1 of new namespaces, so that nothing it does is seen outside and
//! nothing outlives it.
//!
//! ```text
//! ferrolb lab ── unshare(user, mount, network, pid, ipc, uts) ── ferrolb lab --inside   process 1 in there
//!    waits                                                          │ dies with its parent (PR_SET_PDEATHSIG)
//!                                                                   └─ everything else; the kernel kills it all
//!                                                                      when process 1 ends (pid_namespaces(7))
//! ```
//!
//! Files are written only below a tmpfs mounted over `/run` in there; it is gone with the mount namespace. As root no
//! user namespace is needed; otherwise one is made in which the user is root.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, getpid};

/// Where the lab keeps its files, on a tmpfs that only the lab sees.
pub(super) const SCRATCH: &str = "/run/lab";

/// Runs this program again, with these arguments after `lab --inside PID`, as process 1 of new namespaces, and waits
/// for it. Must be called while the process has one thread.
///
/// # Errors
/// The namespaces cannot be had; the message says what to do.
pub(super) fn run_inside(arguments: &[String]) -> anyhow::Result<ExitStatus> {
    isolate().map_err(|error| anyhow::anyhow!("{}", refusal(&error, Restrictions::read())))?;
    let pid = getpid().to_string();
    Command::new("/proc/self/exe")
        .arg0("ferrolb")
        .args(["lab", "--inside", &pid])
        .args(arguments)
        .spawn()
        .context("cannot start the lab's first process")?
        .wait()
        .context("cannot wait for the lab")
}

/// The exit code that a shell would give to this status.
pub(super) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2)
}

fn isolate() -> io::Result<()> {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let (user, group) = (geteuid(), getegid());
    if user.is_root() && unshare(all).is_ok() {
        return Ok(());
    }
    // Not root, or root in a container that may do nothing: root of a user namespace then.
    unshare(all | CloneFlags::CLONE_NEWUSER)?;
    // Without this the kernel does not let an ordinary user map a group (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The first thing that process 1 does: ties its life to the parent's and puts a tmpfs where files may be written.
///
/// # Errors
/// The parent is gone, or the kernel refuses a mount.
pub(super) fn settle(parent: i32) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot tie the lab to its parent process")?;
    // /proc is still the parent's: is it there, or did it die before the line above?
    anyhow::ensure!(
        getpid().as_raw() == 1 && Path::new("/proc").join(parent.to_string()).exists(),
        "--inside is for the lab's own use; run: ferrolb lab"
    );
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .and_then(|()| mount(Some("ferrolb-lab"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>))
        .map_err(|errno| anyhow::anyhow!("{}", refusal(&errno.into(), Restrictions::read())))?;
    // So that `ps` and `kill` in the shell see the lab alone. Where parts of /proc are hidden (in a container), the
    // kernel refuses and the old one stays.
    let _ = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>);
    fs::create_dir_all(SCRATCH).with_context(|| format!("cannot write to {SCRATCH}"))
}

/// Copies the running program to this path: its own file may be hidden below `/run` by now, or belong to a user that the
/// namespaces do not know.
///
/// # Errors
/// There is no room.
pub(super) fn copy_program(to: &Path) -> io::Result<()> {
    fs::copy("/proc/self/exe", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

/// What keeps ordinary users from making namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Restrictions {
    /// Ubuntu since 23.10.
    apparmor: bool,
    /// Debian's own switch is off, or the limit is zero.
    switched_off: bool,
    root: bool,
}

impl Restrictions {
    fn read() -> Self {
        let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        Self {
            apparmor: is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
            switched_off: is("/proc/sys/kernel/unprivileged_userns_clone", "0")
                || is("/proc/sys/user/max_user_namespaces", "0"),
            root: geteuid().is_root(),
        }
    }
}

/// Why there is no lab, and what to do.
fn refusal(error: &io::Error, restrictions: Restrictions) -> String {
    let why = match restrictions {
        Restrictions { apparmor: true, .. } => {
            "AppArmor keeps ordinary users from using namespaces here (Ubuntu does so since 23.10)"
        }
        Restrictions { switched_off: true, .. } => "user namespaces are switched off on this machine",
        Restrictions { root: true, .. } => "this container may not make namespaces; it needs CAP_SYS_ADMIN",
        Restrictions { .. } => "this machine does not let you make namespaces",
    };
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ferrolb"));
    let program = program.display();
    let fix = if restrictions.root {
        "run it on the machine itself, or in a container started with --privileged".to_owned()
    } else {
        format!("re-run with sudo: sudo {program} lab")
    };
    format!("the lab needs a network of its own and cannot make one: {why} ({error}); {fix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(restrictions: Restrictions) -> String {
        refusal(&io::Error::from_raw_os_error(1), restrictions)
    }

    #[test]
    fn a_refusal_names_what_is_in_the_way_and_what_to_type() {
        let ubuntu = message(Restrictions { apparmor: true, ..Restrictions::default() });
        assert!(ubuntu.contains("AppArmor") && ubuntu.contains("re-run with sudo"), "{ubuntu}");
        let debian = message(Restrictions { switched_off: true, ..Restrictions::default() });
        assert!(debian.contains("switched off") && debian.contains("re-run with sudo"), "{debian}");
        let container = message(Restrictions { root: true, ..Restrictions::default() });
        assert!(container.contains("CAP_SYS_ADMIN") && !container.contains("sudo"), "{container}");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(code_of(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
    }
}
