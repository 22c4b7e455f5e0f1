//! The client for the Lease, by which a leader knows until when it may lead.
//!
//! A Lease that cannot be renewed is over for all others when its time is. Its holder must know that
//! earlier, also when the API server says nothing at all, or when its own clock jumps. And whose clock
//! was ahead when it ended must not have the others wait until then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::{BoxError, service_fn};

/// Longest time for one request: there must be time for another before the Lease is over. The
/// connection of one that was given up is not used again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// When the request was sent that last renewed the Lease.
pub type LastRenewal = watch::Receiver<Option<Instant>>;

/// A client for one Lease, which asks by `client`, and when it last renewed it for `identity`.
/// Must be called inside a runtime of Tokio.
pub fn client(client: Client, identity: &str) -> (Client, LastRenewal) {
    let (sender, renewed) = watch::channel(None);
    let sender = Arc::new(sender);
    let identity: Arc<str> = identity.into();
    let namespace = client.default_namespace().to_owned();
    let observed = Arc::new(Mutex::new(None));
    let service = service_fn(move |request: Request<Body>| {
        let (client, sender, identity) = (client.clone(), Arc::clone(&sender), identity.clone());
        let observed = Arc::clone(&observed);
        async move {
            let sent = Instant::now();
            let is_write = request.method() == Method::PATCH;
            let is_read = request.method() == Method::GET;
            let answer = async {
                let (head, body) = client.send(request).await?.into_parts();
                Ok::<_, BoxError>((head, body.collect_bytes().await?))
            };
            let answer = timeout(REQUEST_TIMEOUT, answer).await;
            let (head, body) = answer.map_err(|_| "no answer in time")??;
            if is_write && head.status.is_success() && is_held_by(&body, &identity) {
                sender.send_replace(Some(sent));
            }
            let mut body = body.to_vec();
            if is_read && head.status.is_success() {
                let mut observed = observed.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(lease) = clamp_renew_time(&body, &identity, &mut observed) {
                    body = lease;
                }
            }
            Ok::<_, BoxError>(Response::from_parts(head, Body::from(body)))
        }
    });
    (Client::new(service, namespace), renewed)
}

/// Who renewed the Lease and when, by its own clock, and when that was first observed, by ours.
type ObservedRenewal = Option<(Option<String>, Timestamp, Instant)>;

/// The Lease that was read, if another than `identity` renewed it in what is our future: as if it
/// had done so when that was first `observed`. It cannot have been later.
fn clamp_renew_time(
    lease: &[u8],
    identity: &str,
    observed: &mut ObservedRenewal,
) -> Option<Vec<u8>> {
    let mut lease: Lease = serde_json::from_slice(lease).ok()?;
    let spec = lease.spec.as_mut()?;
    let at = spec.renew_time.as_ref()?.0;
    if spec.holder_identity.as_deref() == Some(identity) {
        return None;
    }
    let first = match observed {
        Some((holder, time, first)) if *holder == spec.holder_identity && *time == at => *first,
        _ => Instant::now(),
    };
    *observed = Some((spec.holder_identity.clone(), at, first));
    let latest = Timestamp::now().checked_sub(first.elapsed()).ok()?;
    if at <= latest {
        return None;
    }
    spec.renew_time = Some(MicroTime(latest));
    serde_json::to_vec(&lease).ok()
}

/// Whether the Lease that was written is held by `identity`: not one that it has just given back,
/// nor one that somebody else took meanwhile.
fn is_held_by(lease: &[u8], identity: &str) -> bool {
    let lease: Lease = serde_json::from_slice(lease).unwrap_or_default();
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    holder.as_deref() == Some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use serde_json::json;

    /// The Lease as a server has it that gives every request `holder`, or no answer.
    fn lease(holder: Option<&'static str>) -> (Api<Lease>, LastRenewal) {
        let server = service_fn(move |_: Request<Body>| async move {
            let Some(holder) = holder else {
                return std::future::pending().await;
            };
            let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
            let body = Body::from(lease.to_string().into_bytes());
            Ok::<_, BoxError>(Response::new(body))
        });
        let (client, renewed) = client(Client::new(server, "default"), "us");
        (Api::default_namespaced(client), renewed)
    }

    async fn write(leases: &Api<Lease>) -> kube::Result<Lease> {
        let patch = Patch::Merge(json!({}));
        leases.patch("l", &PatchParams::default(), &patch).await
    }

    #[tokio::test]
    async fn a_write_renews_what_is_ours_and_nothing_else_does() {
        let before = Instant::now();
        let (leases, renewed) = lease(Some("us"));
        leases.get("l").await.unwrap();
        assert_eq!(*renewed.borrow(), None);
        write(&leases).await.unwrap();
        assert!(renewed.borrow().is_some_and(|sent| sent >= before));

        let (leases, renewed) = lease(Some("another"));
        write(&leases).await.unwrap();
        assert_eq!(*renewed.borrow(), None);
    }

    #[test]
    fn nobody_waits_for_a_clock_that_is_ahead() {
        let text = |holder: &str, renewed: &str| {
            let spec = json!({"holderIdentity": holder, "renewTime": renewed});
            json!({"metadata": {"name": "l"}, "spec": spec}).to_string()
        };
        let read = |text: String, observed: &mut ObservedRenewal| {
            let lease = clamp_renew_time(text.as_bytes(), "us", observed)?;
            let lease: Lease = serde_json::from_slice(&lease).unwrap();
            Some(lease.spec.unwrap().renew_time.unwrap().0)
        };
        let observed = &mut None;
        let [ahead, later] = ["2999-01-01T00:00:00.000000Z", "2999-01-01T00:00:02.000000Z"];
        let began = Timestamp::now();
        let first = read(text("another", ahead), observed).unwrap();
        assert!(began <= first && first <= Timestamp::now());
        // It was not renewed: time goes on.
        observed.as_mut().unwrap().2 -= Duration::from_secs(7);
        let again = read(text("another", ahead), observed).unwrap();
        assert!(again < began, "{again}");
        // It was, and is somebody's who lives.
        assert!(read(text("another", later), observed).unwrap() >= began);
        assert!(read(text("third", later), observed).unwrap() >= began);
        assert_eq!(read(text("us", ahead), observed), None);
        assert_eq!(
            read(text("another", "2020-01-01T00:00:00.000000Z"), observed),
            None
        );
    }

    #[tokio::test]
    async fn an_api_server_that_says_nothing_is_not_waited_for() {
        let (leases, renewed) = lease(None);
        let error = write(&leases).await.unwrap_err();
        let why = crate::kubernetes::error::lookup_error(&error).message;
        assert!(why.contains("no answer in time"), "{why}");
        assert_eq!(*renewed.borrow(), None);
    }
}
