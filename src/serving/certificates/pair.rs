//! A certificate and its key, validated before they are served.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig};
use time::OffsetDateTime;

use super::clients::ClientAuthorities;
use crate::ca::certificate::Certificate;
use crate::ca::serving_certificate::ServingCertificate;
use crate::ca::x509::{GeneralName, ParsedCertificate};

/// The only supported protocol: the API server uses no other for a webhook behind a Service.
const ALPN: &[u8] = b"http/1.1";

/// A certificate with its chain, and its key, both PEM. It does not implement `Debug`, which would
/// reveal the key.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The name of the certificate in messages: a file, or a Secret and its key.
    pub certificate_name: &'a str,
    /// The certificate, followed by its chain up to its CA.
    pub certificate: &'a [u8],
    /// The name of the private key in messages.
    pub key_name: &'a str,
    /// The private key.
    pub key: &'a [u8],
}

/// A pair that can be served.
#[derive(Clone, Debug)]
pub struct Validated {
    config: Arc<ServerConfig>,
    certificate: ServingCertificate,
}

/// Why a pair cannot be served. The messages name the file and say what to do. They never quote
/// its contents.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PairError {
    /// The text holds no certificate, or the certificate does not parse.
    #[error(
        "the certificate `{0}` cannot be parsed ({1}); give a PEM file with the certificate first and its chain after it"
    )]
    Certificate(String, String),
    /// The certificate has expired.
    #[error(
        "the certificate `{0}` expired {1}; renew it, or make a new pair with `velero-trust certs`"
    )]
    Expired(String, String),
    /// The text holds no usable private key.
    #[error(
        "the private key `{0}` cannot be used ({1}); give an unencrypted PEM file with an ECDSA, RSA (2048 bits or more) or Ed25519 key"
    )]
    Key(String, &'static str),
    /// The key belongs to another certificate.
    #[error(
        "the private key `{key}` does not belong to the certificate `{certificate}`; give the two that were made together"
    )]
    Mismatch {
        /// The name of the certificate.
        certificate: String,
        /// The name of the key.
        key: String,
    },
    /// The certificate names no host. The API server ignores the common name.
    #[error(
        "the certificate `{0}` names no host (subjectAltName with a DNS name or an IP address), so the API server would refuse it; make one with the name of the Service in it"
    )]
    NoName(String),
    /// The CAs of clients cannot be used.
    #[error(
        "the client CA `{0}` cannot be used ({1}); give a PEM file with the CAs that sign the API server's client certificates"
    )]
    ClientCa(String, String),
    /// The extendedKeyUsage does not include servers.
    #[error(
        "the certificate `{0}` is not for servers (extendedKeyUsage lacks serverAuth), so the API server would refuse it; make one for servers"
    )]
    NotForServers(String),
    /// The certificate is not valid yet.
    #[error("the certificate `{0}` is not valid before {1}; check this machine's clock, or wait")]
    NotYet(String, String),
    /// rustls rejects the certificate.
    #[error("TLS cannot be set up with the certificate `{0}`: {1}")]
    Tls(String, Error),
}

