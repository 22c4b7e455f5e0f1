//! A copy of the key that signs, for `velero-trust keys export --private`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error, ResourceExt as _};
use serde_json::json;

use super::object::FIELD_MANAGER;
use super::secret;
use crate::cli::snapshot::public_key;
use crate::cli::stdout::Stdout;
use crate::cli::{eprint_line, file};
use crate::encrypted_key;
use crate::kubernetes::crds::TrustedKey;
use crate::kubernetes::error::lookup_error;
use crate::names;

/// Permissions of a file with a private key.
const PRIVATE_MODE: u32 = 0o600;

/// Fails if the key would be shown on a terminal.
pub(super) fn check_place(path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") && std::io::stdout().is_terminal() {
        bail!(
            "the key that signs is not written to a terminal; name a file, or pipe it into a program"
        );
    }
    Ok(())
}

/// Writes the key that signs to `path`, under `passphrase` if there is one, and notes that on its TrustedKey.
pub(super) async fn export(
    client: &Client,
    namespace: &str,
    keys: &[TrustedKey],
    path: &Path,
    passphrase: Option<&str>,
) -> anyhow::Result<()> {
    let key = secret::read(client, namespace).await?.key?;
    let id = key.public().id();
    let pem = match passphrase {
        Some(passphrase) => encrypted_key::encrypt(&key, passphrase)?,
        None => key.to_pem(),
    };
    if path == Path::new("-") {
        Stdout::fail_when_closed().write_all(pem.as_bytes())?;
    } else {
        write(path, &pem)?;
        let keep = match passphrase {
            Some(_) => "keep it, and apart from it the passphrase, outside of this cluster",
            None => {
                "it is not encrypted: keep it outside of this cluster, where nobody reads it who may not sign \
                 backups"
            }
        };
        eprint_line(&format!(
            "velero-trust: wrote the key that signs, {id}, to {}; {keep}",
            path.display()
        ));
    }
    let trusted = keys
        .iter()
        .find(|one| public_key(one).is_ok_and(|one| one.id() == id));
    let Some(trusted) = trusted else {
        bail!(
            "the key is exported, and has no TrustedKey where that could be noted; the leader makes one when it \
             starts"
        );
    };
    let marked = mark(client, &trusted.name_any(), Timestamp::now()).await;
    marked.map_err(|error| {
        anyhow!(
            "the key is exported, and that cannot be noted on the TrustedKey {}, so `velero-trust status` goes on \
             asking for it: {}",
            trusted.name_any(),
            lookup_error(&error).message
        )
    })
}

/// Writes `pem` to a new file that nobody else can read. One that is there stays as it is: others may have it open.
fn write(path: &Path, pem: &str) -> anyhow::Result<()> {
    let written = file::create(path, pem.as_bytes(), PRIVATE_MODE);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Notes on a TrustedKey that its private half was exported.
pub(super) async fn mark(client: &Client, name: &str, at: Timestamp) -> Result<(), Error> {
    let keys = Api::<TrustedKey>::all(client.clone());
    let annotations = json!({names::EXPORTED_AT: at.to_string()});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    keys.patch_metadata(name, &params, &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_read_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write(&path, "private").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // In a file that others may read, the key is not even for a moment.
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let why = format!("{:#}", write(&path, "private").unwrap_err());
        assert!(
            why.starts_with("cannot write ") && why.contains("exists"),
            "{why}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }
}
