//! The Restores that wait, as a table.

use super::super::model::Namespace;
use crate::cli::table::Table;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&[
        "NAMESPACE",
        "WAITING RESTORE",
        "BACKUP",
        "CREATED",
        "WAITS FOR",
    ])
}

/// Adds a row for each Restore of a namespace that waits.
pub(super) fn rows(table: &mut Table, namespace: &Namespace) {
    for restore in &namespace.waiting_restores {
        let or =
            |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        let why = if restore.why.is_empty() {
            "Velero to try it"
        } else {
            &restore.why
        };
        table.row([
            namespace.name.clone(),
            restore.name.clone(),
            or(&restore.backup, "the newest of a schedule"),
            or(&restore.created, "unknown"),
            why.to_owned(),
        ]);
    }
}
