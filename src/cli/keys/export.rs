//! `velero-trust keys export`: a public key for `verify`, or a copy of the private key.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error, ResourceExt};
use serde_json::json;

use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::{self, public_key};
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, eprint_line, exit, file, install_crypto_provider, runtime};
use crate::digest::Sha256;
use crate::kubernetes::crds::{KeyState, TrustedKey};
use crate::kubernetes::error::lookup_error;
use crate::names;
use crate::signing_key::SigningKey;

/// Field manager of the annotation.
const FIELD_MANAGER: &str = "velero-trust-keys";

/// Permissions of a file with a private key.
const PRIVATE_MODE: u32 = 0o600;

/// Permissions of a file with a public key.
const PUBLIC_MODE: u32 = 0o644;

/// Export a public key for `velero-trust verify`, or a copy of the key that signs
///
/// A copy of the key that signs, made with `--private`, lets a new cluster sign as this one does.
/// Keep it where nobody reads it who may not sign backups. The cluster is read with the permissions
/// of your kubeconfig; that the key was exported is noted on its TrustedKey.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// TrustedKey, or the first digits of its key id [default: the only one whose signatures count]
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// Write the public key to this file instead of standard output
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_KEYS_OUT")]
    out: Option<PathBuf>,

    /// Write the key that signs, which is secret, to this new file instead; `-` is standard output
    ///
    /// Only you can read the file. Standard output must not be a terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    private: Option<PathBuf>,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        // Checked before the key is read.
        if self.private.as_deref() == Some(Path::new("-")) && std::io::stdout().is_terminal() {
            bail!(
                "the key that signs is not written to a terminal; name a file, or pipe it into a program \
                 that encrypts it"
            );
        }
        runtime()?.block_on(self.export())?;
        Ok(exit::CLEAN)
    }

    async fn export(&self) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        if let Some(path) = &self.private {
            return self.export_private(&client, &keys, path).await;
        }
        let key = select(&keys, self.key.as_deref()).map_err(|why| anyhow!(why))?;
        let pem = public_pem(key)?;
        match &self.out {
            Some(path) => {
                let written = file::write(path, pem.as_bytes(), PUBLIC_MODE);
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => Stdout::fail_when_closed().write_all(pem.as_bytes())?,
        }
        Ok(())
    }

    async fn export_private(
        &self,
        client: &Client,
        keys: &[TrustedKey],
        path: &Path,
    ) -> anyhow::Result<()> {
        let namespace = &self.own.namespace;
        let key = read_private(client, namespace).await?;
        let id = key.public().id();
        if path == Path::new("-") {
            Stdout::fail_when_closed().write_all(key.to_pem().as_bytes())?;
        } else {
            let written = file::create(path, key.to_pem().as_bytes(), PRIVATE_MODE);
            written.with_context(|| format!("cannot write {}", path.display()))?;
            eprint_line(&format!(
                "velero-trust: wrote the key that signs, {id}, to {}; keep it apart from this cluster, \
                 where nobody reads it who may not sign backups",
                path.display()
            ));
        }
        let trusted = keys
            .iter()
            .find(|one| public_key(one).is_ok_and(|one| one.id() == id));
        let Some(trusted) = trusted else {
            bail!(
                "the key is exported, and has no TrustedKey where that could be noted; the leader makes \
                 one when it starts"
            );
        };
        let marked = mark(client, &trusted.name_any(), Timestamp::now()).await;
        marked.map_err(|error| {
            anyhow!(
                "the key is exported, and that cannot be noted on the TrustedKey {}, so `velero-trust \
                 status` goes on asking for it: {}",
                trusted.name_any(),
                lookup_error(&error).message
            )
        })
    }
}

/// Reads the key that signs. No error has anything of the content of the Secret.
async fn read_private(client: &Client, namespace: &str) -> anyhow::Result<SigningKey> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let what = format!("Secret {namespace}/{}", names::SIGNING_KEY);
    let secret = match secrets.get_opt(names::SIGNING_KEY).await {
        Ok(Some(secret)) => secret,
        Ok(None) => bail!(
            "{what} does not exist: the leader makes it before it records the first backup; is \
             velero-trust installed in {namespace} (--namespace)?"
        ),
        Err(error) => bail!("cannot read {what}: {}", lookup_error(&error).message),
    };
    let data = secret.data.unwrap_or_default();
    let pem = data.get(names::PRIVATE_KEY);
    let pem = pem.and_then(|pem| std::str::from_utf8(&pem.0).ok());
    let pem = pem.with_context(|| format!("{what} has no key {}", names::PRIVATE_KEY))?;
    SigningKey::from_pem(pem).with_context(|| format!("{what}: {}", names::PRIVATE_KEY))
}

