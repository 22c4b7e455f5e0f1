//! `velero-trust keys trust`: says that signatures of a key count in this cluster.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use kube::{Client, Error, ResourceExt as _};

use super::scope::ScopeArgs;
use super::wanted::{check_same, wanted};
use super::{fingerprint, object, signers};
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::{self, public_key};
use crate::cli::stdout::Stdout;
use crate::cli::trusted_key_file::{self, FileKey};
use crate::cli::{cluster, exit, install_crypto_provider, parse, runtime};
use crate::integrity::public_key::PublicKey;
use crate::kubernetes::crds::{TrustedKey, TrustedKeySpec};
use crate::kubernetes::error::lookup_error;

const AFTER_HELP: &str = "\
Exit codes:
  0  The key is trusted, or was before
  2  Invalid usage, the fingerprint is not that of the key, or the command failed

Backups that wait for the key are imported as soon as it is trusted; `velero-trust backup list` shows them.";

/// Trust a key of another cluster: its signatures on backups count here from now on
///
/// The key is in FILE, as `keys export` writes it, or beside a backup that Velero synced from the bucket. Anybody
/// who can write to the bucket can put a key there, so that one is trusted only if it has the fingerprint that
/// you have from elsewhere, such as from the sheet of paper with `keys show`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Trust {
    /// File with the public key: PEM, or a TrustedKey in YAML; `-` is standard input
    #[arg(
        value_name = "FILE",
        required_unless_present = "from_backup",
        conflicts_with = "from_backup"
    )]
    file: Option<PathBuf>,

    /// Take the key that signed this Backup, which came by sync
    #[arg(
        long,
        value_name = "BACKUP",
        value_parser = parse::object,
        requires = "fingerprint",
        env = "VELERO_TRUST_KEYS_FROM_BACKUP"
    )]
    from_backup: Option<String>,

    /// Fingerprint that the key must have: all 64 digits, with or without spaces and colons
    #[arg(long, value_name = "DIGITS")]
    fingerprint: Option<String>,

    /// Name of the TrustedKey [default: that in FILE, or velero-trust-<the first 16 digits>]
    #[arg(
        long,
        value_name = "NAME",
        value_parser = parse::object,
        env = "VELERO_TRUST_KEYS_NAME"
    )]
    name: Option<String>,

    #[command(flatten)]
    scope: ScopeArgs,

    /// Only ask the API server whether it would take the TrustedKey
    #[arg(long, env = "VELERO_TRUST_KEYS_DRY_RUN")]
    dry_run: bool,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_KEYS_TRUST_OUTPUT"
    )]
    output: Format,

    /// With `--from-backup`: namespace that Velero is installed in [default: the only one with a record of this
    /// name]
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_KEYS_VELERO_NAMESPACE"
    )]
    velero_namespace: Option<String>,

    /// With `--from-backup`: seconds to wait until Velero has synced the backup and the signed list beside it is read
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120,
        env = "VELERO_TRUST_KEYS_TRUST_WAIT"
    )]
    wait: u64,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// What was done, for people
    Text,
    /// The TrustedKey, for Git
    Yaml,
}

impl Trust {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let from_file = self.file.as_deref().map(read_one).transpose()?;
        runtime()?.block_on(self.trust(from_file))?;
        Ok(exit::CLEAN)
    }

    async fn trust(&self, from_file: Option<FileKey>) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let found = match from_file {
            Some(found) => found,
            None => self.read_signer(&client).await?,
        };
        let id = found.key.id();
        let fingerprint = self.fingerprint.as_deref();
        let (name, spec) = wanted(found, fingerprint, self.name.as_deref(), &self.scope)?;
        let same = keys
            .iter()
            .find(|one| public_key(one).is_ok_and(|one| one.id() == id));
        if let Some(same) = same {
            check_same(same, &spec)?;
            return self.tell(
                &same.name_any(),
                &same.spec,
                "is the TrustedKey of this key already, and nothing is changed",
            );
        }
        let object = object::trusted_key(&name, spec, false);
        match object::create(&client, &object, self.dry_run).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.is_already_exists() => bail!(
                "the TrustedKey {name} has another key, and a key never changes; choose another name with --name"
            ),
            Err(error) => bail!(
                "cannot create the TrustedKey {name}: {}",
                lookup_error(&error).message
            ),
        }
        let done = if self.dry_run {
            "would be trusted (dry run)"
        } else {
            "is trusted"
        };
        self.tell(&name, &object.spec, done)
    }

    /// Returns the key that signed a backup, which has the given fingerprint.
    async fn read_signer(&self, client: &Client) -> anyhow::Result<FileKey> {
        // clap requires both.
        let name = self.from_backup.as_deref().unwrap_or_default();
        let given = self.fingerprint.as_deref().unwrap_or_default();
        fingerprint::digits(given)?;
        let timeout = Duration::from_secs(self.wait);
        let namespace = self.velero_namespace.as_deref();
        let record = signers::wait_for_record(client, name, namespace, timeout).await?;
        let (key, pem) = signers::find(&record, given).map_err(|why| anyhow!(why))?;
        let spec = TrustedKeySpec {
            public_key: trusted_key_file::block(&pem).unwrap_or(pem),
            ..TrustedKeySpec::default()
        };
        Ok(FileKey {
            key,
            trusted: TrustedKey {
                metadata: kube::api::ObjectMeta::default(),
                spec,
            },
        })
    }

    fn tell(&self, name: &str, spec: &TrustedKeySpec, what: &str) -> anyhow::Result<()> {
        let text = match self.output {
            Format::Yaml => object::yaml(name, spec)?,
            Format::Text => {
                let id = PublicKey::from_pem(&spec.public_key)?.id();
                let fingerprint = fingerprint::indented(id);
                format!("trustedkey/{name} {what}; its fingerprint is\n{fingerprint}")
            }
        };
        Stdout::ignore_when_closed().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Reads the one key in a file.
fn read_one(path: &Path) -> anyhow::Result<FileKey> {
    let mut keys = trusted_key_file::read(path)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        _ => bail!(
            "{} has several TrustedKeys; give each in a file of its own, or `kubectl apply` the file",
            path.display()
        ),
    }
}
