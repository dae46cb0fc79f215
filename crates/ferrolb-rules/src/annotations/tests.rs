//! Tests of the annotations: the two names, what does nothing, health checks.

use super::*;

fn service(pairs: &[(&str, &str)]) -> Service {
    let mut service = Service::default();
    service.metadata.name = Some("x".to_owned());
    service.metadata.namespace = Some("default".to_owned());
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    service.metadata.annotations = Some(pairs.collect());
    service
}

fn codes(pairs: &[(&str, &str)]) -> Vec<Code> {
    findings(&service(pairs), None).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn the_new_name_wins_where_it_is_present_even_if_it_is_empty() {
    let both = service(&[("metallb.io/address-pool", ""), ("metallb.universe.tf/address-pool", "old")]);
    assert_eq!(address_pool(&both), None);
    assert_eq!(address_pool(&service(&[("metallb.universe.tf/address-pool", "old")])), Some("old"));
}

#[test]
fn every_input_is_known_under_both_names() {
    for name in INPUTS {
        assert_eq!(codes(&[(&format!("metallb.io/{name}"), "v")]), []);
        assert_eq!(codes(&[(&format!("metallb.universe.tf/{name}"), "v")]), [Code::DeprecatedAnnotation]);
    }
}

#[test]
fn the_users_class_annotation_is_explained_with_the_field_that_was_meant() {
    let found = findings(&service(&[("metallb.universe.tf/loadBalancer-class", "metallb")]), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, Code::UnknownAnnotation);
    assert!(found[0].fix.contains("spec.loadBalancerClass"), "{}", found[0].fix);
}

#[test]
fn a_mistyped_domain_with_a_name_of_ours_is_named_and_another_products_annotation_is_not() {
    for key in ["metalb.io/loadBalancerIPs", "metallb.oi/loadbalancerips", "metallb.univers.tf/address-pool"] {
        let found = findings(&service(&[(key, "x")]), None);
        assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::UnknownAnnotation], "{key}");
        assert!(found[0].fix.starts_with("did you mean metallb.io/"), "{}", found[0].fix);
    }
    for key in ["lbipam.cilium.io/ips", "kube-vip.io/loadbalancerIPs", "metal.io/owner", "example.org/address-pool"] {
        assert_eq!(codes(&[(key, "x")]), [], "{key}");
    }
}

#[test]
fn communities_of_a_service_are_values_and_what_is_none_is_named() {
    let of = |text: &str| communities(&service(&[(BGP_COMMUNITIES, text)]));
    let two = [CommunityValue::Standard(64512, 7), CommunityValue::Large(1, 2, 3)];
    assert_eq!(of("64512:7, large:1:2:3"), two);
    assert_eq!(codes(&[(BGP_COMMUNITIES, "64512:7, large:1:2:3")]), []);
    assert_eq!(of("64512:7, blue, large:1:2:3"), two);
    assert_eq!(codes(&[(BGP_COMMUNITIES, "64512:7, blue")]), [Code::AnnotationInvalid]);
    assert_eq!((of(""), codes(&[(BGP_COMMUNITIES, "")])), (vec![], vec![]));
}

#[test]
fn what_the_controller_writes_is_not_read() {
    assert_eq!(codes(&[("metallb.universe.tf/ip-allocated-from-pool", "default-pool")]), [Code::OutputAnnotation]);
    assert_eq!(codes(&[(ALLOCATED_FROM, "default-pool")]), [Code::OutputAnnotation]);
    assert_eq!(findings(&service(&[(ALLOCATED_FROM, "p")]), Some("p")), [], "the controller's own word");
}

#[test]
fn what_another_program_holds_is_named_with_it_and_the_true_pool() {
    let mut held = service(&[(ALLOCATED_FROM, "git")]);
    let fields = r#"{"f:metadata": {"f:annotations": {"f:metallb.io/ip-allocated-from-pool": {}}}}"#;
    let by = |manager: &str| {
        let manager = Some(manager.to_owned());
        let fields_v1 = Some(serde_json::from_str(fields).unwrap());
        Some(vec![ManagedFieldsEntry { manager, fields_v1, ..ManagedFieldsEntry::default() }])
    };
    held.metadata.managed_fields = by("argocd-controller");
    assert_eq!(findings(&held, Some("lan")), [], "it is not said twice");
    let finding = held_elsewhere(&held, "lan").unwrap();
    assert_eq!(finding.code, Code::ForeignOutputAnnotation);
    assert_eq!(
        finding.message,
        "metallb.io/ip-allocated-from-pool says \"git\" and \"argocd-controller\" holds it there; the pool is \"lan\""
    );
    assert_eq!(held_elsewhere(&held, "git"), None, "it is true");
    held.metadata.managed_fields = by("metallb-controller");
    assert_eq!(held_elsewhere(&held, "lan"), None, "it is ours");
}

#[test]
fn typing_mistakes_get_the_right_name() {
    for (wrong, right) in [
        ("metallb.io/adress-pool", "metallb.io/address-pool"),
        ("metallb.io/loadbalancerips", "metallb.io/loadBalancerIPs"),
        ("metallb.io/allow-shared-ips", "metallb.io/allow-shared-ip"),
        ("metallb.org/address-pool", "metallb.io/address-pool"),
        ("ferrolb.io/healthcheck", HEALTH_CHECK),
    ] {
        let found = findings(&service(&[(wrong, "v")]), None);
        assert_eq!(found.len(), 1, "{wrong}");
        assert!(found[0].fix.contains(right), "{wrong}: {}", found[0].fix);
    }
    assert_eq!(codes(&[("metallb.io/completely-different", "v")]), [Code::UnknownAnnotation]);
    assert_eq!(codes(&[("example.org/address-pool", "v"), ("plain", "v")]), []);
}

#[test]
fn health_checks_are_parsed_or_refused_with_a_reason() {
    let http = |host: &str, port, path: &str| HealthCheck::Http { host: host.into(), port, path: path.into() };
    assert_eq!(HealthCheck::parse("http://127.0.0.1:8080/healthz?x=1"), Ok(http("127.0.0.1", 8080, "/healthz?x=1")));
    assert_eq!(HealthCheck::parse("http://[::1]"), Ok(http("::1", 80, "/")));
    assert_eq!(HealthCheck::parse("http://[::1]:81"), Ok(http("::1", 81, "/")));
    assert_eq!(HealthCheck::parse("tcp://localhost:53"), Ok(HealthCheck::Tcp { host: "localhost".into(), port: 53 }));
    for wrong in
        ["", "8080", "tcp://x", "tcp://x:0", "tcp://x:70000", "https://x/", "http:///x", "http://a b/", "http://x/a b"]
    {
        assert!(HealthCheck::parse(wrong).is_err(), "{wrong}");
        if !wrong.is_empty() {
            assert_eq!(codes(&[(HEALTH_CHECK, wrong)]), [Code::AnnotationInvalid], "{wrong}");
        }
    }
}

#[test]
fn an_address_is_bound_to_lo_or_not_at_all() {
    assert!(binds_to_lo(&service(&[(BIND_ADDRESS, "lo")])));
    assert!(!binds_to_lo(&service(&[(BIND_ADDRESS, "eth0")])));
    assert_eq!(codes(&[(BIND_ADDRESS, "eth0")]), [Code::AnnotationInvalid]);
}
