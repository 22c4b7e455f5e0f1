//! The CAs that no location names any longer, as a table.

use super::super::model::Namespace;
use super::{date, short_hash};
use crate::cli::table::Table;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "RETAINED CA", "SHA-256", "RETAINED UNTIL"])
}

/// Adds the retained CAs of a namespace.
pub(super) fn rows(table: &mut Table, namespace: &Namespace) {
    for retained in &namespace.retained {
        table.row([
            namespace.name.clone(),
            retained.certificate.subject.clone(),
            short_hash(&retained.certificate.fingerprint),
            date(&retained.until),
        ]);
    }
}
