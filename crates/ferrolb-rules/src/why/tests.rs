//! Tests of the walk.

use super::*;
use crate::reason::Severity;

fn service() -> ServiceKey {
    ServiceKey::new("traefik-system", "traefik")
}

fn seen() -> Seen {
    Seen {
        addresses: vec!["192.168.1.201".parse().unwrap()],
        pool: Some("default-pool".to_owned()),
        announced_by: Some("nuc-1".to_owned()),
        served: true,
        ..Seen::default()
    }
}

fn because(code: Code) -> Seen {
    let finding =
        Finding::new(code, Severity::Error, "Service/traefik-system/traefik", "the message").with_fix("the fix");
    Seen { served: false, announced_by: None, reasons: vec![finding], ..seen() }
}

#[test]
fn a_service_that_is_served_passes_every_rule() {
    let walk = walk(&service(), &seen());
    assert!(walk.served && walk.cause.is_none());
    assert!(walk.steps.iter().all(|step| step.mark == Mark::Holds));
    assert_eq!(walk.steps.len(), Rule::ALL.len());
    assert!(Rule::ALL.is_sorted());
}

#[test]
fn every_code_fails_exactly_one_rule_and_what_follows_is_not_reached() {
    for code in Code::ALL {
        let walk = walk(&service(), &because(*code));
        let failing: Vec<usize> =
            walk.steps.iter().enumerate().filter(|(_, step)| step.mark == Mark::Fails).map(|(at, _)| at).collect();
        let [at] = failing.as_slice() else { panic!("{code}: {failing:?}") };
        let silent = walk.steps[*at].rule == Rule::Announced;
        for step in &walk.steps[..*at] {
            // Who is silent does not say either whether anybody else has the address.
            let unknown = silent && step.rule == Rule::Conflict;
            assert_eq!(step.mark, if unknown { Mark::Unknown } else { Mark::Holds }, "{code} {:?}", step.rule);
        }
        assert!(walk.steps[at + 1..].iter().all(|step| step.mark == Mark::NotReached), "{code}");
        assert_eq!(walk.cause.map(|cause| cause.code), Some(*code));
    }
}

#[test]
fn a_service_that_is_not_served_has_a_code_even_where_nobody_gave_one() {
    let pending = Seen { addresses: Vec::new(), served: false, ..Seen::default() };
    assert_eq!(walk(&service(), &pending).cause.unwrap().code, Code::NoAddress);
    let silent = Seen { served: false, ..seen() };
    assert_eq!(walk(&service(), &silent).cause.unwrap().code, Code::AnnouncerSilent);
}

#[test]
fn the_screen_of_the_bad_day() {
    let mut seen = because(Code::NodeExcluded);
    let excluded =
        Finding::new(Code::NodeExcluded, Severity::Note, "Service/traefik-system/traefik", "it carries the label");
    seen.nodes = vec![("nuc-1".to_owned(), excluded)];
    let expected = "\
traefik-system/traefik is NOT served: LB1104 NodeExcluded

  ✓ it is of type LoadBalancer
  ✓ its loadBalancerClass is served here
  ✓ the configuration loads
  ✓ there is an IPAddressPool
  ✓ what it asks for can be had
  ✓ it has an address                          192.168.1.201
  ✓ the address belongs to a pool              default-pool
  ✓ an advertisement selects pool and Service
  ✓ an endpoint is ready
  ✓ sharing and service selectors do not meet
  ✓ a speaker runs
  ✗ a node may announce it
      ✗ nuc-1  LB1104 it carries the label
      why  the message
      fix  the fix
  · that node has the interface
  · no other device has the address
  · that node answers for it

The whole story: ferrolb explain LB1104
";
    assert_eq!(walk(&service(), &seen).to_string(), expected);
}

#[test]
fn what_else_is_worth_knowing_stands_below() {
    let mut seen = because(Code::AllNodesExcluded);
    seen.served = true;
    let walk = walk(&service(), &seen);
    assert!(walk.served && walk.notes.len() == 1);
    assert!(walk.to_string().ends_with("\n  ! LB1117 the message\n      fix  the fix\n"), "{walk}");
}

