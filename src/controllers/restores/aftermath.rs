//! Tells what became of a Restore: who refused or accepted it, that nobody checked it, or that the files or
//! the PodVolumeBackups changed while it read them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Error, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::evaluation::options;
use super::observed::in_namespace;
use crate::clock::now;
use crate::controllers::ControllerContext;
use crate::decision::{Backup, Facts, Key, Lookup};
use crate::integrity::recording::find_own;
use crate::integrity::verdict::StoredVerdict;
use crate::kubernetes::crds::{AcceptedRestore, BackupRecord, TaintedRestore, Verification};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::{EventReason, velero_object};
use crate::names::{
    ACCEPT_INSECURE_ANNOTATION, ACCEPTED_BY_ANNOTATION, FIELD_MANAGER, VERDICT_ANNOTATION,
};
use crate::velero::text::single_line;

/// Most Restores of each kind that a record remembers.
const MAX_REMEMBERED: usize = 8;

/// Most characters of what a user wrote, in a record and in Events.
const MAX_TEXT_CHARS: usize = 256;

/// How often a record is written of which somebody else was faster.
const MAX_WRITES: usize = 5;

/// Pauses before it is looked again at what could not be read.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_mins(1),
];

/// What became of a Restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// velero-trust refused it.
    Refused,
    /// Velero began it.
    Begun,
    /// Velero does not read the files of the backup any more.
    Read,
}

/// Why something could not be told. It may pass.
type Trouble = String;

/// A Restore of which something is told.
struct Subject<'a> {
    context: &'a ControllerContext,
    key: &'a Key,
    uid: &'a str,
    restore: DynamicObject,
}

/// Tells the `fate` of the Restore `key` with this uid.
pub(super) async fn tell(context: &ControllerContext, key: &Key, uid: &str, fate: Fate) {
    let mut pauses = PAUSES.into_iter();
    while let Err(why) = try_tell(context, key, uid, fate).await {
        let Some(pause) = pauses.next() else {
            let (namespace, restore) = (&key.namespace, &key.name);
            tracing::warn!(
                namespace,
                restore,
                why,
                "cannot tell what became of a Restore"
            );
            return;
        };
        sleep(pause).await;
    }
}

