//! Looks up facts in a cluster by live reads: an object is reported absent only after the API
//! server was just asked for it.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::{LookupOptions, Source};
use crate::ca::bundle_issue::NOT_OWNED_FIX;
use crate::ca::common_roots::CommonRoots;
use crate::decision::{
    Backup, Bundle, Fact, Facts, Key, Lookup, LookupError, LookupErrorKind, Outcome, Secret,
};
use crate::kubernetes::bundle::{self, EnsureOutcome};
use crate::kubernetes::client::Identity;
use crate::kubernetes::error;
use crate::names::SECRET_READER_ROLE;
use crate::velero::backup::{self, SCHEDULE_LABEL};

/// Number of Backups in one page of a list. Each is tens of KiB, and an hourly schedule has 720 of
/// them with Velero's default TTL of 30 days.
const PAGE_SIZE: u32 = 100;

/// Maximum number of concurrent look-ups. Each occupies a connection while it waits, and hundreds
/// of locations may name hundreds of Secrets.
const MAX_CONCURRENT_LOOKUPS: usize = 16;

/// Answers look-ups from a cluster.
pub struct Cluster {
    client: Client,
    /// Our own namespace.
    own: String,
    common_roots: CommonRootsReceiver,
    identity: Identity,
}

/// The current contents that all bundles share; none until they are known.
pub type CommonRootsReceiver = watch::Receiver<Option<Arc<CommonRoots>>>;

impl Cluster {
    /// Creates a source for the cluster of `client`, which should be the client for admission.
    /// `own` is velero-trust's own namespace.
    pub fn new(client: Client, own: &str, common_roots: CommonRootsReceiver) -> Self {
        Self {
            client,
            own: own.to_owned(),
            common_roots,
            identity: Identity::default(),
        }
    }

    async fn look_up(&self, lookup: &Lookup, dry_run: bool) -> Outcome {
        let answer = match lookup {
            Lookup::Secret(key) => self.secret(key).await,
            Lookup::Backup(key) => self.backup(key).await,
            Lookup::BackupsOfSchedule {
                namespace,
                schedule,
            } => self.backups(namespace, schedule).await,
            Lookup::Bundle(namespace) => {
                let mut common_roots = self.common_roots.clone();
                // Bounded by the deadline of the look-up.
                let common_roots = match common_roots.wait_for(Option::is_some).await {
                    Ok(common_roots) => common_roots.clone().unwrap_or_default(),
                    Err(_) => Arc::default(),
                };
                let ensured =
                    bundle::ensure(&self.client, &self.own, namespace, dry_run, &common_roots);
                match ensured.await {
                    Ok(EnsureOutcome::Exists { held }) => Ok(Some(Fact::Bundle(Bundle { held }))),
                    Ok(EnsureOutcome::NoRoots) => Ok(None),
                    Ok(EnsureOutcome::NotOwned) => return Outcome::Unavailable(foreign_error()),
                    Ok(EnsureOutcome::Refused(why)) => {
                        return Outcome::Unavailable(LookupError {
                            kind: LookupErrorKind::NoBundle(why),
                            message: "no CA bundle is made in this namespace".to_owned(),
                        });
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match answer {
            Ok(Some(fact)) => Outcome::Found(fact),
            Ok(None) => Outcome::Absent,
            Err(error) => Outcome::Unavailable(self.explain(lookup, &error).await),
        }
    }

    async fn look_up_in_time(&self, lookup: &Lookup, options: LookupOptions) -> (Lookup, Outcome) {
        let answer = timeout_at(options.deadline, self.look_up(lookup, options.dry_run)).await;
        let outcome = answer.unwrap_or_else(|_| {
            Outcome::Unavailable(LookupError {
                kind: LookupErrorKind::Timeout,
                message: "the API server did not answer in time".to_owned(),
            })
        });
        (lookup.clone(), outcome)
    }

    async fn secret(&self, key: &Key) -> kube::Result<Option<Fact>> {
        let secrets = Api::<KubeSecret>::namespaced(self.client.clone(), &key.namespace);
        let found = secrets.get_opt(&key.name).await?;
        Ok(found.map(|secret| {
            let data = secret.data.unwrap_or_default();
            let data = data
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect();
            Fact::Secret(Arc::new(Secret { data }))
        }))
    }

    fn backup_api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn backup(&self, key: &Key) -> kube::Result<Option<Fact>> {
        let found = self.backup_api(&key.namespace).get_opt(&key.name).await?;
        Ok(found
            .as_ref()
            .map(|object| Fact::Backup(Arc::new(read_backup(object)))))
    }

    async fn backups(&self, namespace: &str, schedule: &str) -> kube::Result<Option<Fact>> {
        // Velero itself selects by the label, whatever its length (`restore_controller.go`).
        let mut params = ListParams::default()
            .labels(&format!("{SCHEDULE_LABEL}={schedule}"))
            .limit(PAGE_SIZE);
        let mut backups = Vec::new();
        loop {
            let page = match self.backup_api(namespace).list(&params).await {
                Ok(page) => page,
                // The value is no valid label value, or Velero's CRDs are not installed.
                Err(kube::Error::Api(status)) if [400, 404].contains(&status.code) => break,
                Err(error) => return Err(error),
            };
            backups.extend(page.items.iter().map(read_backup));
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => params = params.continue_token(&next),
                _ => break,
            }
        }
        Ok(Some(Fact::Backups(Arc::new(backups))))
    }

    async fn explain(&self, lookup: &Lookup, error: &kube::Error) -> LookupError {
        let mut error = error::lookup_error(error);
        if let (LookupErrorKind::Forbidden, Lookup::Secret(key)) = (error.kind, lookup) {
            let subject = self.identity.subject(&self.client).await;
            error.message = format!(
                "velero-trust may not read Secrets in namespace {0}; grant it with `kubectl -n {0} \
                 create rolebinding {SECRET_READER_ROLE} --clusterrole={SECRET_READER_ROLE} \
                 {subject}`",
                key.namespace
            );
        }
        error
    }
}

impl Source for Cluster {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], options: LookupOptions) -> BoxFuture<'a, Facts> {
        async move {
            let answers: Vec<_> = wants
                .iter()
                .map(|want| self.look_up_in_time(want, options))
                .collect();
            let answers = stream::iter(answers).buffer_unordered(MAX_CONCURRENT_LOOKUPS);
            let mut facts = Facts::default();
            for (want, outcome) in answers.collect::<Vec<_>>().await {
                facts.insert(want, outcome);
            }
            facts
        }
        .boxed()
    }
}

fn foreign_error() -> LookupError {
    LookupError {
        kind: LookupErrorKind::Foreign,
        message: format!(
            "a ConfigMap with that name exists that is not velero-trust's; {NOT_OWNED_FIX}"
        ),
    }
}

fn read_backup(object: &DynamicObject) -> Backup {
    serde_json::to_value(object)
        .map(|value| backup::read(&value).0)
        .unwrap_or_default()
}
