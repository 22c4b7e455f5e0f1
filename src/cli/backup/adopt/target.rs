//! The Backups for which a user vouches.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::bail;
use kube::api::DynamicObject;
use kube::{Api, Client};

use super::progress::{own_status, recorded, why_not};
use crate::cli::backup::list::backups;
use crate::cli::snapshot::Records;
use crate::integrity::recording::RecordState;
use crate::kubernetes::backup;
use crate::kubernetes::crds::BackupRecord;
use crate::kubernetes::error::lookup_error;
use crate::velero::observed_backup::{self, ObservedBackup};

/// A Backup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is to be done with a Backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is recorded already; how, for people.
    Recorded(String),
    /// A user can vouch for it; why it is not recorded, for people.
    Adoptable(String),
    /// A user can vouch for it, and more than that may be needed to record it; why, for people.
    Hindered(String),
    /// It is recorded, was deleted here and came back: a user can say that it is wanted; why, for people.
    Returned(String),
    /// Nobody can vouch for it now; why, for people.
    NotNow(String),
}

/// Finds the Backups with these names, all if there are none, in `namespace`, or where they are.
pub(super) async fn find(
    client: &Client,
    names: &[String],
    namespace: Option<&str>,
) -> anyhow::Result<Vec<(Target, Standing)>> {
    let namespaces: Vec<_> = namespace.map(str::to_owned).into_iter().collect();
    let all = backups(client, &namespaces).await;
    let all = all.map_err(|why| anyhow::anyhow!("the Backups cannot be read: {why}"))?;
    let mut found = Vec::new();
    for name in names {
        let of_name: Vec<_> = all.iter().filter(|one| one.fields.name == *name).collect();
        match &of_name[..] {
            [one] => found.push(*one),
            [] => {
                let place =
                    namespace.map_or_else(String::new, |one| format!(" in namespace {one}"));
                bail!("there is no Backup named {name}{place}");
            }
            several => {
                let namespaces = several.iter().map(|one| one.fields.namespace.as_str());
                let namespaces: Vec<_> = namespaces.collect();
                bail!(
                    "there are Backups named {name} in several namespaces: {}; name one with \
                     --velero-namespace",
                    namespaces.join(", ")
                );
            }
        }
    }
    if names.is_empty() {
        found.extend(&all);
    }
    let records = Records::read(client).await;
    let records = records.map_err(|error| error.explain("records"))?;
    let mut targets = Vec::new();
    for one in found {
        let target = target(one);
        // The list has their metadata only.
        let backup = get(client, &target).await?;
        let records = records.of(&target.namespace, &target.name);
        let standing = backup.map_or_else(
            || Standing::NotNow("it is gone".to_owned()),
            |backup| standing(&backup, records),
        );
        targets.push((target, standing));
    }
    targets.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(targets)
}

fn target(backup: &ObservedBackup) -> Target {
    Target {
        namespace: backup.fields.namespace.clone(),
        name: backup.fields.name.clone(),
        uid: backup.fields.uid.clone(),
    }
}

fn standing(backup: &ObservedBackup, records: &[BackupRecord]) -> Standing {
    match backup.progress() {
        observed_backup::Progress::Running => {
            return Standing::NotNow("it is not complete yet".to_owned());
        }
        observed_backup::Progress::Over => {
            let phase = &backup.fields.phase;
            return Standing::NotNow(format!("there is nothing to record: its phase is {phase}"));
        }
        observed_backup::Progress::Complete => {}
    }
    match own_status(backup, records) {
        None => Standing::Adoptable("no record".to_owned()),
        Some(status) if status.returned.is_some() => {
            Standing::Returned("it was deleted here and came back".to_owned())
        }
        Some(status) if status.state == RecordState::Recorded => {
            Standing::Recorded(recorded(&status))
        }
        Some(status)
            if matches!(
                status.state,
                RecordState::Unobserved | RecordState::TarballOnly
            ) =>
        {
            Standing::Adoptable(why_not(&status))
        }
        Some(status) => Standing::Hindered(why_not(&status)),
    }
}

/// Reads those of the `targets` that are there.
pub(super) async fn read(
    client: &Client,
    targets: impl Iterator<Item = &Target>,
) -> anyhow::Result<BTreeMap<Target, ObservedBackup>> {
    let mut found = BTreeMap::new();
    for target in targets {
        if let Some(backup) = get(client, target).await? {
            found.insert(target.clone(), backup);
        }
    }
    Ok(found)
}

/// Reads a Backup; `None` if it is gone, or another one of its name.
async fn get(client: &Client, target: &Target) -> anyhow::Result<Option<ObservedBackup>> {
    let resource = backup::resource();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &target.namespace, &resource);
    let object = api.get_opt(&target.name).await;
    let object = object.map_err(|error| {
        let why = lookup_error(&error).message;
        anyhow::anyhow!("Backup {target} cannot be read: {why}")
    })?;
    let text = object.and_then(|object| serde_json::to_string(&object).ok());
    let backup = text.and_then(|text| ObservedBackup::from_json(&text));
    Ok(backup.filter(|backup| backup.fields.uid == target.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_user_vouches_for_what_is_complete_and_not_recorded() {
        let backup = |phase: &str| {
            let backup = json!({"metadata": {"uid": "u"}, "status": {"phase": phase}});
            ObservedBackup::from_json(&backup.to_string()).unwrap()
        };
        let at_status = |phase: &str, status: &serde_json::Value| {
            let record = json!({
                "metadata": {},
                "spec": {"namespace": "velero", "backup": "b", "uid": "u"},
                "status": status,
            });
            standing(&backup(phase), &[serde_json::from_value(record).unwrap()])
        };
        let at = |phase: &str, state: Option<&str>| match state {
            Some(state) => at_status(phase, &json!({"state": state})),
            None => standing(&backup(phase), &[]),
        };
        for state in [None, Some("Unobserved")] {
            let standing = at("Completed", state);
            assert!(matches!(standing, Standing::Adoptable(_)), "{state:?}");
        }
        for state in ["Unreadable", "Declared"] {
            let standing = at("Completed", Some(state));
            assert!(matches!(standing, Standing::Hindered(_)), "{state:?}");
        }
        let recorded = at("PartiallyFailed", Some("Recorded"));
        assert!(matches!(recorded, Standing::Recorded(_)));
        let gone = json!({"at": "2026-07-02T00:00:00Z", "how": "Deleted"});
        let returned = at_status("Completed", &json!({"state": "Recorded", "returned": gone}));
        assert!(matches!(returned, Standing::Returned(_)), "{returned:?}");
        for phase in ["InProgress", "Failed"] {
            let standing = at(phase, Some("Unobserved"));
            assert!(matches!(standing, Standing::NotNow(_)), "{phase}");
        }
    }
}
