//! The certificates of the webhooks: what is in the Secret, what is due, and the making of new ones (spec §2.3).
//!
//! The Secret has four keys in PEM: `ca.crt`, `ca.key`, `tls.crt`, `tls.key`. `ca.crt` is a bundle, the newest authority
//! first, because a change of authority must be overlapping: the new one is added and made known to the API server
//! while the old certificate is still served; only when it is trusted a certificate by it takes over; a day later the
//! old one goes. Each of these is one [`Due`], decided from the Secret and the time alone, so that a controller that
//! comes in between goes on where the other stopped.
//!
//! What upstream left behind (RSA, PKCS#1) is served as long as it is good. Ours are ECDSA on P-256. We sign with our
//! own authorities only; when a foreign certificate runs out, an authority of ours takes over in the same way.

use std::collections::BTreeMap;
use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer as _};

/// What is in the Secret, by key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// So long before it runs out, a certificate is replaced.
const RENEW_BEFORE: Duration = Duration::days(90);
/// So long after the new certificate was made, the authority of the old one is still told.
const OVERLAP: Duration = Duration::days(1);
/// Certificates begin in the past: clocks differ.
const BACKDATED: Duration = Duration::hours(1);
const AUTHORITY_LASTS: Duration = Duration::days(3650);
const SERVER_LASTS: Duration = Duration::days(365);

/// What is to be done about the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Nothing there is of use: make an authority and a certificate. Says why.
    Everything(String),
    /// Add a new authority, and leave the certificate for now.
    Authority,
    /// Have the newest authority make a new certificate.
    Server,
    /// Drop authorities that nobody needs.
    Tidy,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Everything(why) => write!(f, "an authority and a certificate: {why}"),
            Self::Authority => f.write_str("a new authority beside the old one"),
            Self::Server => f.write_str("a new certificate"),
            Self::Tidy => f.write_str("without authorities that nobody needs any more"),
        }
    }
}

