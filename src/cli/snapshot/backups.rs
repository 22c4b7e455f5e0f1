//! Counts the backups of a Velero namespace that could be restored.

use std::collections::BTreeMap;

use kube::api::{DynamicObject, ListParams};
use kube::core::Request;
use kube::{Api, Client, Error};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record_tally::RecordTally;
use super::records::Records;
use crate::decision::{self, Policy, RecordState, RestoresMode, Rule};
use crate::integrity::restorable::{NotRestorable, why_not_restorable};
use crate::kubernetes::crds::BackupRecord;
use crate::kubernetes::error;
use crate::velero::backup::BackupView;
use crate::velero::bsl::Bsl;
use crate::velero::observed_backup::ObservedBackup;

/// Number of Backups in one page of the list, which is what is held at a time. One is tens of KiB in
/// general, and at most 1.5 MiB.
const PAGE_SIZE: u32 = 50;

/// How many backups there are, and how many could be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct BackupTally {
    /// All backups.
    pub(in crate::cli) total: usize,
    /// Those that could be restored.
    pub(in crate::cli) restorable: usize,
    /// The others by the reason. There are as many reasons as rules and phases.
    pub(in crate::cli) reasons: BTreeMap<String, usize>,
    /// Those that no Restore could name under `--restores=enforce`, by the rule that would deny it.
    pub(in crate::cli) refused_if_enforced: BTreeMap<String, usize>,
    /// Those that are recorded, and why the others are not; `None` if the records are not known.
    pub(in crate::cli) records: Option<RecordTally>,
}

