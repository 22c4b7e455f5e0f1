//! A small keep-alive client that uses HTTP/1.1 over TLS, like the API server.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The CAs that the client trusts.
pub(super) struct Trust(Arc<ClientConfig>);

/// A connection for sequential requests.
pub(super) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// The properties of an answer that the benchmark uses.
pub(super) struct Answered {
    /// Whether it is a 200.
    pub(super) is_ok: bool,
    /// Whether the server accepts no further request on this connection.
    pub(super) is_last: bool,
}

impl Trust {
    pub(super) fn new(ca: &str) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The API server does not resume sessions: each of its connections needs a full handshake.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn connect(&self, address: &str) -> Result<Connection> {
        let name = ServerName::try_from("127.0.0.1")?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let stream = StreamOwned::new(connection, socket);
        Ok(Connection {
            stream,
            request: Vec::new(),
            answer: Vec::new(),
        })
    }
}

impl Connection {
    /// Posts `body` and reads the whole answer, which must be a 200.
    pub(super) fn post(&mut self, path: &str, body: &[u8]) -> Result<Answered> {
        let answered = self.exchange(path, body)?;
        ensure!(answered.is_ok, "{}", self.answer());
        Ok(answered)
    }

    /// Returns the last answer, with its head.
    pub(super) fn answer(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.answer)
    }

    /// Posts `body` and reads the whole answer, whatever it is.
    pub(super) fn exchange(&mut self, path: &str, body: &[u8]) -> Result<Answered> {
        self.request.clear();
        write!(
            self.request,
            "POST {path}?timeout=5s HTTP/1.1\r\nHost: velero-trust.velero-trust.svc:443\r\n\
             Content-Type: application/json\r\nAccept: application/json, */*\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the server closed the connection");
            self.answer.extend_from_slice(&chunk[..read]);
            let Some(head) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.answer[..head])?.to_ascii_lowercase();
            let length = text
                .split("content-length: ")
                .nth(1)
                .context("no Content-Length")?;
            let length: usize = length.split("\r\n").next().unwrap_or_default().parse()?;
            if self.answer.len() >= head + 4 + length {
                return Ok(Answered {
                    is_ok: text.starts_with("http/1.1 200"),
                    is_last: text.contains("connection: close"),
                });
            }
        }
    }
}
