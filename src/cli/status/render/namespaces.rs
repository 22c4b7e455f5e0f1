//! The bundle and the Pods of each namespace, as a table.

use k8s_openapi::jiff::Timestamp;

use super::super::model::{Bundle, BundleState, Namespace};
use super::{day, format_duration, short_hash};
use crate::cli::table::Table;

/// Returns the table without rows.
pub(super) fn table() -> Table {
    Table::new(&[
        "NAMESPACE",
        "VELERO",
        "BUNDLE",
        "CERTIFICATES",
        "FIRST EXPIRES",
        "LAST ADDED",
        "HELD",
        "PODS",
    ])
}

/// Adds a row for a namespace. `placeholder` stands for unknown values.
pub(super) fn row(table: &mut Table, namespace: &Namespace, now: Timestamp, placeholder: &str) {
    let Namespace { bundle, pods, .. } = namespace;
    let mut covered = format!("{}/{}", pods.current, pods.wanted);
    if pods.opted_out > 0 {
        covered = format!("{covered} ({} opted out)", pods.opted_out);
    }
    let is_published = bundle.published.is_some() || bundle.state == BundleState::Published;
    let held = match bundle.held {
        Some(_) => "yes",
        None if is_published || placeholder.is_empty() => "no",
        None => placeholder,
    };
    table.row([
        namespace.name.clone(),
        namespace
            .velero
            .clone()
            .unwrap_or_else(|| placeholder.to_owned()),
        hash(bundle),
        count(bundle),
        bundle.earliest_expiry.map_or_else(String::new, |expiry| {
            if expiry < now {
                format!("{} (expired)", day(expiry))
            } else {
                format!("{} ({})", day(expiry), format_duration(expiry, now))
            }
        }),
        bundle.last_added.map_or_else(
            || placeholder.to_owned(),
            |added| format!("{} ago", format_duration(now, added)),
        ),
        held.to_owned(),
        covered,
    ]);
}

fn hash(bundle: &Bundle) -> String {
    match bundle.state {
        BundleState::Published | BundleState::Computed => {
            let hash = short_hash(bundle.hash.as_deref().unwrap_or_default());
            match &bundle.published {
                Some(published) if bundle.hash.as_ref() != Some(published) => {
                    format!("{hash} (there is {})", short_hash(published))
                }
                _ => hash,
            }
        }
        BundleState::Absent => "absent".to_owned(),
        BundleState::Foreign => "foreign".to_owned(),
    }
}

fn count(bundle: &Bundle) -> String {
    match (bundle.certificates, &bundle.origins) {
        (Some(count), Some(origins)) => format!("{count} ({origins})"),
        (Some(count), None) => count.to_string(),
        (None, _) => String::new(),
    }
}
