//! Opens the bucket of a Backup.

use kube::Api;
use kube::api::DynamicObject;
use serde_json::Value;

use super::Context;
use super::reader::{Stop, Unreadable};
use crate::bucket::credentials::identity;
use crate::bucket::{
    self, BucketSettings, ClusterSecrets, Credentials, Reach, Store, Timing, Trust,
};
use crate::integrity::statement::Location;
use crate::kubernetes::crds::RecordedLocation;
use crate::kubernetes::{bundle, location};
use crate::names;
use crate::velero::naming::is_name;
use crate::velero::observed_backup::ObservedBackup;
use k8s_openapi::api::core::v1::ConfigMap;

/// An open bucket.
pub(super) struct OpenLocation {
    pub(super) store: Store,
    /// What is signed about it.
    pub(super) signed: Location,
    /// The name of the BackupStorageLocation.
    pub(super) name: String,
    pub(super) is_read_only: bool,
    settings: BucketSettings,
}

impl OpenLocation {
    /// Returns what a record says about it.
    pub(super) fn recorded(&self) -> RecordedLocation {
        RecordedLocation {
            name: self.name.clone(),
            bucket: self.signed.bucket.clone(),
            prefix: self.signed.prefix.clone(),
        }
    }
}

/// Opens the bucket of `backup` with what its BackupStorageLocation says now.
pub(super) async fn open(context: &Context, backup: &ObservedBackup) -> Result<OpenLocation, Stop> {
    let namespace = &backup.fields.namespace;
    let name = &backup.storage_location;
    let missing = |why: String| Stop::unreadable("LocationUnusable", why);
    if !is_name(name) {
        return Err(missing(
            "the Backup names no BackupStorageLocation".to_owned(),
        ));
    }
    let found = find(context, namespace, name).await?;
    found.ok_or_else(|| {
        missing(format!(
            "BackupStorageLocation {namespace}/{name} does not exist"
        ))
    })
}

/// Fails unless its BackupStorageLocation still says of `location` what it said when it was opened: what
/// was read elsewhere is not where Velero restores from.
pub(super) async fn check_unchanged(
    context: &Context,
    namespace: &str,
    location: &OpenLocation,
) -> Result<(), Stop> {
    let object = read(context, namespace, &location.name).await?;
    let settings = |object| BucketSettings::read(namespace, &location::read(&object)).ok();
    match object.and_then(settings) {
        Some(settings) if settings == location.settings => Ok(()),
        _ => Err(Stop::Changed),
    }
}

/// Opens the bucket of a BackupStorageLocation; `None` if there is none of this name.
pub(super) async fn find(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<OpenLocation>, Stop> {
    let Some(object) = read(context, namespace, name).await? else {
        return Ok(None);
    };
    let access = object
        .data
        .pointer("/spec/accessMode")
        .and_then(Value::as_str);
    let is_read_only = access == Some("ReadOnly");
    let bsl = location::read(&object);
    let provider = bsl.provider().to_owned();
    let unusable = |error: bucket::Error| {
        Stop::Unreadable(Unreadable {
            reason: error.reason(),
            message: format!("BackupStorageLocation {name}: {}", error.with_fix()),
            may_pass: error.may_pass(),
        })
    };
    let settings = BucketSettings::read(namespace, &bsl);
    let settings = settings.map_err(|error| unusable(error.into()))?;
    let trust = trust(context, namespace).await?;
    let timing = Timing::default();
    let secrets = ClusterSecrets::new(context.controllers.client.clone(), namespace);
    let region = settings.region.clone().unwrap_or_default();
    let own = trust.clone();
    let own = || identity::provider(|name| std::env::var(name).ok(), &region, own, timing);
    let credentials = Credentials::read(&settings, &secrets, own).await;
    let credentials = credentials.map_err(|error| unusable(error.into()))?;
    let signed = Location {
        provider,
        bucket: settings.bucket.clone(),
        prefix: settings.prefix.clone(),
    };
    let reach = Reach {
        trust,
        denied: context.settings.denied.clone(),
        timing,
    };
    Ok(Some(OpenLocation {
        store: Store::open(settings.clone(), credentials, reach).await?,
        signed,
        name: name.to_owned(),
        is_read_only,
        settings,
    }))
}

async fn read(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, Stop> {
    let locations = location::in_namespace(&context.controllers.client, namespace);
    let found = locations.get_opt(name).await;
    found.map_err(|error| Stop::unanswered("LocationUnusable", &error))
}

/// Trusts what Velero's Pods trust: the merged bundle of the namespace.
async fn trust(context: &Context, namespace: &str) -> Result<Trust, Stop> {
    let maps = Api::<ConfigMap>::namespaced(context.controllers.client.clone(), namespace);
    let map = maps.get_opt(names::BUNDLE).await;
    let map = map.map_err(|error| Stop::unanswered("BundleUnreadable", &error))?;
    let pem = map.as_ref().and_then(bundle::text);
    let pem = pem.ok_or_else(|| {
        let why = format!("the bundle {namespace}/{} is not there yet", names::BUNDLE);
        Stop::unreadable("BundleUnreadable", why)
    })?;
    Ok(Trust::bundle(namespace, pem))
}
