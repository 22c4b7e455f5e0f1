use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower::{BoxError, service_fn};
use tracing::{Level, Metadata, Span};

use super::*;
use crate::decision::{Facts, Lookup, Policy};
use crate::sources::{LookupOptions, Source};

/// The look-ups of a request, and the span that it comes from.
type Asked = (Vec<Lookup>, Option<&'static str>);

/// Records what it is asked, and panics at the first look-up.
struct PanicsOnce {
    asked: mpsc::UnboundedSender<Asked>,
    has_panicked: AtomicBool,
}

impl Source for PanicsOnce {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        let span = Span::current().metadata().map(Metadata::name);
        self.asked.send((wants.to_vec(), span)).unwrap();
        async {
            assert!(self.has_panicked.swap(true, Ordering::Relaxed), "as a bug");
            Facts::default()
        }
        .boxed()
    }
}

/// A cluster with a BSL in `velero` and one in `kube-system`, and nothing else.
fn cluster() -> Client {
    recording_cluster(&mpsc::unbounded_channel().0)
}

/// As [`cluster`], which sends the method and the path of each request.
fn recording_cluster(requests: &mpsc::UnboundedSender<(http::Method, String)>) -> Client {
    let requests = requests.clone();
    let answer = move |request: http::Request<Body>| {
        let path = request.uri().path().to_owned();
        let _ = requests.send((request.method().clone(), path));
        answer(request)
    };
    Client::new(service_fn(answer), "default")
}

async fn answer(request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
    let path = request.uri().path();
    let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
    let is_list_of_all = path.matches('/').count() < 5;
    let (code, answer) = if is_watch {
        return std::future::pending().await;
    } else if path.ends_with("/backupstoragelocations") {
        let bsls = ["velero", "kube-system"].map(|namespace| {
            json!({
                "apiVersion": "velero.io/v1",
                "kind": "BackupStorageLocation",
                "metadata": {"name": "default", "namespace": namespace},
                "spec": {"objectStorage": {"caCertRef": {"name": "ca", "key": "k"}}},
            })
        });
        (
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": bsls}),
        )
    } else if is_list_of_all {
        (
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        )
    } else {
        let status = json!({
            "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
        });
        (404, status)
    };
    let response = http::Response::builder().status(code);
    Ok::<_, BoxError>(response.body(Body::from(answer.to_string().into_bytes()))?)
}

#[tokio::test]
async fn tasks_that_panicked_begin_again_with_the_locations_of_their_namespace() {
    // No filter drops the span from the lines that are logged.
    let log = tracing_subscriber::fmt().with_max_level(Level::ERROR);
    let _log = tracing::subscriber::set_default(log.with_test_writer().finish());
    let (sender, mut asked) = mpsc::unbounded_channel();
    let source = Arc::new(PanicsOnce {
        asked: sender,
        has_panicked: AtomicBool::new(false),
    });
    let (_sender, common_roots) = watch::channel(Some(Arc::default()));
    let controllers = Arc::new(ControllerContext::for_test(cluster(), source, common_roots));
    let running = tokio::spawn(async move { run(&controllers).await });
    let mut next = async || {
        let asked = timeout(Duration::from_secs(20), asked.recv()).await;
        asked.expect("no task of the namespace runs").unwrap()
    };
    let first = next().await;
    let (lookups, span) = &first;
    assert!(
        matches!(&lookups[..], [Lookup::Secret(reference)] if reference.secret.namespace == "velero"),
        "it asked for {lookups:?}"
    );
    assert_eq!(*span, Some("reconcile"));
    // The first look-up panicked, so that the task restarted.
    assert_eq!(next().await, first);
    running.abort();
}

/// A source in which nothing is found.
struct Nothing;

impl Source for Nothing {
    fn resolve<'a>(&'a self, _: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        async { Facts::default() }.boxed()
    }
}

#[tokio::test]
async fn kube_system_is_a_velero_namespace_only_if_it_is_included() {
    for (is_included, wanted) in [
        (false, vec!["velero"]),
        (true, vec!["kube-system", "velero"]),
    ] {
        let (_sender, common_roots) = watch::channel(Some(Arc::default()));
        let mut controllers =
            ControllerContext::for_test(cluster(), Arc::new(Nothing), common_roots);
        let mut policy = Policy::default();
        policy.include_kube_system = is_included;
        controllers.policy = Arc::new(policy);
        let mut membership = Membership::watch(&controllers);
        while !membership.has_locations() {
            membership.locations.changed().await;
        }
        assert_eq!(Vec::from_iter(membership.members()), wanted);
    }
}

/// Runs the task of a namespace, ends it, and returns how many objects that deleted.
async fn deletions_after(end: fn(&Inputs)) -> usize {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let (_sender, common_roots) = watch::channel(Some(Arc::default()));
    let client = recording_cluster(&sender);
    let controllers = Arc::new(ControllerContext::for_test(
        client,
        Arc::new(Nothing),
        common_roots,
    ));
    let mut membership = Membership::watch(&controllers);
    while !membership.has_locations() {
        membership.locations.changed().await;
    }
    let mut tasks = Tasks {
        controllers: &controllers,
        prober: None,
        inputs: BTreeMap::new(),
        locks: BTreeMap::new(),
        join_set: JoinSet::new(),
    };
    tasks.sync(&membership);
    let is_working = async {
        while let Some((_, path)) = requests.recv().await {
            if path.ends_with("/velero-trust-memory.velero") {
                return;
            }
        }
    };
    let is_working = timeout(Duration::from_secs(20), is_working).await;
    is_working.expect("the task does nothing");
    end(&tasks.inputs["velero"]);
    tasks.inputs.clear();
    timeout(Duration::from_secs(20), tasks.join_set.join_next())
        .await
        .expect("the task goes on");
    let rest = std::iter::from_fn(|| requests.try_recv().ok());
    rest.filter(|(method, _)| *method == http::Method::DELETE)
        .count()
}

#[tokio::test]
async fn the_report_is_deleted_when_the_membership_ends_and_not_when_the_leadership_does() {
    assert_eq!(deletions_after(|_| {}).await, 0);
    assert_eq!(deletions_after(Inputs::end_membership).await, 1);
}
