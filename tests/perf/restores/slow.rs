//! How long the answer to a Restore that begins takes if its store does not do what it should.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use velero_trust_testing::cluster::VELERO_NAMESPACE;

use super::bed::Bed;
use super::reviews;
use crate::figures::{self, row};

/// Longest time for an answer, in s.
const LONGEST: f64 = 4.0;

/// For how long reviews are sent: longer than twice the time for which a location whose store was late is left
/// alone, since the leader may be the one who finds it late.
const LEFT_ALONE: Duration = Duration::from_secs(40);

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(300);

/// What a store does after it accepted a connection.
#[derive(Clone, Copy)]
enum Store {
    Silent,
    Drips,
}

pub(super) fn measure(bed: &Bed) -> Result<()> {
    figures::head("Restores: the answer, with a store that is out of order");
    let mut reviews = reviews::start(bed, "slow")?;
    let runtime = tokio::runtime::Runtime::new()?;
    for (name, store) in [
        ("accepts and is silent", Some(Store::Silent)),
        ("sends one byte after the other", Some(Store::Drips)),
        ("refuses connections", None),
    ] {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = store.map(|store| runtime.spawn(serve(listener, store)));
        let config = json!({"spec": {"config": {"s3Url": url}}}).to_string();
        let patch = ["patch", "bsl", "default", "-n", VELERO_NAMESPACE];
        let patch = [&patch[..], &["--type=merge", "-p", &config]].concat();
        bed.cluster.kubectl().ok(&patch)?;
        let mut longest: f64 = 0.0;
        let until = Instant::now() + LEFT_ALONE;
        while Instant::now() < until {
            let began = Instant::now();
            let is_admitted = reviews.begin()?;
            longest = longest.max(began.elapsed().as_secs_f64());
            ensure!(!is_admitted, "it was admitted");
            std::thread::sleep(PAUSE);
        }
        row(
            &format!("store {name}, longest"),
            longest,
            "s",
            Some(LONGEST),
        );
        if let Some(server) = server {
            server.abort();
        }
    }
    Ok(())
}

async fn serve(listener: TcpListener, store: Store) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            if matches!(store, Store::Silent) {
                std::future::pending::<()>().await;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            while stream.write_all(b"<").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