/// Notes on a TrustedKey that its private half was exported.
async fn mark(client: &Client, name: &str, at: Timestamp) -> Result<(), Error> {
    let keys = Api::<TrustedKey>::all(client.clone());
    let annotations = json!({names::EXPORTED_AT: at.to_string()});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    keys.patch_metadata(name, &params, &patch).await.map(drop)
}

/// Returns the key with this name or whose id begins so; without one, the only one that counts.
fn select<'k>(keys: &'k [TrustedKey], wanted: Option<&str>) -> Result<&'k TrustedKey, String> {
    let id = |key: &TrustedKey| public_key(key).map(|key| key.id().to_string());
    let is_selected = |key: &&TrustedKey| match wanted {
        None => key.spec.state != KeyState::Revoked,
        Some(wanted) => {
            key.name_any() == wanted
                || !wanted.is_empty() && id(key).is_ok_and(|id| id.starts_with(wanted))
        }
    };
    let selected: Vec<_> = keys.iter().filter(is_selected).collect();
    match selected[..] {
        [key] => Ok(key),
        [] => Err(match wanted {
            Some(wanted) => format!(
                "there is no TrustedKey with the name or key id {wanted}; `velero-trust keys list` shows \
                 what there is"
            ),
            None => {
                "there is no TrustedKey whose signatures count; the leader makes one before it \
                     records the first backup"
                    .to_owned()
            }
        }),
        _ => {
            let names: Vec<_> = selected.iter().map(|key| key.name_any()).collect();
            Err(format!(
                "there are several keys, name one: {}",
                names.join(", ")
            ))
        }
    }
}

/// Returns the PEM of a key, with nothing else that may be in its field.
fn public_pem(key: &TrustedKey) -> anyhow::Result<String> {
    let name = key.name_any();
    let id: Sha256 = public_key(key)
        .with_context(|| format!("the TrustedKey {name} cannot be used"))?
        .id();
    let pem = key.spec.public_key.trim();
    let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
    let block = pem.find(begin).zip(pem.find(end));
    let block = block.and_then(|(from, to)| pem.get(from..to + end.len()));
    block
        .map(|block| format!("{block}\n"))
        .with_context(|| format!("the TrustedKey {name} ({id}) has no whole PEM block"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::{Algorithm, PublicKey};

    fn trusted(name: &str, pem: &str, state: KeyState) -> TrustedKey {
        let key = json!({
            "metadata": {"name": name}, "spec": {"publicKey": pem, "state": state},
        });
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn a_key_is_selected_by_its_name_or_id_and_never_guessed() {
        let [one, two] = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let keys = [
            trusted("one", &one.public_pem(), KeyState::Active),
            trusted("two", &two.public_pem(), KeyState::Revoked),
        ];
        let name = |keys, wanted| select(keys, wanted).map(ResourceExt::name_any);
        assert_eq!(name(&keys, None).as_deref(), Ok("one"));
        assert_eq!(name(&keys, Some("two")).as_deref(), Ok("two"));
        let id = two.public().id().to_string();
        assert_eq!(name(&keys, Some(&id[..16])).as_deref(), Ok("two"));
        assert!(
            name(&keys, Some(""))
                .unwrap_err()
                .contains("no TrustedKey with")
        );
        assert!(
            name(&keys, Some("three"))
                .unwrap_err()
                .contains("keys list")
        );
        let both = [
            keys[0].clone(),
            trusted("two", &two.public_pem(), KeyState::VerifyOnly),
        ];
        assert!(
            name(&both, None)
                .unwrap_err()
                .ends_with("name one: one, two")
        );
        assert!(
            name(&keys[1..], None)
                .unwrap_err()
                .contains("signatures count")
        );
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
