//! The checks, one file a theme: pure functions of what was seen.

mod bundle;
mod coverage;
mod locations;
mod proxy;
mod rights;
mod server;
mod velero;
mod version;
mod webhooks;

use super::line::{Line, Of};
use super::seen::{Seen, Velero};

/// A certificate that expires within 30 days is worth a warning, as in the rules for BSLs (VT022).
const SOON: i64 = 30 * 24 * 60 * 60;

/// Checks of the installation.
const OURS: [fn(&Seen) -> Vec<Line>; 4] = [
    server::check,
    webhooks::check,
    webhooks::certificate,
    rights::ours,
];

/// Checks of each Velero namespace.
const VELERO: [fn(&Seen, &Velero) -> Vec<Line>; 6] = [
    rights::check,
    bundle::check,
    velero::check,
    coverage::check,
    proxy::check,
    locations::check,
];

/// What every check says of `seen`.
pub(super) fn all(seen: &Seen) -> Vec<Line> {
    let mut lines: Vec<_> = OURS.iter().flat_map(|check| check(seen)).collect();
    lines.extend(namespaces(seen));
    for velero in seen.velero.iter().flatten() {
        lines.extend(VELERO.iter().flat_map(|check| check(seen, velero)));
    }
    lines
}

/// Whether there are Velero namespaces, and whether all of them could be found.
fn namespaces(seen: &Seen) -> Vec<Line> {
    let of = || Of::new("namespaces", "Velero namespaces");
    let mut lines = vec![match &seen.velero {
        Err(why) => of().unknown(why),
        Ok(all) if all.is_empty() => of().warn(
            "there is no BackupStorageLocation, so no bundle is published",
            "velero backup-location create --help",
        ),
        Ok(all) => {
            let names: Vec<_> = all.iter().map(|velero| &*velero.namespace).collect();
            of().ok(names.join(", "))
        }
    }];
    let mut all = seen.velero.iter().flatten();
    if all.any(|velero| velero.namespace == seen.namespace) {
        lines.push(of().warn(
            format!(
                "{} is velero-trust's own and Velero's: whoever may write a ConfigMap or Secret \
                 there can add CAs to the bundle of every namespace",
                seen.namespace
            ),
            "install velero-trust in a namespace of its own",
        ));
    }
    if let Err(why) = &seen.labelled {
        let about = format!(
            "namespaces labelled {}",
            crate::names::VELERO_NAMESPACE_LABEL
        );
        lines.push(Of::new("namespaces", about).unknown(why));
    }
    lines
}

/// `n days`, or how long ago, from `now` to `then`, both seconds since 1970.
fn days(now: i64, then: i64) -> String {
    let days = (then - now) / (24 * 60 * 60);
    if then < now {
        format!("expired {} days ago", -days)
    } else {
        format!("expires in {days} days")
    }
}

#[cfg(test)]
mod tests;
