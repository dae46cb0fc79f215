//! `ferrolb why svc/NAME`: every rule in order, for the Service and for each node, up to the first that fails; and who
//! announced it lately.
//!
//! Exit codes: 0 it is served, 1 it is not (and a code says why), 2 there is no such Service, nobody answers, or what
//! would tell may not be read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::bail;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::why::{Rule, Seen, Walk, unexplained, walk};
use serde::Serialize;

use super::Verdict;
use super::ip::{TURNS, line};
use super::output::{Format, show};
use super::reach::{Answer, Reach, of_process};
use crate::state::{Progress, ServiceState, Turn};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The Service: NAME, svc/NAME or NAMESPACE/NAME.
    service: String,
    /// The Service's namespace; without it, the only one that has a Service of that name.
    #[arg(short = 'n', short_alias = 'i', long = "service-namespace")]
    in_namespace: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let answer = args.reach.ask()?;
    let (namespace, name) = split(&args.service, args.in_namespace.as_deref());
    let document = document(&answer, explain(&answer, namespace, name)?);
    let walk = &document.walk;
    let names = || walk.cause.as_ref().map(|cause| format!("{}\n", cause.code)).unwrap_or_default();
    show(args.output, &document, || screen(&document, answer.only_files), names)?;
    Ok(match (walk.served, walk.is_undecided()) {
        (true, _) => Verdict::Fine,
        (false, true) => Verdict::Exit(2),
        (false, false) => Verdict::Findings,
    })
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    walk: Walk,
    /// Since when it is served or not, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a str>,
    /// Who began to announce it lately, the newest first; none: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<&'a Turn>>,
}

fn document(answer: &Answer, walk: Walk) -> Document<'_> {
    let is_it = |namespace: &str, name: &str| walk.service == format!("{namespace}/{name}");
    let service = answer.state.services.iter().find(|one| is_it(&one.namespace, &one.name));
    let timeline = answer.state.timeline.as_ref();
    let timeline = timeline.map(|turns| turns.iter().filter(|one| is_it(&one.namespace, &one.name)).collect());
    Document { since: service.and_then(|service| service.since.as_deref()), timeline, walk }
}

fn screen(document: &Document<'_>, only_files: bool) -> String {
    let mut out = if only_files { "as if these files were applied:\n\n".to_owned() } else { String::new() }
        + &document.walk.to_string();
    let turns = document.timeline.iter().flatten().take(TURNS).map(|turn| line(turn, false));
    let since = document.since.map(|since| {
        let what = if document.walk.served { "announced" } else { "not served" };
        format!("{since}  {what} since then")
    });
    let lately: Vec<String> = since.into_iter().chain(turns).collect();
    if !lately.is_empty() {
        let _ = write!(out, "\nLately:\n  {}\n", lately.join("\n  "));
    }
    out
}

/// `svc/NAME`, `service/NAME`, `NAMESPACE/NAME` and `NAME`.
pub(super) fn split<'a>(text: &'a str, namespace: Option<&'a str>) -> (Option<&'a str>, &'a str) {
    let plain = ["svc/", "service/", "services/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
    match plain.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (namespace, plain),
    }
}

fn explain(answer: &Answer, namespace: Option<&str>, name: &str) -> anyhow::Result<Walk> {
    let services = answer.state.services.iter();
    let matching: Vec<&ServiceState> = services
        .filter(|service| service.name == name && namespace.is_none_or(|namespace| service.namespace == namespace))
        .collect();
    match matching.as_slice() {
        [one] => {
            let key = ServiceKey::new(&one.namespace, &one.name);
            Ok(walk(&key, &seen(answer, one)))
        }
        [] => stranger(answer, namespace, name),
        several => {
            let places: Vec<&str> = several.iter().map(|service| service.namespace.as_str()).collect();
            bail!("{name} is in the namespaces {}; say which: {}/{name}", places.join(", "), places.join("|"))
        }
    }
}

