//! The files of a backup in a bucket.

use std::path::PathBuf;

use clap::Args;

use super::{Found, FoundEnvelope, advice, choose_envelopes};
use crate::bucket::credentials::identity::Services;
use crate::bucket::credentials::{CredentialsError, personal};
use crate::bucket::{
    Artifact, BackupUrl, BucketSettings, Error, ErrorKind, Reach, Store, Timing, Trust,
};
use crate::ca::endpoint::DeniedAddresses;
use crate::cli::runtime;
use crate::dial::Proxies;
use crate::integrity::envelope;
use crate::integrity::files;
use crate::integrity::manifest::{File, MAX_FILES, shown};
use crate::sources::roots::{PublicRoots, Roots};

/// How a bucket is reached. Without an option, the variables of AWS's own tools count.
#[derive(Args, Debug)]
pub(super) struct BucketArgs {
    /// URL of a store other than AWS's, such as `https://minio.example.com` [default: that of
    /// `AWS_ENDPOINT_URL`]
    #[arg(
        long,
        value_name = "URL",
        env = "VELERO_TRUST_VERIFY_S3_URL",
        help_heading = "Bucket"
    )]
    s3_url: Option<String>,

    /// Region of the bucket [default: that of `AWS_REGION`, else the store is asked]
    #[arg(
        long,
        value_name = "REGION",
        env = "VELERO_TRUST_VERIFY_REGION",
        help_heading = "Bucket"
    )]
    region: Option<String>,

    /// PEM file with the CAs of the store, in addition to Mozilla's [default: that of
    /// `AWS_CA_BUNDLE`]
    #[arg(
        long,
        value_name = "FILE",
        env = "VELERO_TRUST_VERIFY_CA",
        help_heading = "Bucket"
    )]
    ca: Option<PathBuf>,

    /// Profile in the file of credentials of AWS's tools [default: the environment, then `default`]
    #[arg(
        long,
        value_name = "PROFILE",
        env = "VELERO_TRUST_VERIFY_PROFILE",
        help_heading = "Bucket"
    )]
    profile: Option<String>,
}

/// Reads a variable of AWS's tools. An empty one counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl BucketArgs {
    /// Reads and hashes all files of the backup at `url`.
    pub(super) fn read(&self, url: &BackupUrl, expected: &[String]) -> anyhow::Result<Found> {
        crate::cli::install_crypto_provider();
        runtime()?.block_on(self.read_all(url, expected))
    }

    async fn read_all(&self, url: &BackupUrl, expected: &[String]) -> anyhow::Result<Found> {
        let store = self.open(url).await?;
        let backup = &url.backup;
        let listing = store
            .list(backup)
            .await
            .map_err(|error| described(&error))?;
        anyhow::ensure!(
            !listing.artifacts.is_empty(),
            "the bucket has no backup {}",
            shown(backup)
        );
        let mut found = Found::default();
        let mut envelopes = Vec::new();
        for artifact in &listing.artifacts {
            let name = &artifact.name;
            if files::envelope_key(name).is_none() {
                anyhow::ensure!(
                    found.files.len() <= MAX_FILES,
                    "the backup has more than {MAX_FILES} files, and none of Velero has"
                );
                found.files.push(
                    hash(&store, backup, artifact)
                        .await
                        .map_err(|error| described(&error))?,
                );
            } else {
                envelopes.push(name.clone());
            }
        }
        for name in choose_envelopes(envelopes, expected) {
            let Some(artifact) = listing.get(&name) else {
                continue;
            };
            let bytes = read_envelope(&store, backup, artifact).await;
            found.envelopes.push(FoundEnvelope {
                is_expected: expected.contains(&name),
                name,
                bytes: bytes.map_err(|error| described(&error)),
            });
        }
        Ok(found)
    }

    async fn open(&self, url: &BackupUrl) -> anyhow::Result<Store> {
        let ca = self.ca.clone();
        let ca = ca.or_else(|| variable("AWS_CA_BUNDLE").map(PathBuf::from));
        let s3_url = self.s3_url.clone();
        let s3_url = s3_url.or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = self.region.clone().or_else(|| variable("AWS_REGION"));
        let roots = Roots {
            public: PublicRoots::Mozilla,
            extra: ca.into_iter().collect(),
        };
        let roots = roots.read()?;
        let extra = roots.extra.contributions.values();
        let extra = extra.flat_map(|contribution| contribution.certificates.iter());
        let trust = Trust::Roots {
            roots: roots.public.iter().chain(extra).cloned().collect(),
            namespace: String::new(),
        };
        let settings = BucketSettings::of_bucket("", &url.bucket, &url.prefix);
        // Only AWS has the bucket in the host for certain.
        let settings = settings
            .and_then(|settings| {
                settings.at(s3_url.as_deref(), region.as_deref(), s3_url.is_some())
            })
            .map_err(|error| anyhow::Error::msg(advice::setting(&error)))?;
        let proxies = Proxies::from_env();
        let services = Services {
            trust: trust.clone(),
            // Whoever runs the command names the store.
            denied: DeniedAddresses::nothing(),
            proxies: proxies.clone(),
            timing: Timing::default(),
        };
        let credentials = personal::read(
            variable,
            |path| std::fs::read_to_string(path).ok(),
            self.profile.as_deref(),
            region.as_deref().unwrap_or_default(),
            services,
        )
        .map_err(|error| no_credentials(&error))?;
        let reach = Reach {
            trust,
            denied: DeniedAddresses::nothing(),
            proxies,
            timing: Timing::default(),
        };
        Store::open(settings, credentials.into(), reach)
            .await
            .map_err(|error| described(&error))
    }
}

