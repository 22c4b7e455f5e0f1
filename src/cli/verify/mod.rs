//! `velero-trust verify`: proves a backup without a cluster.

mod advice;
mod bucket;
mod directory;
mod judgement;
mod recipe;
mod report;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use self::bucket::BucketArgs;
use self::judgement::{Expected, Judgement, OtherEnvelope, judge};
use super::output_format::OutputFormat;
use super::stdout::Stdout;
use super::trusted_key_file::{self, FileKey};
use crate::bucket::BackupUrl;
use crate::decision::TrustedKey;
use crate::integrity::files;
use crate::integrity::manifest::File;
use crate::integrity::public_key::PublicKey;

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
  1  They are not: a file was changed, added or removed, the signature is not of these bytes, or it is
     another backup
  2  Something could not be read, so nothing is known
  3  None of the given keys that count for it signed the backup, so nothing is known

Each given key is trusted, and may have its own envelope: one envelope that signs exactly these files is
enough, and what the others say is told. If none does, 1 counts before 2, and 2 before 3. A TrustedKey counts
only in its state, until its time and for its scope, of which namespaces and locations are not compared: what
they are called here, no file tells. Who has only a revoked key, or one that is not for this backup, gets 3.

The signed name must be that of the directory, or --name. In a bucket, the signed bucket and prefix must be
those of the URL, or --recorded-in.

Volume data in kopia or restic repositories and in snapshots is not signed.";

/// Verify the files of a backup with a public key, without a cluster
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Verify {
    /// Directory with a copy of all files of one backup, or `s3://<bucket>/<prefix>/backups/<name>`
    #[arg(value_name = "DIRECTORY|URL")]
    place: PathBuf,

    /// File with a public key that may have signed the backup: PEM, or a TrustedKey in YAML; can be given
    /// several times
    #[arg(
        long = "key",
        value_name = "FILE",
        required_unless_present = "trusted_keys",
        env = "VELERO_TRUST_VERIFY_KEY",
        value_delimiter = ','
    )]
    keys: Vec<PathBuf>,

    /// Directory with TrustedKeys in YAML and public keys in PEM, such as that of a Git repository
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "VELERO_TRUST_VERIFY_TRUSTED_KEYS"
    )]
    trusted_keys: Option<PathBuf>,

    /// File with the envelope to verify with, instead of those beside the files
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_VERIFY_ENVELOPE")]
    envelope: Option<PathBuf>,

    /// Name that the backup must have [default: that of the directory]
    #[arg(long, value_name = "NAME", env = "VELERO_TRUST_VERIFY_NAME")]
    name: Option<String>,

    /// Bucket and prefix in which the backup must have been recorded, such as the one that a bucket was
    /// replicated from [default: those of the URL; of a directory, any]
    #[arg(
        long,
        value_name = "BUCKET[/PREFIX]",
        env = "VELERO_TRUST_VERIFY_RECORDED_IN"
    )]
    recorded_in: Option<String>,

    /// Print the commands that verify the same with openssl and sha256sum instead
    #[arg(long, env = "VELERO_TRUST_VERIFY_RECIPE")]
    recipe: bool,

    /// Output format
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
    /// The envelopes, those that are named after the given keys first.
    envelopes: Vec<FoundEnvelope>,
}

/// Most envelopes that are looked at, as many as in a cluster.
const MAX_ENVELOPES: usize = 16;

/// Returns which of the files named `envelopes` are looked at: anybody can rename one, so the key that verifies counts,
/// but those that are named after the keys, `expected`, come first.
fn choose_envelopes(mut envelopes: Vec<String>, expected: &[String]) -> Vec<String> {
    envelopes.sort_by_key(|name| !expected.contains(name));
    envelopes.truncate(MAX_ENVELOPES);
    envelopes
}

/// A file that should have an envelope.
#[derive(Debug)]
struct FoundEnvelope {
    /// The name of the file.
    name: String,
    /// Whether it is named after one of the given keys, or named by the user.
    is_expected: bool,
    /// Its content, or why it cannot be read.
    bytes: anyhow::Result<Vec<u8>>,
}

/// A given key and the file that it was read from.
#[derive(Debug)]
struct GivenKey {
    key: PublicKey,
    /// What it counts for.
    trusted: TrustedKey,
    file: PathBuf,
}

