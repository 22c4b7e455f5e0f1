//! `velero-trust verify`: proves a backup without a cluster.

mod bucket;
mod directory;
mod recipe;
mod report;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use self::bucket::BucketArgs;
use super::output_format::OutputFormat;
use super::stdout::Stdout;
use crate::bucket::BackupUrl;
use crate::integrity::files;
use crate::integrity::manifest::File;
use crate::integrity::public_key::PublicKey;
use crate::integrity::verification::{self, VerificationError, Verified};

/// The exit codes of this command.
mod exit {
    /// The files are those that were signed.
    pub(super) const GOOD: u8 = 0;
    /// The files are not those that were signed.
    pub(super) const NOT_GOOD: u8 = 1;
    /// None of the given keys signed the backup.
    pub(super) const UNKNOWN_KEY: u8 = 3;
}

const AFTER_HELP: &str = "\
Exit codes:
  0  The files are those that were signed
  1  They are not: a file was changed, added or removed, or the signature is not of these bytes
  2  Something could not be read, so nothing is known
  3  None of the given keys signed the backup, so nothing is known

Volume data in kopia or restic repositories and in snapshots is not signed.";

/// Verify the files of a backup with a public key, without a cluster
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Verify {
    /// Directory with a copy of all files of one backup, or `s3://<bucket>/<prefix>/backups/<name>`
    #[arg(value_name = "DIRECTORY|URL")]
    place: PathBuf,

    /// File with a public key that may have signed the backup, in PEM; can be given several times
    #[arg(
        long = "key",
        value_name = "FILE",
        required = true,
        env = "VELERO_TRUST_VERIFY_KEY",
        value_delimiter = ','
    )]
    keys: Vec<PathBuf>,

    /// File with the envelope, if it is not in the directory
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_VERIFY_ENVELOPE")]
    envelope: Option<PathBuf>,

    /// Name that the backup must have
    #[arg(long, value_name = "NAME", env = "VELERO_TRUST_VERIFY_NAME")]
    name: Option<String>,

    /// Print the commands that verify the same with openssl and sha256sum instead
    #[arg(long, env = "VELERO_TRUST_VERIFY_RECIPE")]
    recipe: bool,

    /// OutputFormat format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_VERIFY_OUTPUT"
    )]
    output: OutputFormat,

    #[command(flatten)]
    bucket: BucketArgs,
}

/// What is in the directory of a backup.
#[derive(Debug, Default)]
struct Found {
    /// All files but the envelopes.
    files: Vec<File>,
    /// The envelope of one of the given keys.
    envelope: Option<Vec<u8>>,
    /// The names of the envelopes of other keys.
    others: Vec<String>,
}

/// A given key and the file that it was read from.
#[derive(Debug)]
struct GivenKey<'a> {
    key: PublicKey,
    file: &'a Path,
}

impl Verify {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let keys = self.read_keys()?;
        if self.recipe {
            return self.print_recipe(&keys);
        }
        let envelopes: Vec<String> = keys.iter().map(|given| envelope_name(&given.key)).collect();
        let url = self.url()?;
        let mut found = match &url {
            Some(url) => self.bucket.read(url, &envelopes)?,
            None => directory::read(&self.place, &envelopes)?,
        };
        if let Some(path) = &self.envelope {
            let read = directory::read_envelope(path);
            found.envelope = Some(read.with_context(|| format!("cannot read {}", path.display()))?);
        }
        let Some(envelope) = &found.envelope else {
            return self.without_envelope(&found);
        };
        let keys: Vec<&PublicKey> = keys.iter().map(|given| &given.key).collect();
        // A copied directory may have any name. In a bucket it is the name of the backup.
        let name = url.as_ref().map(|url| url.backup.as_str());
        let name = self.name.as_deref().or(name);
        match verification::verify(envelope, &keys, name, &found.files) {
            Ok(verified) => self.report(&verified, &found),
            Err(error @ VerificationError::UnknownKey(_)) => {
                report::failure(self.output, &error.to_string())?;
                Ok(exit::UNKNOWN_KEY)
            }
            Err(error) if error.is_proof() => {
                report::failure(self.output, &error.to_string())?;
                Ok(exit::NOT_GOOD)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the backup in a bucket; `None` if it is in a directory.
    fn url(&self) -> anyhow::Result<Option<BackupUrl>> {
        let Some(text) = self.place.to_str().filter(|text| text.contains("://")) else {
            return Ok(None);
        };
        let url = BackupUrl::parse(text);
        let form = "s3://<bucket>/<prefix>/backups/<name>";
        url.map(Some)
            .with_context(|| format!("{text} does not have the form {form}"))
    }

    fn read_keys(&self) -> anyhow::Result<Vec<GivenKey<'_>>> {
        let keys = self.keys.iter().map(|file| {
            let path = file.display();
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
            let key = PublicKey::from_pem(&text);
            let key = key.with_context(|| format!("{path} is no key that can be used"))?;
            Ok(GivenKey { key, file })
        });
        keys.collect()
    }

    /// Says why there is nothing to verify with.
    fn without_envelope(&self, found: &Found) -> anyhow::Result<u8> {
        let directory = self.place.display();
        if found.others.is_empty() {
            bail!(
                "{directory} has no envelope of velero-trust, so nothing is signed there; if the \
                 envelope is elsewhere, name it with `--envelope`"
            );
        }
        let others = found.others.join(", ");
        let message = format!("the backup is signed by other keys: {others}");
        report::failure(self.output, &message)?;
        Ok(exit::UNKNOWN_KEY)
    }

    fn report(&self, verified: &Verified, found: &Found) -> anyhow::Result<u8> {
        report::verified(self.output, verified, &found.files)?;
        Ok(if verified.differences.is_empty() {
            exit::GOOD
        } else {
            exit::NOT_GOOD
        })
    }

    fn print_recipe(&self, keys: &[GivenKey<'_>]) -> anyhow::Result<u8> {
        let [given] = keys else {
            bail!("`--recipe` takes one key; give `--key` once");
        };
        anyhow::ensure!(
            self.url()?.is_none(),
            "`--recipe` is for a directory; copy the files of the backup first"
        );
        let beside = self.place.join(envelope_name(&given.key));
        let envelope = self.envelope.as_ref().unwrap_or(&beside);
        let recipe = recipe::recipe(&self.place, envelope, &given.key, given.file);
        Stdout::fail_when_closed().write_all(recipe.as_bytes())?;
        Ok(exit::GOOD)
    }
}

fn envelope_name(key: &PublicKey) -> String {
    files::envelope(&key.id().to_string())
}
