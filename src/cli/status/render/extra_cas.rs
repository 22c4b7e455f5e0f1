//! The CAs that were given at installation, as a table. They are the same in every namespace.

use std::collections::BTreeSet;

use super::super::model::Namespace;
use super::certificates_until;
use crate::cli::table::Table;

/// Returns the table, with one row for each source.
pub(super) fn table(namespaces: &[Namespace]) -> Table {
    let mut table = Table::new(&["EXTRA CA", "CERTIFICATES"]);
    let all = namespaces.iter().flat_map(|namespace| &namespace.extra_cas);
    let all: BTreeSet<_> = all.collect();
    for extra in all {
        let certificates = certificates_until(&extra.certificates);
        table.row([extra.source.clone(), certificates]);
    }
    table
}
