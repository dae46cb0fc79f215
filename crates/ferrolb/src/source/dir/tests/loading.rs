//! A directory, loaded again and again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use ferrolb_rules::reason::{Code, Finding, Severity};

use super::super::Loader;
use super::{POOL, SERVICE, Scene, codes, link, pool, pools};

#[test]
fn manifests_are_found_in_order_of_path_and_other_files_are_not_looked_at() {
    let scene = Scene::new();
    scene
        .write("b.yaml", pool("b"))
        .write("a/z.yml", pool("a"))
        .write("c.json", "{apiVersion: v1, kind: Namespace, metadata: {name: \"n\"}}")
        .write("notes.txt", "{{{")
        .write("pool.yaml~", "{{{")
        .write(".hidden.yaml", "{{{")
        .write(".git/x.yaml", "{{{");
    let loaded = scene.load();
    assert_eq!(loaded.findings, []);
    assert_eq!(pools(&loaded), ["a", "b"]);
    assert_eq!(loaded.objects.namespaces.len(), 1);
}

#[test]
fn a_broken_file_keeps_its_last_good_content_as_a_whole() {
    let scene = Scene::new();
    scene.write("a.yaml", format!("{}---\n{}", pool("one"), pool("two"))).write("b.yaml", pool("three"));
    let mut loader = scene.loader();
    assert_eq!(pools(&loader.load()), ["one", "three", "two"]);

    scene.write("a.yaml", format!("{}---\n{}", pool("new"), pool("two").replace("addresses: [", "addresses: 5 #")));
    let broken = loader.load();
    assert_eq!(pools(&broken), ["one", "three", "two"]);
    assert_eq!(codes(&broken.findings), [(Code::ManifestInvalid, Severity::Error)]);
    let finding = &broken.findings[0];
    assert!(finding.message.contains("last good stays in force"), "{finding}");
    let location = finding.location.as_ref().unwrap();
    assert_eq!((location.line, location.column), (11, 14), "{finding}");

    fs::write(scene.path("a.yaml"), [0xff]).unwrap();
    assert_eq!(codes(&loader.load().findings), [(Code::ManifestUnreadable, Severity::Error)]);
    assert_eq!(pools(&loader.load()), ["one", "three", "two"]);

    scene.write("a.yaml", pool("new"));
    let mended = loader.load();
    assert_eq!((pools(&mended), mended.findings.len()), (vec!["new", "three"], 0));

    fs::remove_file(scene.path("a.yaml")).unwrap();
    assert_eq!(pools(&loader.load()), ["three"]);
}

#[test]
fn a_file_that_becomes_empty_keeps_its_objects_until_it_is_deleted() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL).write("b.yaml", "");
    assert_eq!(scene.load().findings, []);
    scene.write("a.yaml", "\n");
    let mut loader = scene.loader();
    for _ in 0..2 {
        let loaded = loader.load();
        assert_eq!(pools(&loaded), ["pool"]);
        assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error)]);
    }
    scene.write("a.yaml", "# nothing any more\n");
    let loaded = loader.load();
    assert_eq!((pools(&loaded), loaded.findings.len()), (vec![], 0));
}

#[test]
fn a_file_that_may_not_be_read_keeps_its_objects() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL);
    let mut loader = scene.loader();
    loader.load();
    fs::set_permissions(scene.path("a.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    let loaded = loader.load();
    assert_eq!(pools(&loaded), ["pool"]);
    // Root may read everything.
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error)]);
        assert!(loaded.findings[0].message.contains("denied"), "{}", loaded.findings[0]);
    }
}

#[test]
fn a_file_that_was_never_good_has_no_objects() {
    let scene = Scene::new();
    scene.write("a.yaml", format!("{POOL}---\nfoo: bar\n"));
    let loaded = scene.load();
    assert_eq!(pools(&loaded), [""; 0]);
    assert!(loaded.findings[0].message.contains("never good"), "{}", loaded.findings[0]);
}

