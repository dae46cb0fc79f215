//! Tests of the comparison: a pool is renamed, shrunk, taken away; an advertisement goes.

use super::*;
use crate::config::Resources;
use crate::fixtures::{l2, node, pool, service, with_status};
use crate::picture::{Options, draw};

fn known(pools: &[(&str, &str)], services: Vec<Service>) -> Known {
    Known {
        resources: Resources {
            pools: pools.iter().map(|(name, spec)| pool(name, spec)).collect(),
            l2_advertisements: vec![l2("all", "")],
            nodes: vec![node("a", "")],
            ..Resources::default()
        },
        services: services.into_iter().map(Arc::new).collect(),
        endpoints: Vec::new(),
    }
}

fn verdicts(now: &Known, files: &Known, prune: bool) -> Vec<String> {
    let options = Options { files: true, ..Options::default() };
    let then = Options { as_if_applied: true, ..options.clone() };
    let now_picture = draw(now, &options);
    compare(&now_picture, &draw(&apply(now, files, prune), &then)).iter().map(ToString::to_string).collect()
}

fn files(pools: &[(&str, &str)], services: Vec<Service>) -> Known {
    let mut files = known(pools, services);
    files.resources.nodes.clear();
    files
}

fn web() -> Service {
    with_status(service("web", "", ""), &["192.168.1.201"])
}

const RANGE: &str = "addresses: [192.168.1.200-192.168.1.220]";

#[test]
fn files_that_say_what_is_change_nothing() {
    let now = known(&[("p", RANGE)], vec![web()]);
    assert_eq!(verdicts(&now, &files(&[("p", RANGE)], vec![]), true), ["keep     default/web  192.168.1.201  (p)"]);
}

#[test]
fn a_pool_that_is_renamed_keeps_every_address() {
    let now = known(&[("old", RANGE)], vec![web()]);
    assert_eq!(verdicts(&now, &files(&[("new", RANGE)], vec![]), true), ["keep     default/web  192.168.1.201  (new)"]);
}

#[test]
fn a_pool_that_shrinks_moves_who_is_outside() {
    let now = known(&[("p", RANGE)], vec![web()]);
    let then = files(&[("p", "addresses: [192.168.1.210-192.168.1.220]")], vec![]);
    assert_eq!(verdicts(&now, &then, false), ["change   default/web  192.168.1.201 -> 192.168.1.210  (p)"]);
}

#[test]
fn a_pool_that_goes_takes_its_addresses_with_it_only_with_prune() {
    let now = known(&[("p", RANGE)], vec![web()]);
    let other = files(&[("q", "addresses: [10.0.0.0/24], autoAssign: false")], vec![]);
    assert_eq!(verdicts(&now, &other, false), ["keep     default/web  192.168.1.201  (p)"]);
    assert_eq!(verdicts(&now, &other, true), ["lose     default/web  192.168.1.201 -> no address"]);
}

#[test]
fn an_address_that_nobody_announces_any_more_is_lost() {
    let now = known(&[("p", RANGE)], vec![web()]);
    let mut then = files(&[("p", RANGE)], vec![]);
    then.resources.l2_advertisements = vec![l2("all", "ipAddressPools: [other]")];
    let options = Options { files: true, ..Options::default() };
    let changes = compare(
        &draw(&now, &options),
        &draw(&apply(&now, &then, true), &Options { as_if_applied: true, ..options.clone() }),
    );
    assert_eq!(changes[0].verdict, Verdict::Lose);
    assert_eq!(changes[0].reason.as_ref().map(|reason| reason.code), Some(Code::NoAdvertisement));
    assert_eq!(changes[0].from, changes[0].to);
}

#[test]
fn a_new_service_is_told_its_address_and_a_wrong_one_why_it_gets_none() {
    let now = known(&[("p", RANGE)], vec![web()]);
    let wrong = service("wrong", "loadBalancerIP: 10.9.9.9", "");
    let then = files(&[("p", RANGE)], vec![service("dns", "loadBalancerIP: 192.168.1.210", ""), wrong]);
    let lines = verdicts(&now, &then, false);
    assert_eq!(
        lines,
        [
            "pending  default/wrong  no address",
            "new      default/dns  no address -> 192.168.1.210  (p)",
            "keep     default/web  192.168.1.201  (p)",
        ]
    );
}

#[test]
fn a_service_in_files_keeps_the_status_that_it_has() {
    let now = known(&[("p", RANGE)], vec![web()]);
    let then = files(&[("p", RANGE)], vec![service("web", "", "")]);
    assert_eq!(verdicts(&now, &then, true), ["keep     default/web  192.168.1.201  (p)"]);
}

/// What a cluster with one node and one pool comes to: what files lack is not assumed of what is there.
fn in_cluster(present: Vec<Service>, wanted: Vec<Service>) -> Vec<Change> {
    let now = known(&[("p", RANGE)], present);
    let then = files(&[("p", RANGE)], wanted);
    let options = Options { as_if_applied: true, to_come: to_come(&now, &then), ..Options::default() };
    compare(&draw(&now, &Options::default()), &draw(&apply(&now, &then, false), &options))
}

#[test]
fn a_service_that_only_files_have_gets_what_a_cluster_would_give_it() {
    let local = service("local", "externalTrafficPolicy: Local", "");
    let six = service("six", "ipFamilies: [IPv6]", "");
    let changes = in_cluster(vec![], vec![service("web", "", ""), local, six]);
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "pending  default/six  no address",
            "new      default/local  no address -> 192.168.1.200  (p)",
            "new      default/web  no address -> 192.168.1.201  (p)",
        ]
    );
    assert_eq!(changes[0].reason.as_ref().map(|reason| reason.code), Some(Code::NoFreeAddress), "{changes:?}");
    assert_eq!(changes.iter().map(Change::is_bad).collect::<Vec<_>>(), [true, false, false]);
    // One that is there without a cluster IP has none, and is no worse for the files.
    let there = in_cluster(vec![service("web", "", "")], vec![service("web", "", "")]);
    assert_eq!(there[0].reason.as_ref().map(|reason| reason.code), Some(Code::ClusterIpsMissing));
    assert_eq!((there[0].verdict, there[0].is_bad()), (Verdict::Pending, false));
}

#[test]
fn a_service_that_keeps_its_address_is_kept_whether_it_is_announced_or_not() {
    let mut now = known(&[("p", RANGE)], vec![web()]);
    now.resources.l2_advertisements.clear();
    let then = files(&[("p", RANGE)], vec![]);
    let unannounced = Known { resources: Resources { l2_advertisements: vec![], ..then.resources.clone() }, ..then };
    let options = Options { files: true, ..Options::default() };
    let applied = Options { as_if_applied: true, ..options.clone() };
    let changes = compare(&draw(&now, &options), &draw(&apply(&now, &unannounced, false), &applied));
    assert_eq!(changes[0].to_string(), "keep     default/web  192.168.1.201  (p)");
    assert_eq!(changes[0].reason.as_ref().map(|reason| reason.code), Some(Code::NoAdvertisement));
    assert!(!changes[0].is_bad());
    // One that comes and will not be announced is worth a look.
    let wanted = Known { services: vec![Arc::new(service("new", "", ""))], ..unannounced };
    let changes = compare(&draw(&now, &options), &draw(&apply(&now, &wanted, false), &applied));
    assert_eq!((changes[0].verdict, changes[0].is_bad()), (Verdict::New, true));
}
