//! Files that are only half written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrolb_rules::reason::{Code, Severity};

use super::super::{Loader, watch};
use super::{POOL, SERVICE, Scene, codes, pool, pools};
use crate::source::Loaded;

const SECOND: Duration = Duration::from_secs(1);

fn three() -> String {
    let named = |name: &str| SERVICE.replace("name: web", &format!("name: {name}"));
    format!("# what is served\n{}---\n{POOL}---\n{}---\n{}", named("web"), named("dns"), named("mail"))
}

fn examples() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gitops");
    let files = ["services/pool-by-annotation.yaml", "services/traefik.yaml", "services/static-ip.yaml"];
    let more = ["manifests/metallb-config/ip-pool.yaml", "manifests/multiple-pools.yaml"];
    files.iter().chain(&more).map(|file| fs::read_to_string(root.join(file)).unwrap()).collect()
}

fn same(a: &Loaded, b: &Loaded) -> bool {
    a.objects == b.objects
}

#[test]
fn a_file_cut_off_anywhere_withdraws_and_changes_nothing() {
    let mut texts = examples();
    texts.extend([three(), SERVICE.to_owned()]);
    for text in texts {
        let scene = Scene::new();
        scene.write("a.yaml", &text);
        // Without a cache: each of these loads would wait for the disk.
        let mut loader = Loader::new(scene.directory(), "metallb-system".to_owned(), None);
        let start = Instant::now();
        let whole = loader.load_at(start);
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            let part = &text[..length];
            scene.write("a.yaml", part);
            let loaded = loader.load_at(start);
            assert!(same(&loaded, &whole), "cut at {length}:\n{part}");
            // What is left of a line, and of an object, stays so for longer than any writer pauses.
            let said = loaded.findings.iter().filter(|finding| finding.severity != Severity::Note).count();
            let rest = text[length..].trim();
            assert!(
                said > 0
                    || rest.is_empty()
                    || rest.starts_with('#')
                    || !whole.findings.is_empty()
                    || is_idle(&text, part),
                "silent at {length}:\n{part}"
            );
            scene.write("a.yaml", &text);
            assert!(same(&loader.load_at(start), &whole));
        }
    }
}

/// Whether what is missing says nothing: the objects read are the same.
fn is_idle(text: &str, part: &str) -> bool {
    super::read(text).objects == super::read(part).objects
}

#[test]
fn a_document_that_was_deleted_is_gone_after_a_second_and_not_before() {
    let scene = Scene::new();
    let text = format!("{}---\n{}", pool("one"), pool("two"));
    scene.write("a.yaml", &text);
    let (mut loader, start) = (scene.loader(), Instant::now());
    loader.load_at(start);
    scene.write("a.yaml", pool("one"));
    let held = loader.load_at(start);
    assert_eq!(
        (pools(&held), codes(&held.findings)),
        (vec!["one", "two"], vec![(Code::ManifestUnreadable, Severity::Warning)])
    );
    assert!(held.findings[0].message.contains("after one of its objects"), "{}", held.findings[0]);
    assert_eq!(held.findings[0].location.as_ref().unwrap().line, 5);
    assert_eq!(loader.due(), Some(start + SECOND));
    assert_eq!(pools(&loader.load_at(start + SECOND / 2)), ["one", "two"]);
    let taken = loader.load_at(start + SECOND);
    assert_eq!((pools(&taken), taken.findings.len(), loader.due()), (vec!["one"], 0, None));
}

#[test]
fn the_less_somebody_can_have_meant_it_the_longer_it_is_waited_for_the_rest() {
    let text = SERVICE.replace("targetPort: http}", "targetPort: http}\n  - {port: 443}");
    let cases = [
        (text.replace("  - {port: 443}\n", ""), 5),
        (format!("{SERVICE}  - {{port: 443, protocol: U"), 0),
        (SERVICE.to_owned(), 5),
    ];
    for (part, seconds) in cases {
        let scene = Scene::new();
        scene.write("a.yaml", &text);
        let (mut loader, start) = (scene.loader(), Instant::now());
        let whole = loader.load_at(start);
        scene.write("a.yaml", &part);
        assert!(same(&loader.load_at(start), &whole), "{part}");
        if seconds > 0 {
            assert!(same(&loader.load_at(start + SECOND * (seconds - 1)), &whole), "{part}");
            assert!(!same(&loader.load_at(start + SECOND * seconds), &whole), "{part}");
        }
    }
    let scene = Scene::new();
    let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\nspec:\n  addresses:\n  - 192.168.1.240/28\n";
    scene.write("a.yaml", text);
    let (mut loader, start) = (scene.loader(), Instant::now());
    let whole = loader.load_at(start);
    scene.write("a.yaml", text.trim_end().trim_end_matches('8'));
    assert!(same(&loader.load_at(start + SECOND), &whole));
    assert!(same(&loader.load_at(start + 60 * SECOND), &whole));
    assert!(!same(&loader.load_at(start + 61 * SECOND), &whole));
}

#[test]
fn what_loses_nothing_counts_at_once() {
    let scene = Scene::new();
    let text = format!("{}---\n{}", pool("one"), pool("two"));
    scene.write("a.yaml", &text);
    let (mut loader, start) = (scene.loader(), Instant::now());
    loader.load_at(start);
    for (text, names) in [
        (format!("{text}---\n{}", pool("three")), vec!["one", "three", "two"]),
        (format!("{}---\n{}", pool("four"), pool("five")), vec!["five", "four"]),
        (pool("six").replace("28", "30"), vec!["six"]),
    ] {
        scene.write("a.yaml", &text);
        let loaded = loader.load_at(start);
        let seen: BTreeSet<&str> = pools(&loaded).into_iter().collect();
        assert_eq!((seen, loaded.findings.len()), (names.into_iter().collect(), 0), "{text}");
    }
}

#[test]
fn a_cut_before_a_restart_loses_nothing_either() {
    let scene = Scene::new();
    scene.write("a.yaml", three());
    let whole = scene.load();
    scene.write("a.yaml", SERVICE);
    scene.write("a.yaml", &three()[..three().len() - 3]);
    assert!(same(&scene.load(), &whole));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_document_goes_without_another_change() {
    let scene = Scene::new();
    scene.write("a.yaml", format!("{}---\n{}", pool("one"), pool("two")));
    let mut receiver = watch(scene.loader()).await;
    scene.write("a.yaml", pool("one"));
    let gone = receiver.wait_for(|loaded| pools(loaded) == ["one"] && loaded.findings.is_empty());
    assert!(tokio::time::timeout(3 * SECOND, gone).await.is_ok());
}
