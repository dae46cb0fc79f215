//! Tests of certificates: what is due when, as the years go by.

use super::*;

const NAME: &str = "metallb-webhook-service.metallb-system.svc";

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

/// Does what is due, once, and says what it was.
fn step(data: &mut Data, now: OffsetDateTime, trusted: bool) -> Due {
    let due = due(data, NAME, now, trusted);
    *data = make(&due, data, NAME, now).unwrap();
    due
}

fn fresh() -> Data {
    let mut data = Data::new();
    assert!(matches!(step(&mut data, start(), false), Due::Everything(_)));
    data
}

fn authorities(data: &Data) -> usize {
    certificates(data, "ca.crt").unwrap().len()
}

/// Whether a client that trusts the bundle would take what is served.
fn trusted_by(bundle: &Data, data: &Data, now: OffsetDateTime) -> bool {
    let bundle = certificates(bundle, "ca.crt").unwrap();
    let server = served(data).unwrap().cert.remove(0);
    let server = parsed(&server).unwrap();
    names(&server, NAME)
        && valid(&server, now)
        && bundle
            .iter()
            .filter_map(|der| parsed(der))
            .any(|authority| issued(&authority, &server) && valid(&authority, now))
}

/// What upstream leaves behind: RSA, key in PKCS#1. Made by Go; runs out in the year 2055.
fn foreign() -> Data {
    let file = |text: &str| text.as_bytes().to_vec();
    Data::from([
        ("ca.crt".to_owned(), file(include_str!("testdata/ca.crt"))),
        ("ca.key".to_owned(), file(include_str!("testdata/ca.key"))),
        ("tls.crt".to_owned(), file(include_str!("testdata/tls.crt"))),
        ("tls.key".to_owned(), file(include_str!("testdata/tls.key"))),
    ])
}

#[test]
fn an_empty_secret_gets_everything_and_then_nothing_is_due() {
    let mut data = fresh();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt", "ca.key", "tls.crt", "tls.key"]);
    assert!(trusted_by(&data, &data, start()));
    for trusted in [true, false] {
        assert_eq!(step(&mut data, start(), trusted), Due::Nothing);
    }
}

#[test]
fn certificates_hold_for_clocks_that_are_late_and_no_longer_than_a_year() {
    let data = fresh();
    assert!(trusted_by(&data, &data, start() - Duration::minutes(59)));
    assert!(!trusted_by(&data, &data, start() - Duration::minutes(61)));
    assert!(trusted_by(&data, &data, start() + Duration::days(364)));
    assert!(!trusted_by(&data, &data, start() + Duration::days(366)));
}

#[test]
fn a_server_certificate_is_renewed_ninety_days_ahead_by_the_same_authority() {
    let mut data = fresh();
    let before = data.clone();
    assert_eq!(step(&mut data, start() + Duration::days(274), true), Due::Nothing);
    let now = start() + Duration::days(276);
    assert_eq!(step(&mut data, now, false), Due::Server, "the authority is known already");
    assert_eq!(data["ca.crt"], before["ca.crt"]);
    assert_ne!(data["tls.crt"], before["tls.crt"]);
    assert!(trusted_by(&before, &data, now));
    assert_eq!(step(&mut data, now, true), Due::Nothing);
}

#[test]
fn an_authority_is_replaced_without_a_moment_in_which_what_is_served_is_not_trusted() {
    let mut data = fresh();
    let mut now = start();
    let mut told = data.clone();
    let mut seen = Vec::new();
    while now < start() + Duration::days(3 * 3650) {
        let trusted = told["ca.crt"] == data["ca.crt"];
        let due = step(&mut data, now, trusted);
        assert!(trusted_by(&told, &data, now), "{due:?} at {now}");
        if due == Due::Nothing {
            told = data.clone();
        } else if due != Due::Server || seen.last() == Some(&Due::Authority) {
            seen.push(due);
        }
        now += Duration::days(5);
    }
    let round = [Due::Authority, Due::Server, Due::Tidy];
    assert_eq!(seen[..6], [round.clone(), round].concat(), "{seen:?}");
    assert_eq!(authorities(&data), 1);
}

#[test]
fn a_new_authority_signs_only_when_it_is_trusted() {
    let mut data = fresh();
    let now = start() + Duration::days(360);
    data.remove("ca.key");
    assert_eq!(step(&mut data, now, true), Due::Authority);
    assert_eq!(authorities(&data), 2);
    assert_eq!(step(&mut data, now, false), Due::Nothing);
    assert_eq!(step(&mut data, now, true), Due::Server);
    assert_eq!(step(&mut data, now + Duration::hours(23), true), Due::Nothing);
    assert_eq!(step(&mut data, now + Duration::hours(25), true), Due::Tidy);
    assert_eq!(authorities(&data), 1);
    assert_eq!(step(&mut data, now + Duration::hours(25), true), Due::Nothing);
}

#[test]
fn what_is_of_no_use_is_replaced_at_once() {
    let good = fresh();
    let expired = start() + Duration::days(4000);
    assert!(matches!(due(&good, NAME, expired, true), Due::Everything(_)));
    assert_eq!(due(&good, "another.metallb-system.svc", start(), true), Due::Server, "its own authority renames it");
    for (key, value) in [("tls.crt", "nonsense"), ("ca.crt", ""), ("tls.key", "nonsense")] {
        let mut data = good.clone();
        data.insert(key.to_owned(), value.as_bytes().to_vec());
        assert!(matches!(due(&data, NAME, start(), true), Due::Everything(_)), "{key}");
    }
    let mut mixed = good.clone();
    mixed.insert("tls.key".to_owned(), fresh()["tls.key"].clone());
    assert!(matches!(due(&mixed, NAME, start(), true), Due::Everything(_)));
    assert!(served(&mixed).is_err());
}

#[test]
fn a_foreign_pair_is_served_and_replaced_by_ours_with_an_overlap_when_it_runs_out() {
    let mut data = foreign();
    assert!(served(&data).is_ok());
    assert_eq!(step(&mut data, start(), true), Due::Nothing);
    let late = OffsetDateTime::from_unix_timestamp(2_700_000_000).unwrap();
    assert!(trusted_by(&data, &data, late));
    assert_eq!(step(&mut data, late, true), Due::Authority);
    assert!(trusted_by(&data, &data, late));
    assert_eq!(step(&mut data, late, true), Due::Server);
    assert!(trusted_by(&data, &data, late));
}

#[test]
fn other_keys_of_the_secret_stay() {
    let mut data = Data::from([("note".to_owned(), b"mine".to_vec())]);
    step(&mut data, start(), true);
    assert_eq!(data["note"], b"mine");
}
