//! The verbs that ask, as a user runs them on files: exit codes, and the screens for the first user's own repository.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const FERROLB: &str = env!("CARGO_BIN_EXE_ferrolb");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("examples/gitops")
}

/// Runs a verb in the directory of the first user's repository.
fn run(args: &[&str]) -> Output {
    Command::new(FERROLB).args(args).current_dir(examples()).env_clear().output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn lint_of_the_first_users_repository_names_everything_that_does_nothing() {
    let output = run(&["lint", "."]);
    assert_eq!(code(&output), Some(1));
    let names = text(&run(&["lint", ".", "-o", "name"]));
    let expected = "\
apps/workloads/metallb/app.yaml:35:11 LB3001 Application/argocd/metallb
apps/workloads/metallb/app.yaml:43:9 LB3001 Application/argocd/metallb
manifests/multiple-pools.yaml:1:1 LB4008 IPAddressPool/metallb-system/production-pool
manifests/multiple-pools.yaml:4:3 LB0008 IPAddressPool/metallb-system/production-pool
manifests/multiple-pools.yaml:6:3 LB4004 IPAddressPool/metallb-system/production-pool
manifests/multiple-pools.yaml:9:1 LB4008 IPAddressPool/metallb-system/development-pool
manifests/multiple-pools.yaml:12:3 LB0008 IPAddressPool/metallb-system/development-pool
manifests/multiple-pools.yaml:14:3 LB4004 IPAddressPool/metallb-system/development-pool
services/pool-by-annotation.yaml:7:5 LB1002 Service/default/by-pool
services/pool-by-annotation.yaml:7:5 LB2003 Service/default/by-pool
services/static-ip.yaml:7:5 LB2001 Service/default/static-ip
services/static-ip.yaml:8:5 LB2002 Service/default/static-ip
services/traefik.yaml:7:5 LB2001 Service/traefik-system/traefik
";
    assert_eq!(names, expected);
    let screen = text(&output);
    assert!(
        screen.ends_with("8 files: 1 error, 11 warnings, 1 note.  More about a code: ferrolb explain LB3001\n"),
        "{screen}"
    );
    assert!(!screen.contains('\u{1b}'), "no colours");
}

#[test]
fn lint_says_nothing_about_what_is_right_and_two_when_it_cannot_tell() {
    let fine = run(&["lint", "manifests/metallb-config"]);
    assert_eq!((code(&fine), text(&fine).as_str()), (Some(0), "2 files: nothing to complain about\n"));
    let missing = run(&["lint", "no-such-file.yaml"]);
    assert_eq!(code(&missing), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("no-such-file.yaml: entity not found"));
    let notes = run(&["lint", "services/pool-by-annotation.yaml"]);
    assert_eq!(code(&notes), Some(0), "a note is no finding unless it is asked for");
    let strict = run(&["lint", "--failure-threshold", "note", "services/pool-by-annotation.yaml"]);
    assert_eq!(code(&strict), Some(1));
}

#[test]
fn lint_reads_what_kustomize_prints_and_answers_programs() {
    let mut child = Command::new(FERROLB)
        .args(["lint", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let manifest = std::fs::read(examples().join("services/static-ip.yaml")).unwrap();
    child.stdin.take().unwrap().write_all(&manifest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes: Vec<&str> =
        document["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["LB2001", "LB2002"]);
    assert_eq!(document["findings"][0]["location"]["file"], "stdin");
    assert_eq!(document["findings"][0]["location"]["line"], 7);
}

#[test]
fn lint_is_not_green_over_what_it_did_not_read() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\nspec: {addresses: [192.168.1.200-192.168.1.220]}\n\
                ---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}\n";
    let kustomization = |kind: &str| {
        format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [pool.yaml]\npatches:\n- target: {{kind: {kind}}}\n  patch: '[]'\n"
        )
    };
    for (kind, expected) in [("IPAddressPool", Some(1)), ("Deployment", Some(0))] {
        let directory = files(&[("pool.yaml", pool), ("kustomization.yaml", &kustomization(kind))]);
        let output = run(&["lint", directory.path().to_str().unwrap()]);
        assert_eq!(code(&output), expected, "{}", text(&output));
        assert_eq!(text(&output).contains("warning LB0010 "), expected == Some(1), "{}", text(&output));
        assert_eq!(text(&output).contains("| ferrolb lint -\n"), expected == Some(1), "{}", text(&output));
    }
    let empty = Command::new(FERROLB).args(["lint", "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&empty), Some(1));
    assert!(text(&empty).contains("stdin:1:1: error LB0004 stdin\n    standard input is empty"), "{}", text(&empty));
}

#[test]
fn why_of_a_service_that_could_not_be_read_says_where_it_stands() {
    let web = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: Loadbalancer, ports: [{port: 80}]}\n";
    let directory = files(&[("web.yaml", web)]);
    let output = run(&["why", "web", "--manifests", directory.path().to_str().unwrap()]);
    assert_eq!(code(&output), Some(1), "{}", text(&output));
    assert!(text(&output).contains("\ndefault/web is NOT served: LB0004 "), "{}", text(&output));
    assert!(text(&output).contains("web.yaml:4:"), "{}", text(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        Command::new(FERROLB).args(["explain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn files_tell_of_no_host_and_peers_says_that_it_cannot_tell() {
    let output = run(&["peers", "--manifests", "manifests/metallb-config"]);
    assert_eq!((code(&output), text(&output).as_str()), (Some(2), "no host is known\n"));
}

#[test]
fn every_verb_that_shows_something_shows_it_in_every_form_with_the_same_exit_code() {
    let files = ["--manifests", "manifests/metallb-config", "--manifests", "services"];
    for (verb, expected) in [
        (["status"].as_slice(), 1),
        (&["why", "traefik"], 0),
        (&["why", "by-pool"], 1),
        (&["ip", "192.168.1.201"], 0),
        (&["ip", "192.168.1.202"], 1),
        (&["plan", "-f", "manifests"], 1),
    ] {
        for form in ["table", "json", "yaml", "name"] {
            let output = run(&[verb, &files, &["-o", form]].concat());
            assert_eq!(code(&output), Some(expected), "{verb:?} -o {form}");
            let text = text(&output);
            assert!(!text.contains('\u{1b}'), "no colours: {text}");
            match form {
                "json" => drop(serde_json::from_str::<Value>(&text).unwrap()),
                "yaml" => drop(serde_saphyr::from_str::<Value>(&text).unwrap()),
                _ => {}
            }
        }
    }
}

#[test]
fn status_of_the_first_users_files() {
    let output = run(&["status", "--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"]);
    let expected = "\
SERVICE                 ADDRESS        STATE               NODE  MAC  TRY
traefik-system/traefik  192.168.1.201  would be announced  -     -    http://192.168.1.201/ https://192.168.1.201/ 192.168.1.201:9000

POOL          RANGE                        FAMILY  TOTAL  USED  FREE  ADVERTISED BY
default-pool  192.168.1.200-192.168.1.220  IPv4    21     1     20    default-advertisement (L2)

fine: nothing to do
1 note (ferrolb status --notes)
";
    let squeezed =
        |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(squeezed(&text(&output)), squeezed(expected));
    assert_eq!(code(&output), Some(0));
    let files = ["--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"];
    let output = run(&[&["status", "--notes"], &files[..]].concat());
    let notes = "
LB2001  Service/traefik-system/traefik metadata.annotations[\"metallb.universe.tf/loadBalancer-class\"]  (services/traefik.yaml:7:5)
    why    metallb.universe.tf/loadBalancer-class is not an annotation of MetalLB and does nothing
    fix    did you mean the field spec.loadBalancerClass? Without --lb-class no Service needs it: remove the annotation

fine: nothing to do
";
    let text = text(&output);
    assert!(text.ends_with(notes), "{text}");
    assert_eq!(code(&output), Some(0));
}

/// The first user's pool with an advertisement that selects racks, and the nodes that are given.
fn site(nodes: &str) -> TempDir {
    let pool = std::fs::read_to_string(examples().join("manifests/metallb-config/ip-pool.yaml")).unwrap();
    let selector = "spec:\n  nodeSelectors: [{matchLabels: {rack: one}}]\n";
    let service = std::fs::read_to_string(examples().join("services/traefik.yaml")).unwrap();
    files(&[
        ("pool.yaml", &pool.replace("spec:\n  ipAddressPools:\n  - default-pool\n", selector)),
        ("svc.yaml", &service),
        ("nodes.yaml", nodes),
    ])
}

fn why(site: &TempDir) -> Output {
    run(&["why", "svc/traefik", "--manifests", site.path().to_str().unwrap()])
}

#[test]
fn why_ends_in_the_failing_rule_with_its_fix() {
    let site = site(
        "apiVersion: v1\nkind: Node\nmetadata: {name: nuc-1}\n---\n\
         apiVersion: v1\nkind: Node\nmetadata: {name: nuc-2, labels: {rack: one}}\n\
         status: {conditions: [{type: NetworkUnavailable, status: \"True\"}]}\n",
    );
    let output = why(&site);
    assert_eq!(code(&output), Some(1));
    let screen = text(&output);
    for line in [
        "traefik-system/traefik is NOT served: LB1105 NodeNetworkUnavailable",
        "  ✓ it has an address                          192.168.1.201",
        "  ✗ a node may announce it",
        "      ✗ nuc-1  LB1110 ",
        "      ✗ nuc-2  LB1105 ",
        "  · that node answers for it",
        "  ? a speaker runs                             not known from files",
        "The whole story: ferrolb explain LB1105",
    ] {
        assert!(screen.contains(line), "{line}\n{screen}");
    }
    let served = run(&[
        "why",
        "traefik-system/traefik",
        "--manifests",
        "manifests/metallb-config",
        "--manifests",
        "services/traefik.yaml",
    ]);
    assert_eq!(code(&served), Some(0), "{}", text(&served));
    assert!(text(&served).contains("traefik-system/traefik is served, as far as is known"));
    for rule in ["a speaker runs", "no other device has the address", "that node answers for it"] {
        assert!(text(&served).contains(&format!("  ? {rule}")), "{}", text(&served));
    }
    let nobody =
        run(&["why", "traefic", "--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"]);
    assert_eq!(code(&nobody), Some(2));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("did you mean traefik?"));
}

#[test]
fn plan_tells_who_keeps_and_who_loses_before_anyone_merges() {
    let now = ["--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"];
    let plan = |pool: &str, extra: &[&str]| {
        let directory = files(&[("pool.yaml", pool)]);
        let path = directory.path().to_str().unwrap().to_owned();
        run(&[&["plan", "-f", &path], &now[..], extra].concat())
    };
    let pool = |name: &str, range: &str| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: [{range}]}}\n"
        )
    };
    let same = plan(&pool("default-pool", "192.168.1.200-192.168.1.220"), &[]);
    assert_eq!(text(&same), "keep     traefik-system/traefik  192.168.1.201  (default-pool)\n\n1 keep\n");
    assert_eq!(code(&same), Some(0));
    let away = plan(&pool("default-pool", "192.168.1.210-192.168.1.220"), &[]);
    assert_eq!(code(&away), Some(1));
    let screen = text(&away);
    assert!(
        screen.contains("lose     traefik-system/traefik  192.168.1.201 -> no address\n           LB1012 "),
        "{screen}"
    );
    assert!(screen.ends_with("\n1 lose\n"), "{screen}");
    let renamed = pool("home-pool", "192.168.1.200-192.168.1.220")
        + "---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}\n";
    let renamed = plan(&renamed, &["--prune", "-o", "name"]);
    assert_eq!((text(&renamed).as_str(), code(&renamed)), ("keep traefik-system/traefik\n", Some(0)));
}

/// `plan` of one file against the first user's files: exit code, and the document.
fn plan_of(name: &str, bytes: &[u8]) -> (Option<i32>, Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let now = ["--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"];
    let line = [&["plan", "-f", path.to_str().unwrap()], &now[..]].concat();
    let output = run(&[&line[..], &["-o", "json"]].concat());
    (code(&output), serde_json::from_slice(&output.stdout).unwrap(), text(&run(&line)))
}

#[test]
fn plan_is_not_green_over_what_it_could_not_read() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: q, namespace: metallb-system}\nspec: {addresses: [10.0.0.0/24]}\n";
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, ports: [{port: eighty}]}\n";
    for (name, text, exit, finding, line) in [
        ("broken.yaml", "apiVersion: [\n".to_owned(), 2, "LB0004", 1),
        ("binary.yaml", "a\0b".to_owned(), 2, "LB0004", 1),
        ("README.md", "Everybody reads this.\n".to_owned(), 2, "LB0006", 1),
        ("kind.yaml", pool.replace("IPAddressPool", "IPAddresPool"), 2, "LB0006", 1),
        ("port.yaml", service.to_owned(), 2, "LB0004", 4),
        ("both.yaml", format!("{pool}---\n{service}"), 1, "LB0004", 9),
        ("field.yaml", pool.replace("addresses", "adresses"), 2, "LB0009", 4),
    ] {
        let (code, document, screen) = plan_of(name, text.as_bytes());
        assert_eq!(code, Some(exit), "{name}: {screen}");
        let findings = document["findings"].as_array().unwrap();
        let found = findings.iter().find(|one| one["code"] == finding).unwrap_or_else(|| panic!("{name}: {document}"));
        assert_eq!(found["location"]["line"], line, "{name}: {document}");
        assert!(screen.contains(&format!("{name}:{line}:")) && screen.contains(finding), "{screen}");
    }
}