impl Validated {
    /// Validates `pair` at `now`, in seconds since 1970. With `clients`, only they may connect.
    pub fn new(
        pair: Pair<'_>,
        clients: Option<&ClientAuthorities>,
        now: i64,
    ) -> Result<Self, PairError> {
        let name = || pair.certificate_name.to_owned();
        let chain = read_chain(pair)?;
        let leaf = chain
            .first()
            .ok_or_else(|| PairError::Certificate(name(), "it holds no certificate".to_owned()))?;
        check_leaf(leaf, pair.certificate_name, now)?;
        let parsed = chain.iter().map(|der| Certificate::parse(der.as_ref()));
        // One of its chain that does not parse is of no use to the API server.
        let certificate = ServingCertificate::new(parsed.flatten())
            .ok_or_else(|| PairError::Certificate(name(), "it does not parse".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(pair.key)
            .map_err(|_| PairError::Key(pair.key_name.to_owned(), explain_missing_key(pair.key)))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| PairError::Key(pair.key_name.to_owned(), "its kind is not known"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // "Unknown" means that the key cannot derive its public half.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(PairError::Mismatch {
                    certificate: name(),
                    key: pair.key_name.to_owned(),
                });
            }
            Err(error) => return Err(PairError::Tls(name(), error)),
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| PairError::Tls(name(), error))?;
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The API server does not resume sessions, so nobody would use tickets. Also, a session
        // must not outlive its certificate.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            certificate,
        })
    }

    /// Returns the configuration for a listener.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the certificate with its chain.
    pub const fn certificate(&self) -> &ServingCertificate {
        &self.certificate
    }

    /// Returns when the certificate expires, seconds since 1970.
    pub const fn not_after(&self) -> i64 {
        self.certificate.not_after()
    }
}

fn read_chain(pair: Pair<'_>) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| "a PEM block is broken")
        .map_err(|why| PairError::Certificate(pair.certificate_name.to_owned(), why.to_owned()))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let why = if contains(pair.certificate, "PRIVATE KEY-----") {
        "it holds a private key and no certificate; are the two files swapped?"
    } else if pair.certificate.is_empty() {
        "it is empty"
    } else {
        "it holds no PEM block of type CERTIFICATE"
    };
    Err(PairError::Certificate(
        pair.certificate_name.to_owned(),
        why.to_owned(),
    ))
}

fn explain_missing_key(pem: &[u8]) -> &'static str {
    if pem.is_empty() {
        "it is empty"
    } else if contains(pem, "ENCRYPTED") {
        "it is encrypted"
    } else if contains(pem, "BEGIN CERTIFICATE-----") {
        "it holds a certificate and no key; are the two files swapped?"
    } else {
        "it holds no PEM block with a private key"
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// Checks what the API server requires of the first certificate, the one for our host.
fn check_leaf(leaf: &CertificateDer<'_>, name: &str, now: i64) -> Result<(), PairError> {
    // The API server is a Go program too.
    let leaf = ParsedCertificate::parse(leaf)
        .map_err(|defect| PairError::Certificate(name.to_owned(), defect.to_string()))?;
    if leaf.not_after < now {
        let when = format_time(leaf.not_after);
        return Err(PairError::Expired(name.to_owned(), when));
    }
    if leaf.not_before > now {
        let when = format_time(leaf.not_before);
        return Err(PairError::NotYet(name.to_owned(), when));
    }
    let mut names = leaf.extensions.subject_alt_names.iter().flatten();
    let has_host =
        names.any(|name| matches!(name, GeneralName::DnsName(_) | GeneralName::IpAddress(_)));
    if !has_host {
        return Err(PairError::NoName(name.to_owned()));
    }
    if !leaf.extensions.allows_server_auth() {
        return Err(PairError::NotForServers(name.to_owned()));
    }
    Ok(())
}

/// Formats seconds since 1970 as `Jul 28 12:00:00 2026 +00:00`.
fn format_time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| "at an impossible time".to_owned(),
        |time| {
            let (hour, minute, second) = time.to_hms();
            let (month, day, year) = (time.month().to_string(), time.day(), time.year());
            format!("{month:.3} {day:>2} {hour:02}:{minute:02}:{second:02} {year} +00:00")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::time::ASN1Time;

    #[test]
    fn a_time_is_formatted_as_another_parser_does() {
        for seconds in [
            0,
            1_785_240_000,
            1_788_000_000,
            -631_152_000,
            253_402_300_799,
        ] {
            let theirs = ASN1Time::from_timestamp(seconds).unwrap();
            assert_eq!(format_time(seconds), theirs.to_string());
        }
        assert_eq!(format_time(1_785_240_000), "Jul 28 12:00:00 2026 +00:00");
        assert_eq!(format_time(i64::MAX), "at an impossible time");
    }
}
