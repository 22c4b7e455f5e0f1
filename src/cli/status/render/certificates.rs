//! What is in each bundle, as a table.

use super::super::model::{Item, Namespace};
use super::{date, short};
use crate::cli::table::Table;

/// The table without a row.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "CERTIFICATE", "EXPIRES", "SHA-256", "NAMED BY"])
}

/// The public roots, of which there are many, as one row.
pub(super) fn rows(table: &mut Table, namespace: &Namespace) {
    let items = namespace.bundle.items.iter().flatten();
    let is_plain = |item: &&Item| item.public && item.from.is_empty();
    let (public, others): (Vec<_>, Vec<_>) = items.partition(is_plain);
    for Item {
        certificate, from, ..
    } in others
    {
        let from = if from.is_empty() {
            "installation or retention".to_owned()
        } else {
            from.join(", ")
        };
        table.row([
            namespace.name.clone(),
            certificate.subject.clone(),
            date(&certificate.not_after),
            short(&certificate.fingerprint),
            from,
        ]);
    }
    let first = public.iter().map(|item| &item.certificate.not_after).min();
    if let Some(first) = first {
        table.row([
            namespace.name.clone(),
            format!("{} public roots", public.len()),
            format!("{} (the first)", date(first)),
            String::new(),
            "installation".to_owned(),
        ]);
    }
}