#[test]
fn status_of_files_is_not_green_over_what_it_could_not_read() {
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, ports: [{port: eighty}]}\n";
    let site = files(&[
        ("svc.yaml", service),
        (
            "kind.yaml",
            "apiVersion: metallb.io/v1beta1\nkind: IPAddresPool\nmetadata: {name: p, namespace: metallb-system}\n",
        ),
    ]);
    let output = run(&["status", "--manifests", site.path().to_str().unwrap(), "-o", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects: Vec<&str> =
        document["findings"].as_array().unwrap().iter().map(|one| one["object"].as_str().unwrap()).collect();
    assert!(objects.contains(&"Service/default/web"), "{objects:?}");
    assert_eq!((code(&output), &document["ok"], &document["as_if_applied"]), (Some(1), &false.into(), &true.into()));
}

#[test]
fn a_password_is_never_repeated() {
    let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n\
                spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, password: 12345678}\n";
    let site = files(&[("peer.yaml", peer)]);
    let path = site.path().to_str().unwrap();
    for line in [
        &["lint", path][..],
        &["status", "--manifests", path],
        &["support-bundle", "--manifests", path],
        &["plan", "-f", path, "--manifests", path],
    ] {
        let output = run(line);
        let all = text(&output) + &String::from_utf8(output.stderr).unwrap();
        assert!(all.contains("LB0004") && !all.contains("12345678"), "{line:?}: {all}");
    }
}

