//! Graceful shutdown of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use velero_trust::decision::Facts;
use velero_trust::serving::drain::{Phase, signals};
use velero_trust::serving::{Drain, ServeError, Timeouts};

use crate::client::PATIENCE;
use crate::rig::{Plan, RESTORES, Rig, With, assert_allowed, good, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_request_of_clients_that_keep_their_connections() {
    let rig = Arc::new(Rig::start(Plan::default()).await);
    let leave = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU32::new(0));
    let parted = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (rig, leave) = (Arc::clone(&rig), Arc::clone(&leave));
            let (answered, parted) = (Arc::clone(&answered), Arc::clone(&parted));
            tokio::spawn(async move {
                let mut client = rig.client().await;
                while !leave.load(Ordering::Relaxed) {
                    // Like the API server: a lost request is an error and is not repeated.
                    let answer = client.review(RESTORES, &good("u")).await.unwrap();
                    assert_allowed(&answer, "u");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if answer.closes() {
                        parted.fetch_add(1, Ordering::Relaxed);
                        client = rig.client().await;
                    }
                }
            })
        })
        .collect();
    until(|| answered.load(Ordering::Relaxed) > 100).await;
    assert_eq!(parted.load(Ordering::Relaxed), 0);
    rig.stop.ask();
    until(|| parted.load(Ordering::Relaxed) > 100).await;
    // The endpoints were updated, so no client connects any longer.
    leave.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let rig = Arc::into_inner(rig).unwrap();
    assert_eq!(rig.ended().await, Ok(()));
}

#[tokio::test]
async fn while_draining_it_is_unready_alive_and_answers() {
    let rig = Rig::start(Plan::default()).await;
    let mut idle = rig.client().await;
    assert!(!idle.review(RESTORES, &good("1")).await.unwrap().closes());
    assert_eq!(rig.ops("/readyz").await.0, 200);
    rig.stop.ask();
    assert_eq!(
        rig.ops("/readyz").await,
        (503, "not ready: draining\n".into())
    );
    assert_eq!(rig.ops("/healthz").await.0, 200);
    let answer = rig
        .client()
        .await
        .review(RESTORES, &good("2"))
        .await
        .unwrap();
    assert_allowed(&answer, "2");
    assert!(answer.closes());
    // Longer than the quiet time. A fixed time, because nothing signals that the server does not
    // close an idle connection.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let answer = idle.review(RESTORES, &good("3")).await.unwrap();
    assert_allowed(&answer, "3");
    assert!(answer.closes());
    idle.assert_closed().await;
    assert_eq!(rig.ended().await, Ok(()));
}

#[tokio::test]
async fn while_draining_a_retry_is_sent_elsewhere_at_once() {
    let source = Arc::new(With(|| std::future::pending::<Facts>().boxed()));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    rig.stop.ask();
    let path = format!("{RESTORES}?timeout=100ms");
    let answer = client.review(&path, &good("u")).await.unwrap();
    answer.assert_failure(503, "time");
    assert_eq!(answer.header("retry-after"), Some("0"));
    assert!(answer.closes());
}

#[tokio::test]
async fn a_review_that_began_before_is_finished() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let entered = Arc::new(AtomicBool::new(false));
    let (held, inside) = (Arc::clone(&gate), Arc::clone(&entered));
    let source = Arc::new(With(move || {
        let held = Arc::clone(&held);
        inside.store(true, Ordering::Relaxed);
        async move {
            held.notified().await;
            Facts::default()
        }
        .boxed()
    }));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    let path = format!("{RESTORES}?timeout=30s");
    let review = tokio::spawn(async move { client.review(&path, &good("u")).await.unwrap() });
    until(|| entered.load(Ordering::Relaxed)).await;
    rig.stop.ask();
    assert_eq!(rig.ops("/readyz").await.0, 503);
    // Once for each pass that needs facts. The decision never gets them, and that is an answer too.
    let answer = loop {
        gate.notify_one();
        if review.is_finished() {
            break review.await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    answer.assert_failure(500, "still needs");
    assert_eq!(rig.ended().await, Ok(()));
}

#[tokio::test]
async fn a_drain_ends_at_its_limit_whoever_is_still_there() {
    let drain = Drain {
        quiet: Duration::from_millis(50),
        limit: Duration::from_millis(300),
    };
    let rig = Rig::start(Plan {
        drain,
        ..Plan::default()
    })
    .await;
    let mut idle = rig.client().await;
    assert_allowed(&idle.review(RESTORES, &good("1")).await.unwrap(), "1");
    rig.stop.ask();
    assert_eq!(rig.ended().await, Ok(()));
    idle.assert_closed().await;
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let rig = Rig::start(Plan {
        timeouts: Timeouts::default(),
        ..Plan::default()
    })
    .await;
    let _idle = rig.client().await;
    rig.stop.ask();
    rig.stop.ask();
    assert_eq!(rig.ended().await, Err(ServeError::Aborted));
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_aborts() {
    let stopping = signals().unwrap();
    let kill = |signal: &str| {
        let id = std::process::id().to_string();
        let status = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(status.unwrap().success());
    };
    for (signal, phase) in [("-TERM", Phase::Draining), ("-INT", Phase::Aborted)] {
        kill(signal);
        let reached = tokio::time::timeout(PATIENCE, stopping.reached(phase)).await;
        assert!(reached.is_ok(), "{signal}");
        assert_eq!(stopping.phase(), phase);
    }
}
