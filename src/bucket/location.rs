//! Opens the bucket of a BackupStorageLocation in the cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;

use super::connector::{Reach, Timing, Trust};
use super::credentials::{ClusterSecrets, Credentials, CredentialsError, identity};
use super::error::Error;
use super::settings::{BucketSettings, SettingsError};
use super::store::Store;
use crate::ca::endpoint::DeniedAddresses;
use crate::decision::Location;
use crate::kubernetes::crds::RecordedLocation;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::{bundle, location};
use crate::names;

/// Opens the buckets of the BackupStorageLocations of a cluster, with their Secrets and the merged
/// bundle of their namespace. Cheap to clone.
#[derive(Clone)]
pub struct Locations {
    /// Reads the objects.
    pub client: Client,
    /// What is never dialled.
    pub denied: DeniedAddresses,
    /// How long is waited for a store.
    pub timing: Timing,
}

/// An open bucket.
pub struct OpenLocation {
    /// The bucket.
    pub store: Store,
    /// Where it is, as it is signed.
    pub signed: Location,
    /// The name of the BackupStorageLocation.
    pub name: String,
    /// Whether Velero writes nothing there.
    pub is_read_only: bool,
}

/// Why the bucket of a BackupStorageLocation could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The BackupStorageLocation could not be read.
    #[error("{}", lookup_error(.0).message)]
    Unread(kube::Error),
    /// The merged bundle of the namespace could not be read.
    #[error("{}", lookup_error(.0).message)]
    BundleUnread(kube::Error),
    /// There is no merged bundle in the namespace.
    #[error("the bundle {namespace}/{} is not there yet", names::BUNDLE)]
    NoBundle {
        /// The namespace.
        namespace: String,
    },
    /// What it says cannot be used, or its credentials cannot.
    #[error("BackupStorageLocation {name}: {}", error.with_fix())]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong.
        error: Error,
    },
    /// The store refuses, or does not answer.
    #[error("{}", .0.with_fix())]
    Bucket(#[from] Error),
}

impl OpenLocation {
    /// Returns what a record says about it.
    pub fn recorded(&self) -> RecordedLocation {
        RecordedLocation {
            name: self.name.clone(),
            bucket: self.signed.bucket.clone(),
            prefix: self.signed.prefix.clone(),
        }
    }
}

impl Locations {
    /// Opens the bucket of a BackupStorageLocation with what that says at this moment; `None` if there is
    /// none of this name.
    pub async fn open(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OpenLocation>, LocationError> {
        let Some(object) = self.read(namespace, name).await? else {
            return Ok(None);
        };
        let access = object.data.pointer("/spec/accessMode");
        let is_read_only = access.and_then(Value::as_str) == Some("ReadOnly");
        let bsl = location::read(&object);
        let provider = bsl.provider().to_owned();
        let unusable = |error| LocationError::Unusable {
            name: name.to_owned(),
            error,
        };
        let settings = BucketSettings::read(namespace, &bsl);
        let settings = settings.map_err(|error: SettingsError| unusable(error.into()))?;
        let trust = self.trust(namespace).await?;
        let secrets = ClusterSecrets::new(self.client.clone(), namespace);
        let region = settings.region.clone().unwrap_or_default();
        let (own, timing) = (trust.clone(), self.timing);
        let own = || identity::provider(|name| std::env::var(name).ok(), &region, own, timing);
        let credentials = Credentials::read(&settings, &secrets, own).await;
        let credentials = credentials.map_err(|error: CredentialsError| unusable(error.into()))?;
        let signed = Location {
            provider,
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
        };
        let reach = Reach {
            trust,
            denied: self.denied.clone(),
            timing,
        };
        Ok(Some(OpenLocation {
            store: Store::open(settings, credentials, reach).await?,
            signed,
            name: name.to_owned(),
            is_read_only,
        }))
    }

    /// Whether the BackupStorageLocation of `location`, in its namespace, still says of the bucket what it
    /// said when it was opened.
    pub async fn is_unchanged(&self, location: &OpenLocation) -> Result<bool, LocationError> {
        let opened = location.store.settings();
        let namespace = &opened.namespace;
        let object = self.read(namespace, &location.name).await?;
        let settings = |object| BucketSettings::read(namespace, &location::read(&object)).ok();
        Ok(object.and_then(settings).as_ref() == Some(opened))
    }

    async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, LocationError> {
        let locations = location::in_namespace(&self.client, namespace);
        let found = locations.get_opt(name).await;
        found.map_err(LocationError::Unread)
    }

    /// Trusts what Velero's Pods trust: the merged bundle of the namespace.
    async fn trust(&self, namespace: &str) -> Result<Trust, LocationError> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let map = maps.get_opt(names::BUNDLE).await;
        let map = map.map_err(LocationError::BundleUnread)?;
        let pem = map.as_ref().and_then(bundle::text);
        let namespace = namespace.to_owned();
        let Some(pem) = pem else {
            return Err(LocationError::NoBundle { namespace });
        };
        Ok(Trust::bundle(&namespace, pem))
    }
}