#[test]
fn a_file_that_broke_before_a_restart_loses_nothing() {
    let scene = Scene::new();
    scene.write("sub/a.yaml", pool("one")).write("b.yaml", pool("two")).write("c.yaml", pool("three"));
    scene.load();
    scene.write("sub/a.yaml", "{");
    fs::remove_file(scene.path("c.yaml")).unwrap();
    for _ in 0..2 {
        let loaded = scene.load();
        assert_eq!(pools(&loaded), ["one", "two"]);
        assert_eq!(codes(&loaded.findings), [(Code::ManifestInvalid, Severity::Error)]);
    }
    assert_eq!(fs::metadata(scene.cache()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(scene.directory(), scene.path("../away")).unwrap();
    assert_eq!(pools(&scene.load()), ["one", "two"]);
    let elsewhere = Loader::new(scene.path("../other"), "metallb-system".to_owned(), Some(scene.cache())).load();
    assert_eq!(pools(&elsewhere), [""; 0]);
}

#[test]
fn a_damaged_cache_is_set_aside_and_costs_nothing_while_every_file_is_good() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL);
    scene.load();
    fs::write(scene.cache(), "{\"version\":1,").unwrap();
    let mut loader = scene.loader();
    for _ in 0..2 {
        let loaded = loader.load();
        assert_eq!(codes(&loaded.findings), [(Code::StateUnusable, Severity::Warning)]);
        assert_eq!(pools(&loaded), ["pool"]);
    }
    assert!(scene.cache().with_extension("damaged").exists());
    assert_eq!(scene.load().findings, []);
}

#[test]
fn a_cache_that_cannot_be_written_is_reported_and_nothing_else_suffers() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL);
    fs::write(scene.cache().parent().unwrap(), "a file where the directory should be").unwrap();
    let loaded = scene.load();
    assert_eq!(pools(&loaded), ["pool"]);
    assert!(loaded.findings.iter().all(|finding| finding.code == Code::StateUnusable), "{:?}", loaded.findings);
    assert!(!loaded.findings.is_empty());
}

#[test]
fn the_first_of_two_definitions_counts_and_both_places_are_named() {
    let scene = Scene::new();
    let other = POOL.replace("192.168.1.240/28", "10.0.0.0/24");
    scene.write("a.yaml", format!("{SERVICE}---\n{POOL}---\n{other}")).write("b.yaml", &other);
    let loaded = scene.load();
    assert_eq!(loaded.objects.pools[0].spec.addresses, ["192.168.1.240/28"]);
    assert_eq!(codes(&loaded.findings), [(Code::DuplicateObject, Severity::Warning); 2]);
    let first = format!("{}:9:1", scene.path("a.yaml").display());
    for (finding, second) in loaded.findings.iter().zip([("a.yaml", 15), ("b.yaml", 1)]) {
        let second = format!("{}:{}:1", scene.path(second.0).display(), second.1);
        assert!(finding.message.contains(&first) && finding.message.contains(&second), "{finding}");
    }
}

#[test]
fn what_did_not_change_keeps_its_pointer() {
    let scene = Scene::new();
    scene.write("a.yaml", format!("{}---\n{}", pool("one"), pool("two"))).write("s.yaml", SERVICE);
    let mut loader = scene.loader();
    let before = loader.load();
    let same = loader.load();
    assert!(Arc::ptr_eq(&before.objects, &same.objects));
    assert_eq!(before, same);
    scene.write("a.yaml", format!("# new\n{}---\n{}", pool("one"), pool("two").replace("240/28", "0/24")));
    let after = loader.load();
    assert!(Arc::ptr_eq(&before.objects.pools[0], &after.objects.pools[0]));
    assert!(Arc::ptr_eq(&before.objects.services[0], &after.objects.services[0]));
    assert!(!Arc::ptr_eq(&before.objects.pools[1], &after.objects.pools[1]));
    fs::rename(scene.path("a.yaml"), scene.path("b.yaml")).unwrap();
    assert!(Arc::ptr_eq(&after.objects, &loader.load().objects));
}

#[test]
fn links_are_followed_and_circles_are_named() {
    let scene = Scene::new();
    scene.write("..2026/pool.yaml", pool("mapped")).write("../elsewhere/x.yaml", pool("linked"));
    link("..2026", scene.path("..data"));
    link("..data/pool.yaml", scene.path("pool.yaml"));
    link("../elsewhere", scene.path("further"));
    let mut loader = scene.loader();
    let loaded = loader.load();
    assert_eq!((pools(&loaded), loaded.findings.len()), (vec!["linked", "mapped"], 0));

    link(".", scene.path("self"));
    link("loop.yaml", scene.path("loop.yaml"));
    link("nowhere", scene.path("dangling.yaml"));
    link("nowhere", scene.path("ignored"));
    let loaded = loader.load();
    assert_eq!(pools(&loaded), ["linked", "mapped"]);
    assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error); 3]);
    let messages: Vec<_> = loaded.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages.iter().filter(|message| message.contains("circle")).count(), 2, "{messages:?}");
    assert_eq!(messages.iter().filter(|message| message.contains("nowhere")).count(), 1, "{messages:?}");
}

