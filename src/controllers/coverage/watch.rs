//! The watches of one namespace, as one stream.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::controllers::bundles::ObservedBundle;
use crate::kubernetes::workloads::{self, Kind};

/// How often to try where watching is refused.
const SLOWLY: Duration = Duration::from_mins(1);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Pods,
    Workloads(Kind),
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "Pods",
            Self::Workloads(Kind::Deployment) => "Deployments",
            Self::Workloads(Kind::DaemonSet) => "DaemonSets",
        }
    }
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Pods(Event<DynamicObject>),
    Workloads(Kind, Event<DynamicObject>),
    Bundle(ObservedBundle),
    /// It may not even be listed; what was known of it may be out of date.
    Refused(What),
}

/// Everything that the audit of `namespace` depends on.
pub(super) fn all(
    client: &Client,
    namespace: &str,
    bundle: Receiver<ObservedBundle>,
) -> SelectAll<BoxStream<'static, Heard>> {
    let pods = workloads::pods(client.clone(), namespace);
    let mut streams = vec![
        heard(pods, namespace, What::Pods, Heard::Pods),
        seen(bundle),
    ];
    for kind in Kind::ALL {
        let api = kind.api(client.clone(), namespace);
        let take = move |event| Heard::Workloads(kind, event);
        let what = What::Workloads(kind);
        streams.push(heard(api, namespace, what, take));
    }
    stream::select_all(streams)
}

/// What is seen of the bundle: now, and whenever that changes.
fn seen(mut bundle: Receiver<ObservedBundle>) -> BoxStream<'static, Heard> {
    bundle.mark_changed();
    stream::unfold(bundle, |mut bundle| async move {
        bundle.changed().await.ok()?;
        let seen = bundle.borrow_and_update().clone();
        Some((Heard::Bundle(seen), bundle))
    })
    .boxed()
}

/// One watch. What goes wrong is said once, until the watch works again. Where it is refused, a new
/// list is tried slowly, so that a list alone serves too.
struct Watch<K> {
    api: Api<K>,
    events: BoxStream<'static, Result<Event<K>, Error>>,
    what: What,
    namespace: String,
    complained: bool,
    refused: bool,
}

fn heard<K>(
    api: Api<K>,
    namespace: &str,
    what: What,
    take: impl Fn(Event<K>) -> Heard + Clone + Send + 'static,
) -> BoxStream<'static, Heard>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = Watch {
        events: begin(&api),
        api,
        what,
        namespace: namespace.to_owned(),
        complained: false,
        refused: false,
    };
    stream::unfold(watch, move |mut watch| {
        let take = take.clone();
        async move {
            let heard = watch.next(take).await?;
            Some((heard, watch))
        }
    })
    .boxed()
}

fn begin<K>(api: &Api<K>) -> BoxStream<'static, Result<Event<K>, Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api.clone(), Config::default())
        .default_backoff()
        .boxed()
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    async fn next(&mut self, take: impl Fn(Event<K>) -> Heard) -> Option<Heard> {
        loop {
            if std::mem::take(&mut self.refused) {
                sleep(SLOWLY).await;
                self.events = begin(&self.api);
            }
            match self.events.next().await? {
                Ok(event) => {
                    // A list may be allowed where the watch is not.
                    if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                        self.complained = false;
                    }
                    return Some(take(event));
                }
                Err(error) => {
                    let (namespace, what) = (&self.namespace, self.what.as_str());
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(%namespace, %error, "cannot watch {what} for the audit");
                    }
                    self.refused = is_refused(&error);
                    if self.refused && matches!(error, Error::InitialListFailed(_)) {
                        return Some(Heard::Refused(self.what));
                    }
                }
            }
        }
    }
}

/// Whether we have no right to it.
fn is_refused(error: &Error) -> bool {
    let code = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status.code,
        _ => 0,
    };
    code == 403
}