async fn read_envelope(store: &Store, backup: &str, artifact: &Artifact) -> Result<Vec<u8>, Error> {
    let reading = store.read(backup, artifact).await?;
    reading.bytes(envelope::MAX_BYTES as u64).await
}

async fn hash(store: &Store, backup: &str, artifact: &Artifact) -> Result<File, Error> {
    let reading = store.read(backup, artifact).await?;
    Ok(File {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: reading.sha256(|_| ()).await?.into(),
    })
}

/// Returns the error with what to do about it.
fn described(error: &Error) -> anyhow::Error {
    match &error.kind {
        ErrorKind::Credentials(error) => no_credentials(error),
        ErrorKind::Settings(error) => anyhow::Error::msg(advice::setting(error)),
        _ => anyhow::Error::msg(advice::described(error)),
    }
}

/// Returns why there are no credentials, for whoever runs the command: no BSL names them, and no
/// ServiceAccount has them.
fn no_credentials(error: &CredentialsError) -> anyhow::Error {
    let why = match error {
        CredentialsError::Identity { why } => {
            format!("this machine has no identity of its own: {why}")
        }
        CredentialsError::NoProfile { profile } => {
            format!("there is no profile `{}`", shown(profile))
        }
        CredentialsError::NotSupported(what) => {
            format!("the profile uses {what}, which velero-trust does not support")
        }
        error => error.to_string(),
    };
    anyhow::anyhow!(
        "there are no credentials for the bucket: {why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         or name a profile of ~/.aws/credentials that has both keys with --profile"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::credentials::ini::Setting;

    #[test]
    fn whoever_runs_the_command_is_told_how_to_give_credentials() {
        let text = |text: &str| text.to_owned();
        for (error, why) in [
            (
                CredentialsError::Identity {
                    why: text("it is late"),
                },
                "it is late",
            ),
            (
                CredentialsError::NoProfile { profile: text("p") },
                "no profile `p`",
            ),
            (
                CredentialsError::NotSupported(Setting {
                    line: 3,
                    name: "sso_session",
                }),
                "`sso_session` in line 3",
            ),
        ] {
            let told = no_credentials(&error).to_string();
            assert!(told.contains(why), "{told}");
            assert!(
                told.contains("AWS_ACCESS_KEY_ID") && told.contains("--profile"),
                "{told}"
            );
            for foreign in ["BSL", "spec.", "ServiceAccount"] {
                assert!(!told.contains(foreign), "{told}");
            }
        }
    }
}