/// A Service that `status` does not list: of another type or class, one that cannot be read, or none at all.
fn stranger(answer: &Answer, namespace: Option<&str>, name: &str) -> anyhow::Result<Walk> {
    let fits = |key: &ServiceKey| &*key.name == name && namespace.is_none_or(|namespace| &*key.namespace == namespace);
    let refused = answer.state.findings.iter().find_map(|finding| {
        let hinders = matches!(finding.code, Code::OtherClass | Code::ManifestInvalid);
        let (namespace, name) = finding.object.strip_prefix("Service/")?.split_once('/')?;
        let key = ServiceKey::new(namespace, name);
        (hinders && finding.severity != Severity::Warning && fits(&key)).then(|| (key, finding.clone()))
    });
    let drawn = |(known, options): &(Known, picture::Options)| {
        let picture = picture::draw(known, options);
        let key = picture.services.keys().find(|key| fits(key))?.clone();
        let finding = picture.obstacle(&key)?;
        Some((key, finding))
    };
    // A process does not tell of Services that are not its own; its files do.
    let here = || match &answer.state.standalone {
        Some(_) => of_process(&answer.state).ok().map(|(files, options)| (files.known, options)),
        None => None,
    };
    let found = refused.or_else(|| answer.known.as_ref().and_then(drawn)).or_else(|| drawn(&here()?));
    if let Some((key, finding)) = found {
        return Ok(walk(&key, &Seen { reasons: vec![finding], ..unknown(answer) }));
    }
    let near = answer.state.services.iter().map(|service| service.name.as_str());
    let near = near.filter(|other| strsim::damerau_levenshtein(other, name) <= 2).collect::<Vec<_>>();
    let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    let hint = match near.as_slice() {
        [] => "`ferrolb status` lists the Services of type LoadBalancer".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    bail!("there is no Service {name} of type LoadBalancer{place}; {hint}")
}

/// What each kind tells: without it the rules on the right are not known to hold or to fail.
const TELLS: [(&str, &[Rule]); 10] = [
    ("IPAddressPool", &[Rule::Configuration, Rule::Pool, Rule::Request, Rule::Membership]),
    ("L2Advertisement", &[Rule::Configuration, Rule::Advertisement, Rule::Sharing]),
    ("BGPAdvertisement", &[Rule::Configuration, Rule::Advertisement, Rule::Sharing]),
    ("BGPPeer", &[Rule::Configuration, Rule::Node]),
    ("BFDProfile", &[Rule::Configuration]),
    ("Community", &[Rule::Configuration]),
    ("EndpointSlice", &[Rule::Endpoints, Rule::Node]),
    ("Node", &[Rule::Node]),
    ("Pod", &[Rule::Address, Rule::Speaker]),
    ("ServiceL2Status", &[Rule::Announced]),
];

/// The rules that the source of the answer says nothing about.
fn unknown(answer: &Answer) -> Seen {
    if answer.only_files {
        let mut unknown = vec![Rule::Speaker, Rule::Interface, Rule::Conflict, Rule::Announced];
        let known = answer.known.as_ref().map(|(known, _)| known);
        // What files do not have is assumed, and then it is nothing that they tell.
        if known.is_none_or(|known| known.endpoints.is_empty()) {
            unknown.push(Rule::Endpoints);
        }
        if known.is_none_or(|known| known.resources.nodes.is_empty()) {
            unknown.push(Rule::Node);
        }
        let unknown = unknown.into_iter().map(|rule| (rule, "not known from files")).collect();
        return Seen { unknown, ..Seen::default() };
    }
    let denied = TELLS.iter().filter(|(kind, _)| answer.denied.has(kind));
    let denied = denied.flat_map(|(_, rules)| rules.iter().map(|rule| (*rule, "not known: it may not be read")));
    let mut unknown: BTreeMap<Rule, &'static str> = denied.collect();
    if answer.state.standalone.as_ref().is_some_and(|told| !told.asks_first) {
        unknown.insert(Rule::Conflict, "not asked: a host without --secret-file does not ask before it announces");
    }
    Seen { unknown, denied: answer.denied.finding(), ..Seen::default() }
}

/// What a state document tells about a Service.
pub(super) fn seen(answer: &Answer, service: &ServiceState) -> Seen {
    let object = format!("Service/{}/{}", service.namespace, service.name);
    let served = service.state == Progress::Announced;
    let severity = if served { Severity::Warning } else { Severity::Error };
    let finding = |reason: &crate::state::ReasonState| {
        Finding::new(reason.code, severity, object.clone(), reason.message.clone()).with_fix(reason.fix.clone())
    };
    let mut reasons: Vec<Finding> =
        service.reasons.iter().filter(|reason| reason.node.is_none()).map(finding).collect();
    if !served && reasons.is_empty() {
        // No note is the cause only because nobody tells of another.
        let key = ServiceKey::new(&service.namespace, &service.name);
        reasons.push(unexplained(&key, &service.addresses));
    }
    // What it lacks may be there, and lie where nobody reads it.
    let lacks = |code: Code| matches!(code, Code::NoPool | Code::UnknownPool | Code::NoAdvertisement);
    let lacks = reasons.iter().any(|reason| lacks(reason.code));
    let concerns = |finding: &&Finding| match served {
        true => finding.object == object,
        // What an annotation that nobody reads was meant to do is mostly the cause.
        false if (2000..3000).contains(&finding.code.number()) => finding.object == object,
        false => lacks && finding.code == Code::WrongNamespace,
    };
    reasons.extend(answer.state.findings.iter().filter(concerns).cloned());
    let nodes = service.reasons.iter();
    let mut asked = unknown(answer);
    if !served && !answer.only_files && answer.state.standalone.is_none() {
        // Speakers say which interface is missing, and nothing where none is (as hosts do).
        asked.unknown.entry(Rule::Interface).or_insert("not known: no speaker has reported");
    }
    Seen {
        addresses: service.addresses.clone(),
        pool: service.pool.clone(),
        announced_by: service.node.clone(),
        served,
        reasons,
        nodes: nodes.filter_map(|reason| Some((reason.node.clone()?, finding(reason)))).collect(),
        ..asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::cluster::Denied;
    use crate::state::{ReasonState, State};

    fn answer(services: Vec<ServiceState>) -> Answer {
        Answer { state: State { services, ..State::default() }, ..Answer::default() }
    }

    fn service(namespace: &str, name: &str, state: Progress) -> ServiceState {
        ServiceState { namespace: namespace.to_owned(), name: name.to_owned(), state, ..ServiceState::default() }
    }

    #[test]
    fn a_service_may_be_written_in_each_way_that_people_write_it() {
        assert_eq!(split("svc/web", None), (None, "web"));
        assert_eq!(split("service/web", Some("a")), (Some("a"), "web"));
        assert_eq!(split("a/web", Some("b")), (Some("a"), "web"));
        assert_eq!(split("web", None), (None, "web"));
    }

    #[test]
    fn every_service_that_is_not_served_has_a_code_and_one_that_is_has_none() {
        for state in [Progress::Pending, Progress::Allocated] {
            let walk = explain(&answer(vec![service("a", "web", state)]), None, "web").unwrap();
            assert!(!walk.served && walk.cause.is_some());
        }
        let walk = explain(&answer(vec![service("a", "web", Progress::Announced)]), Some("a"), "web").unwrap();
        assert!(walk.served && walk.cause.is_none());
    }

    #[test]
    fn a_name_that_is_ambiguous_or_missing_is_an_error_with_a_way_out() {
        let two = answer(vec![service("a", "web", Progress::Pending), service("b", "web", Progress::Pending)]);
        let error = explain(&two, None, "web").unwrap_err().to_string();
        assert_eq!(error, "web is in the namespaces a, b; say which: a|b/web");
        let error = explain(&two, None, "wbe").unwrap_err().to_string();
        assert!(error.contains("did you mean web or web?"), "{error}");
        let error = explain(&two, Some("c"), "other").unwrap_err().to_string();
        assert!(error.contains("no Service other of type LoadBalancer in namespace c"), "{error}");
    }

    #[test]
    fn what_happened_lately_is_told_of_this_service_alone() {
        let turn = |name: &str, node: &str, note: Option<&str>| Turn {
            at: "2026-01-01T10:00:00Z".to_owned(),
            namespace: "a".to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            protocol: "layer2".to_owned(),
            note: note.map(str::to_owned),
        };
        let mut answer = answer(vec![ServiceState {
            since: Some("2026-01-01T10:00:05Z".to_owned()),
            ..service("a", "web", Progress::Announced)
        }]);
        answer.state.timeline = Some(vec![turn("web", "b", Some("taken over from a")), turn("dns", "c", None)]);
        let document = document(&answer, explain(&answer, None, "web").unwrap());
        let lately = "\nLately:\n  2026-01-01T10:00:05Z  announced since then\n  2026-01-01T10:00:00Z  b began to announce (layer2): taken over from a\n";
        assert!(screen(&document, false).ends_with(lately), "{}", screen(&document, false));
        let value = serde_json::to_value(&document).unwrap();
        assert_eq!((value["service"].as_str(), value["timeline"].as_array().map(Vec::len)), (Some("a/web"), Some(1)));
    }

    #[test]
    fn a_service_that_lacks_a_pool_is_shown_the_one_that_lies_elsewhere() {
        let reason = |code: Code| ReasonState { code, node: None, message: "x".to_owned(), fix: "y".to_owned() };
        let with = |code| ServiceState { reasons: vec![reason(code)], ..service("a", "web", Progress::Pending) };
        for (code, shown) in [(Code::UnknownPool, true), (Code::NoPool, true), (Code::NoFreeAddress, false)] {
            let mut answer = answer(vec![with(code)]);
            let object = "IPAddressPool/default/production-pool";
            answer.state.findings = vec![Finding::new(Code::WrongNamespace, Severity::Warning, object, "elsewhere")];
            let reasons = seen(&answer, &answer.state.services[0]).reasons;
            assert_eq!(reasons.iter().any(|reason| reason.object == object), shown, "{code}");
        }
    }

    #[test]
    fn files_are_not_said_to_show_what_only_a_cluster_can() {
        let answer = Answer { only_files: true, ..answer(vec![service("a", "web", Progress::Announced)]) };
        let document = document(&answer, explain(&answer, None, "web").unwrap());
        let text = screen(&document, true);
        for rule in [Rule::Endpoints, Rule::Speaker, Rule::Node, Rule::Interface, Rule::Conflict, Rule::Announced] {
            assert!(text.contains(&format!("  ? {}", rule.sentence())), "{text}");
        }
        assert!(document.walk.served, "nothing that files tell is in the way");
    }

    #[test]
    fn a_kind_that_may_not_be_read_leaves_no_mark_that_something_holds_and_no_reason() {
        let mut web = service("a", "web", Progress::Allocated);
        web.addresses = vec!["192.168.1.200".parse().unwrap()];
        web.reasons = vec![ReasonState {
            code: ferrolb_rules::reason::Code::AddressNotConfigured,
            node: None,
            message: "no pool has it".to_owned(),
            fix: "fix".to_owned(),
        }];
        let answer = Answer { denied: Denied::for_test(&["IPAddressPool"]), ..answer(vec![web]) };
        let walk = explain(&answer, None, "web").unwrap();
        assert!(walk.is_undecided(), "{walk}");
        assert!(walk.to_string().contains("  ? there is an IPAddressPool"), "{walk}");
        assert!(!walk.to_string().contains("LB1111"), "{walk}");
    }

    fn hint(code: Code, object: &str) -> Finding {
        Finding::new(code, Severity::Warning, object, "did you mean metallb.io/address-pool?")
    }

    #[test]
    fn an_annotation_that_nobody_reads_is_told_with_the_service_that_is_not_served() {
        for state in [Progress::Pending, Progress::Announced] {
            let mut answer = answer(vec![service("a", "web", state)]);
            let of = |object| hint(Code::UnknownAnnotation, object);
            answer.state.findings = vec![of("Service/a/web"), of("Service/a/other")];
            let walk = explain(&answer, None, "web").unwrap();
            let notes: Vec<&str> = walk.notes.iter().map(|note| note.object.as_str()).collect();
            assert_eq!(notes.iter().filter(|one| **one == "Service/a/web").count(), 1, "{walk}");
            assert!(!notes.contains(&"Service/a/other"), "{walk}");
        }
    }

    #[test]
    fn a_process_tells_of_services_that_it_does_not_serve() {
        let directory = tempfile::tempdir().unwrap();
        let inside =
            "apiVersion: v1\nkind: Service\nmetadata: {name: inside}\nspec: {type: ClusterIP, ports: [{port: 80}]}\n";
        std::fs::write(directory.path().join("inside.yaml"), inside).unwrap();
        let mut answer = answer(vec![]);
        answer.state.standalone =
            Some(crate::state::StandaloneState { manifests: directory.path().to_owned(), ..Default::default() });
        let other = Finding::new(Code::OtherClass, Severity::Note, "Service/a/other", "another class");
        let place = ferrolb_rules::reason::Location { file: "web.yaml".to_owned(), line: 4, column: 9 };
        let broken = Finding::new(Code::ManifestInvalid, Severity::Error, "Service/a/broken", "no such type").at(place);
        answer.state.findings = vec![other, broken];
        let cause = |name| explain(&answer, None, name).unwrap();
        let codes = ["other", "inside", "broken"].map(|name| cause(name).cause.map(|cause| cause.code));
        assert_eq!(codes, [Code::OtherClass, Code::NotLoadBalancer, Code::ManifestInvalid].map(Some));
        assert!(cause("broken").to_string().contains("no such type  (web.yaml:4:9)"), "{}", cause("broken"));
        assert!(explain(&answer, None, "nobody").is_err());
    }

    #[test]
    fn a_host_that_asks_nobody_does_not_say_that_no_other_device_has_the_address() {
        let mut web = service("a", "web", Progress::Announced);
        web.addresses = vec!["192.168.1.200".parse().unwrap()];
        for asks_first in [false, true] {
            let mut answer = answer(vec![web.clone()]);
            answer.state.standalone = Some(crate::state::StandaloneState { asks_first, ..Default::default() });
            let text = explain(&answer, None, "web").unwrap().to_string();
            let mark = if asks_first { "✓" } else { "?" };
            assert!(text.contains(&format!("  {mark} no other device has the address")), "{text}");
        }
    }

    #[test]
    fn an_interface_that_no_speaker_reported_is_not_said_to_be_there() {
        let mut web = service("a", "web", Progress::Allocated);
        web.addresses = vec!["192.168.1.200".parse().unwrap()];
        let text = explain(&answer(vec![web]), None, "web").unwrap().to_string();
        assert!(text.contains("  ? that node has the interface") && text.contains("  ? no other device"), "{text}");
    }

    #[test]
    fn reasons_of_nodes_are_told_per_node() {
        let mut web = service("a", "web", Progress::Allocated);
        let reason = |node: Option<&str>| ReasonState {
            code: ferrolb_rules::reason::Code::NodeExcluded,
            node: node.map(str::to_owned),
            message: "excluded".to_owned(),
            fix: "fix".to_owned(),
        };
        web.reasons = vec![reason(None), reason(Some("n"))];
        let walk = explain(&answer(vec![web]), None, "web").unwrap();
        assert_eq!(walk.cause.map(|cause| cause.code.to_string()).as_deref(), Some("LB1104"));
        assert_eq!(walk.nodes.len(), 1);
    }
}
