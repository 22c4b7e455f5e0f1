use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use velero_trust_testing::pki::{Authority, EXPIRED, Identity};

use super::*;
use crate::ca::certificate::Certificate;
use crate::ca::endpoint::DenialReason;
use crate::ca::endpoint::judge::judge;
use crate::dial::{DialError, DialStage};

/// 2026-07-01.
const NOW: i64 = 1_782_864_000;

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn target(host: &str, port: u16) -> Target {
    Target {
        host: host.to_owned(),
        lookup: "localhost".to_owned(),
        port,
    }
}

fn address(port: u16) -> Target {
    Target {
        host: "127.0.0.1".to_owned(),
        lookup: "127.0.0.1".to_owned(),
        port,
    }
}

async fn fetch_locally(target: &Target) -> Result<Vec<Vec<u8>>, Failure> {
    let denied = DeniedAddresses::default().allowing_loopback();
    fetch_certificates(target, &denied, &Proxies::default(), ProbeLimits::default()).await
}

/// Runs `serve` with the first connection that a server accepts. Returns the server's port.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (u16, JoinHandle<()>) {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
    });
    (port, task)
}

/// A resolver that records what each client asks for.
#[derive(Debug)]
struct RecordingResolver {
    key: Arc<CertifiedKey>,
    asked: mpsc::UnboundedSender<(Option<String>, Vec<String>)>,
}

impl ResolvesServerCert for RecordingResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let protocols = hello.alpn().into_iter().flatten();
        let protocols = protocols.map(|one| String::from_utf8_lossy(one).into_owned());
        let asked = (hello.server_name().map(str::to_owned), protocols.collect());
        self.asked.send(asked).unwrap();
        Some(Arc::clone(&self.key))
    }
}

struct TestStore {
    port: u16,
    asked: mpsc::UnboundedReceiver<(Option<String>, Vec<String>)>,
    /// How the handshake ended for the server.
    end: JoinHandle<String>,
}

/// Starts a real TLS server that presents `chain`. It asks for a client certificate issued by
/// `clients`.
async fn store(
    chain: Vec<Vec<u8>>,
    key_pem: &str,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Authority>,
) -> TestStore {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let (sender, asked) = mpsc::unbounded_channel();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().into()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_cert_resolver(Arc::new(RecordingResolver {
        key: Arc::new(CertifiedKey::new(chain, key)),
        asked: sender,
    }));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listen().await;
    let end = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match acceptor.accept(stream).await {
            Ok(_) => "the handshake was completed".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    TestStore { port, asked, end }
}

fn chain(identity: &Identity, authority: &Authority) -> Vec<Vec<u8>> {
    vec![identity.certificate_der.clone(), authority.der()]
}

#[tokio::test]
async fn sees_the_chain_over_both_versions_and_ends_the_handshake() {
    let authority = Authority::new("Root").unwrap();
    let identity = authority.server("store").unwrap();
    let chain = chain(&identity, &authority);
    for version in [&TLS12, &TLS13] {
        for clients in [None, Some(&authority)] {
            let mut store = store(chain.clone(), &identity.key_pem, version, clients).await;
            let found = fetch_locally(&target("minio.storage", store.port)).await;
            assert_eq!(found.as_ref(), Ok(&chain));
            let protocols = ["h2", "http/1.1"].map(str::to_owned).to_vec();
            assert_eq!(
                store.asked.recv().await,
                Some((Some("minio.storage".to_owned()), protocols))
            );
            let end = store.end.await.unwrap();
            assert!(end.contains("AccessDenied"), "{end}");
        }
    }
}

#[tokio::test]
async fn an_address_is_not_told_as_a_name() {
    let authority = Authority::new("Root").unwrap();
    let identity = authority.server("store").unwrap();
    let chain = chain(&identity, &authority);
    let mut store = store(chain.clone(), &identity.key_pem, &TLS13, None).await;
    let found = fetch_locally(&address(store.port)).await.unwrap();
    assert_eq!(store.asked.recv().await.unwrap().0, None);
    let roots = [Certificate::parse(authority.der()).unwrap()];
    assert!(judge(&found, "127.0.0.1", &roots, NOW).is_trusted());
    assert!(!judge(&found, "127.0.0.2", &roots, NOW).is_trusted());
}

#[tokio::test]
async fn what_a_real_server_presents_is_judged() {
    let authority = Authority::new("Root").unwrap();
    let expired = authority.server_valid("store", EXPIRED).unwrap();
    let store = store(chain(&expired, &authority), &expired.key_pem, &TLS13, None).await;
    let target = target("minio.storage", store.port);
    let found = fetch_locally(&target).await.unwrap();
    let roots = [Certificate::parse(Authority::new("Other").unwrap().der()).unwrap()];
    let observation = judge(&found, &target.host, &roots, NOW);
    let said: Vec<_> = observation
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "the server's certificate expired on 2021-01-01",
            "the server's certificate does not name `minio.storage`, only localhost, 127.0.0.1",
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store <- CN=Root; the bundle has no CA of that name",
        ]
    );
}