#[test]
fn a_rule_that_nobody_looked_at_is_not_said_to_hold() {
    let unknown = [Rule::Speaker, Rule::Conflict, Rule::Announced].map(|rule| (rule, "not known from files")).into();
    let seen = Seen { unknown, ..seen() };
    let walk = walk(&service(), &seen);
    let marks = |mark: Mark| walk.steps.iter().filter(|step| step.mark == mark).count();
    assert_eq!((marks(Mark::Unknown), marks(Mark::Holds)), (3, Rule::ALL.len() - 3));
    let text = walk.to_string();
    assert!(text.starts_with("traefik-system/traefik is served, as far as is known\n"), "{text}");
    assert!(text.contains("  ? a speaker runs                             not known from files\n"), "{text}");
    assert!(!text.contains("nuc-1"), "{text}");
}

#[test]
fn what_may_not_be_read_is_no_reason() {
    let denied = Finding::new(Code::AccessDenied, Severity::Error, "the API server", "you may not list IPAddressPool");
    let seen = Seen {
        unknown: [Rule::Pool, Rule::Membership].map(|rule| (rule, "may not be read")).into(),
        denied: Some(denied),
        ..because(Code::AddressNotConfigured)
    };
    let walk = walk(&service(), &seen);
    assert!(walk.is_undecided() && !walk.served);
    assert_eq!(walk.cause.as_ref().map(|cause| cause.code), Some(Code::AccessDenied));
    let mark = |rule: Rule| walk.steps.iter().find(|step| step.rule == rule).map(|step| step.mark);
    assert_eq!([Rule::Pool, Rule::Membership].map(mark), [Some(Mark::Unknown); 2]);
    assert_eq!(mark(Rule::Advertisement), Some(Mark::NotReached));
    let text = walk.to_string();
    assert!(text.contains("not known whether") && text.contains("why  you may not list IPAddressPool"), "{text}");
    // A reason that has nothing to do with it stays one.
    let other = Seen { unknown: [(Rule::Speaker, "")].into(), ..because(Code::NoAdvertisement) };
    assert_eq!(super::walk(&service(), &other).cause.map(|cause| cause.code), Some(Code::NoAdvertisement));
}

#[test]
fn where_no_node_may_announce_each_one_is_told_with_what_to_do_about_it() {
    let mut seen = because(Code::NoCandidate);
    let finding =
        |code, fix: &str| Finding::new(code, Severity::Note, "Service/traefik-system/traefik", "so").with_fix(fix);
    seen.nodes = vec![
        ("nuc-1".to_owned(), finding(Code::NodeExcluded, "take the label away")),
        ("nuc-2".to_owned(), finding(Code::NodeNotAlive, "start the speaker")),
    ];
    let text = walk(&service(), &seen).to_string();
    assert!(text.contains("✗ nuc-1  LB1104 so\n          fix  take the label away\n"), "{text}");
    assert!(text.contains("✗ nuc-2  LB1109 so\n          fix  start the speaker\n"), "{text}");
}

#[test]
fn a_host_that_may_do_nothing_yet_is_not_said_to_have_given_an_address() {
    let mark = |walk: &Walk, rule: Rule| walk.steps.iter().find(|step| step.rule == rule).map(|step| step.mark);
    let hindered = walk(&service(), &Seen { addresses: Vec::new(), ..because(Code::NodeUnknown) });
    assert_eq!(mark(&hindered, Rule::Address), Some(Mark::Fails), "{hindered}");
    // Whatever fails later, without an address nothing is known of one.
    let late = walk(&service(), &Seen { addresses: Vec::new(), ..because(Code::InterfaceMissing) });
    assert_eq!([Rule::Address, Rule::Node].map(|rule| mark(&late, rule)), [Some(Mark::Unknown); 2], "{late}");
    let claimed = walk(&service(), &because(Code::ForeignClaim));
    assert_eq!(mark(&claimed, Rule::Conflict), Some(Mark::Fails), "{claimed}");
}

#[test]
fn a_cause_that_stands_in_a_file_is_told_with_its_place() {
    let mut seen = because(Code::ManifestInvalid);
    let place = crate::reason::Location { file: "web.yaml".to_owned(), line: 3, column: 9 };
    seen.reasons = seen.reasons.into_iter().map(|finding| finding.at(place.clone())).collect();
    let text = walk(&service(), &seen).to_string();
    assert!(text.contains("  ✗ it is of type LoadBalancer\n      why  the message  (web.yaml:3:9)\n"), "{text}");
}
