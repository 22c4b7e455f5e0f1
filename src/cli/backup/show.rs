//! `velero-trust backup show`: one record, and the files that are signed.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};

use super::signed::{sha256sums, signed};
use super::view::View;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::output_format::OutputFormat;
use crate::cli::snapshot::{self, LedgerError};
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, exit, install_crypto_provider, json, parse, print_error, runtime};
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::{BackupRecord, BackupRecordSpec, name_prefix};
use crate::names::CHECKSUM_ANNOTATION;
use crate::velero::printable::printable_lines;

/// Number of records in one page of the list. Only their metadata is read.
const PAGE_SIZE: u32 = 500;

const AFTER_HELP: &str = "\
Exit codes:
  0  Success
  1  What the record says is not what a key of this cluster signed
  2  Invalid usage, there is no such record, or with --sha256sums the backup is not recorded";

/// Show the record of a backup, and the files that are signed
///
/// The files, their sizes and digests are those that one of the TrustedKeys of the cluster signed.
/// They are not compared with the bucket; `velero-trust verify` does that.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Show {
    /// Name of the Backup
    #[arg(value_name = "NAME", value_parser = parse::object)]
    name: String,

    /// Namespace that Velero is installed in [default: the only one with a record of this name]
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_BACKUP_VELERO_NAMESPACE"
    )]
    velero_namespace: Option<String>,

    /// Print only the digests of the signed files, as `sha256sum -c` reads them
    #[arg(
        long,
        conflicts_with = "output",
        env = "VELERO_TRUST_BACKUP_SHA256SUMS"
    )]
    sha256sums: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_BACKUP_OUTPUT"
    )]
    output: OutputFormat,
}

impl Show {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let view = runtime()?.block_on(self.read())?;
        let mut out = Stdout::fail_when_closed();
        if self.sha256sums {
            return match &view.signed {
                Some(Ok(opened)) => {
                    out.write_all(sha256sums(opened).as_bytes())?;
                    Ok(exit::CLEAN)
                }
                Some(Err(why)) => {
                    print_error(&anyhow::anyhow!("{}: {why}", self.name));
                    Ok(exit::FINDINGS)
                }
                None => bail!(
                    "{}: its files are not recorded: {}",
                    self.name,
                    view.why_not()
                ),
            };
        }
        match self.output {
            OutputFormat::Json => json::write(&view.json(), &mut out)?,
            OutputFormat::Text | OutputFormat::Wide => {
                out.write_all(printable_lines(&view.text()).as_bytes())?;
            }
        }
        let is_wrong = matches!(view.signed, Some(Err(_)));
        Ok(if is_wrong {
            exit::FINDINGS
        } else {
            exit::CLEAN
        })
    }

    async fn read(&self) -> anyhow::Result<View> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let namespace = self.velero_namespace.as_deref();
        let (record, others) = find_record(&client, &self.name, namespace).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let signed = signed(&record, &keys);
        let by_hand = checksum_by_hand(&client, &record).await;
        Ok(View {
            record,
            signed,
            others,
            by_hand,
        })
    }
}

/// Returns the checksum of the Backup of `record` that no record says. A Backup that cannot be read has
/// none.
async fn checksum_by_hand(client: &Client, record: &BackupRecord) -> Option<String> {
    let known = record.known();
    if matches!(
        known.state,
        RecordState::Recorded | RecordState::Declared | RecordState::TarballOnly
    ) {
        return None;
    }
    let BackupRecordSpec {
        namespace, backup, ..
    } = &record.spec;
    let resource = crate::kubernetes::backup::resource();
    let backups = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let mut metadata = backups.get_metadata_opt(backup).await.ok()??.metadata;
    let is_it = metadata.uid.as_deref() == Some(known.uid);
    let annotations = metadata.annotations.as_mut().filter(|_| is_it)?;
    annotations.remove(CHECKSUM_ANNOTATION)
}

/// Reads the record of the Backup of this name. Returns the names of others as well.
async fn find_record(
    client: &Client,
    name: &str,
    namespace: Option<&str>,
) -> anyhow::Result<(BackupRecord, Vec<String>)> {
    let records = records_of(client, name).await;
    let records = records.map_err(|error| error.explain("records"))?;
    select(records, name, namespace)
}

/// Reads the records of Backups of this name in all namespaces.
pub(in crate::cli) async fn records_of(
    client: &Client,
    name: &str,
) -> Result<Vec<BackupRecord>, LedgerError> {
    let api = Api::<BackupRecord>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut names = Vec::new();
    loop {
        let page = api.list_metadata(&params).await?;
        let all = page.items.iter().map(ResourceExt::name_any);
        names.extend(all.filter(|record| may_be_of(record, name)));
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => break,
        }
    }
    let mut records = Vec::new();
    for record in names {
        let record = api.get_opt(&record).await?;
        records.extend(record.filter(|record| record.spec.backup == name));
    }
    Ok(records)
}

/// Whether the record of this name may be that of the Backup `name`. Names that are cut begin alike.
pub(super) fn may_be_of(record: &str, name: &str) -> bool {
    record.starts_with(&name_prefix(name))
}

/// Returns the record to show: that of the Backup that is there, else the newest. Returns the names
/// of the others as well.
pub(in crate::cli) fn select(
    records: Vec<BackupRecord>,
    name: &str,
    namespace: Option<&str>,
) -> anyhow::Result<(BackupRecord, Vec<String>)> {
    let is_wanted =
        |record: &BackupRecord| namespace.is_none_or(|one| one == record.spec.namespace);
    let mut records: Vec<_> = records.into_iter().filter(is_wanted).collect();
    let mut namespaces: Vec<_> = records
        .iter()
        .map(|record| record.spec.namespace.clone())
        .collect();
    namespaces.sort();
    namespaces.dedup();
    if namespaces.len() > 1 {
        bail!(
            "there are records of backups named {name} in several namespaces: {}; name one with \
             --velero-namespace",
            namespaces.join(", ")
        );
    }
    records.sort_by_key(|record| {
        let is_gone = record
            .status
            .as_ref()
            .is_some_and(|status| status.gone.is_some());
        let created = record.creation_timestamp().map(|time| time.0);
        (!is_gone, created)
    });
    let place = namespace.map_or_else(String::new, |one| format!(" in namespace {one}"));
    let Some(record) = records.pop() else {
        bail!(
            "there is no record of a backup named {name}{place}; `velero-trust backup list` shows what \
             there is"
        );
    };
    let others = records.iter().rev().map(ResourceExt::name_any);
    Ok((record, others.collect()))
}
