//! What the log records about a review, and what it must not contain.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use serde_json::Value;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use velero_trust::decision::Facts;
use velero_trust::sources::Source;
use velero_trust::telemetry::{JsonLines, log_panic};

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
    pub(crate) fn start() -> (Self, DefaultGuard) {
        Self::start_at(Level::INFO)
    }

    /// Does the same for events of at least the severity `level`.
    fn start_at(level: Level) -> (Self, DefaultGuard) {
        let memory = Self::default();
        let log = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines::default())
            .with_max_level(level)
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
        ("claimed_user", "jane"),
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
    assert_eq!(log.events()[0]["claimed_user"], "jane 2026 ERROR  [31mfake");
}

/// Asserts that `event` names the review with `uid`.
fn assert_names_the_review(event: &Value, uid: &str) {
    for (field, value) in [
        ("uid", uid),
        ("kind", "Restore"),
        ("namespace", "velero"),
        ("name", "r"),
    ] {
        assert_eq!(event[field], value, "{field}: {event}");
    }
}

/// Returns a source that logs a line and answers nothing, which fails the review.
fn talkative() -> Arc<dyn Source> {
    Arc::new(With(|| {
        tracing::info!(namespace = "elsewhere", "looking up");
        async { Facts::default() }.boxed()
    }))
}

/// Sends a review with the uid `one` to a webhook whose source of facts logs.
async fn review_talkatively() {
    let rig = Rig::start(Plan {
        source: talkative(),
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    client.review(RESTORES, &good("one")).await.unwrap();
}

#[tokio::test]
async fn every_line_of_a_review_says_which_review_it_is_of() {
    let (log, _guard) = Memory::start();
    review_talkatively().await;
    let events = log.events();
    assert_eq!(events[0]["message"], "looking up");
    assert_eq!(events[0]["uid"], "one");
    assert_eq!(events[0]["name"], "r");
    // A field of the event itself wins.
    assert_eq!(events[0]["namespace"], "elsewhere");
    assert_names_the_review(events.last().unwrap(), "one");
}

#[tokio::test]
async fn a_failure_says_which_review_it_is_of_at_every_level() {
    let (log, _guard) = Memory::start_at(Level::ERROR);
    review_talkatively().await;
    let events = log.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["message"], "review failed");
    assert_names_the_review(&events[0], "one");
}

/// Installs a panic hook that logs as the server does, in addition to the present one.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log_panic(panic);
        before(panic);
    }));
}

#[tokio::test]
async fn our_own_fault_is_an_error() {
    log_panics();
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
    let messages: Vec<_> = events.iter().map(|event| &event["message"]).collect();
    assert_eq!(messages, ["panic", "review failed"]);
    for event in &events {
        assert_eq!(event["level"], "ERROR");
        assert_names_the_review(event, "u");
    }
}
