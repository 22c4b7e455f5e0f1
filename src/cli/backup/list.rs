//! `velero-trust backup list`: the records of backups, and the backups without one.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use kube::api::{DynamicObject, ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;

use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::{OwnNamespace, VeleroNamespaces};
use crate::cli::output_format::OutputFormat;
use crate::cli::snapshot::Records;
use crate::cli::stdout::{MAX_COLUMNS, Stdout};
use crate::cli::table::Table;
use crate::cli::{cluster, exit, install_crypto_provider, json, print_warning, runtime};
use crate::integrity::recording::find_own;
use crate::kubernetes::crds::{BackupRecord, Gone};
use crate::kubernetes::error::lookup_error;
use crate::velero::observed_backup::ObservedBackup;

/// Number of Backups in one page of the list. Only their metadata is read.
const PAGE_SIZE: u32 = 500;

/// The level of a Backup that is not recorded and has a checksum.
const BY_HAND: &str = "by hand";

/// The state of a Backup without a record.
const NO_RECORD: &str = "NoRecord";

/// List the backups with their records
///
/// Shows each record, also those of Backups that are gone, and each Backup that has no record. What
/// is shown is what the records say; `velero-trust backup show` verifies what is signed.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    namespaces: VeleroNamespaces,

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

/// A record, or a Backup without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    backup: String,
    /// The name of the record; null if the Backup has none.
    record: Option<String>,
    state: String,
    reason: Option<String>,
    message: Option<String>,
    level: Option<String>,
    /// The TrustedKey by which the record was imported; null if this cluster recorded the files.
    imported_by: Option<String>,
    /// Whether the Backup has a checksum that no record says.
    checksum_by_hand: bool,
    files: Option<i64>,
    bytes: Option<i64>,
    recorded_at: Option<String>,
    gone: Option<RowGone>,
}

/// When and how a Backup went away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct RowGone {
    at: String,
    how: String,
}

impl From<&Gone> for RowGone {
    fn from(gone: &Gone) -> Self {
        Self {
            at: gone.at.0.to_string(),
            how: gone.how.as_str().to_owned(),
        }
    }
}

impl Row {
    fn of(record: &BackupRecord) -> Self {
        let status = record.status.clone().unwrap_or_default();
        Self {
            namespace: record.spec.namespace.clone(),
            backup: record.spec.backup.clone(),
            record: Some(record.name_any()),
            state: status.state.as_str().to_owned(),
            reason: status.reason,
            message: status.message,
            level: status.level,
            imported_by: status.imported.map(|imported| imported.key),
            checksum_by_hand: false,
            files: status.files,
            bytes: status.bytes,
            recorded_at: status.recorded_at.map(|time| time.0.to_string()),
            gone: status.gone.as_ref().map(RowGone::from),
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    backups: &'a [Row],
}

impl List {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let rows = runtime()?.block_on(self.rows())?;
        let mut out = Stdout::fail_when_closed();
        match self.output {
            OutputFormat::Json => json::write(&Json { backups: &rows }, &mut out)?,
            OutputFormat::Text => out.write_lines(&text(&rows, MAX_COLUMNS), |_| None)?,
            OutputFormat::Wide => out.write_lines(&text(&rows, usize::MAX), |_| None)?,
        }
        Ok(exit::CLEAN)
    }

    async fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let records = Records::read(&client)
            .await
            .map_err(|error| error.explain("records"))?;
        let wanted = &self.namespaces.velero_namespace;
        let is_wanted = |namespace: &String| wanted.is_empty() || wanted.contains(namespace);
        let backups = backups(&client, wanted).await.unwrap_or_else(|why| {
            print_warning(&format!("Backups without a record are not shown: {why}"));
            Vec::new()
        });
        let mut rows = rows(&backups, &records);
        rows.retain(|row| is_wanted(&row.namespace));
        if let Some(empty) = wanted
            .iter()
            .find(|namespace| !rows.iter().any(|row| row.namespace == **namespace))
        {
            bail!("namespace {empty} has no Backup, and no record of one; is its name right?");
        }
        rows.sort();
        Ok(rows)
    }
}

