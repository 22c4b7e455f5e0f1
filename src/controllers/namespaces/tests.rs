use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use kube::api::DynamicObject;
use kube::client::Body;
use kube::runtime::watcher::Event;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower::{BoxError, service_fn};

use super::*;
use crate::decision::{Facts, Lookup};
use crate::sources::{Limits, Source};

/// Tells what it is asked, and panics at the first question.
struct Shaky {
    asked: mpsc::UnboundedSender<Vec<Lookup>>,
    has_panicked: AtomicBool,
}

impl Source for Shaky {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: Limits) -> BoxFuture<'a, Facts> {
        self.asked.send(wants.to_vec()).unwrap();
        async {
            assert!(self.has_panicked.swap(true, Ordering::Relaxed), "as a bug");
            Facts::default()
        }
        .boxed()
    }
}

/// A cluster in which nothing is.
fn nowhere() -> Client {
    let answer = |_: http::Request<Body>| async {
        let status =
            json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
        let response = http::Response::builder().status(404);
        Ok::<_, BoxError>(response.body(Body::from(status.to_string().into_bytes()))?)
    };
    Client::new(service_fn(answer), "default")
}

#[tokio::test]
async fn tasks_that_panicked_begin_again_with_the_locations_of_their_namespace() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let source = Arc::new(Shaky {
        asked: sender,
        has_panicked: AtomicBool::new(false),
    });
    let (_base, common_roots) = watch::channel(Some(Arc::default()));
    let controllers = Arc::new(Controllers::for_test(nowhere(), source, common_roots));
    let mut tasks = Tasks {
        controllers: &controllers,
        prober: None,
        running: BTreeMap::new(),
        locks: BTreeMap::new(),
        set: JoinSet::new(),
    };
    let bsl: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": "velero"},
        "spec": {"provider": "aws", "objectStorage": {"caCertRef": {"name": "ca", "key": "k"}}},
    }))
    .unwrap();
    let mut namespaces = locations::Namespaces::default();
    for event in [Event::Init, Event::InitApply(bsl), Event::InitDone] {
        for change in namespaces.take(event) {
            tasks.tell(change);
        }
    }
    let bundles = Bundles::watch(nowhere());
    tasks.merge_contributions(&["velero"].into(), &namespaces, &bundles);
    let first = asked.recv().await.unwrap();
    assert!(
        matches!(&first[..], [Lookup::Secret(..)]),
        "it asked for {first:?}"
    );
    let ended = tasks.set.join_next().await.unwrap();
    assert!(ended.is_err_and(|error| error.is_panic()));

    tasks.merge_contributions(&["velero"].into(), &namespaces, &bundles);
    let again = timeout(Duration::from_secs(20), asked.recv()).await;
    assert_eq!(again.expect("they do not begin").unwrap(), first);
}
