//! Reads and writes the records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::json;
use tokio::time::sleep;

use crate::controllers::channels::ReadingTroubleSender;
use crate::kubernetes::crds::{
    API_VERSION, BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone, record_name,
};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::keep;
use crate::names;
use crate::telemetry::LogOnce;
use crate::velero::label::label_value;

/// Pause before it is looked again whether the kinds of the ledger exist.
const INSTALL_PAUSE: Duration = Duration::from_secs(10);

/// Why nothing is read for Restores if the kind is of an earlier version.
const NO_READINGS: &str = "the kind BackupRecord is of an earlier version and does not keep what is found in files, \
                           so they are not read for Restores: run `kubectl apply -k manifests/crds`";

/// The records of all backups.
pub(super) struct Ledger {
    records: Api<BackupRecord>,
    /// Whether it was logged that the kind is older.
    has_told: AtomicBool,
    /// Tells why nothing is read for Restores.
    trouble: ReadingTroubleSender,
}

/// Waits until the API server has the kinds of the ledger.
pub(super) async fn wait_until_installed(client: &Client) {
    let records = Api::<BackupRecord>::all(client.clone());
    let mut failures = LogOnce::default();
    loop {
        let message = match records.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => return,
            Err(Error::Api(status)) if status.code == 404 => {
                "the kind BackupRecord is not installed: run `kubectl apply -k manifests/crds`"
                    .to_owned()
            }
            Err(error) => lookup_error(&error).message,
        };
        if failures.is_new(&message) {
            tracing::warn!(why = message, "no backup is recorded");
        }
        sleep(INSTALL_PAUSE).await;
    }
}

impl Ledger {
    pub(super) fn new(client: &Client, trouble: ReadingTroubleSender) -> Self {
        Self {
            records: Api::all(client.clone()),
            has_told: AtomicBool::new(false),
            trouble,
        }
    }

