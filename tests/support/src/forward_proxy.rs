//! An HTTP proxy as companies have between a cluster and the world. It lets only those through who have a
//! password, and leads all of them to one server, whatever host they ask for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// `jane:p@ss`, as a header has it.
const CREDENTIALS: &str = "Basic amFuZTpwQHNz";

/// A running proxy. Dropping it closes every connection.
pub struct ForwardProxy {
    /// `127.0.0.1:PORT`
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    runtime: Option<Runtime>,
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        // It does not wait, which no test that runs asynchronously may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ForwardProxy {
    /// Starts a proxy in front of `server`, a host with a port.
    pub fn start(server: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let asked = Arc::<Mutex<_>>::default();
        let (server, log) = (server.to_owned(), Arc::clone(&asked));
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((client, _)) = listener.accept().await {
                let (server, log) = (server.clone(), Arc::clone(&log));
                // An error means that one of both sides has gone.
                tokio::spawn(async move { forward(client, &server, &log).await.ok() });
            }
        });
        Ok(Self {
            address,
            asked,
            runtime: Some(runtime),
        })
    }

    /// Returns its URL, with the password.
    pub fn url(&self) -> String {
        format!("http://jane:p%40ss@{}", self.address)
    }

    /// Returns the first line of the first request of each connection.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn forward(mut client: TcpStream, server: &str, asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let first = text.lines().next().context("no request")?.to_owned();
    let is_connect = first.starts_with("CONNECT ");
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(first);
    let mut headers = text.lines().filter_map(|line| line.split_once(": "));
    let is_known = headers.any(|(name, value)| {
        name.eq_ignore_ascii_case("proxy-authorization") && value == CREDENTIALS
    });
    if !is_known {
        let refusal = "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n";
        client.write_all(refusal.as_bytes()).await?;
        return Ok(());
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    if is_connect {
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
    } else {
        upstream.write_all(&head).await?;
    }
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
