//! Certificate authorities and server certificates for tests, generated on demand.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::time::{Duration, SystemTime};

/// A private certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Validity in years: from 1 January of the first to 1 January of the second.
pub type Years = (i32, i32);

/// Valid on every day on which these tests run.
pub const VALID: Years = (2020, 2120);

/// Expired.
pub const EXPIRED: Years = (2020, 2021);

impl Authority {
    /// Creates an authority with this common name.
    pub fn new(name: &str) -> Result<Self> {
        Self::valid(name, VALID)
    }

    /// Creates an authority with this common name and validity.
    pub fn valid(name: &str, years: Years) -> Result<Self> {
        let mut params = params(name, years, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    /// Creates an authority that expires in `seconds`.
    pub fn for_seconds(name: &str, seconds: u64) -> Result<Self> {
        let mut params = params(name, VALID, Vec::new())?;
        params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    /// Returns the authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns the authority's certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Issues a certificate for a server on 127.0.0.1 and localhost.
    pub fn server(&self, name: &str) -> Result<Identity> {
        self.server_valid(name, VALID)
    }

    /// Issues a certificate for a server on 127.0.0.1 and localhost, with this validity.
    pub fn server_valid(&self, name: &str, years: Years) -> Result<Identity> {
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        self.issue(
            params(name, years, hosts)?,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// Issues a certificate for a server with these names.
    pub fn server_named(&self, name: &str, hosts: &[&str]) -> Result<Identity> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.issue(
            params(name, VALID, hosts)?,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// Issues a certificate for a server with these names that expires in `seconds`.
    pub fn server_for_seconds(&self, name: &str, hosts: &[&str], seconds: u64) -> Result<Identity> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = params(name, VALID, hosts)?;
        params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for a client.
    pub fn client(&self, name: &str) -> Result<Identity> {
        self.issue(
            params(name, VALID, Vec::new())?,
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        let key = KeyPair::generate()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A leaf certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificate in DER.
    pub certificate_der: Vec<u8>,
    /// The private key in PKCS#8.
    pub key_pem: String,
}

/// Creates a key pair in the formats that the API server reads: private (PKCS#8) and public.
pub fn signing_key() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// rcgen's own defaults are valid until the year 4096 and have a fixed name.
fn params(name: &str, (from, to): Years, alt_names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(alt_names)?;
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
