//! A TCP balancer in front of the replicas of velero-trust, in place of a Service and kube-proxy.
//!
//! The API server reaches it through a Service of type ExternalName ([`Balancer::service`]), because
//! nothing serves ClusterIPs and EndpointSlices refuse loopback addresses. To the API server this
//! is a Service like any other: it speaks HTTP/1.1 and verifies the name of the Service.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// A running balancer. Dropping it closes every connection.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

#[derive(Debug)]
struct Shared {
    source: Ipv4Addr,
    replicas: Mutex<Vec<SocketAddr>>,
    chosen: AtomicUsize,
    refused: AtomicUsize,
}

impl Balancer {
    /// Starts a balancer that chooses one of `replicas` for each connection, in turn, as kube-proxy
    /// chooses one by chance. The replicas see `source` as the address of every client: an address
    /// in 127.0.0.0/8, so that clients of another address can be told apart from it.
    pub fn start(source: Ipv4Addr, replicas: &[SocketAddr]) -> Result<Self> {
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        Self::serve(runtime, listener, source, replicas)
    }

    fn serve(
        runtime: Runtime,
        listener: TcpListener,
        source: Ipv4Addr,
        replicas: &[SocketAddr],
    ) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            source,
            replicas: Mutex::new(replicas.to_vec()),
            chosen: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        runtime.spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            _runtime: runtime,
        })
    }

    /// Returns the port on 127.0.0.1 on which the balancer listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Sets the replicas for new connections; open connections keep theirs.
    pub fn set_replicas(&self, replicas: &[SocketAddr]) {
        replicas.clone_into(&mut locked(&self.shared.replicas));
    }

    /// Returns how many connections have been made to replicas so far.
    pub fn connections(&self) -> usize {
        self.shared.chosen.load(Ordering::Relaxed)
    }

    /// Returns how many connections found no replica at the address that was chosen for them.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Returns the Service through which an API server reaches the balancer.
    pub fn service(namespace: &str, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
        })
    }

    /// Returns the `clientConfig.service` of a webhook with `path` that is reached through
    /// [`Balancer::service`].
    pub fn webhook_service(&self, namespace: &str, name: &str, path: &str) -> Value {
        json!({"namespace": namespace, "name": name, "path": path, "port": self.port})
    }
}

/// The port of a balancer that is not there yet: connections are refused.
#[derive(Debug)]
pub struct ClosedPort {
    socket: TcpSocket,
    port: u16,
}

impl ClosedPort {
    /// Reserves a port on 127.0.0.1.
    pub fn reserve() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = socket.local_addr()?.port();
        Ok(Self { socket, port })
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Starts the balancer.
    pub fn open(self, source: Ipv4Addr, replicas: &[SocketAddr]) -> Result<Balancer> {
        let runtime = runtime()?;
        let listener = runtime.block_on(async { self.socket.listen(1024) })?;
        Balancer::serve(runtime, listener, source, replicas)
    }
}

impl Shared {
    fn next(&self) -> Option<SocketAddr> {
        let replicas = locked(&self.replicas);
        let number = self.chosen.fetch_add(1, Ordering::Relaxed);
        replicas.get(number.checked_rem(replicas.len())?).copied()
    }

    async fn connect(&self) -> Result<TcpStream> {
        let replica = self.next().context("no replica")?;
        let connected = connect_from(self.source, replica).await;
        if connected.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(connected?)
    }
}

/// Connects to `address` from the address `source`, in 127.0.0.0/8.
pub async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(source, 0).into())?;
    socket.connect(address).await
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Without a replica the client's connection is closed. An error while copying means
            // that one side has gone; then the other side is closed too.
            if let Ok(mut replica) = shared.connect().await {
                let _ = client.set_nodelay(true);
                let _ = replica.set_nodelay(true);
                let _ = copy_bidirectional(&mut client, &mut replica).await;
            }
        });
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net;

    /// Starts a replica that says its name and the address of its client on each connection.
    fn replica(name: &'static str) -> SocketAddr {
        let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, client)) = listener.accept() {
                let _ = write!(stream, "{name} {}", client.ip());
            }
        });
        address
    }

    fn ask(balancer: &Balancer) -> String {
        let mut stream = net::TcpStream::connect((Ipv4Addr::LOCALHOST, balancer.port())).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn each_connection_gets_the_next_replica_and_comes_from_the_chosen_address() {
        let source = Ipv4Addr::new(127, 0, 0, 7);
        let (one, two) = (replica("one"), replica("two"));
        let balancer = Balancer::start(source, &[one, two]).unwrap();
        let answers = [(); 4].map(|()| ask(&balancer));
        assert_eq!(
            answers,
            [
                "one 127.0.0.7",
                "two 127.0.0.7",
                "one 127.0.0.7",
                "two 127.0.0.7"
            ]
        );
        balancer.set_replicas(&[two]);
        assert_eq!(ask(&balancer), "two 127.0.0.7");
        balancer.set_replicas(&[]);
        assert_eq!(ask(&balancer), "");
        assert_eq!(balancer.refused(), 0);
        let closed = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        balancer.set_replicas(&[address]);
        assert_eq!(ask(&balancer), "");
        assert_eq!(balancer.refused(), 1);
    }
}
