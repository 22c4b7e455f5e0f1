//! Connections that are slow, idle, old or too many, the operations port, and tasks that end.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use velero_trust::serving::{Caps, Condition, ServeError, Task, Timeouts};

use crate::client::Client;
use crate::rig::{Plan, RESTORES, Rig, assert_allowed, good, short};

#[tokio::test]
async fn silence_and_slow_heads_end_the_connection() {
    let rig = Rig::start(Plan {
        timeouts: short(),
        ..Plan::default()
    })
    .await;
    let mut silent = rig.client().await;
    silent.assert_closed().await;
    let mut slow = rig.client().await;
    slow.write(b"POST /validate/restores HTTP/1.1\r\nhost: x\r\nx-")
        .await
        .unwrap();
    slow.assert_closed().await;
    rig.metric("velero_trust_connections 0").await;
    rig.assert_well().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_the_first_request() {
    let rig = Rig::start(Plan {
        timeouts: short(),
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    assert_allowed(&client.review(RESTORES, &good("1")).await.unwrap(), "1");
    // Longer than the limit for a first request. A fixed time, because nothing signals that the
    // connection stays open.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_allowed(&client.review(RESTORES, &good("2")).await.unwrap(), "2");
}

#[tokio::test]
async fn an_idle_connection_ends_at_the_idle_time() {
    let timeouts = Timeouts {
        idle: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    assert_allowed(&client.review(RESTORES, &good("1")).await.unwrap(), "1");
    client.assert_closed().await;
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_at_once() {
    let caps = Caps {
        connections: 2,
        ..Caps::default()
    };
    let rig = Rig::start(Plan {
        caps,
        ..Plan::default()
    })
    .await;
    let (mut one, two) = (rig.client().await, rig.client().await);
    assert!(Client::tls(rig.address, &rig.roots).await.is_err());
    rig.metric("velero_trust_connections_refused_total 1").await;
    assert_allowed(&one.review(RESTORES, &good("u")).await.unwrap(), "u");
    drop(two);
    rig.metric("velero_trust_connections 1").await;
    rig.assert_well().await;
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_source_with_the_most() {
    let flood = Ipv4Addr::new(127, 0, 0, 9);
    let caps = Caps {
        connections: 4,
        protected_connections: 2,
        ..Caps::default()
    };
    let rig = Rig::start(Plan {
        caps,
        ..Plan::default()
    })
    .await;
    let mut clients = Vec::new();
    for uid in ["1", "2", "3", "4"] {
        let mut client = Client::tls_from(flood, rig.address, &rig.roots)
            .await
            .unwrap();
        assert_allowed(&client.review(RESTORES, &good(uid)).await.unwrap(), uid);
        clients.push(client);
    }
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    // The two that were idle for longest are closed, and the others go on.
    for client in &mut clients[..2] {
        client.assert_closed().await;
    }
    rig.metric("velero_trust_connections 4").await;
    for client in clients[2..].iter_mut().chain([&mut one, &mut two]) {
        assert_allowed(&client.review(RESTORES, &good("u")).await.unwrap(), "u");
    }
    // Now both sources have as many.
    assert!(Client::tls(rig.address, &rig.roots).await.is_err());
    rig.metric("velero_trust_connections_replaced_total 2")
        .await;
    rig.metric("velero_trust_connections_refused_total 1").await;
}

#[tokio::test]
async fn an_old_or_busy_connection_is_asked_to_end_with_an_answer() {
    let old = Timeouts {
        age: Duration::ZERO,
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts: old,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    let answer = client.review(RESTORES, &good("u")).await.unwrap();
    assert_allowed(&answer, "u");
    assert!(answer.closes());
    client.assert_closed().await;

    let busy = Caps {
        requests: 10,
        ..Caps::default()
    };
    let rig = Rig::start(Plan {
        caps: busy,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    let mut answered = 1;
    while !client.review(RESTORES, &good("u")).await.unwrap().closes() {
        answered += 1;
    }
    assert!((8..=12).contains(&answered), "{answered}");
    client.assert_closed().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_in_the_end() {
    let timeouts = Timeouts {
        hard_age: Duration::from_millis(400),
        ..short()
    };
    let rig = Rig::start(Plan {
        timeouts,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    assert_allowed(&client.review(RESTORES, &good("u")).await.unwrap(), "u");
    client.assert_closed().await;
}

#[tokio::test]
async fn the_second_port_tells_health_readiness_and_metrics() {
    let synced = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let holds = Arc::clone(&synced);
    let condition = Condition::new("cluster read", move || {
        holds.load(std::sync::atomic::Ordering::Relaxed)
    });
    let rig = Rig::start(Plan {
        conditions: vec![condition],
        ..Plan::default()
    })
    .await;
    assert_eq!(rig.ops("/healthz").await, (200, "ok\n".into()));
    assert_eq!(
        rig.ops("/readyz").await,
        (503, "not ready: cluster read\n".into())
    );
    synced.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(rig.ops("/readyz").await, (200, "ready\n".into()));
    for (accept, media_type, has_end) in [
        ("", "text/plain; version=0.0.4; charset=utf-8", false),
        (
            "accept: application/openmetrics-text;version=1.0.0\r\n",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            true,
        ),
    ] {
        let mut client = Client::plain(rig.ops).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: a\r\n{accept}\r\n");
        client.write(request.as_bytes()).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.code, 200);
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.body.ends_with("# EOF\n"), has_end, "{accept}");
    }
    assert_eq!(rig.ops("/").await.0, 404);
}

#[tokio::test]
async fn each_answer_of_the_second_port_closes_its_connection() {
    let rig = Rig::start(Plan::default()).await;
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let mut client = Client::plain(rig.ops).await.unwrap();
        assert!(client.get(path).await.unwrap().closes(), "{path}");
        client.assert_closed().await;
    }
    rig.metric("velero_trust_ops_connections 0").await;
}

#[tokio::test]
async fn a_task_that_ends_takes_the_server_down() {
    let over = Task::new("publisher", async {});
    let rig = Rig::start(Plan {
        tasks: vec![over],
        ..Plan::default()
    })
    .await;
    assert_eq!(rig.ended().await, Err(ServeError::Ended("publisher")));
    let broken = Task::new("publisher", async { panic!("a bug") });
    let rig = Rig::start(Plan {
        tasks: vec![broken],
        ..Plan::default()
    })
    .await;
    assert_eq!(rig.ended().await, Err(ServeError::Panicked("publisher")));
}
