//! Clients at one address that open as many connections to the webhook as they can, and use each of
//! them as little as they can.

use crate::balancer::connect_from;
use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The address of a Pod that floods.
pub const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// How long a client waits before it connects again. Faster clients would exhaust the processors,
/// which are limited for a Pod.
const RECONNECT: Duration = Duration::from_secs(2);

/// Longest time until all clients have connected.
const START: Duration = Duration::from_mins(1);

/// The server that is flooded.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Target {
    /// Creates a target at `address`, whose certificate is for the host `name` and signed by one of
    /// `roots`.
    pub fn new(address: SocketAddr, name: &str, roots: Arc<RootCertStore>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            name: ServerName::try_from(name.to_owned())?,
            config: Arc::new(config),
        })
    }

    async fn handshake(&self) -> Result<TlsStream<TcpStream>> {
        let stream = connect_from(SOURCE, self.address).await?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(connector.connect(self.name.clone(), stream).await?)
    }
}

/// What a client does on each connection before it falls silent.
#[derive(Clone, Debug)]
pub enum Flood {
    /// Nothing, not even a handshake.
    Silent,
    /// A handshake and these bytes, without waiting for an answer.
    Send(Vec<u8>),
    /// A handshake and these bytes, and it waits for the answer. It connects only once.
    Ask(Vec<u8>),
}

impl Flood {
    /// Returns a flood of clients that send a request with the lines `head` and with `body`, and wait
    /// for its answer.
    pub fn asking(head: &str, body: &str) -> Self {
        let length = body.len();
        Self::Ask(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
    }

    /// Starts `clients`, which connect again when their connection ends. Returns when each of them
    /// has connected once. They end when the set is dropped.
    pub async fn start(self, target: &Target, clients: usize) -> Result<JoinSet<()>> {
        let (sender, mut connected) = mpsc::channel(clients);
        let mut flood = JoinSet::new();
        for _ in 0..clients {
            flood.spawn(self.clone().client(target.clone(), sender.clone()));
        }
        let all = async {
            for _ in 0..clients {
                connected.recv().await?;
            }
            Some(())
        };
        timeout(START, all)
            .await
            .ok()
            .flatten()
            .context("not all clients of the flood connected")?;
        Ok(flood)
    }

    /// Connects again and again. A client that is refused has connected too.
    async fn client(self, target: Target, connected: mpsc::Sender<()>) {
        loop {
            // An error is the server's way to refuse.
            let _ = self.connect(&target, &connected).await;
            let _ = connected.try_send(());
            if matches!(self, Self::Ask(_)) {
                return;
            }
            sleep(RECONNECT).await;
        }
    }

    /// Connects once, and returns when the connection has ended.
    async fn connect(&self, target: &Target, connected: &mpsc::Sender<()>) -> Result<()> {
        let (Self::Send(bytes) | Self::Ask(bytes)) = self else {
            let mut stream = connect_from(SOURCE, target.address).await?;
            let _ = connected.try_send(());
            return until_closed(&mut stream).await;
        };
        let mut stream = target.handshake().await?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        if matches!(self, Self::Ask(_)) {
            stream.read_u8().await?;
        }
        let _ = connected.try_send(());
        until_closed(&mut stream).await
    }
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