impl BackupTally {
    /// Counts a backup of `namespace`, which has these `locations`.
    ///
    /// `tarball` is its record, if only its tarball is recorded.
    fn add(
        &mut self,
        namespace: &str,
        view: BackupView,
        tarball: Option<&decision::BackupRecord>,
        locations: &[Bsl<'_>],
        policy: &Policy,
    ) {
        let location = view.storage_location().to_owned();
        let backup = view.into_backup();
        self.total += 1;
        let why_not = |policy| why_not_restorable(namespace, &backup, tarball, policy);
        let why = match why_not(policy) {
            Some(NotRestorable::Denied(rule)) => Some(titled(rule)),
            Some(NotRestorable::NotWhole(why)) => Some(why.to_owned()),
            None => why_not_stored(&location, locations).map(str::to_owned),
        };
        match why {
            None => self.restorable += 1,
            Some(why) => *self.reasons.entry(why).or_default() += 1,
        }
        let enforced = policy.clone().with_restores(RestoresMode::Enforce);
        if let Some(NotRestorable::Denied(rule)) = why_not(&enforced) {
            *self.refused_if_enforced.entry(titled(rule)).or_default() += 1;
        }
    }
}

fn titled(rule: &Rule) -> String {
    format!("{} [{}]", rule.title, rule.id)
}

/// Returns why Velero cannot read a backup from its location; `None` if it can, as far as it reports.
fn why_not_stored(name: &str, locations: &[Bsl<'_>]) -> Option<&'static str> {
    match locations.iter().find(|bsl| bsl.name() == name) {
        None => Some("has no BackupStorageLocation"),
        Some(bsl) if bsl.phase() == "Unavailable" => {
            Some("has an Unavailable BackupStorageLocation")
        }
        Some(_) => None,
    }
}

/// Reads the Backups of `namespace` page by page, and counts those that could be restored, and those
/// that are recorded by `records`.
///
/// # Errors
/// Why they could not be read.
pub(in crate::cli) async fn tally_backups(
    client: &Client,
    namespace: &str,
    locations: &[Bsl<'_>],
    policy: &Policy,
    records: Option<&Records>,
) -> Result<BackupTally, String> {
    let resource = crate::kubernetes::backup::resource();
    let backups = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let url = backups.resource_url().to_owned();
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut tally = BackupTally {
        records: records.map(|_| RecordTally::default()),
        ..BackupTally::default()
    };
    loop {
        let page = page(client, &url, &params).await;
        let page = page.map_err(|error| error::lookup_error(&error).message)?;
        for text in page.items {
            let view = serde_json::from_str(text.get()).unwrap_or_default();
            let observed = ObservedBackup::from_json(text.get());
            let known = records
                .zip(observed.as_ref())
                .map(|(records, backup)| (backup, records.of(namespace, &backup.fields.name)));
            let tarball = known.and_then(|(backup, records)| tarball_of(backup, records));
            tally.add(namespace, view, tarball.as_ref(), locations, policy);
            match (&mut tally.records, known) {
                (Some(tally), Some((backup, records))) => tally.add(backup, records),
                (Some(tally), None) => tally.add_malformed(),
                (None, _) => {}
            }
        }
        match page.metadata.next {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => return Ok(tally),
        }
    }
}

/// Returns the record of `backup` among those of its name, if only its tarball is recorded.
fn tarball_of(backup: &ObservedBackup, records: &[BackupRecord]) -> Option<decision::BackupRecord> {
    let mut own = records.iter().filter(|record| {
        let known = record.known();
        known.uid == backup.fields.uid && known.state == RecordState::TarballOnly
    });
    own.next().cloned().map(Into::into)
}

/// A page of the list, with the text of each Backup.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

async fn page(client: &Client, url: &str, params: &ListParams) -> kube::Result<Page> {
    let request = Request::new(url)
        .list(params)
        .map_err(Error::BuildRequest)?;
    let text = client.request_text(request).await?;
    serde_json::from_str(&text).map_err(Error::SerdeError)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn backups_are_counted_by_the_reason_that_keeps_them_from_being_restored() {
        let bsl = |name: &str, phase: &str| {
            let object = json!({"metadata": {"name": name}, "status": {"phase": phase}});
            Bsl::from_value(&object).into_owned()
        };
        let locations = [bsl("default", "Available"), bsl("gone", "Unavailable")];
        let good = format!("sha256:{}", "0".repeat(64));
        let backup = |phase: &str, checksum: Option<&str>, location: &str| {
            json!({
                "metadata": {"name": "b", "annotations": {"velero-trust.io/checksum": checksum}},
                "spec": {"storageLocation": location},
                "status": {"phase": phase},
            })
        };
        let backups = [
            backup("Completed", Some(&good), "default"),
            backup("PartiallyFailed", Some(&good), "default"),
            backup("Completed", None, "default"),
            backup("Completed", None, "gone"),
            backup("Failed", Some(&good), "default"),
            backup("Completed", Some(&good), "gone"),
            backup("Completed", Some(&good), "other"),
        ];
        let tally = |mode| {
            let mut tally = BackupTally::default();
            for backup in &backups {
                let view = BackupView::deserialize::<&Value>(backup).unwrap();
                tally.add("velero", view, None, &locations, &Policy::new(mode));
            }
            tally
        };
        let reasons = |pairs: &[(&str, usize)]| {
            let pairs = pairs.iter().map(|(why, count)| ((*why).to_owned(), *count));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let expected = BackupTally {
            total: 7,
            restorable: 2,
            records: None,
            reasons: reasons(&[
                ("backup without a checksum [VT101]", 2),
                ("failed", 1),
                ("has an Unavailable BackupStorageLocation", 1),
                ("has no BackupStorageLocation", 1),
            ]),
            refused_if_enforced: reasons(&[("backup without a checksum [VT101]", 2)]),
        };
        assert_eq!(tally(RestoresMode::Enforce), expected);
        let off = tally(RestoresMode::Off);
        assert_eq!((off.total, off.restorable), (7, 3));
        for other in [off, tally(RestoresMode::Warn)] {
            assert_eq!(other.refused_if_enforced, expected.refused_if_enforced);
        }
    }
}
