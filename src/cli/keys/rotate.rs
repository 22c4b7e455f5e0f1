//! `velero-trust keys rotate`: another key signs from now on.

use std::io::Write as _;

use clap::Args;

use super::fingerprint;
use super::secret;
use super::signing::sign_with;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::key_type::KeyType;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot;
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, exit, install_crypto_provider, runtime};
use crate::integrity::public_key::Algorithm;
use crate::signing_key::SigningKey;

/// Make a new key that signs from now on
///
/// What the old key signed stays good, and nothing is signed again: its TrustedKey becomes VerifyOnly, for backups
/// that completed until now. The leader takes the new key at once. If somebody else may have the old key, revoke it
/// afterwards. You need the rights to get and update the Secret, and to create and patch TrustedKeys.
#[derive(Args, Debug)]
pub(super) struct Rotate {
    /// Type of the new key [default: that of the old one]
    #[arg(long, value_name = "TYPE", value_enum, env = "VELERO_TRUST_KEY_TYPE")]
    key_type: Option<KeyType>,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Rotate {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(self.rotate())?;
        Ok(exit::CLEAN)
    }

    async fn rotate(&self) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let namespace = &self.own.namespace;
        let old = secret::read(&client, namespace).await?;
        let same = old.key.as_ref().map(|key| key.public().algorithm());
        let algorithm = self.key_type.map(KeyType::algorithm).or_else(|| same.ok());
        let new = SigningKey::generate(algorithm.unwrap_or(Algorithm::EcdsaP256))?;
        let change = sign_with(&client, namespace, &keys, Some(old), &new).await?;
        let text = format!(
            "{} signs from now on; its fingerprint is\n{}{}Nobody has a copy of it yet: velero-trust keys export \
             --private velero-trust-signing-key.pem\nOther clusters do not know it yet: velero-trust keys export {} \
             --output yaml\n",
            change.new,
            fingerprint::indented(new.public().id()),
            retired(&change.retired),
            change.new,
        );
        Stdout::ignore_when_closed().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Returns a line about the keys that sign no more.
pub(super) fn retired(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(
        "{} signs no more; what it signed until now stays good (VerifyOnly).\n",
        names.join(", ")
    )
}