/// Why certificates cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// Something is missing or no PEM.
    #[error("{0} is missing or cannot be read")]
    Unreadable(&'static str),
    /// The library refuses the pair.
    #[error("tls.crt and tls.key are no pair")]
    Pair(#[source] rustls::Error),
    /// The library cannot make one.
    #[error("a certificate cannot be made")]
    Making(#[from] rcgen::Error),
}

/// The certificate to serve.
///
/// # Errors
/// `tls.crt` and `tls.key` are missing, unreadable or no pair.
pub(super) fn served(data: &Data) -> Result<CertifiedKey, CertificateError> {
    let chain = certificates(data, "tls.crt").ok_or(CertificateError::Unreadable("tls.crt"))?;
    let key = data.get("tls.key").and_then(|pem| PrivateKeyDer::from_pem_slice(pem).ok());
    let key = key.ok_or(CertificateError::Unreadable("tls.key"))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(CertificateError::Pair)
}

/// Every certificate under a key; none where there is none, or where one cannot be read.
fn certificates(data: &Data, key: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(data.get(key)?).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

/// Decides what is due. `name` is what the API server calls us by; `trusted` says whether it knows the newest authority
/// by now.
pub(super) fn due(data: &Data, name: &str, now: OffsetDateTime, trusted: bool) -> Due {
    let everything = |why: &str| Due::Everything(why.to_owned());
    let Some(bundle) = certificates(data, "ca.crt") else { return everything("there is no ca.crt") };
    let authorities: Vec<_> = bundle.iter().filter_map(|der| parsed(der)).collect();
    let [newest, ..] = authorities.as_slice() else { return everything("ca.crt cannot be read") };
    let chain = match served(data) {
        Ok(served) => served.cert,
        Err(error) => return everything(&error.to_string()),
    };
    let Some(server) = chain.first().and_then(|der| parsed(der)) else { return everything("tls.crt cannot be read") };
    let later = now + RENEW_BEFORE;
    let issuer = authorities.iter().find(|authority| issued(authority, &server));
    let good_at = |at| names(&server, name) && valid(&server, at) && issuer.is_some_and(|issuer| valid(issuer, at));
    let ours = valid(newest, later) && signing_key(data).is_some_and(|key| signs_for(&key, newest));
    let by_newest = issued(newest, &server);
    match (good_at(later), ours) {
        (true, _) if untidy(&authorities, by_newest, &server, now) => Due::Tidy,
        (true, _) => Due::Nothing,
        (false, true) if by_newest || trusted || !good_at(now) => Due::Server,
        (false, true) => Due::Nothing,
        (false, false) if good_at(now) => Due::Authority,
        (false, false) => everything("what is there has run out, or is for another name"),
    }
}

/// Whether the bundle has authorities that nobody needs any more.
fn untidy(authorities: &[X509Certificate], by_newest: bool, server: &X509Certificate, now: OffsetDateTime) -> bool {
    let taken_over = ASN1Time::from(now - OVERLAP - BACKDATED) > server.validity().not_before;
    authorities.len() > 1 && by_newest && taken_over
}

/// Does what is due. Keys that are not ours stay.
///
/// # Errors
/// The library cannot make a certificate.
pub(super) fn make(due: &Due, data: &Data, name: &str, now: OffsetDateTime) -> Result<Data, CertificateError> {
    let mut data = data.clone();
    match due {
        Due::Nothing => {}
        Due::Everything(_) => {
            let authority = new_authority(now)?;
            data.insert("ca.crt".to_owned(), authority.pem().into_bytes());
            data.insert("ca.key".to_owned(), authority.key().serialize_pem().into_bytes());
            put_server(&mut data, &authority, name, now)?;
        }
        Due::Authority => {
            let authority = new_authority(now)?;
            let mut bundle = authority.pem().into_bytes();
            bundle.extend(data.get("ca.crt").into_iter().flatten());
            data.insert("ca.crt".to_owned(), bundle);
            data.insert("ca.key".to_owned(), authority.key().serialize_pem().into_bytes());
        }
        Due::Server => {
            let bundle = certificates(&data, "ca.crt").unwrap_or_default();
            let newest = bundle.first().ok_or(CertificateError::Unreadable("ca.crt"))?;
            let key = signing_key(&data).ok_or(CertificateError::Unreadable("ca.key"))?;
            put_server(&mut data, &Issuer::from_ca_cert_der(newest, key)?, name, now)?;
        }
        Due::Tidy => {
            let text = String::from_utf8_lossy(data.get("ca.crt").map(Vec::as_slice).unwrap_or_default()).into_owned();
            const END: &str = "-----END CERTIFICATE-----";
            let end = text.find(END).map_or(text.len(), |at| at + END.len());
            data.insert("ca.crt".to_owned(), format!("{}\n", &text[..end]).into_bytes());
        }
    }
    Ok(data)
}

fn new_authority(now: OffsetDateTime) -> Result<CertifiedIssuer<'static, KeyPair>, CertificateError> {
    let mut params = params("metallb-webhook-ca", now, AUTHORITY_LASTS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn put_server(
    data: &mut Data,
    by: &Issuer<'_, KeyPair>,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), CertificateError> {
    let mut params = params(name, now, SERVER_LASTS);
    params.subject_alt_names = CertificateParams::new(vec![name.to_owned()])?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, by)?;
    data.insert("tls.crt".to_owned(), certificate.pem().into_bytes());
    data.insert("tls.key".to_owned(), key.serialize_pem().into_bytes());
    Ok(())
}

fn params(common_name: &str, now: OffsetDateTime, lasts: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "metallb");
    params.not_before = now - BACKDATED;
    params.not_after = now + lasts;
    params
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn valid(certificate: &X509Certificate, at: OffsetDateTime) -> bool {
    certificate.validity().is_valid_at(ASN1Time::from(at))
}

fn issued(authority: &X509Certificate, certificate: &X509Certificate) -> bool {
    authority.subject() == certificate.issuer() && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

fn names(certificate: &X509Certificate, name: &str) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names.value.general_names.iter().any(|one| matches!(one, GeneralName::DNSName(dns) if *dns == name))
    })
}

/// The key of the newest authority, if it is one that we sign with: PKCS#8, which upstream does not write.
fn signing_key(data: &Data) -> Option<KeyPair> {
    KeyPair::from_pem(std::str::from_utf8(data.get("ca.key")?).ok()?).ok()
}

fn signs_for(key: &KeyPair, authority: &X509Certificate) -> bool {
    key.subject_public_key_info() == authority.public_key().raw
}

#[cfg(test)]
mod tests;
