//! Tests of what answers on the LAN mean.

use super::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PRINTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

fn faces() -> Faces {
    Faces {
        nodes: BTreeMap::from([(A, "node-a".to_owned()), (B, "node-b".to_owned())]),
        place: "eth0".to_owned(),
        ..Faces::default()
    }
}

/// `node-b` did not answer for its own address.
fn half_known() -> Faces {
    Faces {
        nodes: BTreeMap::from([(A, "node-a".to_owned())]),
        missing: BTreeSet::from(["node-b".to_owned()]),
        ..faces()
    }
}

fn announced(nodes: &[&str], mac: Option<MacAddr>) -> Claim {
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    Claim::Held { by: "Service/a/web".to_owned(), nodes, mac, reason: None }
}

fn verdict(claim: &Claim, answers: &[MacAddr], faces: &Faces) -> Option<Code> {
    Asked { address: "192.168.1.201".parse().unwrap(), claim, answers, faces }.verdict().map(|finding| finding.code)
}

#[test]
fn the_announcer_alone_is_as_it_should_be() {
    assert_eq!(verdict(&announced(&["node-a"], Some(A)), &[A], &faces()), None);
    assert_eq!(verdict(&announced(&["node-a"], None), &[A], &faces()), None);
    assert_eq!(
        verdict(&announced(&["node-b"], Some(B)), &[B], &half_known()),
        None,
        "it said so with that MAC address"
    );
    assert_eq!(verdict(&announced(&["node-b"], None), &[B], &half_known()), None, "one answer, and nothing against it");
    let two_cards = Faces { nodes: BTreeMap::from([(A, "node-a".to_owned()), (B, "node-a".to_owned())]), ..faces() };
    assert_eq!(verdict(&announced(&["node-a"], Some(A)), &[A, B], &two_cards), None, "both are the same node");
}

#[test]
fn silence_is_told_apart_by_who_should_have_answered() {
    assert_eq!(verdict(&announced(&["node-a"], Some(A)), &[], &faces()), Some(Code::NobodyAnswers));
    assert_eq!(verdict(&Claim::Unknown, &[], &faces()), Some(Code::NobodyAnswers));
    assert_eq!(verdict(&Claim::Nobody, &[], &faces()), Some(Code::AddressUnclaimed));
    let by_mac = Faces { own: BTreeSet::from([A]), ..faces() };
    assert_eq!(verdict(&announced(&["node-a"], Some(A)), &[], &by_mac), Some(Code::AskedFromOwner));
    let by_name = Faces { own_names: BTreeSet::from(["node-a".to_owned()]), ..faces() };
    assert_eq!(verdict(&announced(&["node-a"], None), &[], &by_name), Some(Code::AskedFromOwner));
    let reason = Finding::new(Code::NoReadyEndpoints, Severity::Error, "Service/a/web", "no endpoint is ready");
    let claim = Claim::Held {
        by: "Service/a/web".to_owned(),
        nodes: Vec::new(),
        mac: None,
        reason: Some(Box::new(reason.clone())),
    };
    let asked = Asked { address: "192.168.1.201".parse().unwrap(), claim: &claim, answers: &[], faces: &faces() };
    assert_eq!(asked.verdict(), Some(reason), "what is not announced is rightly not answered, and says why");
    assert_eq!(verdict(&announced(&[], None), &[], &faces()), None, "a route was told to routers, and the LAN nothing");
}

#[test]
fn a_node_that_answers_unasked_is_told_from_two_that_announce() {
    let one = announced(&["node-a"], Some(A));
    assert_eq!(verdict(&one, &[A, B], &faces()), Some(Code::NodeAnswersUnasked));
    assert_eq!(verdict(&one, &[B], &faces()), Some(Code::NodeAnswersUnasked), "even where it is alone");
    assert_eq!(verdict(&announced(&["node-a", "node-b"], Some(A)), &[A, B], &faces()), Some(Code::TwoAnnouncers));
    assert_eq!(verdict(&Claim::Nobody, &[B], &faces()), Some(Code::NodeAnswersUnasked));
}

#[test]
fn a_stranger_is_called_one_only_where_every_node_is_known() {
    let one = announced(&["node-a"], Some(A));
    assert_eq!(verdict(&one, &[A, PRINTER], &faces()), Some(Code::ForeignClaim));
    assert_eq!(verdict(&one, &[PRINTER], &faces()), Some(Code::ForeignClaim));
    assert_eq!(verdict(&one, &[A, PRINTER], &half_known()), Some(Code::AnswerUnidentified));
    assert_eq!(verdict(&one, &[PRINTER], &half_known()), Some(Code::AnswerUnidentified));
    assert_eq!(verdict(&Claim::Unknown, &[A, PRINTER], &Faces::default()), Some(Code::AnswerUnidentified));
    assert_eq!(verdict(&Claim::Unknown, &[PRINTER], &Faces::default()), None, "there is nothing to hold it against");
}

#[test]
fn whoever_answers_for_an_address_that_nobody_has_uses_it() {
    assert_eq!(verdict(&Claim::Nobody, &[PRINTER], &faces()), Some(Code::AddressInUse));
    assert_eq!(verdict(&Claim::Nobody, &[PRINTER], &half_known()), Some(Code::AddressInUse));
    assert_eq!(verdict(&announced(&[], None), &[PRINTER], &faces()), Some(Code::AddressInUse));
}

#[test]
fn messages_name_address_machine_and_place() {
    let claim = announced(&["node-a"], Some(A));
    let message = |answers: &[MacAddr], faces: &Faces| {
        let asked = Asked { address: "192.168.1.201".parse().unwrap(), claim: &claim, answers, faces };
        asked.verdict().unwrap().message
    };
    assert_eq!(message(&[], &faces()), "node-a announces 192.168.1.201, and nobody answers for it on eth0");
    assert_eq!(message(&[A, B], &faces()), "node-b answers for 192.168.1.201, which node-a announces");
    assert_eq!(message(&[PRINTER], &faces()), "192.168.1.201 is answered by 02:00:00:00:00:99, which is no node");
    assert_eq!(
        message(&[PRINTER], &half_known()),
        "192.168.1.201 is answered by 02:00:00:00:00:99, and nobody knows whose that is; node-b did not answer for their \
         own addresses"
    );
    let asked = Asked { address: "192.168.1.201".parse().unwrap(), claim: &claim, answers: &[A], faces: &faces() };
    let refused = asked.refused(80, "connection refused");
    assert_eq!((refused.code, refused.object.as_str()), (Code::ConnectionFails, "Service/a/web"));
    assert!(refused.message.ends_with("TCP port 80 does not: connection refused"), "{refused}");
    assert!(is_undecided(Code::AskedFromOwner) && is_undecided(Code::OffTheNetwork) && !is_undecided(refused.code));
}