#[test]
fn ip_tells_who_has_an_address() {
    let now = ["--manifests", "manifests/metallb-config", "--manifests", "services/traefik.yaml"];
    let taken = run(&[&["ip", "192.168.1.201"], &now[..]].concat());
    assert_eq!(
        text(&taken),
        "192.168.1.201: traefik-system/traefik, pool default-pool\n    would be announced; by whom is not known from files\n"
    );
    assert_eq!(code(&taken), Some(0));
    let free = run(&[&["ip", "192.168.1.202"], &now[..]].concat());
    assert_eq!((text(&free).as_str(), code(&free)), ("192.168.1.202: no Service has it; pool default-pool\n", Some(1)));
    assert_eq!(code(&run(&[&["ip", "nonsense"], &now[..]].concat())), Some(2));
}

#[test]
fn the_program_called_as_kubectls_plugin_is_the_same_program() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-ferrolb");
    std::os::unix::fs::symlink(FERROLB, &plugin).unwrap();
    let output = Command::new(plugin).args(["explain", "LB1104"]).output().unwrap();
    assert_eq!(code(&output), Some(0));
    assert!(text(&output).starts_with("LB1104 NodeExcluded: "));
}

#[test]
fn kubectl_completes_its_plugin_by_the_same_program() {
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("kubectl_complete-ferrolb");
    std::os::unix::fs::symlink(FERROLB, &helper).unwrap();
    let output = Command::new(helper).args(["expl"]).output().unwrap();
    assert_eq!((code(&output), text(&output).as_str()), (Some(0), "explain\n:4\n"));
}

