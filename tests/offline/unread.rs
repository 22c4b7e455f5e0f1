//! Clients that do not read their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;
use velero_trust::decision::{Bundle, Fact, Facts, Key, Lookup, Outcome};
use velero_trust::serving::{Caps, Timeouts};

use crate::client::PATIENCE;
use crate::rig::{Plan, RESTORES, Rig, With, good};

/// Returns a request whose answer is about a hundred times as large as it is.
fn request() -> String {
    let containers = vec![json!({}); 100];
    let body = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "unread",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "velero", "operation": "CREATE",
            "object": {"metadata": {"labels": {"velero-trust.io/inject": "true"}},
                       "spec": {"containers": &containers[..50], "initContainers": &containers[50..]}},
        }
    })
    .to_string();
    let length = body.len();
    format!(
        "POST /mutate/pods HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// A source in which every namespace has a bundle and nothing else exists.
fn bundles() -> Facts {
    let mut facts = Facts::default();
    let bundle = Outcome::Found(Fact::Bundle(Bundle::default()));
    facts.insert(Lookup::Bundle("velero".to_owned()), bundle);
    facts.insert(Lookup::Backup(Key::new("velero", "b")), Outcome::Absent);
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_its_answers_is_closed_and_its_memory_is_free_again() {
    let rig = Rig::start(Plan {
        source: Arc::new(With(|| async { bundles() }.boxed())),
        timeouts: Timeouts {
            write: Duration::from_secs(3),
            ..Timeouts::default()
        },
        // Enough for one review at a time.
        caps: Caps {
            memory: 130_000,
            ..Caps::default()
        },
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    // More answers than the kernel buffers for both ends.
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let writes = tokio::spawn(async move {
        let requests = request().repeat(10);
        while client.write(requests.as_bytes()).await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let stalled = async {
        let mut before = usize::MAX;
        while before != written.load(Ordering::Relaxed) {
            before = written.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stalled).await.unwrap();
    assert!(!writes.is_finished(), "the server ended it too early");
    // No review is under way, and the memory of the answer that waits is held.
    let answer = rig.client().await.review(RESTORES, &good("b")).await;
    answer
        .unwrap()
        .assert_failure(503, "too much is under review");
    // Not because it was reset, or read: the server ended it.
    tokio::time::timeout(PATIENCE, writes)
        .await
        .unwrap()
        .unwrap();
    let answer = rig.client().await.review(RESTORES, &good("b")).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.code, answer.json()["response"]["uid"].as_str()),
        (200, Some("b"))
    );
}
