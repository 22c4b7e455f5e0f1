//! Takes the rules from the webhooks when velero-trust is being removed, so that nothing is refused for want of a
//! server.
//!
//! Every replica does so, because the leader may be the first one to end. Scaling to 0 is no removal: the
//! webhooks stay as they are.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::kubernetes::watch::Watch;
use crate::kubernetes::webhook_configurations::{self, ConfigurationError};
use crate::names;
use crate::telemetry::LogOnce;

/// Time between two looks at the webhooks while velero-trust is being removed: another replica may have set
/// their rules in the same moment.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Longest time for one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What tells that velero-trust is being removed.
struct Watches {
    /// Our Deployment, and whether it is being deleted.
    deployment: Watch<bool>,
    /// Our namespace, likewise.
    namespace: Watch<bool>,
    /// Whether there was a Deployment. A server that is run in another way has none.
    was_there: bool,
}

/// Follows the Deployment and the namespace `own`, and tells by `removing` whether one of them is being
/// deleted. While it is, no webhook of this installation keeps its rules. Never returns.
pub async fn run(client: Client, own: String, removing: watch::Sender<bool>) {
    let mut watches = Watches::new(&client, &own);
    let mut failure = LogOnce::default();
    loop {
        let is_removing = watches.is_removing();
        let is_new =
            removing.send_if_modified(|known| std::mem::replace(known, is_removing) != is_removing);
        if is_removing {
            if is_new {
                tracing::warn!(
                    "velero-trust is being removed: the API server asks its webhooks nothing from now on"
                );
            }
            match timeout(LOOK_TIMEOUT, take_rules(&client, &own)).await {
                Ok(Ok(())) => failure.clear(),
                Ok(Err(error)) => tell(&mut failure, &format!("{error}: {}", error.reason())),
                Err(_) => tell(&mut failure, "the API server did not answer in time"),
            }
        }
        tokio::select! {
            () = watches.changed() => {}
            () = sleep(LOOK_INTERVAL), if is_removing => {}
        }
    }
}

fn tell(failure: &mut LogOnce, why: &str) {
    if failure.is_new(why) {
        tracing::warn!(why, "cannot take the rules from the webhooks");
    }
}

/// Takes the rules from the webhooks that call the installation in namespace `own`. velero-trust has no right to change
/// those that an earlier version left behind.
async fn take_rules(client: &Client, own: &str) -> Result<(), ConfigurationError> {
    let mut asked = webhook_configurations::list(client).await?;
    asked.retain(|one| one.is_asked() && one.calls(own));
    webhook_configurations::take_rules(client, &asked, |configuration| {
        tracing::info!("{configuration} is asked nothing");
    })
    .await
}

impl Watches {
    fn new(client: &Client, own: &str) -> Self {
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let deployments = Api::<PartialObjectMeta<Deployment>>::namespaced(client.clone(), own);
        Self {
            deployment: Watch::new(
                deployments,
                named(names::APP),
                format!("Deployment {own}/{}", names::APP),
                |object| Some(object.metadata.deletion_timestamp.is_some()),
            ),
            namespace: Watch::new(
                namespaces,
                named(own),
                format!("namespace {own}"),
                |object| Some(object.metadata.deletion_timestamp.is_some()),
            ),
            was_there: false,
        }
    }

    async fn changed(&mut self) {
        tokio::select! {
            _ = self.deployment.changed() => {}
            _ = self.namespace.changed() => {}
        }
    }

    fn is_removing(&mut self) -> bool {
        let deployment = State::of(&self.deployment);
        self.was_there |= deployment == State::There;
        is_removing(deployment, self.was_there, State::of(&self.namespace))
    }
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: it was not read yet, or may not be read.
    Unknown,
    There,
    BeingDeleted,
    Gone,
}

impl State {
    fn of(watch: &Watch<bool>) -> Self {
        let Some(all) = watch.current() else {
            return Self::Unknown;
        };
        match all.values().next() {
            None => Self::Gone,
            Some(true) => Self::BeingDeleted,
            Some(false) => Self::There,
        }
    }
}

/// Whether velero-trust is being removed; `was_there` says whether there was a Deployment before.
fn is_removing(deployment: State, was_there: bool, namespace: State) -> bool {
    let is_gone = deployment == State::Gone && was_there;
    is_gone || deployment == State::BeingDeleted || namespace == State::BeingDeleted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_and_goes_is_a_removal_and_what_is_not_known_is_none() {
        use State::{BeingDeleted, Gone, There, Unknown};
        assert!(!is_removing(There, true, There));
        assert!(is_removing(BeingDeleted, true, There));
        assert!(is_removing(Gone, true, There));
        // It runs in another way than by a Deployment.
        assert!(!is_removing(Gone, false, There));
        assert!(is_removing(There, true, BeingDeleted));
        assert!(is_removing(Gone, false, BeingDeleted));
        assert!(!is_removing(Unknown, true, Unknown));
    }
}
