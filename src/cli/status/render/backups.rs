//! How many backups could be restored now, as a table.

use std::collections::BTreeMap;

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

/// Returns a line for each namespace in which more Restores would be refused, so that it is known before the
/// mode is chosen.
pub(super) fn before_enforcing(namespaces: &[Namespace]) -> String {
    let lines = namespaces.iter().filter_map(|namespace| {
        let backups = namespace.backups.as_ref()?;
        let (enforced, total) = (backups.enforced.as_ref()?, backups.total?);
        if total == 0 || backups.restores == Some("enforce") {
            return None;
        }
        let reasons = counted(&enforced.reasons).join(", ");
        let because = if reasons.is_empty() { "" } else { ": " };
        Some(format!(
            "{}: enforce would refuse {} of {total} backups{because}{reasons}\n",
            namespace.name, enforced.refused
        ))
    });
    lines.collect()
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
    let message = backups.message.clone().into_iter();
    let all: Vec<_> = message.chain(counted(&backups.reasons)).collect();
    all.join(", ")
}

fn counted(reasons: &BTreeMap<String, usize>) -> Vec<String> {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons = reasons.iter();
    reasons
        .map(|(why, count)| format!("{count}: {why}"))
        .collect()
}
