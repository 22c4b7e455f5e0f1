//! Valid and invalid HTTP requests and their answers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use velero_trust::decision::{Facts, Key, Lookup, Outcome};
use velero_trust::serving::{Caps, Timeouts};

use crate::client::{Client, PATIENCE};
use crate::rig::{Plan, RESTORES, Rig, With, assert_allowed, good, restore, short, until};

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn a_review_is_answered_and_counted_on_one_connection_after_another() {
    let rig = Rig::start(Plan::default()).await;
    let mut client = rig.client().await;
    for uid in ["one", "two"] {
        let answer = client.review(RESTORES, &good(uid)).await.unwrap();
        assert_allowed(&answer, uid);
        assert!(!answer.closes());
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let denied = client
        .review(RESTORES, &restore("three", "missing"))
        .await
        .unwrap();
    assert_eq!(denied.code, 200);
    assert_eq!(denied.json()["response"]["allowed"], false);
    for line in [
        r#"velero_trust_reviews_total{webhook="/validate/restores",operation="CREATE",decision="warn"} 2"#,
        r#"velero_trust_reviews_total{webhook="/validate/restores",operation="CREATE",decision="deny"} 1"#,
        "velero_trust_connections 1",
    ] {
        rig.metric(line).await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_review_is_a_bad_request_with_the_reason() {
    let rig = Rig::start(Plan::default()).await;
    let v1beta1 = good("x").replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    let envelope = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"#;
    for (body, message) in [
        ("", "the body is empty"),
        (" \n", "the body is empty"),
        ("nonsense", "not an AdmissionReview"),
        ("\u{feff}{}", "not an AdmissionReview"),
        (&format!("{envelope}\"}}"), "no `request`"),
        (
            &format!("{envelope}\",\"request\":{{}}}}"),
            "no `request.uid`",
        ),
        (&v1beta1, "v1beta1"),
    ] {
        let mut client = rig.client().await;
        let answer = client.review(RESTORES, body).await.unwrap();
        answer.assert_failure(400, message);
        assert!(answer.closes());
        client.assert_closed().await;
    }
    rig.assert_well().await;
    rig.metric(r#"velero_trust_http_errors_total{code="400"} 7"#)
        .await;
}

#[tokio::test]
async fn other_kinds_and_operations_are_allowed_and_counted() {
    let rig = Rig::start(Plan::default()).await;
    let mut client = rig.client().await;
    for body in [
        good("u").replace("restores", "widgets"),
        good("u").replace("CREATE", "CONNECT"),
        good("u").replace("CREATE", "FROBNICATE"),
    ] {
        assert_allowed(&client.review(RESTORES, &body).await.unwrap(), "u");
    }
    rig.metric("velero_trust_foreign_reviews_total 3").await;
    rig.metric(
        r#"velero_trust_reviews_total{webhook="/validate/restores",operation="unknown",decision="allow"} 1"#,
    )
    .await;
}

#[tokio::test]
async fn wrong_paths_and_methods_are_refused_so_that_the_api_server_can_read_it() {
    let rig = Rig::start(Plan::default()).await;
    for path in ["/", "/validate", "/widgets/validate/restores"] {
        let mut client = rig.client().await;
        let lost = client.review(path, &good("u")).await.unwrap();
        lost.assert_failure(404, "no webhook has this path");
        assert!(lost.closes());
        client.assert_closed().await;
    }
    let mut client = rig.client().await;
    let get = client.get(RESTORES).await.unwrap();
    get.assert_failure(405, "POST");
    assert_eq!(get.header("allow"), Some("POST"));
    assert!(get.closes());
    client.assert_closed().await;
    rig.metric(r#"velero_trust_http_errors_total{code="404"} 3"#)
        .await;
}

#[tokio::test]
async fn a_webhook_of_another_version_is_looked_for_at_another_replica() {
    let rig = Rig::start(Plan::default()).await;
    // More than the buffers of both sides hold: it has to be read, or the client, which writes
    // first, would not see the answer.
    let padding = format!("\"pad\":\"{}\",\"spec\"", "x".repeat(3 << 20));
    let large = good("u").replace("\"spec\"", &padding);
    for path in ["/validate/widgets?timeout=5s", "/mutate/widgets"] {
        for body in [&good("u"), &large] {
            let mut client = rig.client().await;
            let answer = client.review(path, body).await.unwrap();
            answer.assert_failure(503, "another may have it");
            assert_eq!(answer.header("retry-after"), Some("0"));
            assert!(answer.closes());
            client.assert_closed().await;
        }
    }
}

#[tokio::test]
async fn only_plain_json_is_taken() {
    let rig = Rig::start(Plan::default()).await;
    for (headers, message) in [
        ("", "the content type is ``"),
        ("content-type: text/plain\r\n", "text/plain"),
        ("content-type: application/yaml\r\n", "application/yaml"),
        (
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            "without Content-Encoding",
        ),
    ] {
        let mut client = rig.client().await;
        let answer = client.post(RESTORES, headers, good("u").as_bytes()).await;
        answer.unwrap().assert_failure(415, message);
    }
    for headers in [
        "content-type: Application/JSON; charset=utf-8\r\n",
        "content-type: application/json\r\ncontent-encoding: identity\r\n",
    ] {
        let mut client = rig.client().await;
        let answer = client.post(RESTORES, headers, good("u").as_bytes()).await;
        assert_allowed(&answer.unwrap(), "u");
    }
}

#[tokio::test]
async fn a_body_of_3_mib_is_reviewed() {
    let rig = Rig::start(Plan::default()).await;
    let padding = format!("\"pad\":\"{}\",\"spec\"", "x".repeat(3 << 20));
    let body = good("big").replace("\"spec\"", &padding);
    let answer = rig.client().await.review(RESTORES, &body).await.unwrap();
    assert_allowed(&answer, "big");
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_comes() {
    let rig = Rig::start(Plan::default()).await;
    let mut client = rig.client().await;
    let head =
        format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 67108864\r\n\r\n");
    client.write(head.as_bytes()).await.unwrap();
    let answer = client.answer().await.unwrap();
    answer.assert_failure(413, "larger than 4194304 bytes");
    assert!(answer.closes());
}

/// Sends 64 MiB and reads the answer only afterwards, like the most difficult kind of client.
async fn writes_64_mib_then_reads(rig: &Rig, chunked: bool) {
    let piece = vec![b' '; 1 << 20];
    let (length, before, after) = if chunked {
        ("transfer-encoding: chunked", "100000\r\n", "\r\n")
    } else {
        ("content-length: 67108864", "", "")
    };
    let mut client = rig.client().await;
    let head = format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\n{JSON}{length}\r\n\r\n");
    client.write(head.as_bytes()).await.unwrap();
    for _ in 0..64 {
        client.write(before.as_bytes()).await.unwrap();
        client.write(&piece).await.unwrap();
        client.write(after.as_bytes()).await.unwrap();
    }
    let answer = client.answer().await.unwrap();
    answer.assert_failure(413, "larger than 4194304 bytes");
    assert!(answer.closes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_64_mib_first_and_reads_then_still_gets_the_answer() {
    // The default time limit for a body is for production; the machine that runs the tests may be
    // busy.
    let timeouts = Timeouts {
        body: PATIENCE,
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts,
        ..Plan::default()
    })
    .await;
    tokio::join!(
        writes_64_mib_then_reads(&rig, false),
        writes_64_mib_then_reads(&rig, true),
    );
    rig.assert_well().await;
}

#[tokio::test]
async fn reviews_together_never_need_more_than_their_budget() {
    let caps = Caps {
        // Each review may need 64 KiB and eight times its body.
        memory: 140_000,
        small_memory: 0,
        ..Caps::default()
    };
    let rig = Rig::start(Plan {
        caps,
        ..Plan::default()
    })
    .await;
    let head = format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 1000\r\n\r\n");
    // The first request holds most of the budget and does not finish.
    let mut first = rig.client().await;
    first.write(head.as_bytes()).await.unwrap();
    first.write(&[b' '; 999]).await.unwrap();
    // The only sign that the server has read its bytes is that a second request is refused.
    let refused = async {
        loop {
            let mut second = rig.client().await;
            let answer = second.post(RESTORES, JSON, &[b' '; 1000]).await.unwrap();
            if answer.code == 503 {
                return answer;
            }
            answer.assert_failure(400, "empty");
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    refused.assert_failure(503, "ask again");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // The budget is released.
    first.write(b" ").await.unwrap();
    first.answer().await.unwrap().assert_failure(400, "empty");
    let answer = rig.client().await.post(RESTORES, JSON, &[b' '; 1000]).await;
    answer.unwrap().assert_failure(400, "empty");
}

#[tokio::test]
async fn a_flood_of_bodies_leaves_half_of_the_memory_to_others() {
    let flood = Ipv4Addr::new(127, 0, 0, 9);
    let caps = Caps {
        // Each review may need 64 KiB and eight times its body.
        memory: 8 * 73_536,
        small_memory: 0,
        ..Caps::default()
    };
    let timeouts = Timeouts {
        body: PATIENCE,
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts,
        caps,
        ..Plan::default()
    })
    .await;
    rig.assert_well().await;
    let head = format!(
        "POST {RESTORES}?timeout=30s HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 1000\r\n\r\n"
    );
    // Bodies that do not end, until one is refused.
    let mut unfinished = Vec::new();
    loop {
        let mut client = Client::tls_from(flood, rig.address, &rig.roots)
            .await
            .unwrap();
        client.write(head.as_bytes()).await.unwrap();
        client.write(&[b' '; 999]).await.unwrap();
        let refused = client.answer();
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(300), refused).await {
            answer.unwrap().assert_failure(503, "ask again");
            break;
        }
        unfinished.push(client);
    }
    assert_eq!(unfinished.len(), 4);
    rig.assert_well().await;
}

#[tokio::test]
async fn half_a_body_and_then_silence_is_a_timeout() {
    let rig = Rig::start(Plan {
        timeouts: short(),
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    let head =
        format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 1000\r\n\r\n{{");
    client.write(head.as_bytes()).await.unwrap();
    let answer = client.answer().await.unwrap();
    answer.assert_failure(408, "did not arrive in time");
    assert!(answer.closes());
    client.assert_closed().await;
}

#[tokio::test]
async fn a_source_that_never_answers_costs_the_budget_and_no_more() {
    let source = Arc::new(With(|| std::future::pending::<Facts>().boxed()));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    let asked = Instant::now();
    let path = format!("{RESTORES}?timeout=1s");
    let answer = rig.client().await.review(&path, &good("u")).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(800));
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "the default budget was used"
    );
    answer.assert_failure(503, "in the time that the API server gives");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.closes());
}

/// Returns a good review of 512 KiB.
fn large(uid: &str) -> String {
    let padding = format!("\"pad\":\"{}\",\"spec\"", "x".repeat(512 << 10));
    good(uid).replace("\"spec\"", &padding)
}

#[tokio::test]
async fn of_large_reviews_a_third_waits_and_small_ones_do_not() {
    let blocked = Arc::new(AtomicBool::new(true));
    let is_blocked = Arc::clone(&blocked);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let source = Arc::new(With(move || {
        let is_blocked = Arc::clone(&is_blocked);
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            until(|| !is_blocked.load(Ordering::Relaxed)).await;
            absent()
        }
        .boxed()
    }));
    let rig = Arc::new(
        Rig::start(Plan {
            source,
            ..Plan::default()
        })
        .await,
    );
    let send = |body: String, path: &'static str| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.client().await.review(path, &body).await.unwrap() })
    };
    let path = "/validate/restores?timeout=25s";
    let first_two = [send(large("1"), path), send(large("2"), path)];
    until(|| asked.load(Ordering::Relaxed) == 2).await;
    // The third is not even begun.
    let third = send(large("3"), "/validate/restores?timeout=1s");
    let answer = third.await.unwrap();
    answer.assert_failure(503, "too many large objects are under review");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let small = send(good("4"), path);
    until(|| asked.load(Ordering::Relaxed) == 3).await;
    blocked.store(false, Ordering::Relaxed);
    for review in first_two.into_iter().chain([small, send(large("5"), path)]) {
        assert_eq!(review.await.unwrap().code, 200);
    }
}

/// Returns the facts of a cluster without the Backup that reviews name.
fn absent() -> Facts {
    let mut facts = Facts::default();
    facts.insert(Lookup::Backup(Key::new("velero", "b")), Outcome::Absent);
    facts
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_lives_on() {
    let source = Arc::new(With(|| async { panic!("a bug") }.boxed()));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    let mut client = rig.client().await;
    for body in [good("u"), large("u")] {
        let answer = client.review(RESTORES, &body).await.unwrap();
        answer.assert_failure(500, "the review failed");
        assert!(!answer.body.contains("a bug"));
    }
    rig.metric(r#"velero_trust_http_errors_total{code="500"} 2"#)
        .await;
}

#[tokio::test]
async fn a_decision_that_never_settles_is_an_internal_error() {
    let source = Arc::new(With(|| async { Facts::default() }.boxed()));
    let rig = Rig::start(Plan {
        source,
        ..Plan::default()
    })
    .await;
    let answer = rig
        .client()
        .await
        .review(RESTORES, &good("u"))
        .await
        .unwrap();
    answer.assert_failure(500, "still needs Backup velero/b");
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_large_bodies_takes_no_more_memory_than_the_budget() {
    let timeouts = Timeouts {
        body: PATIENCE,
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts,
        ..Plan::default()
    })
    .await;
    let before = resident();
    let head =
        format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 4194304\r\n\r\n");
    let piece = vec![b' '; 1 << 20];
    // 160 MiB are announced, and no request is finished.
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = rig.client().await;
        client.write(head.as_bytes()).await.unwrap();
        for _ in 0..3 {
            client.write(&piece).await.unwrap();
        }
        clients.push(client);
    }
    // Four requests fit. Of two that compete for the last room, both may be refused.
    until(|| {
        let text = rig.metrics.text().unwrap();
        let count = text
            .split(r#"http_errors_total{code="503"} "#)
            .nth(1)
            .and_then(|rest| rest.lines().next());
        count.is_some_and(|count| count.parse::<u32>().unwrap() >= 30)
    })
    .await;
    // The budget is 96 MiB. Other tests run at the same time, so the bound is generous.
    let grown = resident().saturating_sub(before);
    assert!(grown < 160 << 20, "{grown} bytes");
}
