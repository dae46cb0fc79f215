//! TLS for everything that we serve: which versions, cipher suites and curves, and certificates that change in place.
//!
//! The three flags are upstream's (spec §8.6) and so are their rules. The names and numbers in them are those of Go's
//! library, of which our library offers the part that is considered safe today. What it does not offer is left out and
//! named in [`Options::left_out`]; only when nothing would be left it is an error.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::ResolvesServerCert;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite, version};

mod certificate;
#[cfg(test)]
mod tests;

pub use certificate::{CertificateError, Rotating, from_pem, self_signed};

/// Suites of TLS 1.2 that Go knows by name and we do not offer: no forward secrecy, or CBC, 3DES, RC4.
const NOT_OFFERED: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];
/// Suites of TLS 1.3; they cannot be chosen, in Go neither.
const ALWAYS_ON: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
/// Key exchanges that Go knows by number and we do not offer: P-521 and the three hybrids with ML-KEM.
const CURVES_NOT_OFFERED: [u16; 4] = [25, 4587, 4588, 4589];

/// What `--tls-min-version`, `--tls-cipher-suites` and `--tls-curve-preferences` say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether TLS 1.2 is spoken besides TLS 1.3.
    tls12: bool,
    /// The suites of TLS 1.2; empty: all that we have.
    suites: Vec<SupportedCipherSuite>,
    /// The key exchanges in order of preference; empty: all that we have.
    curves: Vec<&'static dyn SupportedKxGroup>,
    /// Names and numbers that were asked for and are not offered.
    left_out: Vec<String>,
}

/// A TLS flag that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not a version we know.
    #[error("--tls-min-version={0}: use VersionTLS12 or VersionTLS13 (the default)")]
    UnknownVersion(String),
    /// Suites are chosen while only TLS 1.3 is spoken, where there is no choice.
    #[error(
        "--tls-cipher-suites: the suites of TLS 1.3, the lowest version allowed, cannot be chosen; {FIX}",
        FIX = "set --tls-min-version=VersionTLS12 as well, or leave the suites out"
    )]
    SuitesNeedTls12,
    /// Not the IANA name of a suite.
    #[error(
        "--tls-cipher-suites: {0:?} is not the IANA name of a cipher suite, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    )]
    UnknownSuite(String),
    /// None of the suites is offered.
    #[error("--tls-cipher-suites: {0} names no suite of TLS 1.2 that is offered; those are {offered}", offered = offered())]
    NoSuiteLeft(String),
    /// Not a number from 1 to 65535.
    #[error("--tls-curve-preferences: {0:?} is not a number from 1 to 65535; use 29 (X25519), 23 (P-256), 24 (P-384)")]
    CurveNotANumber(String),
    /// Not a curve we know.
    #[error("--tls-curve-preferences: {0} is no known curve; use 29 (X25519), 23 (P-256), 24 (P-384)")]
    UnknownCurve(u16),
    /// Listed twice.
    #[error("--tls-curve-preferences: {0} stands there twice; name each curve once")]
    DuplicateCurve(u16),
    /// None of the curves is offered.
    #[error("--tls-curve-preferences: none of {0} is offered; use 29 (X25519), 23 (P-256), 24 (P-384)")]
    NoCurveLeft(String),
}

impl Options {
    /// Reads the three flags; each may be empty.
    ///
    /// # Errors
    /// [`OptionsError`] says which flag, and what to write instead.
    pub fn parse(min_version: &str, suites: &str, curves: &str) -> Result<Self, OptionsError> {
        let tls12 = match min_version.trim() {
            "" | "VersionTLS13" => false,
            "VersionTLS12" => true,
            other => return Err(OptionsError::UnknownVersion(other.to_owned())),
        };
        let mut options = Self { tls12, ..Self::default() };
        options.choose_suites(suites)?;
        options.choose_curves(curves)?;
        Ok(options)
    }

    /// What was asked for and is not offered, in the order of the flags.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn choose_suites(&mut self, list: &str) -> Result<(), OptionsError> {
        if list.trim().is_empty() {
            return Ok(());
        }
        if !self.tls12 {
            return Err(OptionsError::SuitesNeedTls12);
        }
        for name in list.split(',').map(str::trim) {
            if let Some(suite) = suite(name) {
                self.suites.push(suite);
            } else if NOT_OFFERED.contains(&name) {
                self.left_out.push(name.to_owned());
            } else if !ALWAYS_ON.contains(&name) {
                return Err(OptionsError::UnknownSuite(name.to_owned()));
            }
        }
        if self.suites.is_empty() { Err(OptionsError::NoSuiteLeft(list.trim().to_owned())) } else { Ok(()) }
    }

    fn choose_curves(&mut self, list: &str) -> Result<(), OptionsError> {
        if list.trim().is_empty() {
            return Ok(());
        }
        let mut seen = Vec::new();
        for text in list.split(',').map(str::trim) {
            let number = match text.parse::<u16>() {
                Ok(number) if number > 0 => number,
                _ => return Err(OptionsError::CurveNotANumber(text.to_owned())),
            };
            if seen.contains(&number) {
                return Err(OptionsError::DuplicateCurve(number));
            }
            seen.push(number);
            let ours = ring::ALL_KX_GROUPS.iter().copied().find(|curve| u16::from(curve.name()) == number);
            match ours {
                Some(curve) => self.curves.push(curve),
                None if CURVES_NOT_OFFERED.contains(&number) => self.left_out.push(number.to_string()),
                None => return Err(OptionsError::UnknownCurve(number)),
            }
        }
        if self.curves.is_empty() { Err(OptionsError::NoCurveLeft(list.trim().to_owned())) } else { Ok(()) }
    }

    /// A server's configuration with these options. `certificate` is asked at every handshake; `protocols` are offered
    /// by ALPN, the preferred one first (`h2`, `http/1.1`).
    ///
    /// # Errors
    /// The library refuses the combination.
    pub fn server_config(
        &self,
        certificate: Arc<dyn ResolvesServerCert>,
        protocols: &[&str],
    ) -> Result<ServerConfig, rustls::Error> {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || self.suites.contains(suite));
        }
        if !self.curves.is_empty() {
            provider.kx_groups.clone_from(&self.curves);
        }
        let versions: &[_] = if self.tls12 { &[&version::TLS13, &version::TLS12] } else { &[&version::TLS13] };
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }
}

/// The names of our suites of TLS 1.2.
fn offered() -> String {
    let suites = ring::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_none());
    suites.filter_map(|suite| suite.suite().as_str()).collect::<Vec<_>>().join(", ")
}

/// Our suite of TLS 1.2 by this name. Go has two more names for the ones with ChaCha20.
fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let suites = ring::ALL_CIPHER_SUITES.iter().copied().filter(|suite| suite.tls13().is_none());
    let is = |suite: CipherSuite| {
        suite.as_str().is_some_and(|full| {
            full == name || full.strip_suffix("_SHA256") == Some(name) && name.ends_with("_POLY1305")
        })
    };
    suites.into_iter().find(|suite| is(suite.suite()))
}

/// Installs our provider of cryptography for the whole process. To be called first thing by every verb that speaks TLS:
/// the library would panic without one. Calling it again does nothing.
pub fn install_provider() {
    // The only error is that one is installed already, and there is only this one.
    let _ = CryptoProvider::install_default(ring::default_provider());
}
