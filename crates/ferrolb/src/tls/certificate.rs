//! The certificate that a server shows: from PEM, or signed by itself, and exchanged while connections live.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

/// How long a self-signed certificate is valid: longer than any process lives.
const SELF_SIGNED_VALIDITY: Duration = Duration::days(3650);

/// Shows the newest certificate at each handshake; connections that are up keep theirs.
#[derive(Debug)]
pub struct Rotating(ArcSwap<CertifiedKey>);

impl Rotating {
    /// Starts with this one.
    pub fn new(certificate: CertifiedKey) -> Self {
        Self(ArcSwap::from_pointee(certificate))
    }

    /// Shows this one from now on.
    pub fn replace(&self, certificate: CertifiedKey) {
        self.0.store(Arc::new(certificate));
    }

    /// The one that is shown now.
    pub fn shown(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for Rotating {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM with certificates.
    #[error("tls.crt holds no certificate in PEM: {0}")]
    Chain(String),
    /// Not PEM with a private key.
    #[error("tls.key holds no private key in PEM: {0}")]
    Key(String),
    /// The two do not fit together, or the key is of a kind that is not offered.
    #[error("tls.crt and tls.key cannot be used together: {0}")]
    Unusable(rustls::Error),
    /// A certificate of our own cannot be made.
    #[error("cannot make a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// Reads `tls.crt` (the chain, the server's own first) and `tls.key`, and checks that they belong together.
///
/// # Errors
/// [`CertificateError`] says which of the two is wrong.
pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::Chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(CertificateError::Chain("nothing between BEGIN CERTIFICATE and END CERTIFICATE".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(CertificateError::Unusable)
}

/// A certificate for `localhost` and 127.0.0.1, signed by itself, with a new key that lives in memory only.
///
/// # Errors
/// The system gives no randomness.
pub fn self_signed(now: OffsetDateTime) -> Result<CertifiedKey, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    // An hour back: clocks of nodes differ.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + SELF_SIGNED_VALIDITY;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &ring::default_provider())
        .map_err(CertificateError::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem_pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_in_pem_is_taken() {
        let (chain, key) = pem_pair();
        assert_eq!(from_pem(chain.as_bytes(), key.as_bytes()).unwrap().cert.len(), 1);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let error = from_pem(pem_pair().0.as_bytes(), pem_pair().1.as_bytes()).unwrap_err();
        assert!(matches!(error, CertificateError::Unusable(_)), "{error}");
    }

    #[test]
    fn errors_name_the_file() {
        let (chain, key) = pem_pair();
        let error = from_pem(b"", key.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("tls.crt holds no certificate"), "{error}");
        let error = from_pem(chain.as_bytes(), b"nonsense").unwrap_err().to_string();
        assert!(error.starts_with("tls.key holds no private key"), "{error}");
    }

    #[test]
    fn the_self_signed_one_can_be_made_and_exchanged() {
        let rotating = Rotating::new(self_signed(OffsetDateTime::now_utc()).unwrap());
        let before = rotating.shown().cert.clone();
        rotating.replace(self_signed(OffsetDateTime::now_utc()).unwrap());
        assert_ne!(rotating.shown().cert, before);
    }
}
