//! The Pods and templates that need an explanation, as a table.

use super::super::model::Namespace;
use crate::cli::table::Table;
use crate::injection::coverage::State;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "POD OR TEMPLATE", "KIND", "STATE", "WHY"])
}

/// Adds a row for each Pod and template of a namespace, except for Pods that carry the current
/// bundle without a message.
pub(super) fn rows(table: &mut Table, namespace: &Namespace) {
    let pods = namespace.pods.items.iter();
    let pods = pods.filter(|pod| pod.state != State::Current || !pod.message.is_empty());
    for covered in pods.chain(&namespace.templates) {
        table.row([
            namespace.name.clone(),
            covered.name.clone(),
            covered.kind.unwrap_or("asks for it").to_owned(),
            covered.state.to_string(),
            covered.message.clone(),
        ]);
    }
}
