//! The verbs that ask a cluster, and what they say when it refuses, does not know who asks, keeps silent or is not there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SERVICES: &str = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"web",
    "namespace":"default"},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"],
    "ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"192.168.1.200"}]}}}]}"#;
const NOTHING: &str = r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}"#;
const VERSION: &str = r#"{"major":"1","minor":"36","gitVersion":"v1.36.0","gitCommit":"","gitTreeState":"","buildDate":"",
    "goVersion":"","compiler":"","platform":""}"#;

/// An API server of few words: what it answers to a path.
fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answer(&path);
            let _ = respond(&mut stream, status, &body);
        }
    });
    format!("http://{address}")
}

fn respond(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn refusal(status: u16, message: &str) -> (u16, String) {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"X","code":{status}}}"#
    );
    (status, body)
}

/// A server whose Services may be read and of which these parts of a path may not.
fn forbids(parts: &'static [&'static str]) -> String {
    serve(move |path| match path {
        path if parts.iter().any(|part| path.contains(part)) => refusal(403, "forbidden: you cannot list that"),
        path if path.starts_with("/version") => (200, VERSION.to_owned()),
        path if path.starts_with("/api/v1/services") => (200, SERVICES.to_owned()),
        path if path.starts_with("/api/v1/namespaces/metallb-system?") || path.ends_with("/metallb-system") => {
            refusal(404, "not found")
        }
        _ => (200, NOTHING.to_owned()),
    })
}

fn kubeconfig(server: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(directory.path().join("config"), text).unwrap();
    directory
}

fn run(server: &str, args: &[&str]) -> Output {
    let directory = kubeconfig(server);
    let config = directory.path().join("config");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrolb"));
    command.args(args).args(["--kubeconfig", config.to_str().unwrap()]).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn a_pool() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\n\
                spec: {addresses: [192.168.1.200-192.168.1.220]}\n";
    std::fs::write(directory.path().join("pool.yaml"), pool).unwrap();
    directory
}

#[test]
fn services_that_may_not_be_read_are_not_services_that_do_not_exist() {
    let server = forbids(&["/services"]);
    let pool = a_pool();
    let pool = pool.path().to_str().unwrap();
    for line in [
        &["plan", "-f", pool][..],
        &["why", "web"],
        &["ip", "192.168.1.200"],
        &["status"],
        &["check", "--pre"],
        &["pool", "scan", "p"],
    ] {
        let output = run(&server, line);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {text}");
        assert!(text.contains("LB0021") && text.contains("kubectl auth can-i list services"), "{line:?}: {text}");
        assert!(!text.contains("no Service") && !text.contains("✓"), "{line:?}: {text}");
    }
}

#[test]
fn pools_that_may_not_be_read_are_neither_there_nor_missing() {
    let server = forbids(&["/ipaddresspools"]);
    let output = run(&server, &["why", "web"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("not known whether default/web is served: LB0021"), "{text}");
    assert!(text.contains("? there is an IPAddressPool") && !text.contains("LB1111"), "{text}");
    let pool = a_pool();
    let output = run(&server, &["plan", "-f", pool.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("LB0021"), "{}", said(&output));
    let output = run(&server, &["status"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(said(&output).matches("LB0021").count(), 1, "{}", said(&output));
    assert!(said(&output).contains("default/web"), "half an answer is better than none: {}", said(&output));
}

#[test]
fn check_says_what_it_may_not_look_at_and_calls_nothing_of_it_fine() {
    let server = forbids(&["/nodes", "/pods", "/daemonsets", "/deployments"]);
    let output = run(&server, &["check", "--pre"]);
    let text = said(&output);
    assert!(text.starts_with("rights          ? you may not list DaemonSet, Deployment, Node, Pod"), "{text}");
    for group in ["node labels", "failover", "rivals", "today"] {
        assert!(text.contains(&format!("{group:<15} ? not known: you may not list")), "{group}: {text}");
    }
    assert_eq!(output.status.code(), Some(2), "{text}");
}

#[test]
fn who_is_not_logged_in_is_told_so_once() {
    let server = serve(|_| refusal(401, "Unauthorized"));
    for line in [&["status"][..], &["why", "web"], &["check"], &["export"], &["ip", "192.168.1.200"]] {
        let output = run(&server, line);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {text}");
        assert_eq!(text.matches("LB0021").count(), 1, "{line:?}: {text}");
        assert!(text.contains(&server) && text.contains("log in again"), "{line:?}: {text}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_by_every_verb_with_a_code_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for line in [
        &["status"][..],
        &["why", "web"],
        &["check"],
        &["check", "--pre"],
        &["export"],
        &["support-bundle"],
        &["wait", "--timeout=2"],
        &["watch", "--looks=1"],
    ] {
        let output = run(&server, line);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {text}");
        assert!(text.contains(&format!("LB0022 {server}: ")), "{line:?}: {text}");
        assert!(text.contains("kubectl cluster-info"), "{line:?}: {text}");
    }
}

#[test]
fn waiting_for_a_server_that_keeps_silent_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let output = run(&server, &["wait", "--timeout=2"]);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("LB0022"), "{}", said(&output));
}

#[test]
fn a_cluster_that_still_runs_metallb_is_told_so_by_status() {
    const PODS: &str = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"speaker-x",
        "namespace":"metallb-system","labels":{"app.kubernetes.io/name":"metallb","app.kubernetes.io/component":"speaker"}},
        "spec":{"containers":[{"name":"speaker","image":"quay.io/metallb/speaker:v0.14.8"}]}}]}"#;
    let server = serve(|path| match path {
        path if path.contains("/pods") => (200, PODS.to_owned()),
        path if path.starts_with("/version") => (200, VERSION.to_owned()),
        _ => (200, NOTHING.to_owned()),
    });
    let output = run(&server, &["status"]);
    let text = said(&output);
    assert!(text.contains("LB0055  Pod/speaker-x\n"), "{text}");
    assert!(text.contains("MetalLB runs here (quay.io/metallb/speaker:v0.14.8)"), "{text}");
    assert_eq!(output.status.code(), Some(0), "before the change that is as it should be: {text}");
}

#[test]
fn a_flag_that_does_nothing_is_named_when_the_program_starts() {
    let server = serve(|_| refusal(503, "not yet"));
    let directory = kubeconfig(&server);
    let log = directory.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrolb"));
    command.args(["speaker", "--node-name=a", "--namespace=metallb-system", "--port=0", "--health-probe-port=0"]);
    command.args(["--pprof-bind-address=:6060", "--frrk8s-namespace=frr"]).arg("--kubeconfig");
    command.arg(directory.path().join("config")).env_clear();
    command.stdout(std::fs::File::create(&log).unwrap()).stderr(std::fs::File::create(&log).unwrap());
    let mut speaker = command.spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    crate::hosts::eventually("both flags are named", || {
        let text = said();
        let of = |flag: &str| text.lines().any(|line| line.contains("LB0032") && line.contains(flag));
        of("--pprof-bind-address") && of("--frrk8s-namespace")
    });
    speaker.kill().unwrap();
    speaker.wait().unwrap();
}
