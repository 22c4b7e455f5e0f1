//! `velero-trust keys revoke`: signatures of a key count no more.

use std::io::Write as _;

use anyhow::anyhow;
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::select::select;
use super::signing::patch;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::{self, LedgerError, public_key, signing_key};
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, eprint_line, exit, install_crypto_provider, runtime};
use crate::decision::{self, Key};
use crate::digest::Sha256;
use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::integrity::trust::Trust;
use crate::kubernetes::crds::{BackupRecord, KeyState, TrustedKey};
use crate::names;

/// Number of records in one page of the list, with their envelopes.
const PAGE_SIZE: u32 = 50;

/// Backups that are named.
const MAX_NAMED: usize = 20;

const AFTER_HELP: &str = "\
Exit codes:
  0  The key is revoked
  1  --yes was not given, so nothing was changed
  2  Invalid usage, or the command failed";

/// Revoke a key that others may have: its signatures count no more
///
/// Without `--yes`, only says for how many backups that closes the record, so that they are not restored. With
/// `--at`, what was recorded in this cluster before that time stays good: use it only if you know that nobody else
/// had the key then. You need the rights to list BackupRecords, and to list and patch TrustedKeys.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Revoke {
    /// TrustedKey, or the first digits of its key id
    #[arg(value_name = "KEY")]
    key: String,

    /// Why, for those who come after; it is written on the TrustedKey
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,

    /// What was recorded in this cluster before TIME stays good, such as 2026-11-30T12:00:00Z, or `now`
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,

    /// Revoke it, and do not only say what that does
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it says nothing".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    match text {
        "now" => Ok(Timestamp::now()),
        text => text.parse().map_err(|error: k8s_openapi::jiff::Error| {
            format!("{error}; use 2026-11-30T12:00:00Z or now")
        }),
    }
}

/// What becomes of the records that a key signed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Effect {
    /// The backups whose records say nothing any more.
    closed: Vec<Key>,
    /// How many stay good.
    kept: usize,
}

impl Effect {
    /// Adds a record that counts with the keys `before`, and may not with those `after`.
    fn add(&mut self, record: &decision::BackupRecord, key: Sha256, before: &Trust, after: &Trust) {
        if record.state != RecordState::Recorded {
            return;
        }
        match record::open(record, before) {
            Ok((opened, _)) if opened.signers.contains(&key) => {}
            _ => return,
        }
        if record::open(record, after).is_ok() {
            self.kept += 1;
        } else {
            self.closed.push(record.backup.clone());
        }
    }

    fn text(&self) -> String {
        let mut names: Vec<_> = self
            .closed
            .iter()
            .map(|key| format!("{}/{}", key.namespace, key.name))
            .collect();
        names.sort();
        let more = names.len().saturating_sub(MAX_NAMED);
        names.truncate(MAX_NAMED);
        let names = names.iter().map(|name| format!("  {name}\n"));
        let names: String = names.collect();
        let more = match more {
            0 => String::new(),
            more => format!("  and {more} more\n"),
        };
        let kept = match self.kept {
            0 => String::new(),
            kept => format!("records of backups that stay good: {kept}\n"),
        };
        format!(
            "records of backups that it closes: {}\n{names}{more}{kept}",
            self.closed.len()
        )
    }
}

impl Revoke {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(self.revoke())
    }

    async fn revoke(&self) -> anyhow::Result<u8> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let trusted = select(&keys, Some(&self.key)).map_err(|why| anyhow!(why))?;
        let name = trusted.name_any();
        let mut out = Stdout::ignore_when_closed();
        // One whose key cannot be read signed nothing that counts.
        if let Ok(key) = public_key(trusted) {
            let effect = self.effect(&client, &keys, &name, key.id()).await;
            let effect = effect.map_err(|error| error.explain("records"))?;
            write!(out, "{}", effect.text())?;
        }
        if !self.yes {
            eprint_line(&format!("velero-trust: to revoke {name}, add --yes"));
            return Ok(exit::FINDINGS);
        }
        let change = json!({
            "metadata": {"annotations": {names::REVOKED_BECAUSE: self.reason}},
            "spec": {"state": KeyState::Revoked, "revokedAt": self.at.map(Time)},
        });
        let patched = patch(&client, &name, &change).await;
        patched.map_err(|why| anyhow!("cannot revoke the TrustedKey {name}: {why}"))?;
        let signs = signing_key(&keys).is_some_and(|signing| signing.name_any() == name);
        write!(out, "{}", next(&name, signs))?;
        Ok(exit::CLEAN)
    }

    /// Returns what becomes of the records if the TrustedKey `name` is revoked.
    async fn effect(
        &self,
        client: &Client,
        keys: &[TrustedKey],
        name: &str,
        id: Sha256,
    ) -> Result<Effect, LedgerError> {
        let before: Vec<decision::TrustedKey> = keys.iter().cloned().map(Into::into).collect();
        let mut after = before.clone();
        for key in after.iter_mut().filter(|key| key.name == name) {
            key.state = KeyState::Revoked;
            key.revoked_at = self.at.map(Timestamp::as_second);
        }
        let (before, after) = (Trust::new(&before), Trust::new(&after));
        let records = Api::<BackupRecord>::all(client.clone());
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let mut effect = Effect::default();
        loop {
            let page = records.list(&params).await?;
            for record in page.items {
                effect.add(&record.into(), id, &before, &after);
            }
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => params = params.continue_token(&next),
                _ => return Ok(effect),
            }
        }
    }
}

/// Returns what is to be done after the revocation.
fn next(name: &str, signs: bool) -> String {
    let rotate = if signs {
        "It is the key that signs in this cluster, and no backup is recorded until there is another one:\n  \
         velero-trust keys rotate\n"
    } else {
        ""
    };
    format!(
        "{name} is revoked. If it is in Git, set spec.state to Revoked there, too, and revoke it in every cluster \
         that trusts it.\n{rotate}Backups whose record is closed are not restored. For each, look at what is in it \
         and vouch for it:\n  velero-trust backup adopt NAME\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_counted_and_named() {
        assert_eq!(
            Effect::default().text(),
            "records of backups that it closes: 0\n"
        );
        let effect = Effect {
            closed: (0..22)
                .map(|one| Key::new("velero", format!("b{one:02}")))
                .rev()
                .collect(),
            kept: 3,
        };
        let text = effect.text();
        assert!(
            text.starts_with("records of backups that it closes: 22\n  velero/b00\n"),
            "{text}"
        );
        assert!(
            text.ends_with("  velero/b19\n  and 2 more\nrecords of backups that stay good: 3\n"),
            "{text}"
        );
    }

    #[test]
    fn the_key_that_signs_needs_another_one() {
        assert!(next("a", true).contains("keys rotate"));
        assert!(!next("a", false).contains("keys rotate"));
        assert!(time("now").is_ok() && time("2026-11-30T12:00:00Z").is_ok());
        assert!(
            time("yesterday")
                .unwrap_err()
                .contains("use 2026-11-30T12:00:00Z or now")
        );
        assert!(reason(" ").is_err());
    }
}
