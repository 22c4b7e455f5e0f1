//! The client for the Lease, which tells a leader when it last renewed the Lease.
//!
//! For the other replicas, a Lease that is not renewed expires after its duration. Its holder must
//! stop leading earlier, even if the API server does not answer at all or its own clock jumps. A
//! holder whose clock was ahead must not make the others wait until that time.

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

/// Longest time for one request, so that another one is possible before the Lease expires. The
/// connection of a request that timed out is not used again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// When the last request that renewed the Lease was sent; `None` before the first one.
pub type LastRenewal = watch::Receiver<Option<Instant>>;

/// Returns a client for one Lease, which sends its requests through `client`, and the time at which
/// it last renewed the Lease for `identity`. Must be called inside a Tokio runtime.
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

/// A renewal by another replica: its identity, the time by its clock, and the time by our clock at
/// which the renewal was first observed.
type ObservedRenewal = Option<(Option<String>, Timestamp, Instant)>;

/// Corrects a Lease that another holder than `identity` renewed at a time that is in the future by
/// our clock. The renewal cannot be later than it was first `observed`, so that this time replaces
/// it. Returns `None` if the Lease needs no correction.
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

/// Returns whether `identity` holds the Lease that was written. It does not if it just released the
/// Lease, or if another replica took it meanwhile.
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

    /// The Lease of a server that answers every request with this `holder`, or never answers.
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
        // The same renewal, observed 7 seconds ago.
        observed.as_mut().unwrap().2 -= Duration::from_secs(7);
        let again = read(text("another", ahead), observed).unwrap();
        assert!(again < began, "{again}");
        // A new renewal: its holder is alive.
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
