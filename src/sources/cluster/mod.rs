//! Looks up facts in a cluster by live reads: an object is reported absent only after the API
//! server was just asked for it.

mod access;
mod backups;
mod bundle;
mod fetch;
mod files;
mod records;
mod secret;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use files::{BackupFiles, ListingTrust};

use super::{LookupOptions, Source};
use crate::ca::common_roots::CommonRoots;
use crate::decision::{Fact, Facts, Key, Lookup, LookupError, LookupErrorKind, Outcome};
use crate::integrity::pod_volumes::{PodVolumes, TooManyVolumes};
use crate::kubernetes::client::Identity;
use crate::kubernetes::error;
use crate::kubernetes::pod_volume_backups::{self, PodVolumeBackupsError};
use crate::kubernetes::secret_access::grant_command;

/// Maximum number of concurrent reads for one call of [`Source::resolve`]. Each occupies a connection
/// while it waits, and hundreds of locations may name hundreds of Secrets.
const MAX_CONCURRENT_READS: usize = 16;

/// Answers look-ups from a cluster.
pub struct Cluster {
    client: Client,
    /// Our own namespace.
    own: String,
    common_roots: CommonRootsReceiver,
    files: Arc<BackupFiles>,
    identity: Identity,
}

/// The current contents that all bundles share; none until they are known.
pub type CommonRootsReceiver = watch::Receiver<Option<Arc<CommonRoots>>>;

impl Cluster {
    /// Creates a source for the cluster of `client`, which should be the client for admission.
    /// `own` is velero-trust's own namespace. `files` remembers which locations are late; sources may share
    /// it.
    pub fn new(
        client: Client,
        own: &str,
        common_roots: CommonRootsReceiver,
        files: Arc<BackupFiles>,
    ) -> Self {
        Self {
            client,
            own: own.to_owned(),
            common_roots,
            files,
            identity: Identity::default(),
        }
    }

    /// Answers the look-ups of one group of [`group`] with one read, by `deadline`.
    pub(super) async fn read(&self, group: &[Lookup], dry_run: bool, deadline: Instant) -> Facts {
        let mut facts = Facts::default();
        let answer = timeout_at(deadline, self.ask(group, dry_run, deadline)).await;
        let outcome = match answer {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Unavailable(self.explain(group, &error).await),
            Err(_) => Outcome::Unavailable(LookupError {
                kind: LookupErrorKind::Timeout,
                message: "the API server did not answer in time".to_owned(),
            }),
        };
        for lookup in group {
            facts.insert(lookup.clone(), outcome.clone());
        }
        facts
    }

    async fn ask(
        &self,
        group: &[Lookup],
        dry_run: bool,
        deadline: Instant,
    ) -> kube::Result<Outcome> {
        let Some(first) = group.first() else {
            return Ok(Outcome::Absent);
        };
        let client = &self.client;
        let found = match first {
            Lookup::Secret(reference) => {
                let keys = group.iter().filter_map(|lookup| match lookup {
                    Lookup::Secret(reference) => Some(reference.key.as_str()),
                    _ => None,
                });
                let read = secret::read(client, &reference.secret, &keys.collect()).await?;
                read.map(|secret| Fact::Secret(Arc::new(secret)))
            }
            Lookup::Backup(key) => {
                let read = backups::read(client, key).await?;
                read.map(|backup| Fact::Backup(Arc::new(backup)))
            }
            Lookup::BackupsOfSchedule {
                namespace,
                schedule,
            } => {
                let newest = backups::newest_completed(client, namespace, schedule).await?;
                Some(Fact::Backups(Arc::new(newest)))
            }
            Lookup::Records { backup, uid } => {
                let read = records::read(client, backup, uid).await?;
                read.map(|records| Fact::Records(Arc::new(records)))
            }
            Lookup::SignedBackups {
                namespace,
                location,
            } => {
                let read = records::are_signed(client, namespace, location).await?;
                read.map(Fact::SignedBackups)
            }
            Lookup::LostBackups {
                namespace,
                schedule,
            } => {
                let read = records::lost(client, namespace, schedule).await?;
                read.map(|records| Fact::Records(Arc::new(records)))
            }
            Lookup::TrustedKeys => {
                let read = records::trusted_keys(client).await?;
                read.map(|keys| Fact::TrustedKeys(Arc::new(keys)))
            }
            Lookup::ListedFiles { backup, location } => {
                match self.files.list(backup, location, deadline).await {
                    Ok(listed) => listed.map(|files| Fact::ListedFiles(Arc::new(files))),
                    Err(error) => return Ok(Outcome::Unavailable(error)),
                }
            }
            Lookup::PodVolumes(backup) => match pod_volume_backups::of(client, backup).await {
                Ok(volumes) => Some(Fact::PodVolumes(volumes)),
                Err(PodVolumeBackupsError::Api(error)) => return Err(error),
                // Nobody signs so many.
                Err(PodVolumeBackupsError::TooMany {
                    excess: TooManyVolumes::Count,
                    ..
                }) => Some(Fact::PodVolumes(PodVolumes::too_many())),
                Err(error) => {
                    return Ok(Outcome::Unavailable(LookupError {
                        kind: LookupErrorKind::Unreadable,
                        message: error.with_fix(),
                    }));
                }
            },
            Lookup::Access { user, verb, backup } => {
                return access::review(client, user, *verb, backup).await;
            }
            Lookup::Bundle(namespace) => {
                let common_roots = self.common_roots.clone();
                return bundle::ensure(client, &self.own, namespace, dry_run, common_roots).await;
            }
        };
        Ok(found.map_or(Outcome::Absent, Outcome::Found))
    }

