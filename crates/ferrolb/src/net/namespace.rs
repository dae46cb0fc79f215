//! Network namespaces (network_namespaces(7)): each held by a thread that lives in it and does there what it is asked.
//!
//! A thread, because a namespace belongs to a thread and not to a process: whatever that thread opens, starts or spawns
//! is in the namespace, and the rest of the program stays where it is. Pinned under a name in [`PINS`], the namespace is
//! also there for `ip netns exec NAME` and `nsenter --net`.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::mpsc;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// Where `ip netns` looks for names.
pub const PINS: &str = "/run/netns";

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with its thread. It ends, with all its interfaces, when this is dropped and nothing else holds it.
#[derive(Debug)]
pub struct Namespace {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    tid: i32,
}

impl Namespace {
    /// A new namespace with nothing in it but `lo`, which is down.
    ///
    /// # Errors
    /// The process lacks CAP_SYS_ADMIN in its user namespace, or the kernel has no namespace left to give.
    pub fn new() -> io::Result<Self> {
        Self::start(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?))
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn current() -> io::Result<Self> {
        Self::start(|| Ok(()))
    }

    fn start(enter: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().spawn(move || {
            let entered = enter();
            let failed = entered.is_err();
            let _ = tell.send(entered.map(|()| gettid().as_raw()));
            if !failed {
                queue.into_iter().for_each(|job| job());
            }
        })?;
        let tid = told.recv().map_err(|_| ended())??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), tid })
    }

    /// The thread that lives in the namespace; `ip link set DEV netns TID` takes it for a name.
    pub const fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs something in the namespace and waits for what it returns. Threads that it starts are in the namespace too.
    ///
    /// # Errors
    /// The job panicked, or an earlier one did.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        told.recv().map_err(|_| ended())
    }

    /// Runs a command in the namespace to its end and collects what it prints.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn output(&self, mut command: Command) -> io::Result<Output> {
        self.run(move || command.output())?
    }

    /// Starts a command in the namespace.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.run(move || command.spawn())?
    }

    /// Gives the namespace a name in [`PINS`], which must be a directory that can be written.
    ///
    /// # Errors
    /// The name is taken, or the file cannot be made or mounted on.
    pub fn pin(&self, name: &str) -> io::Result<()> {
        let path = Path::new(PINS).join(name);
        fs::create_dir_all(PINS)?;
        File::create_new(&path)?;
        self.run(move || mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>))?
            .map_err(io::Error::from)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread of the network namespace has ended: a job in it panicked")
}
