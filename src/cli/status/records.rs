//! Whether backups can be recorded, and the key that signs them exported.

use kube::ResourceExt as _;

use super::model::{Backups, FIX_SEPARATOR, Records, SigningKey};
use crate::cli::snapshot::{
    INSTALL_LEDGER, LedgerError, NotRecordedState, is_exported, signing_key,
};
use crate::kubernetes::crds::TrustedKey;

/// The command that exports the key that signs.
pub(super) const EXPORT: &str = "velero-trust keys export --private velero-trust-signing-key.pem";

/// Returns what is shown of the records. `failure` is why they could not be read.
pub(super) fn summarize(
    failure: Option<&LedgerError>,
    keys: &Result<Vec<TrustedKey>, LedgerError>,
) -> Records {
    let failure = failure.or_else(|| keys.as_ref().err());
    let keys = keys.as_deref().unwrap_or_default();
    Records {
        installed: match failure {
            None => Some(true),
            Some(LedgerError::NotInstalled) => Some(false),
            Some(LedgerError::Unreadable(_)) => None,
        },
        signing_key: signing_key(keys).map(|key| SigningKey {
            trusted_key: key.name_any(),
            exported: is_exported(keys),
        }),
        message: failure.map(ToString::to_string),
    }
}

/// Returns the problems that concern all records.
pub(super) fn problems(records: &Records) -> Vec<String> {
    let mut problems = Vec::new();
    if records.installed == Some(false) {
        let message = records.message.as_deref().unwrap_or_default();
        problems.push(format!("{message}{FIX_SEPARATOR}{INSTALL_LEDGER}"));
    }
    if records
        .signing_key
        .as_ref()
        .is_some_and(|key| !key.exported)
    {
        problems.push(format!(
            "nobody has a copy of the key that signs backups: it was never exported, and is lost with \
             this cluster{FIX_SEPARATOR}{EXPORT}"
        ));
    }
    problems
}

/// Returns the problems that backups of a namespace cannot be read.
pub(super) fn unreadable(backups: &Backups) -> impl Iterator<Item = String> {
    let others = backups.not_recorded.iter();
    let unreadable = others.filter(|one| one.why.state == NotRecordedState::Unreadable);
    unreadable.map(|one| {
        let count = one.backups.count;
        let total = backups.total.unwrap_or_default();
        let message = one.backups.message.as_deref().unwrap_or_default();
        format!(
            "{count} of {total} backups cannot be recorded, because their files cannot be read: {message}"
        )
    })
}
