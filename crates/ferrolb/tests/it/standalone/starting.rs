//! Starts that cannot be: each says which flag, why, and what to do, with its code, and ends with 2; nothing is left
//! behind, and a process that runs is not disturbed.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{FERROLB, Site, private};

/// A directory of its own, and a command line that would start in it.
struct Start {
    files: TempDir,
    flags: Vec<(&'static str, String)>,
}

impl Start {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        fs::create_dir(files.path().join("manifests")).unwrap();
        private(&files.path().join("secret"), "a secret that all share");
        let path = |name: &str| files.path().join(name).display().to_string();
        let flags = vec![
            ("--node-name", "a".to_owned()),
            ("--manifests", path("manifests")),
            ("--state-dir", path("state")),
            ("--socket", path("socket")),
            ("--secret-file", path("secret")),
        ];
        Self { files, flags }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn with(mut self, flag: &str, value: &str) -> Self {
        let slot = self.flags.iter_mut().find(|(name, _)| *name == flag).unwrap();
        slot.1 = value.to_owned();
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(FERROLB);
        command.arg("standalone").stdin(Stdio::null());
        for (flag, value) in &self.flags {
            command.arg(format!("{flag}={value}"));
        }
        command
    }

    /// Runs it, which must end with 2 and one line that begins so.
    fn fails(&self, beginning: &str) {
        fails(self.command(), beginning);
    }
}

fn fails(mut command: Command, beginning: &str) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let said = text.lines().filter(|line| line.starts_with("ferrolb: ")).collect::<Vec<_>>();
    assert!(said.len() == 1 && said[0].starts_with(&format!("ferrolb: {beginning}")), "{text}");
}

#[test]
fn names_that_no_node_can_have_are_refused() {
    for name in ["", " ", "Web1", "a b", "-a", "web1.", "web_1"] {
        let output = Start::new().with("--node-name", name).command().output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}: {text}");
        assert!(text.contains("--node-name") && text.contains("LB0031"), "{name:?}: {text}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_leads_to_its_code() {
    let output = Command::new(FERROLB).args(["standalone", "--manifest", "x"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("--manifests") && text.contains("LB0031 FlagInvalid"), "{text}");
}

#[test]
fn the_secret_must_be_there() {
    let start = Start::new();
    let missing = start.path("none").display().to_string();
    let start = start.with("--secret-file", &missing);
    start.fails(&format!("LB0063 --secret-file: {missing}: No such file"));
    private(&start.path("none"), " \n\n");
    start.fails(&format!("LB0063 --secret-file: {missing}: the file is empty"));
    fs::remove_file(start.path("none")).unwrap();
    fs::create_dir(start.path("none")).unwrap();
    start.fails(&format!("LB0063 --secret-file: {missing}: Is a directory"));
}

#[test]
fn the_socket_must_be_ours_to_make() {
    let start = Start::new();
    let long = start.path(&"x".repeat(120)).display().to_string();
    let start = start.with("--socket", &long);
    start.fails(&format!("LB0061 --socket: {long}: the path has {} bytes, and a socket's may have 107", long.len()));

    let file = start.path("file");
    fs::write(&file, "precious").unwrap();
    let start = start.with("--socket", &file.display().to_string());
    start.fails(&format!("LB0061 --socket: {}: something is there that is no socket", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let beneath = file.join("socket").display().to_string();
    start.with("--socket", &beneath).fails(&format!("LB0061 --socket: {beneath}: "));
}

#[test]
fn without_the_right_to_open_packet_sockets_it_says_so() {
    let start = Start::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]);
    let own = start.command();
    command.arg(own.get_program()).args(own.get_args()).stdin(Stdio::null());
    fails(command, "LB0065 CAP_NET_RAW: no packet socket can be opened");
    assert!(!start.path("socket").exists(), "the socket is gone again");
}

#[test]
fn a_second_process_disturbs_neither_state_nor_socket() {
    let site = Site::new(1);
    let first = site.start(0);
    let (mut command, ..) = site.command(0, &site.files.path().join("secret"));
    command.stderr(Stdio::piped());
    let own = site.files.path().join("a");
    fails(command, &format!("LB0066 --state-dir: another process uses {}", own.join("state").display()));

    let (command, ..) = site.command(0, &site.files.path().join("secret"));
    let mut other = Command::new(FERROLB);
    let arguments = command.get_args().map(|argument| {
        let state = own.join("state");
        if *argument == *state { own.join("other").into_os_string() } else { argument.to_owned() }
    });
    other.args(arguments).stderr(Stdio::piped());
    fails(other, &format!("LB0061 --socket: {}: another process answers there", own.join("ferrolb.sock").display()));
    assert_eq!(first.state()["peers"][0]["name"], Value::from("a"), "the first goes on answering");
}

#[test]
fn asking_where_nobody_is_says_who_was_asked() {
    let start = Start::new();
    let status = |path: &PathBuf| {
        let mut command = Command::new(FERROLB);
        command.arg("status").arg("--socket").arg(path);
        command
    };
    let path = start.path("socket");
    fails(status(&path), &format!("LB0062 --socket {}: there is none", path.display()));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    fails(status(&path), &format!("LB0062 --socket {}: nobody listens there any more", path.display()));

    let other = start.path("other");
    let listener = std::os::unix::net::UnixListener::bind(&other).unwrap();
    let answer = std::thread::spawn(move || {
        use std::io::Write as _;
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
    });
    fails(status(&other), &format!("LB0062 --socket {}: what answers is another program", other.display()));
    answer.join().unwrap();

    fs::set_permissions(start.files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = status(&path);
    command.uid(65534);
    fails(command, &format!("LB0062 --socket {}: you may not open it", path.display()));
}