    async fn explain(&self, group: &[Lookup], error: &kube::Error) -> LookupError {
        let mut error = error::lookup_error(error);
        if let (LookupErrorKind::Forbidden, Some(Lookup::Secret(reference))) =
            (error.kind, group.first())
        {
            let subject = self.identity.subject(&self.client).await;
            let Key { namespace, name } = &reference.secret;
            error.message = format!(
                "velero-trust may not read Secrets in namespace {namespace}; grant it with `{}`",
                grant_command(namespace, [name.as_str()], subject)
            );
        }
        error
    }
}

impl Source for Cluster {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], options: LookupOptions) -> BoxFuture<'a, Facts> {
        let LookupOptions {
            deadline, dry_run, ..
        } = options;
        async move {
            let groups = group(wants);
            let reads = groups
                .iter()
                .map(|group| self.read(group, dry_run, deadline));
            let reads = stream::iter(reads.collect::<Vec<_>>());
            let mut facts = Facts::default();
            for answer in reads
                .buffer_unordered(MAX_CONCURRENT_READS)
                .collect::<Vec<_>>()
                .await
            {
                facts.extend(answer);
            }
            facts
        }
        .boxed()
    }
}

/// Groups `wants` so that each group needs one read: several keys of one Secret are together.
pub(super) fn group(wants: &[Lookup]) -> Vec<Vec<Lookup>> {
    let secret = |lookup: &Lookup| -> Option<Key> {
        match lookup {
            Lookup::Secret(reference) => Some(reference.secret.clone()),
            _ => None,
        }
    };
    let mut groups: Vec<Vec<Lookup>> = Vec::new();
    for want in wants {
        let same = |group: &&mut Vec<Lookup>| {
            let first = group.first();
            first == Some(want)
                || secret(want).is_some_and(|key| first.and_then(secret) == Some(key))
        };
        match groups.iter_mut().find(same) {
            Some(group) if group.contains(want) => {}
            Some(group) => group.push(want.clone()),
            None => groups.push(vec![want.clone()]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::SecretKeyRef;

    #[test]
    fn several_keys_of_one_secret_are_one_read() {
        let key = |name, key| Lookup::Secret(SecretKeyRef::new("velero", name, key));
        let backup = Lookup::Backup(Key::new("velero", "a"));
        let wants = [
            key("a", "1"),
            key("b", "1"),
            backup.clone(),
            key("a", "2"),
            key("a", "1"),
            backup.clone(),
        ];
        let groups = [
            vec![key("a", "1"), key("a", "2")],
            vec![key("b", "1")],
            vec![backup],
        ];
        assert_eq!(group(&wants), groups);
    }
}
