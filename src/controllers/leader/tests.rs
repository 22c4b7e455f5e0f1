use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower::{BoxError, service_fn};

use super::*;
use crate::sources::objects::Objects;

type Asked = mpsc::UnboundedReceiver<(Method, String)>;

/// A server with one Lease that has no holder and may not exist, and the requests that it receives.
fn lease(exists: &Arc<AtomicBool>) -> (Client, Asked) {
    let (sender, asked) = mpsc::unbounded_channel();
    let exists = Arc::clone(exists);
    let server = service_fn(move |request: http::Request<Body>| {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let found = exists.load(Ordering::Relaxed) || method == Method::POST;
        let _ = sender.send((method, uri));
        async move {
            let (code, answer): (_, Value) = if found {
                (200, json!({"metadata": {"name": "l"}}))
            } else {
                let gone = json!({
                    "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
                });
                (404, gone)
            };
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, BoxError>(http::Response::builder().status(code).body(answer)?)
        }
    });
    (Client::new(server, "default"), asked)
}

fn controllers(client: Client) -> ControllerContext {
    let common_roots = watch::channel(None).1;
    ControllerContext::for_test(client, Arc::new(Objects::default()), common_roots)
}

/// Returns the URI of the first request with `method`.
async fn first(asked: &mut Asked, method: Method) -> String {
    let wanted = async {
        loop {
            let (asked, uri) = asked.recv().await.unwrap();
            if asked == method {
                return uri;
            }
        }
    };
    let found = timeout(Duration::from_secs(20), wanted).await;
    found.expect("nobody asks")
}

#[tokio::test]
async fn a_lease_that_is_gone_is_made_again_by_whoever_waits_for_it() {
    let exists = Arc::new(AtomicBool::new(true));
    let (client, mut asked) = lease(&exists);
    let controllers = Arc::new(controllers(client));
    let running = tokio::spawn(async move {
        loop {
            lead(&controllers, Duration::from_millis(100))
                .await
                .unwrap();
        }
    });
    first(&mut asked, Method::GET).await;
    exists.store(false, Ordering::Relaxed);
    first(&mut asked, Method::POST).await;
    running.abort();
}

/// kube-lease-manager alone would wait until the Lease expires, for an hour here.
#[tokio::test]
async fn who_waits_for_a_lease_begins_anew_once_it_is_released() {
    let is_released = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&is_released);
    let server = service_fn(move |_: http::Request<Body>| {
        let holder = (!released.load(Ordering::Relaxed)).then_some("other");
        let spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": 3600,
            "renewTime": MicroTime(Timestamp::now()), "acquireTime": MicroTime(Timestamp::now()),
        });
        let lease = json!({"metadata": {"name": "l", "resourceVersion": "1"}, "spec": spec});
        let answer = Body::from(lease.to_string().into_bytes());
        async move { Ok::<_, BoxError>(http::Response::new(answer)) }
    });
    let controllers = Arc::new(controllers(Client::new(server, "default")));
    let mut waiting = Box::pin(lead(&controllers, Duration::from_hours(1)));
    let held = timeout(3 * RELEASE_LOOK_INTERVAL, &mut waiting).await;
    assert!(held.is_err(), "it does not wait: {held:?}");
    is_released.store(true, Ordering::Relaxed);
    let over = timeout(Duration::from_secs(20), waiting).await;
    over.expect("it waits on").unwrap();
}

#[tokio::test]
async fn no_two_take_the_lease_as_the_same_field_manager() {
    let mut managers = Vec::new();
    for _ in 0..2 {
        let (client, mut asked) = lease(&Arc::new(AtomicBool::new(true)));
        let running = tokio::spawn(run(controllers(client), std::future::pending()));
        managers.push(first(&mut asked, Method::PATCH).await);
        running.abort();
    }
    assert!(managers.iter().all(|uri| uri.contains("fieldManager=")));
    assert_ne!(managers[0], managers[1]);
}

#[tokio::test]
async fn who_is_not_answered_in_time_does_not_keep_the_lease_from_others() {
    let server = service_fn(|request: http::Request<Body>| async move {
        if request.method() != Method::GET {
            // The Lease is written, but the response never arrives.
            std::future::pending::<()>().await;
        }
        let spec = json!({
            "holderIdentity": "us", "leaseDurationSeconds": LEASE_DURATION_SECONDS,
            "renewTime": MicroTime(Timestamp::now()),
        });
        let lease = json!({"metadata": {"name": "l"}, "spec": spec});
        let lease = Body::from(lease.to_string().into_bytes());
        Ok::<_, BoxError>(http::Response::new(lease))
    });
    let controllers = Arc::new(controllers(Client::new(server, "default")));
    let led = lead(&controllers, Duration::from_millis(100));
    let led = timeout(Duration::from_secs(20), led).await;
    let why = led.expect("it holds the lease for ever").unwrap_err();
    assert!(why.contains("answered in time"), "{why}");
}

/// A server with one Lease that is kept as it is written, and its holder after each renewal or release.
fn kept_lease() -> (Client, mpsc::UnboundedReceiver<Value>) {
    let (sender, written) = mpsc::unbounded_channel();
    let kept = Arc::new(Mutex::new(json!({"metadata": {"name": "l"}, "spec": {}})));
    let server = service_fn(move |request: http::Request<Body>| {
        let (sender, kept) = (sender.clone(), Arc::clone(&kept));
        async move {
            if !request.uri().path().contains("/leases/") {
                // Lists and watches of the controllers.
                return std::future::pending().await;
            }
            let is_write = request.method() == Method::PATCH;
            let bytes = request.into_body().collect_bytes().await?;
            let mut lease = kept.lock().unwrap();
            if is_write {
                let patch: Value = serde_json::from_slice(&bytes)?;
                let fields = patch["spec"].as_object().into_iter().flatten();
                for (field, value) in fields {
                    lease["spec"][field] = value.clone();
                }
                if patch["spec"].get("renewTime").is_some() {
                    let _ = sender.send(lease["spec"]["holderIdentity"].clone());
                }
            }
            let lease = Body::from(lease.to_string().into_bytes());
            Ok::<_, BoxError>(http::Response::new(lease))
        }
    });
    (Client::new(server, "default"), written)
}

/// Asserts that nothing is sent. Who wants the Lease asks for it at once.
async fn assert_silent<T: std::fmt::Debug>(sent: &mut mpsc::UnboundedReceiver<T>) {
    let next = timeout(Duration::from_secs(2), sent.recv()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn a_replica_that_drains_releases_the_lease_and_takes_it_no_more() {
    let (client, mut written) = kept_lease();
    let (drain, draining) = tokio::sync::oneshot::channel::<()>();
    let controllers = controllers(client);
    let metrics = Arc::clone(&controllers.metrics);
    let running = tokio::spawn(run(controllers, async { drop(draining.await) }));
    let mut next = async || {
        let next = timeout(Duration::from_secs(20), written.recv()).await;
        next.expect("the Lease is not written").unwrap()
    };
    assert_eq!(next().await, "us");
    drop(drain);
    assert_eq!(next().await, Value::Null);
    assert_silent(&mut written).await;
    assert_eq!(metrics.leader.get(), 0);
    assert!(!running.is_finished(), "the server would end");
    running.abort();
}

#[tokio::test]
async fn a_replica_that_drains_already_does_not_ask_for_the_lease() {
    let (client, mut asked) = lease(&Arc::new(AtomicBool::new(true)));
    let running = tokio::spawn(run(controllers(client), std::future::ready(())));
    assert_silent(&mut asked).await;
    assert!(!running.is_finished(), "the server would end");
    running.abort();
}
