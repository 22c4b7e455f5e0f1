//! How many backups are recorded, as a table.

use super::super::model::{Backups, Namespace};
use crate::cli::table::Table;

/// What the level `late` means.
pub(super) const LATE: &str = "\
late: recorded after the backup was complete. That nobody changed its files before rests on the clock of the
store.
";

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "RECORDED BACKUPS", "LEVEL", "WHY NOT"])
}

/// Adds a row for a namespace that has backups whose records are known. Returns whether some of them
/// are `late`.
pub(super) fn row(table: &mut Table, namespace: &Namespace) -> bool {
    let Some(backups) = namespace.backups.as_ref() else {
        return false;
    };
    let (Some(recorded), Some(total @ 1..)) = (backups.recorded, backups.total) else {
        return false;
    };
    table.row([
        namespace.name.clone(),
        format!("{recorded} of {total}"),
        levels(backups),
        why_not(backups),
    ]);
    backups.levels.contains_key("late")
}

fn levels(backups: &Backups) -> String {
    let levels = backups.levels.iter();
    let levels: Vec<_> = levels
        .map(|(level, count)| format!("{count} {level}"))
        .collect();
    let imported = backups.imported.iter();
    let imported = imported.map(|(key, count)| format!("{count} imported by {key}"));
    let parts = std::iter::once(levels.join(", ")).chain(imported);
    parts.collect::<Vec<_>>().join("; ")
}

fn why_not(backups: &Backups) -> String {
    let reasons = backups.not_recorded.iter().map(|one| {
        let (count, state) = (one.backups.count, one.why.state.as_str());
        let reason = one.why.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let by_hand = match one.backups.checksum_by_hand {
            0 => String::new(),
            some => format!(", {some} with a checksum set by hand"),
        };
        format!("{count}: {state}{reason}{by_hand}")
    });
    reasons.collect::<Vec<_>>().join(", ")
}
