//! The certificates of each bundle, as a table.

use super::super::model::{BundleCertificate, Namespace};
use super::{date, short_hash};
use crate::cli::table::Table;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "CERTIFICATE", "EXPIRES", "SHA-256", "NAMED BY"])
}

/// Adds the certificates of a namespace. The public roots are combined into one row, because there
/// are many of them.
pub(super) fn rows(table: &mut Table, namespace: &Namespace) {
    let items = namespace.bundle.items.iter().flatten();
    let is_only_public = |item: &&BundleCertificate| item.public && item.from.is_empty();
    let (public, others): (Vec<_>, Vec<_>) = items.partition(is_only_public);
    for BundleCertificate {
        certificate,
        from,
        retained_until,
        ..
    } in others
    {
        let from = match retained_until {
            Some(until) => format!("retained until {}", date(until)),
            None if from.is_empty() => "retention".to_owned(),
            None => from.join(", "),
        };
        table.row([
            namespace.name.clone(),
            certificate.subject.clone(),
            date(&certificate.not_after),
            short_hash(&certificate.fingerprint),
            from,
        ]);
    }
    let first_expiry = public.iter().map(|item| &item.certificate.not_after).min();
    if let Some(first_expiry) = first_expiry {
        table.row([
            namespace.name.clone(),
            format!("{} public roots", public.len()),
            format!("{} (the first)", date(first_expiry)),
            String::new(),
            "installation".to_owned(),
        ]);
    }
}
