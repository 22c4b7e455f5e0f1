//! The Pods and templates of which there is something to tell, as a table.

use super::super::model::Namespace;
use crate::cli::table::Table;
use crate::injection::coverage::State;

/// The table without a row.
pub(super) fn table() -> Table {
    Table::new(&["NAMESPACE", "POD OR TEMPLATE", "KIND", "STATE", "WHY"])
}

/// Leaves out what is as it should be.
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