async fn try_tell(
    context: &ControllerContext,
    key: &Key,
    uid: &str,
    fate: Fate,
) -> Result<(), Trouble> {
    let restores = in_namespace(&context.client, &key.namespace);
    let found = restores.get_opt(&key.name).await.map_err(trouble)?;
    let found = found.filter(|found| found.metadata.uid.as_deref() == Some(uid));
    let Some(restore) = found else {
        return Ok(());
    };
    let subject = Subject {
        context,
        key,
        uid,
        restore,
    };
    match fate {
        Fate::Refused => subject.tell_refused().await,
        Fate::Begun => return subject.tell_begun().await,
        Fate::Read => return subject.tell_tainted().await,
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn trouble(error: Error) -> Trouble {
    lookup_error(&error).message
}

impl Subject<'_> {
    async fn tell_refused(&self) {
        self.context.metrics.restores_refused.inc();
        let errors = self.restore.data.pointer("/status/validationErrors");
        let errors = errors.and_then(Value::as_array).into_iter().flatten();
        let errors: Vec<_> = errors.filter_map(Value::as_str).collect();
        self.log("refused a Restore");
        self.emit(EventReason::RestoreRefused, &errors.join("; "))
            .await;
    }

    async fn tell_begun(&self) -> Result<(), Trouble> {
        let metrics = &self.context.metrics;
        let Some(verdict) = self.verdict() else {
            metrics.restores_unchecked.inc();
            self.log("a Restore runs that nobody checked");
            let note = "Velero runs it, and the API server did not ask velero-trust before: nothing was \
                        checked; `velero-trust doctor` tells why";
            self.emit(EventReason::RestoreUnchecked, note).await;
            return Ok(());
        };
        if verdict.accepted.is_empty() {
            return Ok(());
        }
        let backup = self.backup().await?;
        let by = self.annotation(ACCEPTED_BY_ANNOTATION);
        let reason = self.annotation(ACCEPT_INSECURE_ANNOTATION);
        let accepted = AcceptedRestore {
            restore: self.key.name.clone(),
            uid: self.uid.to_owned(),
            by: by.clone(),
            reason: reason.clone(),
            at: Some(time_now()),
        };
        if let Some(backup) = &backup {
            self.note(backup, |verification| {
                remember(&mut verification.accepted, &accepted, |one| &one.uid);
            })
            .await?;
        }
        metrics.restores_accepted.inc();
        self.log("a Restore runs on the word of a user");
        let rules = verdict.accepted.join(", ");
        let name = &self.key.name;
        let said = format!("although {rules} spoke against it, on the word of {by}: {reason}");
        let note = format!("it runs {said}");
        self.emit(EventReason::RestoreAccepted, &note).await;
        if let Some(backup) = &backup {
            let note = format!("it is restored by Restore {name} {said}");
            let backup = Key::new(&backup.fields.namespace, &backup.fields.name);
            let about = velero_object("Backup", &backup, None);
            let events = &self.context.events;
            events
                .emit(&about, EventReason::RestoreAccepted, &note)
                .await;
        }
        Ok(())
    }

    /// Looks again at the files and the PodVolumeBackups: Velero names no version of a file that it reads, and
    /// looks at both later than the webhook.
    async fn tell_tainted(&self) -> Result<(), Trouble> {
        let Some(verdict) = self.verdict() else {
            return Ok(());
        };
        if (verdict.listing, verdict.pod_volumes) == (None, None) {
            return Ok(());
        }
        let Some(backup) = self.backup().await? else {
            return Ok(());
        };
        let key = Key::new(&self.key.namespace, &*backup.fields.name);
        let Some(what) = self.changed(&verdict, &key, &backup).await? else {
            return Ok(());
        };
        let tainted = TaintedRestore {
            restore: self.key.name.clone(),
            uid: self.uid.to_owned(),
            at: time_now(),
        };
        self.note(&backup, |verification| {
            remember(&mut verification.tainted, &tainted, |one| &one.uid);
        })
        .await?;
        self.context.metrics.restores_tainted.inc();
        self.log("a backup changed while a Restore read it");
        let note = format!(
            "{what} when Velero began to read them: they changed meanwhile, and nothing is known about what was \
             restored"
        );
        self.emit(EventReason::RestoreTainted, &note).await;
        Ok(())
    }

    /// Returns what is not as it was at the `verdict`, if anything is not.
    async fn changed(
        &self,
        verdict: &StoredVerdict,
        key: &Key,
        backup: &Backup,
    ) -> Result<Option<String>, Trouble> {
        let name = &key.name;
        if let Some(listing) = verdict.listing {
            let location = &backup.storage_location;
            let facts = self
                .resolve(Lookup::ListedFiles {
                    backup: key.clone(),
                    location: location.clone(),
                })
                .await;
            let listed = facts.listed_files(key, location);
            let listed = listed.map_err(|stop| format!("{stop:?}"))?;
            if listed.is_some_and(|listed| listed.listing != listing) {
                let what = format!("the bucket does not list the files of Backup {name} as it did");
                return Ok(Some(what));
            }
        }
        if let Some(volumes) = verdict.pod_volumes {
            let facts = self.resolve(Lookup::PodVolumes(key.clone())).await;
            let found = facts.pod_volumes(key);
            let found = found.map_err(|stop| format!("{stop:?}"))?;
            if found.is_some_and(|found| *found != volumes) {
                let what = format!("the PodVolumeBackups of Backup {name} are not what they were");
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    fn verdict(&self) -> Option<StoredVerdict> {
        let verdict = self.restore.annotations().get(VERDICT_ANNOTATION)?;
        serde_json::from_str(verdict).ok()
    }

    /// Returns the value of an annotation for people.
    fn annotation(&self, key: &str) -> String {
        let annotations = self.restore.annotations();
        let value = annotations.get(key).map(String::as_str);
        single_line(value.unwrap_or_default(), MAX_TEXT_CHARS).into_owned()
    }

    async fn resolve(&self, lookup: Lookup) -> Facts {
        self.context.source.resolve(&[lookup], options()).await
    }

    /// Returns the Backup that is restored, if it is there.
    async fn backup(&self) -> Result<Option<Backup>, Trouble> {
        let name = self.restore.data.pointer("/spec/backupName");
        let Some(name) = name.and_then(Value::as_str) else {
            return Ok(None);
        };
        let key = Key::new(&self.key.namespace, name);
        let facts = self.resolve(Lookup::Backup(key.clone())).await;
        let found = facts.backup(&key).map_err(|stop| format!("{stop:?}"))?;
        Ok(found.cloned())
    }

    /// Changes what the record of `backup` says about Restores, if it has one.
    async fn note(
        &self,
        backup: &Backup,
        change: impl Fn(&mut Verification),
    ) -> Result<(), Trouble> {
        let fields = &backup.fields;
        let key = Key::new(&fields.namespace, &*fields.name);
        let facts = self
            .resolve(Lookup::Records {
                backup: key.clone(),
                uid: fields.uid.clone(),
            })
            .await;
        let records = facts.records(&key, &fields.uid);
        let records = records.map_err(|stop| format!("{stop:?}"))?;
        let Some(record) = find_own(&fields.uid, records.unwrap_or_default()) else {
            return Ok(());
        };
        let api = Api::<BackupRecord>::all(self.context.client.clone());
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        for _ in 0..MAX_WRITES {
            let Some(stored) = api.get_opt(&record.name).await.map_err(trouble)? else {
                return Ok(());
            };
            let status = stored.status.unwrap_or_default();
            let mut verification = status.verification.unwrap_or_default();
            change(&mut verification);
            let patch = json!({
                "metadata": {"resourceVersion": stored.metadata.resource_version},
                "status": {"verification": {
                    "accepted": verification.accepted,
                    "tainted": verification.tainted,
                }},
            });
            match api
                .patch_status(&record.name, &params, &Patch::Merge(&patch))
                .await
            {
                Err(Error::Api(status)) if status.code == 409 => {}
                patched => return patched.map(drop).map_err(trouble),
            }
        }
        Err("somebody else writes its record again and again".to_owned())
    }

    fn log(&self, what: &str) {
        let (namespace, restore) = (&self.key.namespace, &self.key.name);
        tracing::warn!(namespace, restore, "{what}");
    }

    async fn emit(&self, reason: EventReason, note: &str) {
        let about = velero_object("Restore", self.key, Some(self.uid));
        self.context.events.emit(&about, reason, note).await;
    }
}

/// Adds `new` to those that are remembered, unless it is there, and forgets the oldest ones.
fn remember<T: Clone>(all: &mut Vec<T>, new: &T, uid: impl Fn(&T) -> &String) {
    if all.iter().any(|one| uid(one) == uid(new)) {
        return;
    }
    all.push(new.clone());
    let surplus = all.len().saturating_sub(MAX_REMEMBERED);
    all.drain(..surplus);
}

fn time_now() -> Time {
    Time(Timestamp::from_second(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_remembers_the_last_restores_once_each() {
        let mut all = Vec::new();
        for number in [1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10] {
            remember(&mut all, &number.to_string(), |one| one);
        }
        assert_eq!(all, ["3", "4", "5", "6", "7", "8", "9", "10"]);
    }
}
