//! Answers that nobody reads.

use velero_trust_testing::{hostile, wait};

use super::server::Server;
use crate::client::{Client, PATIENCE};

/// Number of clients that read no answer.
const CLIENTS: usize = 12;

/// Memory in bytes that they may hold together: for each an answer of 64 KiB, its copy for TLS, and
/// what a connection itself needs.
const MAX_BYTES: u64 = CLIENTS as u64 * (512 << 10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_of_the_largest_answers_that_nobody_reads_hold_little() {
    let mut server = Server::start().await;
    let largest = hostile::large_pods(1 << 20).unwrap().swap_remove(0);
    let answer = server.review(largest.path, &largest.body).await.unwrap();
    assert!(answer.body.len() > 60 << 10, "{}", answer.body.len());
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{}",
        largest.path,
        largest.body.len(),
        largest.body
    );
    let mut clients = Vec::new();
    let ((), grown) = server
        .growth(async {
            for _ in 0..CLIENTS {
                let mut client = Client::tls(server.address, &server.roots).await.unwrap();
                client.write(request.repeat(4).as_bytes()).await.unwrap();
                clients.push(client);
            }
            // A review is counted before it is answered.
            let count = format!("decision=\"patch\"}} {}", 1 + 4 * CLIENTS);
            wait::until("the answers", PATIENCE, || {
                let metrics = server.webhook.metrics()?;
                anyhow::ensure!(metrics.contains(&count), "{metrics}");
                Ok(())
            });
        })
        .await;
    assert!(grown.by < MAX_BYTES, "{grown:?}");
    server.assert_well().await;
}