    /// Makes a record of a Backup in `location`. Fails with 409 if there is one.
    pub(super) async fn create(
        &self,
        spec: BackupRecordSpec,
        location: &str,
    ) -> kube::Result<BackupRecord> {
        let mut metadata = keep::metadata();
        let labels = [
            (names::BACKUP_LABEL, label_value(&spec.backup)),
            (names::LOCATION_LABEL, label_value(location)),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value));
        metadata.labels.get_or_insert_default().extend(labels);
        let record = BackupRecord {
            metadata: ObjectMeta {
                name: Some(record_name(&spec.backup, &spec.uid)),
                ..metadata
            },
            spec,
            status: None,
        };
        self.records.create(&keep::create_params(), &record).await
    }

    /// Returns a record as it is stored; the watch may lag behind.
    pub(super) async fn get(&self, name: &str) -> kube::Result<Option<BackupRecord>> {
        self.records.get_opt(name).await
    }

    /// Returns the record `name` of a Backup in `namespace`. Fails if it is about a Backup of another
    /// namespace, which has the same files: what is vouched for there counts nothing here.
    pub(super) async fn get_of(
        &self,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<BackupRecord>> {
        let record = self.get(name).await?;
        let other = record.as_ref().map(|record| &record.spec.namespace);
        match other.filter(|other| *other != namespace) {
            None => Ok(record),
            Some(other) => {
                let why = format!("BackupRecord {name} is about a Backup of namespace {other}");
                Err(Error::Service(why.into()))
            }
        }
    }

    /// Replaces the status of `record`, and returns it as it is stored then. Fails with 409 if somebody
    /// else wrote it meanwhile: a judgement is never replaced by one that did not know of it.
    ///
    /// Where the kind is older, it goes without what that does not declare, so that backups are recorded.
    pub(super) async fn set_status(
        &self,
        record: &BackupRecord,
        status: &BackupRecordStatus,
    ) -> kube::Result<BackupRecord> {
        let refusal = match self.apply_status(record, status).await {
            Err(Error::Api(refusal)) => refusal,
            applied => return applied,
        };
        let without = without_undeclared(status, &refusal.message);
        if without == *status {
            return Err(Error::Api(refusal));
        }
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                why = refusal.message,
                "the kind BackupRecord is of an earlier version, so records are kept without what it \
                 does not declare: run `kubectl apply -k manifests/crds`"
            );
        }
        self.apply_status(record, &without).await
    }

    async fn apply_status(
        &self,
        record: &BackupRecord,
        status: &BackupRecordStatus,
    ) -> kube::Result<BackupRecord> {
        let ObjectMeta {
            name,
            resource_version,
            ..
        } = &record.metadata;
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": "BackupRecord",
            "metadata": {"name": name, "resourceVersion": resource_version},
            "status": status,
        });
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let patch = Patch::Apply(&patch);
        let name = name.as_deref().unwrap_or_default();
        self.records.patch_status(name, &params, &patch).await
    }

    /// Notes that the Backup of a record went away, or that it is there again.
    pub(super) async fn set_gone(&self, name: &str, gone: Option<Gone>) -> kube::Result<()> {
        let Some(record) = self.get(name).await? else {
            return Ok(());
        };
        let record = match gone {
            Some(_) => record,
            None => self.set_lost_from(record, None).await?,
        };
        let status = BackupRecordStatus {
            gone,
            ..record.status.clone().unwrap_or_default()
        };
        self.set_status(&record, &status).await.map(drop)
    }

    /// Notes that no envelope is being put any more.
    pub(super) async fn end_upload(&self, name: &str) -> kube::Result<()> {
        let Some(record) = self.get(name).await? else {
            return Ok(());
        };
        let status = BackupRecordStatus {
            pending_upload: None,
            ..record.status.clone().unwrap_or_default()
        };
        self.set_status(&record, &status).await.map(drop)
    }

    /// Notes which Backup of the cluster has the files of `record`.
    pub(super) async fn link(&self, record: &BackupRecord, uid: &str) -> kube::Result<()> {
        let status = record.status.clone().unwrap_or_default();
        if status.synced_as.as_deref() == Some(uid) && status.gone.is_none() {
            return Ok(());
        }
        // What somebody wanted to go was put back.
        let returned = status.gone.clone().filter(|gone| gone.how.is_wanted());
        let status = BackupRecordStatus {
            synced_as: Some(uid.to_owned()),
            gone: None,
            returned: returned.or(status.returned),
            ..status
        };
        let record = self.set_lost_from(record.clone(), None).await?;
        self.set_status(&record, &status).await.map(drop)
    }

    /// Notes that the Backup of a record that came back is wanted.
    pub(super) async fn take_back(&self, name: &str) -> kube::Result<()> {
        let Some(record) = self.get(name).await? else {
            return Ok(());
        };
        let status = BackupRecordStatus {
            returned: None,
            ..record.status.clone().unwrap_or_default()
        };
        self.set_status(&record, &status).await.map(drop)
    }

    /// Sets the Schedule that lacks the Backup of `record`, or that none does, and returns the record as it is then.
    ///
    /// It comes before the status that it belongs to: whoever finds that status does nothing more about the record.
    pub(super) async fn set_lost_from(
        &self,
        mut record: BackupRecord,
        schedule: Option<&str>,
    ) -> kube::Result<BackupRecord> {
        let label = schedule.map(label_value);
        let labels = record.metadata.labels.as_ref();
        if labels.and_then(|labels| labels.get(names::LOST_SCHEDULE_LABEL)) == label.as_ref() {
            return Ok(record);
        }
        let labels = json!({"metadata": {"labels": {names::LOST_SCHEDULE_LABEL: label}}});
        let name = record.metadata.name.as_deref().unwrap_or_default();
        let patched = self
            .records
            .patch_metadata(name, &PatchParams::default(), &Patch::Merge(labels))
            .await?;
        record.metadata = patched.metadata;
        Ok(record)
    }

    /// Tells whether records keep what is found in files. If not, none are read for Restores.
    pub(super) fn tell_keeps_readings(&self, keeps: bool) {
        let new = (!keeps).then_some(NO_READINGS);
        let is_new = self.trouble.send_if_modified(|trouble| {
            let is_new = *trouble != new;
            *trouble = new;
            is_new
        });
        if is_new && !keeps {
            tracing::warn!("{NO_READINGS}");
        }
    }

    /// Deletes a record.
    pub(super) async fn delete(&self, name: &str) -> kube::Result<()> {
        match self.records.delete(name, &DeleteParams::default()).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

/// Returns `status` without the fields that a record can do without, if an API server refused them with
/// `refusal`: the kind that is installed does not declare them. It refuses to apply the whole object then
/// (`structured-merge-diff`, `typed/validate.go`).
fn without_undeclared(status: &BackupRecordStatus, refusal: &str) -> BackupRecordStatus {
    let is_refused =
        |field: &str| refusal.contains(&format!(".status.{field}: field not declared in schema"));
    let mut status = status.clone();
    if is_refused("finalPhase") {
        status.final_phase = None;
    }
    if is_refused("pendingUpload") {
        status.pending_upload = None;
    }
    if is_refused("expires") {
        status.expires = None;
    }
    if is_refused("returned") {
        status.returned = None;
    }
    if is_refused("imported") {
        status.imported = None;
    }
    if is_refused("signers") {
        status.signers = Vec::new();
    }
    if is_refused("listsNotRead") {
        status.lists_not_read = None;
    }
    if is_refused("trust") {
        status.trust = None;
    }
    if is_refused("verification") {
        status.verification = None;
    }
    status
}

/// Returns the current time for a record.
pub(super) fn time_now() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    let now = Timestamp::from_second(crate::clock::now());
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.unwrap_or_default())
}
