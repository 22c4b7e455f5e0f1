//! What the log records about a review, and what it must not contain.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::rig::{Plan, RESTORES, Rig, With, good, restore};

/// A log in memory.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Memory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Memory {
    /// Starts recording all events of this thread until the guard is dropped.
    pub(crate) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let memory = Self::default();
        let log = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(memory.clone())
            .finish();
        (memory, tracing::subscriber::set_default(log))
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8(log.clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn each_review_is_one_event() {
    let (log, _guard) = Memory::start();
    let rig = Rig::start(Plan::default()).await;
    let mut client = rig.client().await;
    client.review(RESTORES, &good("one")).await.unwrap();
    client
        .review(RESTORES, &restore("two", "missing"))
        .await
        .unwrap();
    client.review(RESTORES, "nonsense").await.unwrap();
    let events = log.events();
    assert_eq!(events.len(), 3, "{events:#?}");
    assert_eq!(events[0]["message"], "review admitted");
    let denied = &events[1];
    for (field, value) in [
        ("level", "INFO"),
        ("message", "review denied"),
        ("uid", "two"),
        ("kind", "Restore"),
        ("namespace", "velero"),
        ("name", "r"),
        ("operation", "CREATE"),
        ("user", "jane"),
        ("decision", "deny"),
        ("rules", "VT103"),
    ] {
        assert_eq!(denied[field], value, "{field}: {denied}");
    }
    assert_eq!(denied["dry_run"], false);
    assert!(denied["milliseconds"].as_f64().unwrap() > 0.0);
    assert_eq!(events[2]["message"], "request refused");
}

#[tokio::test]
async fn text_of_a_request_cannot_forge_the_log() {
    let (log, _guard) = Memory::start();
    let rig = Rig::start(Plan::default()).await;
    let body = good("u").replace("jane", "jane\\n2026 ERROR \\u001b[31mfake");
    rig.client().await.review(RESTORES, &body).await.unwrap();
    assert_eq!(log.events()[0]["user"], "jane 2026 ERROR  [31mfake");
}

#[tokio::test]
async fn our_own_fault_is_an_error() {
    let (log, _guard) = Memory::start();
    let source = Arc::new(With(|| async { panic!("a bug") }.boxed()));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    rig.client()
        .await
        .review(RESTORES, &good("u"))
        .await
        .unwrap();
    let events = log.events();
    assert_eq!(events[0]["level"], "ERROR");
    assert_eq!(events[0]["message"], "review failed");
    assert_eq!(events[0]["uid"], "u");
}
