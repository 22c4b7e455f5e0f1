//! Clients that do not read their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;
use tokio::task::JoinHandle;
use velero_trust::decision::{Bundle, Fact, Facts, Key, Lookup, Outcome};
use velero_trust::serving::{Caps, Timeouts};

use crate::client::{Answer, PATIENCE};
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

/// Longer than any test.
const NEVER: Duration = Duration::from_hours(1);

/// Starts a server with memory for one review at a time, which ends a connection on which an answer waits
/// for longer than `write`.
async fn start(write: Duration) -> Rig {
    Rig::start(Plan {
        source: Arc::new(With(|| async { bundles() }.boxed())),
        // However busy the machine is, nothing else ends a connection.
        timeouts: Timeouts {
            write,
            handshake: NEVER,
            first_request: NEVER,
            body: NEVER,
            ..Timeouts::default()
        },
        caps: Caps {
            memory: 130_000,
            small_memory: 0,
            ..Caps::default()
        },
        ..Plan::default()
    })
    .await
}

/// Sends requests without end on a connection of its own and reads no answer. Ends with the error of the
/// connection. Counts in `written` what the kernel took.
async fn write_only(rig: &Rig, written: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let mut client = rig.client().await;
    let written = Arc::clone(written);
    tokio::spawn(async move {
        let requests = request().repeat(10);
        while client.write(requests.as_bytes()).await.is_ok() {
            written.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Waits until `condition` is true of a good review's answer on a connection of its own.
async fn answered(rig: &Rig, mut condition: impl FnMut(&Answer) -> bool) {
    let answered = async {
        loop {
            let answer = rig.client().await.review(RESTORES, &good("b")).await;
            if condition(&answer.unwrap()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_holds_its_memory() {
    let rig = start(NEVER).await;
    let written = Arc::default();
    let writes = write_only(&rig, &written).await;
    // Once the kernel buffers no more for both ends, no review is under way: nothing but the answer that
    // waits can use the memory. Before, reviews take turns.
    let (mut before, mut refused) = (usize::MAX, 0);
    answered(&rig, |answer| {
        let now = written.load(Ordering::Relaxed);
        let is_held = answer.code == 503 && answer.body.contains("too much is under review");
        refused = if is_held && now == before {
            refused + 1
        } else {
            0
        };
        before = now;
        refused == 5
    })
    .await;
    assert!(!writes.is_finished(), "the server ended it too early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_its_answers_is_closed_and_its_memory_is_free_again() {
    let rig = start(Duration::from_secs(1)).await;
    let writes = write_only(&rig, &Arc::default()).await;
    // Not because it was reset, or read: the server ended it.
    tokio::time::timeout(PATIENCE, writes)
        .await
        .unwrap()
        .unwrap();
    answered(&rig, |answer| {
        answer.code == 200 && answer.json()["response"]["uid"] == "b"
    })
    .await;
}
