//! Issues a CA and a serving certificate.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SigningKey,
};
use time::OffsetDateTime;

/// How long before now the validity of a serving certificate begins, because clocks differ.
pub(super) const BACKDATE: Duration = Duration::from_hours(1);

/// A CA and a serving certificate that it signed, in PEM. The keys are P-256: an API server makes a
/// full handshake for every new connection, and P-256 signs 15 times faster than RSA-2048.
pub struct Issued {
    /// The CA's certificate, for the caBundle.
    pub ca: String,
    /// The serving certificate.
    pub certificate: String,
    /// The private key of the serving certificate.
    pub key: String,
}

/// Issues a new CA and, signed by it, a certificate for `names` (DNS names and IP addresses). Both
/// are valid from an hour ago until `life` from now. The CA's own key is discarded: it signs
/// nothing else.
pub fn issue(names: &[String], life: Duration) -> Result<Issued, rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let validity = now - BACKDATE..now + life;
    let ca = CertifiedIssuer::self_signed(ca_params(validity.clone()), new_key()?)?;
    let leaf = issue_leaf(&ca, names, validity)?;
    Ok(Issued {
        ca: ca.pem(),
        certificate: leaf.certificate,
        key: leaf.key,
    })
}

/// A serving certificate and its private key, in PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Issues a serving certificate for `names`.
pub(super) fn issue_leaf(
    issuer: &Issuer<'_, impl SigningKey>,
    names: &[String],
    validity: Range<OffsetDateTime>,
) -> Result<Leaf, rcgen::Error> {
    let mut leaf = params("velero-trust", validity);
    leaf.subject_alt_names = names
        .iter()
        .map(|name| san(name))
        .collect::<Result<_, _>>()?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = new_key()?;
    let certificate = leaf.signed_by(&key, issuer)?;
    Ok(Leaf {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Returns what is in the certificate of a CA.
pub(super) fn ca_params(validity: Range<OffsetDateTime>) -> CertificateParams {
    let mut ca = params("velero-trust CA", validity);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca
}

/// Makes a private key.
pub(super) fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn params(common_name: &str, validity: Range<OffsetDateTime>) -> CertificateParams {
    let mut params = CertificateParams::default();
    // rcgen's own defaults are valid from 1975 to 4096.
    params.not_before = validity.start;
    params.not_after = validity.end;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn san(name: &str) -> Result<SanType, rcgen::Error> {
    Ok(match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}

/// Returns the DNS names of a Service that the API server and other clients in the cluster may use.
pub fn service_names(service: &str, namespace: &str) -> Vec<String> {
    let short = format!("{service}.{namespace}");
    vec![
        service.to_owned(),
        short.clone(),
        format!("{short}.svc"),
        format!("{short}.svc.cluster.local"),
    ]
}
