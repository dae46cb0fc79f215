//! Changes, seen as they happen.

use std::fs;
use std::time::Duration;

use ferrolb_rules::reason::Code;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

use super::super::watch;
use super::{Scene, link, pool, pools};
use crate::source::Loaded;

/// Waits until the pools are these and the first finding is this one.
async fn sees(receiver: &mut Receiver<Loaded>, expected: &[&str], code: Option<Code>) {
    let fits = |loaded: &Loaded| pools(loaded) == expected && loaded.findings.first().map(|it| it.code) == code;
    let seen = timeout(Duration::from_secs(2), receiver.wait_for(fits)).await.is_ok();
    let last = receiver.borrow().clone();
    assert!(seen, "expected {expected:?} {code:?}, have {:?} {:?}", pools(&last), last.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_breaking_mending_replacing_and_deleting_are_seen() {
    let scene = Scene::new();
    let mut receiver = watch(scene.loader()).await;
    sees(&mut receiver, &[], None).await;
    scene.write("a.yaml", pool("one"));
    sees(&mut receiver, &["one"], None).await;
    scene.write("a.yaml", "{");
    sees(&mut receiver, &["one"], Some(Code::ManifestInvalid)).await;
    scene.write("a.yaml", pool("two"));
    sees(&mut receiver, &["two"], None).await;
    scene.write(".a.new", pool("three"));
    fs::rename(scene.path(".a.new"), scene.path("a.yaml")).unwrap();
    sees(&mut receiver, &["three"], None).await;
    scene.write("sub/deep/b.yaml", pool("four"));
    sees(&mut receiver, &["four", "three"], None).await;
    scene.write("sub/deep/b.yaml", pool("five"));
    sees(&mut receiver, &["five", "three"], None).await;
    fs::remove_dir_all(scene.path("sub")).unwrap();
    sees(&mut receiver, &["three"], None).await;
    fs::remove_file(scene.path("a.yaml")).unwrap();
    sees(&mut receiver, &[], None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapping_the_data_link_of_a_config_map_is_seen_every_time() {
    let scene = Scene::new();
    scene.write("..1/pool.yaml", pool("v1"));
    link("..1", scene.path("..data"));
    link("..data/pool.yaml", scene.path("pool.yaml"));
    let mut receiver = watch(scene.loader()).await;
    sees(&mut receiver, &["v1"], None).await;
    for version in 2..5 {
        scene.write(&format!("..{version}/pool.yaml"), pool(&format!("v{version}")));
        link(format!("..{version}"), scene.path("..data_tmp"));
        fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        fs::remove_dir_all(scene.path(&format!("..{}", version - 1))).unwrap();
        sees(&mut receiver, &[&format!("v{version}")], None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_removed_and_made_again_is_watched_on() {
    let scene = Scene::new();
    scene.write("a.yaml", pool("one"));
    let mut receiver = watch(scene.loader()).await;
    for name in ["two", "three"] {
        fs::remove_dir_all(scene.directory()).unwrap();
        receiver.wait_for(|loaded| !loaded.findings.is_empty()).await.unwrap();
        fs::create_dir(scene.directory()).unwrap();
        sees(&mut receiver, &[], None).await;
        scene.write("a.yaml", pool(name));
        sees(&mut receiver, &[name], None).await;
        scene.write("b.yaml", pool("other"));
        let mut both = [name, "other"];
        both.sort_unstable();
        sees(&mut receiver, &both, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_behind_links_and_a_root_that_is_a_link_are_watched() {
    let scene = Scene::new();
    scene.write("../real/a.yaml", pool("one")).write("../far/b.yaml", pool("far"));
    fs::remove_dir(scene.directory()).unwrap();
    link("real", scene.directory());
    link("../far/b.yaml", scene.path("b.yaml"));
    let mut receiver = watch(scene.loader()).await;
    sees(&mut receiver, &["far", "one"], None).await;
    scene.write("a.yaml", pool("two"));
    sees(&mut receiver, &["far", "two"], None).await;
    fs::write(scene.scratch.path().join("far/b.yaml"), pool("farther")).unwrap();
    sees(&mut receiver, &["farther", "two"], None).await;
    fs::create_dir(scene.scratch.path().join("next")).unwrap();
    fs::write(scene.scratch.path().join("next/a.yaml"), pool("next")).unwrap();
    link("next", scene.scratch.path().join("new"));
    fs::rename(scene.scratch.path().join("new"), scene.directory()).unwrap();
    sees(&mut receiver, &["next"], None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_nothing_changes() {
    let scene = Scene::new();
    scene.write("a.yaml", pool("one"));
    let mut receiver = watch(scene.loader()).await;
    sees(&mut receiver, &["one"], None).await;
    receiver.mark_unchanged();
    fs::read(scene.path("a.yaml")).unwrap();
    scene.write("a.yaml", pool("one")).write("notes.txt", "x");
    assert!(timeout(Duration::from_millis(700), receiver.changed()).await.is_err());
}
