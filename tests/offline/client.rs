//! A small HTTP/1.1 client that writes raw bytes, so it can also misbehave, and reads answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use velero_trust_testing::balancer::connect_from;

use crate::authority::{HOST, Issued};

/// Maximum time that a test waits for anything: a generous bound, not a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    /// The certificate that the server presented; `None` without TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The protocol negotiated by ALPN.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Asserts that it is an error in the form that the API server reads.
    #[track_caller]
    pub(crate) fn assert_failure(&self, code: u16, message: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], code);
        let said = status["message"].as_str().unwrap();
        assert!(said.contains(message), "{said}");
        assert_eq!(self.header("retry-after").is_some(), code >= 500);
    }
}

impl Client {
    /// Connects without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self::of(Box::new(stream)))
    }

    /// Connects with TLS, as the API server does.
    pub(crate) async fn tls(address: SocketAddr, roots: &Arc<RootCertStore>) -> io::Result<Self> {
        Self::tls_with(address, roots, &[b"http/1.1"]).await
    }

    /// Connects with TLS from the address `source`, in 127.0.0.0/8.
    pub(crate) async fn tls_from(
        source: Ipv4Addr,
        address: SocketAddr,
        roots: &Arc<RootCertStore>,
    ) -> io::Result<Self> {
        let stream = connect_from(source, address).await?;
        Self::handshake(stream, roots, &[b"http/1.1"], None).await
    }

    /// Connects with TLS, and presents a certificate.
    pub(crate) async fn tls_as(
        identity: &Issued,
        address: SocketAddr,
        roots: &Arc<RootCertStore>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::handshake(stream, roots, &[b"http/1.1"], Some(identity)).await
    }

    /// Connects with TLS and offers these protocols by ALPN.
    pub(crate) async fn tls_with(
        address: SocketAddr,
        roots: &Arc<RootCertStore>,
        alpn: &[&[u8]],
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::handshake(stream, roots, alpn, None).await
    }

    async fn handshake(
        stream: TcpStream,
        roots: &Arc<RootCertStore>,
        alpn: &[&[u8]],
        identity: Option<&Issued>,
    ) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(roots));
        let mut config = match identity {
            Some(Issued { der, key, .. }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![der.clone()], key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(HOST).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (_, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.clone().into_owned());
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Self {
            certificate,
            alpn,
            ..Self::of(Box::new(stream))
        })
    }

    fn of(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            certificate: None,
            alpn: None,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a review as the API server does.
    pub(crate) async fn review(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.post(path, "content-type: application/json\r\n", body.as_bytes())
            .await
    }

    /// Sends a POST with additional header lines.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.write(&[head.as_bytes(), body].concat()).await?;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.write(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes())
            .await?;
        self.answer().await
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let head = loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            self.more().await?;
        };
        let mut answer = Answer {
            code: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::new(),
        };
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        while self.unread.len() < length {
            self.more().await?;
        }
        let rest = self.unread.split_off(length);
        answer.body = String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
        Ok(answer)
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer))
            .await
            .expect("the server says nothing")?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(())
    }

    /// Waits until the server has closed the connection. Asserts that it sends no further byte.
    pub(crate) async fn assert_closed(&mut self) {
        let more = self.more().await;
        assert!(more.is_err(), "{:?}", String::from_utf8_lossy(&self.unread));
    }
}
