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