#[test]
fn pipes_sockets_devices_and_large_files_are_reported_and_never_waited_for() {
    let scene = Scene::new();
    scene.write("good.yaml", POOL);
    nix::unistd::mkfifo(&scene.path("pipe.yaml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("socket.yaml")).unwrap();
    link("/dev/zero", scene.path("device.yaml"));
    fs::File::create(scene.path("large.yaml")).unwrap().set_len((8 << 20) + 1).unwrap();
    let loaded = scene.load();
    assert_eq!(pools(&loaded), ["pool"]);
    assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error); 4]);
    for (finding, (why, fix)) in loaded.findings.iter().zip([
        ("a device", "move this one elsewhere"),
        ("larger than 8 MiB", "split the file"),
        ("a pipe", "move this one elsewhere"),
        ("a socket", "move this one elsewhere"),
    ]) {
        assert!(finding.message.contains(why) && finding.fix.contains(fix), "{finding}");
    }
}

#[test]
fn too_deep_and_too_many_are_reported_and_drop_nothing() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL).write(&format!("{}deep.yaml", "d/".repeat(20)), pool("deep"));
    let loaded = scene.load();
    assert_eq!(pools(&loaded), ["pool"]);
    assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error)]);

    let crowded = Scene::new();
    crowded.write("z.yaml", POOL);
    let mut loader = crowded.loader();
    loader.load();
    for number in 0..10_001 {
        fs::File::create(crowded.path(&format!("{number}.txt"))).unwrap();
    }
    let loaded = loader.load();
    assert_eq!(pools(&loaded), ["pool"]);
    assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error)]);
}

#[test]
fn a_missing_directory_is_an_error_and_the_objects_stay() {
    let scene = Scene::new();
    scene.write("a.yaml", POOL);
    let mut loader = scene.loader();
    loader.load();
    fs::remove_dir_all(scene.directory()).unwrap();
    let loaded = loader.load();
    assert_eq!(pools(&loaded), ["pool"]);
    assert_eq!(codes(&loaded.findings), [(Code::ManifestUnreadable, Severity::Error)]);
    fs::write(scene.directory(), "a file").unwrap();
    assert_eq!(codes(&loader.load().findings), [(Code::ManifestUnreadable, Severity::Error)]);
    fs::remove_file(scene.directory()).unwrap();
    fs::create_dir(scene.directory()).unwrap();
    let loaded = loader.load();
    assert_eq!((pools(&loaded), loaded.findings.len()), (vec![], 0));
}

#[test]
fn the_first_users_repository_loads_with_sensible_findings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gitops");
    let loaded = Loader::new(directory, "metallb-system".to_owned(), None).load();
    let count = |code, severity| codes(&loaded.findings).iter().filter(|found| **found == (code, severity)).count();
    for finding in &loaded.findings {
        println!("{finding}");
    }
    assert_eq!(count(Code::UnknownKind, Severity::Note), 2);
    assert_eq!(count(Code::WrongNamespace, Severity::Warning), 2);
    assert_eq!(loaded.findings.len(), 4);
    assert!(!loaded.objects.pools.is_empty() && !loaded.objects.services.is_empty());
}

#[test]
fn what_the_rules_say_of_an_object_is_pointed_at_in_its_file() {
    let scene = Scene::new();
    scene.write("a.yaml", format!("{SERVICE}---\n{POOL}"));
    let loaded = scene.load();
    let place = |object: &str, field: &str| {
        let finding = Finding::new(Code::AddressRangeInvalid, Severity::Error, object, "it is wrong").at_field(field);
        loaded.places.point(finding).location.map(|place| (place.line, place.column))
    };
    assert_eq!(place("IPAddressPool/metallb-system/pool", "spec.addresses[0]"), Some((13, 15)));
    assert_eq!(place("IPAddressPool/metallb-system/pool", "spec.addresses[7]"), Some((13, 14)));
    assert_eq!(place("IPAddressPool/metallb-system/pool", ""), Some((9, 1)));
    assert_eq!(place("Service/default/web", "spec.ports"), Some((1, 1)));
    assert_eq!(place("Service/default/gone", "spec"), None);
}
