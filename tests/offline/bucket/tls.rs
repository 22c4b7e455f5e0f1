//! Which stores are trusted.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use velero_trust::bucket::{Error, ErrorKind, Reach, Store, Trust};

use super::server::list;
use super::{credentials, reach, settings};

/// Presents a certificate, whether the key belongs to it or not.
#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Starts a store with this certificate and key, and lists one backup of it.
async fn listed(
    certificate: &CertificateDer<'static>,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
    trust: Trust,
) -> Result<(), Error> {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = sign::any_supported_type(&key.into()).unwrap();
    let presented = Presented(Arc::new(CertifiedKey::new(vec![certificate.clone()], key)));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap();
    let config = config.with_no_client_auth();
    let config = config.with_cert_resolver(Arc::new(presented));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(list(&[("f", 1)]).as_bytes()).await;
        }
    });
    let url = format!("https://127.0.0.1:{port}");
    let reach = Reach { trust, ..reach() };
    let store = Store::open(settings(&url, &json!({})), credentials(), reach).await;
    let listing = store.unwrap().list("b").await;
    server.abort();
    listing.map(|listing| assert!(listing.contains("f")))
}

/// Returns a certificate that signed itself, of a server that is its own CA.
fn self_signed(host: &str) -> (CertificateDer<'static>, KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), key, certificate.pem())
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// `openssl req -x509` makes such certificates, Go trusts them, and the verifier of rustls does not.
#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_where_it_is_a_root() {
    let (certificate, key, pem) = self_signed("127.0.0.1");
    for version in VERSIONS {
        let trust = Trust::bundle("velero", &pem);
        listed(&certificate, &key, version, trust).await.unwrap();
        let (_, _, another) = self_signed("127.0.0.1");
        let trust = Trust::bundle("velero", &another);
        let error = listed(&certificate, &key, version, trust)
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "CertificateNotTrusted");
        assert!(!error.may_pass());
        listed(&certificate, &key, version, Trust::Everything)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_trusted_certificate_of_another_host_is_not_trusted() {
    let (certificate, key, pem) = self_signed("store.example");
    let trust = Trust::bundle("velero", &pem);
    let error = listed(&certificate, &key, &version::TLS13, trust)
        .await
        .unwrap_err();
    let ErrorKind::Certificate { problem, fix } = error.kind else {
        panic!("{error}");
    };
    assert!(problem.contains("does not name `127.0.0.1`"), "{problem}");
    assert!(fix.contains("subjectAltName"), "{fix}");
}

/// Whoever copies a certificate does not have its key. This holds even where no certificate is
/// verified.
#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let (certificate, _, pem) = self_signed("127.0.0.1");
    let other = KeyPair::generate().unwrap();
    for version in VERSIONS {
        for trust in [Trust::bundle("velero", &pem), Trust::Everything] {
            let error = listed(&certificate, &other, version, trust)
                .await
                .unwrap_err();
            assert_eq!(error.reason(), "NoTls", "{error}");
        }
    }
}