/// Reads the Backups in `namespaces`, in all if there are none, without anything but their metadata.
pub(super) async fn backups(
    client: &Client,
    namespaces: &[String],
) -> Result<Vec<ObservedBackup>, String> {
    let resource = crate::kubernetes::backup::resource();
    let everywhere = || Api::<DynamicObject>::all_with(client.clone(), &resource);
    let in_namespace =
        |name: &String| Api::<DynamicObject>::namespaced_with(client.clone(), name, &resource);
    let mut apis: Vec<_> = namespaces.iter().map(in_namespace).collect();
    if apis.is_empty() {
        apis.push(everywhere());
    }
    let mut backups = Vec::new();
    for api in apis {
        let mut params = ListParams::default().limit(PAGE_SIZE);
        loop {
            let page = api.list_metadata(&params).await;
            let page = page.map_err(|error| lookup_error(&error).message)?;
            backups.extend(page.items.iter().filter_map(observed));
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => params = params.continue_token(&next),
                _ => break,
            }
        }
    }
    Ok(backups)
}

fn observed(metadata: &PartialObjectMeta<DynamicObject>) -> Option<ObservedBackup> {
    let text = serde_json::to_string(metadata).ok()?;
    ObservedBackup::from_json(&text)
}

/// Returns a row for each of the `records`, and for each of the `backups` that has none.
fn rows(backups: &[ObservedBackup], records: &Records) -> Vec<Row> {
    let mut own = BTreeMap::new();
    let mut rows = Vec::new();
    for backup in backups {
        let records = records.of(&backup.fields.namespace, &backup.fields.name);
        let known: Vec<_> = records.iter().map(BackupRecord::known).collect();
        let by_hand = backup.checksum.is_some();
        match find_own(&backup.fields.uid, &known).map(|found| found.uid) {
            None => rows.push(Row {
                namespace: backup.fields.namespace.clone(),
                backup: backup.fields.name.clone(),
                state: NO_RECORD.to_owned(),
                checksum_by_hand: by_hand,
                ..Row::default()
            }),
            Some(uid) => {
                let record = records.iter().find(|record| record.spec.uid == uid);
                own.extend(record.map(|record| (record.name_any(), by_hand)));
            }
        }
    }
    rows.extend(records.all().map(|record| {
        let row = Row::of(record);
        let by_hand = own.get(&record.name_any()).copied().unwrap_or_default();
        Row {
            checksum_by_hand: by_hand && row.level.is_none(),
            ..row
        }
    }));
    rows
}

const HEADER: [&str; 9] = [
    "NAMESPACE",
    "BACKUP",
    "STATE",
    "REASON",
    "LEVEL",
    "FILES",
    "BYTES",
    "RECORDED",
    "GONE",
];

/// The column of the keys by which records were imported, if some were.
const AFTER_LEVEL: usize = 5;

