//! The client for the Lease, by which a leader knows until when it may lead.
//!
//! A Lease that cannot be renewed is over for all others when its time is. Its holder must know that
//! earlier, also when the API server says nothing at all, or when its own clock jumps.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::{BoxError, service_fn};

/// Longest time for one request: there must be time for another before the Lease is over. The
/// connection of one that was given up is not used again.
const LONGEST: Duration = Duration::from_secs(1);

/// When the request was sent that last renewed the Lease.
pub type Renewed = watch::Receiver<Option<Instant>>;

/// A client for one Lease, which asks by `client`, and when it last renewed it for `identity`.
/// Must be called inside a runtime of Tokio.
pub fn client(client: Client, identity: &str) -> (Client, Renewed) {
    let (sender, renewed) = watch::channel(None);
    let sender = Arc::new(sender);
    let identity: Arc<str> = identity.into();
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let (client, sender, identity) = (client.clone(), Arc::clone(&sender), identity.clone());
        async move {
            let sent = Instant::now();
            let is_write = request.method() == Method::PATCH;
            let answer = async {
                let (head, body) = client.send(request).await?.into_parts();
                Ok::<_, BoxError>((head, body.collect_bytes().await?))
            };
            let answer = timeout(LONGEST, answer).await;
            let (head, body) = answer.map_err(|_| "no answer in time")??;
            if is_write && head.status.is_success() && is_of(&body, &identity) {
                sender.send_replace(Some(sent));
            }
            Ok::<_, BoxError>(Response::from_parts(head, Body::from(body)))
        }
    });
    (Client::new(service, namespace), renewed)
}

/// Whether the Lease that was written is held by `identity`: not one that it has just given back,
/// nor one that somebody else took meanwhile.
fn is_of(lease: &[u8], identity: &str) -> bool {
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
    fn lease(holder: Option<&'static str>) -> (Api<Lease>, Renewed) {
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

    #[tokio::test]
    async fn an_api_server_that_says_nothing_is_not_waited_for() {
        let (leases, renewed) = lease(None);
        let error = write(&leases).await.unwrap_err();
        let why = crate::kubernetes::trouble::reason(&error).message;
        assert!(why.contains("no answer in time"), "{why}");
        assert_eq!(*renewed.borrow(), None);
    }
}
