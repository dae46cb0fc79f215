//! The TLS flags: what is chosen, what is left out, what is refused and in which words.

use super::*;

fn options(min_version: &str, suites: &str, curves: &str) -> Options {
    Options::parse(min_version, suites, curves).unwrap()
}

fn refused(min_version: &str, suites: &str, curves: &str) -> OptionsError {
    Options::parse(min_version, suites, curves).unwrap_err()
}

fn config(options: &Options) -> ServerConfig {
    let certificate = self_signed(time::OffsetDateTime::now_utc()).unwrap();
    options.server_config(Arc::new(Rotating::new(certificate)), &["h2", "http/1.1"]).unwrap()
}

#[test]
fn without_flags_only_tls_13_is_spoken() {
    assert!(!options("", "", "").tls12);
    assert!(!options("VersionTLS13", "", "").tls12);
    assert!(options("VersionTLS12", "", "").tls12);
    assert_eq!(refused("VersionTLS11", "", ""), OptionsError::UnknownVersion("VersionTLS11".into()));
    assert_eq!(
        refused("1.2", "", "").to_string(),
        "--tls-min-version=1.2: use VersionTLS12 or VersionTLS13 (the default)"
    );
}

#[test]
fn suites_need_tls_12() {
    let suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    assert_eq!(refused("", suites, ""), OptionsError::SuitesNeedTls12);
    assert_eq!(refused("VersionTLS13", suites, ""), OptionsError::SuitesNeedTls12);
    assert!(refused("", suites, "").to_string().contains("--tls-min-version=VersionTLS12"));
    assert_eq!(options("VersionTLS12", suites, "").suites.len(), 1);
}

#[test]
fn chosen_suites_are_the_only_ones_of_tls_12_and_tls_13_keeps_its_own() {
    let suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_AES_128_GCM_SHA256";
    let config = config(&options("VersionTLS12", suites, ""));
    let of_tls12: Vec<_> =
        config.crypto_provider().cipher_suites.iter().filter(|suite| suite.tls13().is_none()).collect();
    assert_eq!(of_tls12.len(), 2, "{of_tls12:?}");
    assert_eq!(config.crypto_provider().cipher_suites.len(), 5);
}

#[test]
fn suites_that_only_go_has_are_left_out_and_named() {
    let options =
        options("VersionTLS12", "TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "29,4588");
    assert_eq!(options.left_out(), ["TLS_RSA_WITH_AES_128_CBC_SHA", "4588"]);
    let error = refused("VersionTLS12", "TLS_RSA_WITH_AES_128_CBC_SHA", "");
    assert_eq!(error, OptionsError::NoSuiteLeft("TLS_RSA_WITH_AES_128_CBC_SHA".into()));
    assert!(error.to_string().contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{error}");
    assert_eq!(refused("VersionTLS12", "TLS_NONSENSE", ""), OptionsError::UnknownSuite("TLS_NONSENSE".into()));
    assert_eq!(refused("VersionTLS12", "a,,b", ""), OptionsError::UnknownSuite("a".into()));
}

#[test]
fn curves_are_numbers_without_zero_doubles_or_strangers() {
    for text in ["x", "0", "65536", "-1", "23,,24", "1.5"] {
        assert!(matches!(refused("", "", text), OptionsError::CurveNotANumber(_)), "{text}");
    }
    assert_eq!(refused("", "", "23,23"), OptionsError::DuplicateCurve(23));
    assert_eq!(refused("", "", "29,99"), OptionsError::UnknownCurve(99));
    assert_eq!(refused("", "", "25,4588"), OptionsError::NoCurveLeft("25,4588".into()));
}

#[test]
fn curves_are_preferred_in_the_order_given() {
    let config = config(&options("", "", "24, 23"));
    let groups: Vec<u16> = config.crypto_provider().kx_groups.iter().map(|group| u16::from(group.name())).collect();
    assert_eq!(groups, [24, 23]);
    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}
