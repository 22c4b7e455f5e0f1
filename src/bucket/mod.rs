//! The buckets of backup storage locations: which they are, and how their files are listed, read,
//! written and deleted.
//!
//! A caller makes [`BucketSettings`] of a BSL, [`Credentials`] for them, and opens a [`Store`]:
//!
//! ```text
//! let settings = BucketSettings::read(namespace, &bsl)?;
//! let credentials = Credentials::read(&settings, &ClusterSecrets::new(client, namespace), identity).await?;
//! let store = Store::open(settings, credentials, reach).await?;
//! let listing = store.list(backup).await?;
//! let digest = store.read(backup, artifact).await?.sha256(|bytes| …).await?;
//! ```
//!
//! [`Locations`] does the first three for a BSL of the cluster, and [`OpenStores`] once for many requests.
//!
//! The stores of the providers aws (S3), azure and gcp. `object_store` signs, reads, writes, deletes and gives the cloud's identities; its HTTP
//! client is `connector`.

mod connector;
mod content;
pub mod credentials;
mod error;
mod list;
mod location;
mod open_stores;
mod presigned;
mod protocol;
mod reading;
mod recent;
mod rights;
mod settings;
mod store;
mod url;

pub use connector::{Reach, Timing, Trust};
pub use content::Content;
pub use credentials::{
    AwsCredentials, AzureCredentials, ClusterSecrets, Credentials, CredentialsError,
    GcpCredentials, Identity, NoIdentity, OwnIdentity, RolesOnly, SecretSource,
};
pub use error::{Action, Error, ErrorKind};
pub use list::{Artifact, Listing, MAX_FILES, MAX_NAME_BYTES};
pub use location::{LocationError, Locations, OpenLocation, PresignedLocation};
pub use open_stores::OpenStores;
pub use presigned::{PresignedBucket, PresignedFile, PresignedUrlError};
pub use reading::Reading;
pub use rights::Rights;
pub use settings::aws::{AwsSettings, Checksum, Encryption};
pub use settings::azure::{AzureAuthorization, AzureCloud, AzureSettings};
pub use settings::gcp::GcpSettings;
pub use settings::{BucketSettings, Provider, ProviderSettings, SecretKey, SettingsError};
pub use store::Store;
pub use url::{BackupUrl, BucketUrl};
