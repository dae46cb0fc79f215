//! Hosts for tests: each a thread in a network namespace of its own, joined by veth pairs. Everything is gone when the
//! last of them is dropped.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace.
pub(crate) struct Host {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    tid: i32,
}

impl Host {
    /// A namespace with nothing in it but `lo`.
    pub(crate) fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace: run as root, or inside `unshare -Urnm --map-root-user`");
            tell.send(gettid().as_raw()).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        let host = Self { jobs: Some(jobs), thread: Some(thread), tid: told.recv().unwrap() };
        host.ip("link set lo up");
        host
    }

    /// Runs something in the namespace and returns what it returns.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.start(job).recv().expect("the job panicked")
    }

    /// Begins to run something in the namespace; what it returns can be received.
    pub(crate) fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told
    }

    /// Runs a command in the namespace; returns whether it went well and what it printed.
    pub(crate) fn sh(&self, command: &str) -> (bool, String) {
        let command = command.to_owned();
        self.run(move || {
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            (output.status.success(), text)
        })
    }

    /// Runs `ip` in the namespace; panics if it fails.
    pub(crate) fn ip(&self, arguments: &str) {
        let (well, text) = self.sh(&format!("ip {arguments}"));
        assert!(well, "ip {arguments}: {text}");
    }

    /// Joins this host's `name` with the other's `other_name` by a veth pair, both up.
    pub(crate) fn join(&self, name: &str, other: &Self, other_name: &str) {
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {}", other.tid));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {other_name} up"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until something is so; panics with its name after ten seconds.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < end, "it never came about that {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
