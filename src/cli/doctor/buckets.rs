//! Tries what Velero's credentials may do in the bucket of each BackupStorageLocation.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::timeout;

use super::cluster_snapshot::Read;
use crate::bucket::credentials::identity::Services;
use crate::bucket::{
    BucketSettings, ClusterSecrets, Content, Credentials, CredentialsError, OwnIdentity, Provider,
    Reach, Rights, RolesOnly, Store, Timing, Trust,
};
use crate::ca::endpoint::DeniedAddresses;
use crate::dial::Proxies;
use crate::kubernetes::error::lookup_error;
use crate::velero::bsl::Bsl;

/// Most buckets that are tried at a time.
const MAX_CONCURRENT_BUCKETS: usize = 4;

/// Longest time for one bucket.
const BUCKET_TIMEOUT: Duration = Duration::from_secs(15);

/// How long is waited for a store. Nothing is tried twice: a person can run the command again.
const TIMING: Timing = Timing {
    connect: Duration::from_secs(4),
    head: Duration::from_secs(6),
    piece: Duration::from_secs(6),
    pauses: [Duration::ZERO; 2],
};

/// Secret with the password of the repositories of volume data (`pkg/repository/keys/keys.go`).
const REPOSITORY_SECRET: &str = "velero-repo-credentials";

/// Key of that Secret.
const REPOSITORY_KEY: &str = "repository-password";

/// The password that Velero puts there by itself, which everybody knows.
const DEFAULT_PASSWORD: &[u8] = b"static-passw0rd";

/// What is known of the bucket of a location.
#[derive(Clone, Debug)]
pub(super) enum BucketAccess {
    /// It can be used.
    Tried {
        /// What the credentials may do.
        rights: Box<Rights>,
        /// What its backups hold, if the list can be read.
        content: Option<Content>,
        /// The role that the credentials are those of, if they name one.
        role: Option<String>,
    },
    /// Its credentials are the identity of velero-trust's Pods, which this machine does not have.
    OwnIdentity(Provider),
    /// velero-trust cannot use it, for this reason.
    Unusable(String),
    /// It cannot be tried from this machine, for this reason.
    Unknown(String),
}

/// Tries the buckets of the `locations` in `namespace`, trusting the certificates of its `bundle`.
/// Returns the name of each location with what is known.
pub(super) async fn try_all(
    client: &Client,
    namespace: &str,
    locations: &[Bsl<'static>],
    bundle: Option<&str>,
) -> Vec<(String, BucketAccess)> {
    let tried = locations.iter().map(async |bsl| {
        let access = timeout(BUCKET_TIMEOUT, try_bucket(client, namespace, bsl, bundle)).await;
        let late =
            |_| BucketAccess::Unknown("the store does not answer this machine in time".to_owned());
        (bsl.name().to_owned(), access.unwrap_or_else(late))
    });
    stream::iter(tried)
        .buffered(MAX_CONCURRENT_BUCKETS)
        .collect()
        .await
}

async fn try_bucket(
    client: &Client,
    namespace: &str,
    bsl: &Bsl<'_>,
    bundle: Option<&str>,
) -> BucketAccess {
    let settings = match BucketSettings::read(namespace, bsl) {
        Ok(settings) => settings,
        Err(error) => return BucketAccess::Unusable(error.to_string()),
    };
    let secrets = ClusterSecrets::new(client.clone(), namespace);
    let reach = Reach {
        trust: Trust::bundle(namespace, bundle.unwrap_or_default()),
        denied: DeniedAddresses::nothing(),
        proxies: Proxies::from_env(),
        timing: TIMING,
    };
    // The identity of this machine is not that of the server's Pod.
    let identity = RolesOnly(OwnIdentity {
        variable: |name: &str| std::env::var(name).ok(),
        services: Services {
            trust: reach.trust.clone(),
            denied: reach.denied.clone(),
            proxies: reach.proxies.clone(),
            timing: reach.timing,
        },
    });
    let credentials = match Credentials::read(&settings, &secrets, &identity).await {
        Ok(credentials) => credentials,
        Err(CredentialsError::Identity { .. }) => {
            return BucketAccess::OwnIdentity(settings.provider());
        }
        Err(error @ CredentialsError::Unavailable { .. }) => {
            return BucketAccess::Unknown(error.to_string());
        }
        Err(error) => return BucketAccess::Unusable(error.to_string()),
    };
    if bundle.is_none() {
        return BucketAccess::Unknown("there is no CA bundle to verify the store with".to_owned());
    }
    let role = match &credentials {
        Credentials::Aws(aws) => aws.role.clone(),
        Credentials::Azure(_) | Credentials::Gcp(_) => None,
    };
    match Store::open(settings, credentials, reach).await {
        Ok(store) => BucketAccess::Tried {
            rights: Box::new(store.rights().await),
            content: store.content().await,
            role,
        },
        Err(error) if error.may_pass() => BucketAccess::Unknown(error.to_string()),
        Err(error) => BucketAccess::Unusable(error.with_fix()),
    }
}

/// Returns whether the repositories of volume data in `namespace` have the password that everybody
/// knows. Velero makes the Secret when it starts.
pub(super) async fn has_default_password(client: &Client, namespace: &str) -> Read<bool> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = secrets.get_opt(REPOSITORY_SECRET).await;
    let secret = secret.map_err(|error| lookup_error(&error).message)?;
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    Ok(data
        .get(REPOSITORY_KEY)
        .is_some_and(|password| password.0 == DEFAULT_PASSWORD))
}