#[tokio::test]
async fn ten_megabytes_of_certificates_are_cut_off() {
    let authority = Authority::new("Root").unwrap();
    let identity = authority.server("store").unwrap();
    let mut chain = chain(&identity, &authority);
    let filler = chain[1].clone();
    chain.extend(std::iter::repeat_n(
        filler.clone(),
        (10 << 20) / filler.len(),
    ));
    for version in [&TLS12, &TLS13] {
        let store = store(chain.clone(), &identity.key_pem, version, None).await;
        let found = fetch_locally(&target("localhost", store.port)).await;
        assert_eq!(found, Err(Failure::TooMuch));
    }
}

#[tokio::test]
async fn no_more_is_read_than_is_allowed() {
    let authority = Authority::new("Root").unwrap();
    let identity = authority.server("store").unwrap();
    let chain = chain(&identity, &authority);
    let limits = ProbeLimits {
        bytes: 600,
        ..ProbeLimits::default()
    };
    let denied = DeniedAddresses::default().allowing_loopback();
    for version in [&TLS12, &TLS13] {
        let store = store(chain.clone(), &identity.key_pem, version, None).await;
        let found =
            fetch_certificates(&address(store.port), &denied, &Proxies::default(), limits).await;
        assert_eq!(found, Err(Failure::TooMuch));
    }
}