#[test]
fn explain_answers_programs_too() {
    let document: Value = serde_json::from_slice(&run(&["explain", "LB1104", "-o", "json"]).stdout).unwrap();
    assert_eq!((document["code"].as_str(), document["name"].as_str()), (Some("LB1104"), Some("NodeExcluded")));
    assert!(document["story"].as_str().unwrap().contains("Wrong:"));
    let names = text(&run(&["explain", "-o", "name"]));
    assert!(names.starts_with("LB0001\n") && names.lines().count() > 100, "{names}");
    assert_eq!(code(&run(&["explain", "LB9999"])), Some(2));
}

#[test]
fn a_verb_that_asks_a_cluster_does_not_pretend_to_have_read_files() {
    for verb in ["export", "check", "wait"] {
        let output = run(&[verb, "--manifests", "manifests/metallb-config"]);
        assert_eq!(code(&output), Some(2), "{verb}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("--manifests") && error.contains("LB0031"), "{verb}: {error}");
    }
}

#[test]
fn a_flag_of_controller_and_speaker_that_makes_no_sense_has_its_code() {
    for line in [
        ["controller", "--port=x"],
        ["speaker", "--port=70000"],
        ["controller", "--webhook-mode=sometimes"],
        ["speaker", "--promiscuous=maybe"],
    ] {
        let output = run(&line);
        assert_eq!(code(&output), Some(2), "{line:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("LB0031 FlagInvalid"), "{line:?}: {error}");
    }
}

#[test]
fn nobody_to_ask_is_two_and_says_which_flags_there_are() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("config");
    let mut command = Command::new(FERROLB);
    command.args(["status", "--context=none"]).env_clear().env("KUBECONFIG", nowhere).env("HOME", home.path());
    let output = command.output().unwrap();
    assert_eq!(code(&output), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("ferrolb: --context none: "), "{error}");
    let output = run(&["status", "--socket", "/nonexistent/socket"]);
    assert_eq!(code(&output), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("LB0062 --socket /nonexistent/socket: there is none"));
}
