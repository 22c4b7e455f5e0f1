//! The records of backups and the keys that verify them, as the user may read them.

use std::collections::HashMap;

use kube::api::ListParams;
use kube::{Api, Client, Error};

use crate::decision::Key;
use crate::kubernetes::crds::{BackupRecord, TrustedKey};
use crate::kubernetes::error;

/// Number of records in one page of the list. Each has at most about 70 KiB, most of it the envelope.
const PAGE_SIZE: u32 = 50;

/// Why records or keys are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum LedgerError {
    /// The cluster does not have them. The text is "the kind … is", or of more kinds.
    #[error("{0} not installed, so no backup is recorded")]
    NotInstalled(&'static str),
    /// The API server did not answer with them.
    #[error("{0}")]
    Unreadable(String),
}

/// How the kinds are installed.
pub(in crate::cli) const INSTALL_LEDGER: &str = "kubectl apply -k manifests/crds";

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) if status.code == 404 => {
                Self::NotInstalled("the kinds BackupRecord and TrustedKey are")
            }
            error => Self::Unreadable(error::lookup_error(&error).message),
        }
    }
}

impl LedgerError {
    /// Returns the error of a command that needs `what`, with what to do.
    pub(in crate::cli) fn explain(self, what: &str) -> anyhow::Error {
        match self {
            Self::NotInstalled(_) => anyhow::anyhow!("{self}; run `{INSTALL_LEDGER}`"),
            Self::Unreadable(why) => anyhow::anyhow!("the {what} cannot be read: {why}"),
        }
    }
}

/// Reads all records, page by page, as they are stored. A page continues after the name of a record, so they come in the
/// order of their names.
pub(in crate::cli) async fn for_each_record(
    client: &Client,
    mut found: impl FnMut(BackupRecord),
) -> Result<(), LedgerError> {
    let api = Api::<BackupRecord>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = api.list(&params).await?;
        page.items.into_iter().for_each(&mut found);
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => return Ok(()),
        }
    }
}

/// The records without their envelopes and readings, by the Backup that they are about.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Records(HashMap<Key, Vec<BackupRecord>>);

impl Records {
    /// Reads all records, page by page.
    pub(in crate::cli) async fn read(client: &Client) -> Result<Self, LedgerError> {
        Self::read_each(client, |_| ()).await
    }

    /// Reads all records, and shows each as it is, in the order of their names.
    pub(super) async fn read_each(
        client: &Client,
        mut show: impl FnMut(&BackupRecord),
    ) -> Result<Self, LedgerError> {
        let mut records = Self::default();
        let add = |record| {
            show(&record);
            records.add(record);
        };
        for_each_record(client, add).await?;
        Ok(records)
    }

    /// Adds a record, of which the envelope, what was read for Restores and who wrote it are left out.
    pub(in crate::cli) fn add(&mut self, mut record: BackupRecord) {
        record.metadata.managed_fields = None;
        if let Some(status) = &mut record.status {
            status.envelope = None;
            if let Some(verification) = &mut status.verification {
                verification.reading = None;
            }
        }
        let key = Key::new(&*record.spec.namespace, &*record.spec.backup);
        self.0.entry(key).or_default().push(record);
    }

    /// Returns the records of the Backups of this namespace and name.
    pub(in crate::cli) fn of(&self, namespace: &str, name: &str) -> &[BackupRecord] {
        let records = self.0.get(&Key::new(namespace, name));
        records.map_or(&[], Vec::as_slice)
    }

    /// Returns all records.
    pub(in crate::cli) fn all(&self) -> impl Iterator<Item = &BackupRecord> {
        self.0.values().flatten()
    }
}

/// Reads all keys that verify backups.
pub(in crate::cli) async fn read_trusted_keys(
    client: &Client,
) -> Result<Vec<TrustedKey>, LedgerError> {
    let keys = Api::<TrustedKey>::all(client.clone());
    let listed = keys.list(&ListParams::default()).await;
    Ok(listed.map_err(keys_error)?.items)
}

/// Returns why the keys are not known. The kind of the records may be there.
fn keys_error(error: Error) -> LedgerError {
    match error.into() {
        LedgerError::NotInstalled(_) => LedgerError::NotInstalled("the kind TrustedKey is"),
        unreadable @ LedgerError::Unreadable(_) => unreadable,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn the_kind_that_is_missing_is_named() {
        let missing = || Error::Api(Status::failure("no", "NotFound").with_code(404).boxed());
        let told = |error: LedgerError| error.explain("keys").to_string();
        assert_eq!(
            told(keys_error(missing())),
            "the kind TrustedKey is not installed, so no backup is recorded; run `kubectl apply -k \
             manifests/crds`"
        );
        let records = told(missing().into());
        assert!(
            records.contains("BackupRecord and TrustedKey are not installed"),
            "{records}"
        );
    }
}