#[tokio::test]
async fn a_message_in_endless_crumbs_is_cut_off() {
    let (port, task) = server(async |mut stream| {
        // A ServerHello with a length of 65,535 bytes, one byte in each record.
        let header = [2, 0, 0xff, 0xff];
        let crumbs = header.into_iter().chain(std::iter::repeat(0));
        let records: Vec<u8> = crumbs
            .take(1 << 16)
            .flat_map(|byte| [22, 3, 3, 0, 1, byte])
            .collect();
        // This ends when the client closes the connection.
        let _ = stream.write_all(&records).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    assert_eq!(
        fetch_locally(&target("localhost", port)).await,
        Err(Failure::TooMuch)
    );
    task.await.unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_at_the_deadline() {
    let (port, task) = server(async |mut stream| {
        let mut hello = Vec::new();
        let _ = stream.read_to_end(&mut hello).await;
        assert!(hello.starts_with(&[22, 3]));
    })
    .await;
    let limits = ProbeLimits {
        deadline: Duration::from_millis(300),
        ..ProbeLimits::default()
    };
    let denied = DeniedAddresses::default().allowing_loopback();
    let failure = fetch_certificates(&address(port), &denied, &Proxies::default(), limits)
        .await
        .unwrap_err();
    assert_eq!(failure, Failure::Late);
    assert_eq!(
        failure.to_string(),
        "the connection was accepted, but no certificate was presented in time"
    );
    // The probe closes the connection.
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_no_tls_is_told_as_such() {
    for answer in [
        "HTTP/1.0 400 Bad Request\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let (port, task) = server(async move |mut stream| {
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        })
        .await;
        let found = fetch_locally(&target("localhost", port)).await;
        assert_eq!(found, Err(Failure::NotTls), "{answer}");
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_redirect_is_no_tls_and_leads_nowhere() {
    let (listener, elsewhere) = listen().await;
    let (port, task) = server(async move |mut stream| {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:{elsewhere}/\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    assert_eq!(fetch_locally(&address(port)).await, Err(Failure::NotTls));
    task.await.unwrap();
    // Nobody has connected to it yet.
    let (stream, first) = tokio::join!(
        TcpStream::connect(("127.0.0.1", elsewhere)),
        listener.accept()
    );
    assert_eq!(stream.unwrap().local_addr().unwrap(), first.unwrap().1);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_alerts_is_told_as_such() {
    let (port, task) = server(async |mut stream| {
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    assert_eq!(fetch_locally(&address(port)).await, Err(Failure::Closed));
    task.await.unwrap();

    let (port, task) = server(async |mut stream| {
        // fatal, unrecognized_name
        stream.write_all(&[21, 3, 3, 0, 2, 2, 112]).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    assert_eq!(
        fetch_locally(&address(port)).await.unwrap_err().to_string(),
        "the server refused the TLS handshake (UnrecognisedName); see its log, and whether it wants TLS 1.2 or later"
    );
    task.await.unwrap();
}

#[tokio::test]
async fn denied_addresses_are_not_dialled() {
    let (listener, port) = listen().await;
    let in_pod = DeniedAddresses::in_cluster([]);
    let failure = fetch_certificates(
        &target("minio", port),
        &in_pod,
        &Proxies::default(),
        ProbeLimits::default(),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(
            &failure,
            Failure::Dial(DialError::DeniedAddress { host, reason: DenialReason::Loopback, .. })
                if host == "localhost"
        ),
        "{failure}"
    );
    let metadata = Target {
        host: "::ffff:169.254.169.254".to_owned(),
        lookup: "::ffff:169.254.169.254".to_owned(),
        port: 443,
    };
    assert_eq!(
        fetch_locally(&metadata).await.unwrap_err().to_string(),
        "::ffff:169.254.169.254 has the address ::ffff:169.254.169.254, which is link-local, where clouds have their metadata services, and is not dialled"
    );
    // Nobody has connected to it yet.
    let (stream, first) = tokio::join!(TcpStream::connect(("127.0.0.1", port)), listener.accept());
    assert_eq!(stream.unwrap().local_addr().unwrap(), first.unwrap().1);
}

#[tokio::test]
async fn a_host_that_nobody_answers_for_is_told_as_such() {
    let (listener, port) = listen().await;
    drop(listener);
    let failure = fetch_locally(&address(port)).await.unwrap_err();
    let expected: SocketAddr = ([127, 0, 0, 1], port).into();
    assert!(
        matches!(&failure, Failure::Dial(DialError::Unreachable { address, .. }) if *address == expected),
        "{failure}"
    );
    let nowhere = Target {
        host: "minio".to_owned(),
        lookup: "minio.invalid".to_owned(),
        port,
    };
    let failure = fetch_locally(&nowhere).await.unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::Dial(DialError::Unresolvable { .. } | DialError::Late(DialStage::Resolving))
        ),
        "{failure}"
    );
}

/// DNS rebinding: a name has a harmless address when it is checked, and a denied one as soon as
/// somebody asks again.
#[tokio::test]
async fn a_name_that_resolves_otherwise_the_second_time_is_dialled_where_it_was_checked() {
    let authority = Authority::new("Root").unwrap();
    let identity = authority.server("store").unwrap();
    let chain = chain(&identity, &authority);
    let store = store(chain.clone(), &identity.key_pem, &TLS13, None).await;
    let harmless = SocketAddr::from(([127, 0, 0, 1], store.port));
    // As the API server at its own loopback address, with the same port.
    let forbidden = TcpListener::bind(("127.0.0.2", store.port)).await.unwrap();
    let denied = forbidden.local_addr().unwrap();
    let rules = DeniedAddresses::in_cluster([denied.ip()]).allowing_loopback();
    let asked = AtomicUsize::new(0);
    let rebinding = async |host: &str, port: u16| {
        assert_eq!((host, port), ("rebinding.example", store.port));
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(vec![if is_first { harmless } else { denied }])
    };
    let target = Target {
        host: "rebinding.example".to_owned(),
        lookup: "rebinding.example".to_owned(),
        port: store.port,
    };
    let direct = Proxies::default();
    let fetch =
        || fetch_certificates_by(&target, &rules, &direct, ProbeLimits::default(), &rebinding);
    assert_eq!(fetch().await, Ok(chain));
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    // The next probe resolves the name anew, and checks what it gets.
    let failure = fetch().await.unwrap_err();
    let expected = DialError::DeniedAddress {
        host: "rebinding.example".to_owned(),
        address: denied.ip(),
        reason: DenialReason::ApiServer,
    };
    assert_eq!(failure, Failure::Dial(expected));
    assert!(
        forbidden.accept().now_or_never().is_none(),
        "it was dialled"
    );
}

/// URLs that name a metadata service, the API server or the machine itself in every form that a
/// parser or a resolver may read. No form gives an address that is dialled: either the URL is
/// refused, or what the resolver makes of it is. None of them asks a DNS server.
#[tokio::test]
async fn no_form_of_a_url_reaches_a_denied_address() {
    let denied = DeniedAddresses::in_cluster(["10.96.0.1".parse().unwrap()]);
    for host in [
        // Forms of 169.254.169.254.
        "169.254.169.254",
        "169.254.43518",
        "169.16689662",
        "2852039166",
        "0xa9fea9fe",
        "0XA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "0xa9.254.0251.254",
        "0251.0376.0251.0376",
        "025177524776",
        "0000251.0376.0251.0376",
        "169.254.169.254.",
        "user@169.254.169.254",
        "user:secret@169.254.169.254:443",
        "store.example@169.254.169.254",
        "169.254.169.254#@store.example",
        "169.254.169.254?@store.example",
        "169.254.169.254/@store.example",
        "169.254.169.254\\@store.example",
        "store.example\\@169.254.169.254",
        "169。254。169。254",
        "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
        "169.254.169.254%00.store.example",
        "169.254.169.254 .store.example",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[2001:0:1:2:3:4:5601:5601]",
        "[fd12::5efe:a9fe:a9fe]",
        "[fe80::a9fe:a9fe]",
        "[fe80::a9fe:a9fe%25eth0]",
        "[fe80::a9fe:a9fe%eth0]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "168.63.129.16",
        // Forms of the API server.
        "10.96.0.1",
        "10.96.1",
        "0x0a600001",
        "174063617",
        "[::ffff:10.96.0.1]",
        // Forms of the machine itself.
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "017700000001",
        "2130706433",
        "0",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
    ] {
        let spec = serde_json::json!({"spec": {"config": {"s3Url": format!("https://{host}")}}});
        let bsl = crate::velero::bsl::Bsl::from_value(&spec);
        let Ok(endpoint) = crate::ca::endpoint::read_endpoints("velero", &bsl).remove(0) else {
            continue;
        };
        let mut target = endpoint.target;
        // A single label is a Service of the namespace, and no number.
        if let Some(label) = target.lookup.strip_suffix(".velero.svc") {
            target.lookup = label.to_owned();
        }
        let resolved = dial::resolve(&target, &denied, dial::look_up).await;
        assert!(
            matches!(
                resolved,
                Err(DialError::DeniedAddress { .. } | DialError::Unresolvable { .. })
            ),
            "{host}: {resolved:?}"
        );
    }
}
