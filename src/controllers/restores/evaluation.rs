//! Asks whether Velero may begin a Restore, as the webhook does, and asks Velero to try it again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Error;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use super::observed::in_namespace;
use crate::admission::would_begin;
use crate::clock::now;
use crate::controllers::ControllerContext;
use crate::decision::{Context, Judged, Key, Lookup, Verdict, WaitKind};
use crate::kubernetes::error::lookup_error;
use crate::names::RECONCILE_ANNOTATION;
use crate::sources::{self, LookupOptions};
use crate::velero::restore::{Restore, newest_completed};

/// Longest time for the look-ups of one decision. Nobody waits for it.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Most Backups of one Schedule of which Velero may pick any, that are looked at.
const MAX_CANDIDATES: usize = 4;

/// What is known of a Restore that Velero did not begin.
#[derive(Debug)]
pub(super) enum Evaluation {
    /// It is another one, gone, or begun.
    Gone,
    /// That is not known.
    Unknown(String),
    /// The decisions, for each Backup from which Velero may restore.
    Known {
        decisions: Vec<(String, Decision)>,
        /// Whether Velero was asked to try it again.
        is_nudged: bool,
    },
}

/// Whether Velero may begin a Restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It may.
    Ready,
    /// It may not.
    Refused,
    /// That is not known yet.
    Waits {
        /// What it waits for; none if a look-up failed.
        kinds: BTreeSet<WaitKind>,
        /// The same for people.
        message: String,
    },
}

impl Decision {
    pub(super) const fn is_wait(&self) -> bool {
        matches!(self, Self::Waits { .. })
    }

    fn new(judged: Judged) -> Self {
        match judged.verdict {
            Verdict::Allow => Self::Ready,
            Verdict::Deny => Self::Refused,
            Verdict::Wait(waits) => {
                let messages: Vec<_> = waits.iter().map(ToString::to_string).collect();
                Self::Waits {
                    kinds: waits.iter().map(|wait| wait.kind).collect(),
                    message: messages.join("; "),
                }
            }
            Verdict::Retry(unknowns) => {
                let unknowns = unknowns.iter();
                let unknowns =
                    unknowns.map(|(lookup, error)| format!("{lookup}: {}", error.message));
                Self::Waits {
                    kinds: BTreeSet::new(),
                    message: unknowns.collect::<Vec<_>>().join("; "),
                }
            }
        }
    }
}

/// Decides about the Restore `key` with this uid. If it need not wait and `may_nudge`, Velero is asked to try
/// it again.
pub(super) async fn evaluate(
    context: &ControllerContext,
    key: &Key,
    uid: &str,
    may_nudge: bool,
) -> Evaluation {
    match try_evaluate(context, key, uid, may_nudge).await {
        Ok(evaluation) => evaluation,
        Err(error) => Evaluation::Unknown(lookup_error(&error).message),
    }
}

async fn try_evaluate(
    context: &ControllerContext,
    key: &Key,
    uid: &str,
    may_nudge: bool,
) -> kube::Result<Evaluation> {
    let restores = in_namespace(&context.client, &key.namespace);
    let Some(object) = restores.get_opt(&key.name).await? else {
        return Ok(Evaluation::Gone);
    };
    let is_other = object.metadata.uid.as_deref() != Some(uid);
    let mut object = serde_json::to_value(&object).map_err(Error::SerdeError)?;
    let text = object.to_string();
    let Ok(restore) = serde_json::from_str::<Restore<'_>>(&text) else {
        return Ok(Evaluation::Unknown("the Restore cannot be read".to_owned()));
    };
    if is_other || !restore.is_waiting() {
        return Ok(Evaluation::Gone);
    }
    let backups = match candidates(context, &key.namespace, &restore).await {
        Ok(backups) => backups,
        Err(why) => return Ok(Evaluation::Unknown(why)),
    };
    let mut decisions = Vec::new();
    for backup in backups {
        // As Velero completes it when it begins.
        let completed = json!({"spec": {"backupName": backup}, "status": {"phase": "InProgress"}});
        json_patch::merge(&mut object, &completed);
        match decide(context, &key.namespace, &object.to_string()).await {
            Ok(decision) => decisions.push((backup, decision)),
            Err(why) => return Ok(Evaluation::Unknown(why)),
        }
    }
    let is_held = decisions.iter().any(|(_, decision)| decision.is_wait());
    let is_nudged = may_nudge && !is_held && !decisions.is_empty();
    if is_nudged {
        nudge(context, key, uid).await?;
    }
    Ok(Evaluation::Known {
        decisions,
        is_nudged,
    })
}

/// Returns the Backups from which Velero may restore.
async fn candidates(
    context: &ControllerContext,
    namespace: &str,
    restore: &Restore<'_>,
) -> Result<Vec<String>, String> {
    let (backup, schedule) = (restore.backup_name(), restore.schedule_name());
    if !backup.is_empty() {
        return Ok(vec![backup.to_owned()]);
    }
    if schedule.is_empty() {
        return Ok(Vec::new());
    }
    let lookup = Lookup::BackupsOfSchedule {
        namespace: namespace.to_owned(),
        schedule: schedule.to_owned(),
    };
    let facts = context.source.resolve(&[lookup], options()).await;
    let found = facts.backups_of_schedule(namespace, schedule);
    let found =
        found.map_err(|stop| format!("the Backups of the Schedule are not known: {stop:?}"))?;
    let newest = newest_completed(found.unwrap_or_default()).into_iter();
    let newest = newest.map(|backup| backup.fields.name.clone());
    Ok(newest.take(MAX_CANDIDATES).collect())
}

async fn decide(
    context: &ControllerContext,
    namespace: &str,
    restore: &str,
) -> Result<Decision, String> {
    let beginning = would_begin(namespace, restore).map_err(|error| error.to_string())?;
    let policy = &context.policy;
    let moment = Context { policy, now: now() };
    let report = sources::evaluate(&*beginning, &*context.source, options(), moment).await;
    let report = report.map_err(|error| error.to_string())?;
    Ok(Decision::new(Judged::apply_policy(&report, policy)))
}

pub(super) fn options() -> LookupOptions {
    LookupOptions {
        deadline: Instant::now() + LOOKUP_TIMEOUT,
        dry_run: false,
        caller: None,
    }
}

/// Makes Velero try the Restore at once. That it is gone or another one is no failure; the watch tells.
async fn nudge(context: &ControllerContext, key: &Key, uid: &str) -> kube::Result<()> {
    let time = Timestamp::from_second(now())
        .unwrap_or_default()
        .to_string();
    let patch = json!({"metadata": {"uid": uid, "annotations": {RECONCILE_ANNOTATION: time}}});
    let restores = in_namespace(&context.client, &key.namespace);
    let patched = restores
        .patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    match patched {
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        patched => patched.map(drop),
    }
}
