//! Opens the bucket of a BackupStorageLocation in the cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;

use super::connector::{Reach, Timing, Trust};
use super::credentials::identity::Services;
use super::credentials::{ClusterSecrets, Credentials, OwnIdentity, StoredCredentials};
use super::error::{Action, Error};
use super::presigned::PresignedBucket;
use super::settings::BucketSettings;
use super::store::Store;
use crate::ca::endpoint::DeniedAddresses;
use crate::decision::Location;
use crate::dial::Proxies;
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
    /// The proxies between.
    pub proxies: Proxies,
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

/// A bucket that is read by URLs that somebody else signed.
pub struct PresignedLocation {
    /// The bucket.
    pub bucket: PresignedBucket,
    /// Where it is, as it is signed.
    pub signed: Location,
    /// The name of the BackupStorageLocation.
    pub name: String,
}

/// What a BackupStorageLocation says.
pub(super) struct DescribedLocation {
    /// How the bucket is opened.
    pub(super) settings: BucketSettings,
    signed: Location,
    name: String,
    is_read_only: bool,
}

/// A version of a merged bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BundleVersion {
    uid: Option<String>,
    resource_version: Option<String>,
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
        recorded(&self.name, &self.signed)
    }
}

impl PresignedLocation {
    /// Returns what a record says about it.
    pub fn recorded(&self) -> RecordedLocation {
        recorded(&self.name, &self.signed)
    }
}

fn recorded(name: &str, signed: &Location) -> RecordedLocation {
    RecordedLocation {
        name: name.to_owned(),
        bucket: signed.bucket.clone(),
        prefix: signed.prefix.clone(),
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
        let Some(described) = self.describe(namespace, name).await? else {
            return Ok(None);
        };
        let (trust, _) = self.trust(namespace).await?;
        let stored = self.stored_credentials(name, &described.settings).await?;
        let store = self.store(&described, stored, trust).await?;
        Ok(Some(described.open(store)))
    }

    /// Reads what a BackupStorageLocation says at this moment; `None` if there is none of this name.
    pub(super) async fn describe(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DescribedLocation>, LocationError> {
        let Some(object) = self.read(namespace, name).await? else {
            return Ok(None);
        };
        let access = object.data.pointer("/spec/accessMode");
        let is_read_only = access.and_then(Value::as_str) == Some("ReadOnly");
        let bsl = location::read(&object);
        let settings = BucketSettings::read(namespace, &bsl);
        let settings = settings.map_err(|error| LocationError::unusable(name, error))?;
        Ok(Some(DescribedLocation {
            signed: Location {
                provider: bsl.provider().to_owned(),
                bucket: settings.bucket.clone(),
                prefix: settings.prefix.clone(),
            },
            name: name.to_owned(),
            is_read_only,
            settings,
        }))
    }

    /// Reads what the credentials for the bucket of a BackupStorageLocation are made of.
    pub(super) async fn stored_credentials(
        &self,
        name: &str,
        settings: &BucketSettings,
    ) -> Result<StoredCredentials, LocationError> {
        let secrets = ClusterSecrets::new(self.client.clone(), &settings.namespace);
        let stored = StoredCredentials::read(settings, &secrets).await;
        stored.map_err(|error| LocationError::unusable(name, error))
    }

    /// Opens a bucket with these credentials.
    pub(super) async fn store(
        &self,
        described: &DescribedLocation,
        stored: StoredCredentials,
        trust: Trust,
    ) -> Result<Store, LocationError> {
        let settings = &described.settings;
        let own = OwnIdentity {
            variable: |name: &str| std::env::var(name).ok(),
            services: Services {
                trust: trust.clone(),
                denied: self.denied.clone(),
                proxies: self.proxies.clone(),
                timing: self.timing,
            },
        };
        let credentials = Credentials::new(settings, stored, &own);
        let credentials =
            credentials.map_err(|error| LocationError::unusable(&described.name, error))?;
        let reach = self.reach(trust);
        Ok(Store::open(settings.clone(), credentials, reach).await?)
    }

    /// Makes what reads the bucket of a BackupStorageLocation by URLs that somebody else signed; `None` if there is
    /// none of this name. Asks for no credentials, and sends the store no request.
    pub async fn presigned(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PresignedLocation>, LocationError> {
        let Some(described) = self.describe(namespace, name).await? else {
            return Ok(None);
        };
        let (trust, _) = self.trust(namespace).await?;
        let provider = described.settings.provider();
        let bucket = PresignedBucket::open(described.settings, self.reach(trust));
        let bucket = bucket.map_err(|kind| kind.during(Action::Open).of(provider))?;
        Ok(Some(PresignedLocation {
            bucket,
            signed: described.signed,
            name: described.name,
        }))
    }

    fn reach(&self, trust: Trust) -> Reach {
        Reach {
            trust,
            denied: self.denied.clone(),
            proxies: self.proxies.clone(),
            timing: self.timing,
        }
    }

    /// Whether the BackupStorageLocation of `location`, in its namespace, still says of the bucket what it
    /// said when it was opened.
    pub async fn is_unchanged(&self, location: &OpenLocation) -> Result<bool, LocationError> {
        self.says(&location.name, location.store.settings()).await
    }

    /// Whether the BackupStorageLocation `name` says of the bucket what it said when that was `opened`.
    pub async fn says(&self, name: &str, opened: &BucketSettings) -> Result<bool, LocationError> {
        let namespace = &opened.namespace;
        let object = self.read(namespace, name).await?;
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

    /// Trusts what Velero's Pods trust: the merged bundle of the namespace. Returns its version as well.
    pub(super) async fn trust(
        &self,
        namespace: &str,
    ) -> Result<(Trust, BundleVersion), LocationError> {
        let map = self.bundles(namespace).get_opt(names::BUNDLE).await;
        let map = map.map_err(LocationError::BundleUnread)?;
        let found = map.as_ref().and_then(|map| {
            let trust = Trust::bundle(namespace, bundle::text(map)?);
            Some((trust, BundleVersion::of(&map.metadata)))
        });
        found.ok_or_else(|| LocationError::no_bundle(namespace))
    }

    /// Returns which version of the merged bundle of the namespace there is.
    pub(super) async fn bundle_version(
        &self,
        namespace: &str,
    ) -> Result<BundleVersion, LocationError> {
        let map = self
            .bundles(namespace)
            .get_metadata_opt(names::BUNDLE)
            .await;
        let map = map.map_err(LocationError::BundleUnread)?;
        let map = map.ok_or_else(|| LocationError::no_bundle(namespace))?;
        Ok(BundleVersion::of(&map.metadata))
    }

    fn bundles(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

impl BundleVersion {
    fn of(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }
    }
}

impl DescribedLocation {
    /// Returns the location, whose bucket is `store`.
    pub(super) fn open(self, store: Store) -> OpenLocation {
        OpenLocation {
            store,
            signed: self.signed,
            name: self.name,
            is_read_only: self.is_read_only,
        }
    }
}

impl LocationError {
    fn unusable(name: &str, error: impl Into<Error>) -> Self {
        Self::Unusable {
            name: name.to_owned(),
            error: error.into(),
        }
    }

    fn no_bundle(namespace: &str) -> Self {
        Self::NoBundle {
            namespace: namespace.to_owned(),
        }
    }
}