impl Verify {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let keys = self.read_keys()?;
        let url = self.url()?;
        let expected = self.expected(url.as_ref())?;
        if self.recipe {
            anyhow::ensure!(
                url.is_none(),
                "`--recipe` is for a directory; copy the files of the backup first"
            );
            return self.print_recipe(&keys, &expected);
        }
        let envelopes: Vec<String> = keys.iter().map(|given| envelope_name(&given.key)).collect();
        let mut found = match &url {
            Some(url) => self.bucket.read(url, &envelopes)?,
            None => directory::read(&self.place, &envelopes)?,
        };
        if let Some(path) = &self.envelope {
            let name = path.display().to_string();
            let read = fs::File::open(path).and_then(directory::read_envelope);
            let bytes = Ok(read.with_context(|| format!("cannot read {name}"))?);
            found.envelopes = vec![FoundEnvelope {
                name,
                is_expected: true,
                bytes,
            }];
        }
        let keys: Vec<TrustedKey> = keys.into_iter().map(|given| given.trusted).collect();
        match judge(found.envelopes, &keys, &expected, &found.files) {
            None => bail!(
                "{} has no envelope of velero-trust, so nothing is signed there; if the envelope is elsewhere, name it \
                 with `--envelope`",
                self.place.display()
            ),
            Some((judgement, others)) => self.report(&judgement, &others, &found.files),
        }
    }

    /// Returns what must be signed besides the files.
    fn expected(&self, url: Option<&BackupUrl>) -> anyhow::Result<Expected> {
        let given = self.name.as_ref();
        let name = match (url, given) {
            (Some(url), Some(name)) if *name != url.backup => bail!(
                "{} is that of the backup {}, and `--name` says {name}: no backup is both",
                self.place.display(),
                url.backup
            ),
            (Some(url), _) => url.backup.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => directory::name(&self.place)?,
        };
        let place = url.map(|url| format!("{}/{}", url.bucket, url.prefix));
        let read_in = place
            .as_ref()
            .map(|place| place.trim_end_matches('/').to_owned());
        let recorded_in = self.recorded_in.clone().or(place);
        Ok(Expected {
            name,
            name_advice: if url.is_some() || given.is_some() {
                ""
            } else {
                "; if the directory was renamed, name its backup with `--name`"
            },
            read_in,
            recorded_in: recorded_in.map(|place| place.trim_end_matches('/').to_owned()),
            recorded_in_advice: if self.recorded_in.is_some() {
                ""
            } else {
                "; if this is a copy of that bucket, name that with `--recorded-in`"
            },
        })
    }

    /// Returns the backup in a bucket; `None` if it is in a directory.
    fn url(&self) -> anyhow::Result<Option<BackupUrl>> {
        let Some(text) = self.place.to_str().filter(|text| text.contains("://")) else {
            return Ok(None);
        };
        if !text.starts_with("s3://") {
            bail!(
                "{text} is no URL of S3, and no other bucket is read; copy the folder of the backup with the \
                 cloud's own tool, and give the directory"
            );
        }
        let url = BackupUrl::parse(text);
        let form = "s3://<bucket>/<prefix>/backups/<name>";
        url.map(Some)
            .with_context(|| format!("{text} does not have the form {form}"))
    }

    fn read_keys(&self) -> anyhow::Result<Vec<GivenKey>> {
        let mut found = Vec::new();
        for file in &self.keys {
            let keys = trusted_key_file::read(file)?.into_iter();
            found.extend(keys.map(|key| (file.clone(), key)));
        }
        if let Some(directory) = &self.trusted_keys {
            found.extend(trusted_key_file::read_directory(directory)?);
        }
        let keys = found.into_iter().map(|(file, FileKey { key, trusted })| {
            let mut trusted = TrustedKey::from(trusted);
            if trusted.name.is_empty() {
                trusted.name = file.display().to_string();
            }
            GivenKey { key, trusted, file }
        });
        Ok(keys.collect())
    }

    fn report(
        &self,
        judgement: &Judgement,
        others: &[OtherEnvelope],
        files: &[File],
    ) -> anyhow::Result<u8> {
        match judgement {
            Judgement::Verified { verified, trusted } => {
                report::verified(self.output, (verified, trusted), files, others)?;
                Ok(if verified.differences.is_empty() {
                    exit::GOOD
                } else {
                    exit::NOT_GOOD
                })
            }
            Judgement::NotGood(why) => {
                report::failure(self.output, why, others)?;
                Ok(exit::NOT_GOOD)
            }
            Judgement::NotVouched(why) | Judgement::UnknownKey(why) => {
                report::failure(self.output, why, others)?;
                Ok(exit::UNKNOWN_KEY)
            }
            Judgement::Unreadable(why) => {
                let others = others
                    .iter()
                    .map(|other| format!("; {}: {}", other.envelope, other.says));
                bail!("{why}{}", others.collect::<String>())
            }
        }
    }

    fn print_recipe(&self, keys: &[GivenKey], expected: &Expected) -> anyhow::Result<u8> {
        let [given] = keys else {
            bail!("`--recipe` takes one key; give `--key` once");
        };
        let beside = self.place.join(envelope_name(&given.key));
        let envelope = self.envelope.as_ref().unwrap_or(&beside);
        let recipe = recipe::recipe(&self.place, envelope, &given.key, &given.file, expected)?;
        Stdout::fail_when_closed().write_all(recipe.as_bytes())?;
        Ok(exit::GOOD)
    }
}

fn envelope_name(key: &PublicKey) -> String {
    files::envelope(&key.id().to_string())
}
