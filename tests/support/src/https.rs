//! A small blocking HTTPS client that trusts only the certificates it is given.

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A server's answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and headers as received.
    pub head: String,
    /// The body as text.
    pub body: String,
}

/// Makes aws-lc the provider of every TLS connection of this process.
///
/// rustls panics when it must guess between providers, and a dependency may add a second one.
pub fn install_provider() {
    // An error means that a provider was installed before, which is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Returns the certificates in `ca_pem` as trusted roots.
pub fn roots(ca_pem: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// Sends `GET url`, trusting the certificates in `ca_pem`.
pub fn get(url: &str, ca_pem: &str, headers: &[(&str, &str)]) -> Result<Response> {
    send("GET", url, ca_pem, headers, "")
}

/// Connects to `address` as if it was `host`, trusting the certificates in `ca_pem`, and sends nothing.
pub fn handshake(host: &str, address: SocketAddr, ca_pem: &str) -> Result<()> {
    install_provider();
    let config = ClientConfig::builder()
        .with_root_certificates(roots(ca_pem)?)
        .with_no_client_auth();
    let host = ServerName::try_from(host.to_owned())?;
    let mut connection = ClientConnection::new(Arc::new(config), host)?;
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(())
}

/// Sends one request, trusting the certificates in `ca_pem`; with an empty text, none is trusted.
pub fn send(
    method: &str,
    url: &str,
    ca_pem: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Response> {
    install_provider();
    let rest = url
        .strip_prefix("https://")
        .with_context(|| format!("`{url}` is not https"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, _) = authority
        .rsplit_once(':')
        .with_context(|| format!("`{url}` names no port"))?;

    let config = ClientConfig::builder()
        .with_root_certificates(roots(ca_pem)?)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?;
    let socket =
        TcpStream::connect(authority).with_context(|| format!("cannot connect to {authority}"))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let mut stream = StreamOwned::new(connection, socket);

    // HTTP/1.0, so that the answer ends with the connection and is never chunked.
    let headers: String = headers
        .iter()
        .flat_map(|(name, value)| [*name, ": ", *value, "\r\n"])
        .collect();
    let length = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.0\r\nHost: {authority}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream
        .write_all(request.as_bytes())
        .with_context(|| format!("{method} {url}"))?;

    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Go's servers close without a TLS close_notify.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        outcome => drop(outcome.with_context(|| format!("{method} {url}"))?),
    }
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{method} {url}"))
}

fn parse(answer: &str) -> Result<Response> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no headers")?;
    let status = head
        .split(' ')
        .nth(1)
        .context("the answer has no status")?
        .parse()?;
    Ok(Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
