//! `velero-trust keys export`: a public key for `verify`, or a copy of the private key.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use kube::ResourceExt as _;

use super::object;
use super::passphrase::PassphraseArgs;
use super::private;
use super::select::select;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::{self, public_key};
use crate::cli::stdout::Stdout;
use crate::cli::trusted_key_file::block;
use crate::cli::{cluster, exit, file, install_crypto_provider, runtime};
use crate::kubernetes::crds::{TrustedKey, TrustedKeySpec};

/// Permissions of a file with a public key.
const PUBLIC_MODE: u32 = 0o644;

/// Export a public key for `verify` or another cluster, or a copy of the key that signs
///
/// With `--output yaml`, the public key is a TrustedKey for Git and `kubectl apply`, with its state and scope. A
/// copy of the key that signs, made with `--private`, lets a new cluster sign as this one does; `keys import`
/// reads it. It is encrypted under a passphrase, and `openssl pkey -in FILE` opens it. The cluster is read with
/// the permissions of your kubeconfig; that the key was exported is noted on its TrustedKey.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// TrustedKey, or the first digits of its key id [default: the only one whose signatures count]
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// Format of the public key
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "pem",
        env = "VELERO_TRUST_KEYS_EXPORT_OUTPUT"
    )]
    output: Format,

    /// Write the public key to this file instead of standard output
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_KEYS_OUT")]
    out: Option<PathBuf>,

    /// Write the key that signs, which is secret, to this new file instead; `-` is standard output
    ///
    /// Only you can read the file. Standard output must not be a terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    private: Option<PathBuf>,

    #[command(flatten)]
    passphrase: PassphraseArgs,

    /// With `--private`: do not encrypt the key
    #[arg(long, requires = "private", conflicts_with = "passphrase_file")]
    unencrypted: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A format of a public key.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// PEM, for `verify --key` and openssl
    Pem,
    /// A TrustedKey, for Git and `kubectl apply`
    Yaml,
}

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        // Checked before the key is read.
        let passphrase = match &self.private {
            Some(path) => {
                private::check_place(path)?;
                let encrypted = (!self.unencrypted).then(|| self.passphrase.choose(path));
                encrypted.transpose()?
            }
            None => None,
        };
        runtime()?.block_on(self.export(passphrase.as_deref()))?;
        Ok(exit::CLEAN)
    }

    async fn export(&self, passphrase: Option<&str>) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        if let Some(path) = &self.private {
            let namespace = &self.own.namespace;
            return private::export(&client, namespace, &keys, path, passphrase).await;
        }
        let key = select(&keys, self.key.as_deref()).map_err(|why| anyhow!(why))?;
        let pem = public_pem(key)?;
        let text = match self.output {
            Format::Pem => pem,
            Format::Yaml => {
                let spec = TrustedKeySpec {
                    public_key: pem,
                    ..key.spec.clone()
                };
                object::yaml(&key.name_any(), &spec)?
            }
        };
        match &self.out {
            Some(path) => {
                let written = file::write(path, text.as_bytes(), PUBLIC_MODE);
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => Stdout::fail_when_closed().write_all(text.as_bytes())?,
        }
        Ok(())
    }
}

/// Returns the PEM of a key, with nothing else that may be in its field.
fn public_pem(key: &TrustedKey) -> anyhow::Result<String> {
    let name = key.name_any();
    let id = public_key(key)
        .with_context(|| format!("the TrustedKey {name} cannot be used"))?
        .id();
    block(&key.spec.public_key)
        .with_context(|| format!("the TrustedKey {name} ({id}) has no whole PEM block"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::{Algorithm, PublicKey};
    use crate::kubernetes::crds::KeyState;
    use crate::signing_key::SigningKey;
    use serde_json::json;

    fn trusted(name: &str, pem: &str, state: KeyState) -> TrustedKey {
        let key = json!({
            "metadata": {"name": name}, "spec": {"publicKey": pem, "state": state},
        });
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn what_is_exported_is_the_key_and_nothing_beside_it() {
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let noisy = format!("a comment\u{1b}[2J\n{}\nmore", key.public_pem());
        let pem = public_pem(&trusted("a", &noisy, KeyState::Active)).unwrap();
        assert!(
            pem.starts_with("-----BEGIN") && pem.ends_with("-----\n"),
            "{pem}"
        );
        assert_eq!(PublicKey::from_pem(&pem).unwrap().id(), key.public().id());
        assert!(public_pem(&trusted("a", "x", KeyState::Active)).is_err());
    }
}
