//! `velero-trust keys import`: a copy of a private key signs in this cluster.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::jiff::Timestamp;

use super::passphrase::PassphraseArgs;
use super::rotate::retired;
use super::signing::sign_with;
use super::{fingerprint, private, secret};
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::stdout::Stdout;
use crate::cli::trusted_key_file::text;
use crate::cli::{cluster, exit, install_crypto_provider, print_warning, runtime, snapshot};
use crate::encrypted_key;
use crate::kubernetes::error::lookup_error;
use crate::signing_key::SigningKey;

/// Sign with the private key in FILE in this cluster
///
/// FILE is one that `keys export --private` wrote, or PKCS#8 in PEM of a P-256 or Ed25519 key of your own, encrypted
/// or not. It becomes the Secret with the key that signs, and gets its TrustedKey. If another key is there, it is
/// replaced only with `--replace`, as `keys rotate` does. You need the rights to get, create and update the Secret,
/// and to create and patch TrustedKeys.
#[derive(Args, Debug)]
pub(super) struct Import {
    /// File with the private key; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    passphrase: PassphraseArgs,

    /// Replace the key that signs now, which signs no more
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Import {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let key = read(&self.file, &self.passphrase)?;
        runtime()?.block_on(self.import(&key))?;
        Ok(exit::CLEAN)
    }

    async fn import(&self, key: &SigningKey) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let namespace = &self.own.namespace;
        let found = secret::find(&client, namespace).await?;
        if let Some(found) = &found {
            self.check_found(found, key)?;
        }
        let change = sign_with(&client, namespace, &keys, found, key).await?;
        let marked = private::mark(&client, &change.new, Timestamp::now()).await;
        if let Err(error) = marked {
            // The key signs all the same.
            print_warning(&format!(
                "it cannot be noted on the TrustedKey {} that there is a copy of the key: {}",
                change.new,
                lookup_error(&error).message
            ));
        }
        let text = format!(
            "{} signs in this cluster; its fingerprint is\n{}{}",
            change.new,
            fingerprint::indented(key.public().id()),
            retired(&change.retired),
        );
        Stdout::ignore_when_closed().write_all(text.as_bytes())?;
        Ok(())
    }

    /// Fails if another key signs, and is not to be replaced.
    fn check_found(&self, found: &secret::KeySecret, key: &SigningKey) -> anyhow::Result<()> {
        let what = secret::shown(&self.own.namespace);
        match &found.key {
            _ if self.replace => Ok(()),
            Ok(there) if there.public().id() == key.public().id() => Ok(()),
            Ok(there) => bail!(
                "{what} has another key, {}, which signs in this cluster; add --replace if it is to sign no more",
                there.public().id()
            ),
            Err(error) => bail!(
                "there is a {what}, and its key cannot be used ({error:#}); add --replace if it is to be replaced"
            ),
        }
    }
}

/// Reads a private key.
fn read(file: &Path, passphrase: &PassphraseArgs) -> anyhow::Result<SigningKey> {
    let shown = file.display();
    let text = text(file).with_context(|| format!("cannot read {shown}"))?;
    if encrypted_key::is_encrypted(&text) {
        let passphrase = passphrase.read(file)?;
        return encrypted_key::decrypt(&text, &passphrase)
            .with_context(|| format!("{shown} has no key that can be used"));
    }
    if text.contains("-----BEGIN PUBLIC KEY-----") || text.contains("kind: TrustedKey") {
        bail!(
            "{shown} has a public key, which cannot sign; to let its signatures count here: velero-trust keys trust \
             {shown}"
        );
    }
    SigningKey::from_pem(&text).with_context(|| format!("{shown} has no key that can be used"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::integrity::public_key::Algorithm;

    #[test]
    fn a_key_is_read_encrypted_or_not_and_what_is_none_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let [file, words] = ["key.pem", "passphrase"].map(|name| folder.path().join(name));
        fs::write(&words, "correct horse\n").unwrap();
        let passphrase = PassphraseArgs {
            passphrase_file: Some(words.clone()),
        };
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            read(&file, &passphrase).map(|key| key.public().id())
        };
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let encrypted = encrypted_key::encrypt(&key, "correct horse").unwrap();
        assert_eq!(read(&encrypted).unwrap(), key.public().id());
        assert_eq!(read(&key.to_pem()).unwrap(), key.public().id());
        let why = |text: &str| format!("{:#}", read(text).unwrap_err());
        assert!(why(&key.public_pem()).contains("keys trust"));
        let cut = key.to_pem();
        let cut = cut.get(..60).unwrap();
        let told = why(cut);
        assert!(told.contains("not the PEM of a private"), "{told}");
        assert!(!told.contains(&cut[30..50]), "{told}");
        fs::write(&words, "another horse").unwrap();
        assert!(why(&encrypted).contains("the passphrase is not that of the key"));
    }
}
