//! How many backups could be restored now, as a table.

use super::super::model::{Backups, Namespace};
use crate::cli::table::Table;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "RESTORABLE BACKUPS", "RESTORES", "WHY NOT"])
}

/// Adds a row for a namespace that has backups.
pub(super) fn row(table: &mut Table, namespace: &Namespace) {
    let Some(backups) = namespace.backups.as_ref() else {
        return;
    };
    if backups.total == Some(0) {
        return;
    }
    let restores = backups.restores.unwrap_or("unknown");
    table.row([
        namespace.name.clone(),
        restorable(backups),
        restores.to_owned(),
        why_not(backups),
    ]);
}

fn restorable(backups: &Backups) -> String {
    match (backups.restorable, backups.total) {
        (Some(restorable), Some(total)) => format!("{restorable} of {total} now"),
        (None, Some(total)) => format!("unknown of {total}"),
        (_, None) => "unknown".to_owned(),
    }
}

/// Returns the reasons with their numbers, the most frequent first.
fn why_not(backups: &Backups) -> String {
    let mut reasons: Vec<_> = backups.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons = reasons.iter().map(|(why, count)| format!("{count}: {why}"));
    let all: Vec<_> = backups.message.clone().into_iter().chain(reasons).collect();
    all.join(", ")
}