fn text(rows: &[Row], columns: usize) -> String {
    let mut header = HEADER.to_vec();
    let has_imports = rows.iter().any(|row| row.imported_by.is_some());
    if has_imports {
        header.insert(AFTER_LEVEL, "IMPORTED BY");
    }
    let mut table = Table::new(&header);
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    for row in rows {
        let gone = row.gone.as_ref();
        let by_hand = row.checksum_by_hand.then(|| BY_HAND.to_owned());
        let level = row.level.clone().or(by_hand);
        let mut cells = vec![
            row.namespace.clone(),
            row.backup.clone(),
            row.state.clone(),
            row.reason.clone().unwrap_or_default(),
            level.unwrap_or_default(),
            number(row.files),
            number(row.bytes),
            row.recorded_at.clone().unwrap_or_default(),
            gone.map_or_else(String::new, |gone| format!("{} {}", gone.how, gone.at)),
        ];
        if has_imports {
            cells.insert(AFTER_LEVEL, row.imported_by.clone().unwrap_or_default());
        }
        table.row(cells);
    }
    if table.is_empty() {
        return "There is no Backup, and no record of one.\n".to_owned();
    }
    table.text_within(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn records() -> Records {
        let record = |name: &str, uid: &str, status: serde_json::Value| {
            let record = json!({
                "metadata": {"name": format!("{name}.{uid}")},
                "spec": {"namespace": "velero", "backup": name, "uid": uid},
                "status": status,
            });
            serde_json::from_value(record).unwrap()
        };
        let mut records = Records::default();
        records.add(record(
            "daily",
            "u",
            json!({"state": "Recorded", "level": "late", "files": 9, "bytes": 10,
                "recordedAt": "2026-01-01T00:00:00Z", "checksum": "c", "manifest": "m", "syncedAs": "synced",
                "gone": {"at": "2026-01-02T00:00:00Z", "how": "Deleted"}}),
        ));
        records.add(record(
            "forged",
            "v",
            json!({"state": "Unobserved", "reason": "Synced\u{1b}[2J\u{202e}"}),
        ));
        records
    }

    fn backup(name: &str, uid: &str) -> ObservedBackup {
        let backup = json!({"metadata": {
            "namespace": "velero", "name": name, "uid": uid,
            "annotations": {"velero-trust.io/checksum": "c", "velero-trust.io/manifest": "m"},
        }});
        ObservedBackup::from_json(&backup.to_string()).unwrap()
    }

    #[test]
    fn by_which_key_a_record_was_imported_is_shown() {
        let mut rows = rows(&[], &records());
        rows.sort();
        let header = |rows: &[Row]| text(rows, usize::MAX).lines().next().map(str::to_owned);
        assert!(!header(&rows).unwrap().contains("IMPORTED BY"));
        let imported = json!({
            "metadata": {"name": "daily.u"},
            "spec": {"namespace": "velero", "backup": "daily", "uid": "u"},
            "status": {"state": "Recorded", "level": "late", "imported": {"key": "cluster-a", "keyId": "k"}},
        });
        rows[0] = Row::of(&serde_json::from_value(imported).unwrap());
        let text = text(&rows, usize::MAX);
        let words = |line: usize| {
            let words = text.lines().nth(line).unwrap().split_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let at = words(0).iter().position(|word| word == "IMPORTED").unwrap();
        assert_eq!(words(1)[at], "cluster-a", "{text}");
        assert_eq!(
            serde_json::to_value(&rows[0]).unwrap()["importedBy"],
            "cluster-a"
        );
    }

    #[test]
    fn each_record_and_each_backup_without_one_has_a_row() {
        let records = records();
        let backups = [
            backup("daily", "synced"),
            backup("forged", "v"),
            backup("forged", "other"),
            backup("new", "w"),
            ObservedBackup {
                checksum: None,
                ..backup("without", "x")
            },
        ];
        let mut rows = rows(&backups, &records);
        rows.sort();
        let expected = "\
NAMESPACE   BACKUP   STATE        REASON          LEVEL    FILES    BYTES    RECORDED               GONE
velero      daily    Recorded     <none>          late     9        10       2026-01-01T00:00:00Z   Deleted 2026-01-02T00:00:00Z
velero      forged   NoRecord     <none>          by hand  <none>   <none>   <none>                 <none>
velero      forged   Unobserved   Synced [2J      by hand  <none>   <none>   <none>                 <none>
velero      new      NoRecord     <none>          by hand  <none>   <none>   <none>                 <none>
velero      without  NoRecord     <none>          <none>   <none>   <none>   <none>                 <none>
";
        let squeezed = |text: &str| {
            let lines = text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines
                .collect::<Vec<_>>()
                .into_iter()
                .map(|words| words.join(" "))
                .collect::<Vec<_>>()
        };
        let text = text(&rows, usize::MAX);
        assert_eq!(squeezed(&text), squeezed(expected));
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert!(super::text(&[], 120).starts_with("There is no Backup"));
    }
}
