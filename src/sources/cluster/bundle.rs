//! Looks for the merged CA bundle of a namespace, and makes one where it may.

use std::sync::Arc;

use kube::Client;

use super::CommonRootsReceiver;
use crate::ca::bundle_issue::NOT_OWNED_FIX;
use crate::decision::{Bundle, Fact, LookupError, LookupErrorKind, Outcome};
use crate::kubernetes::bundle::{self, EnsureOutcome};

/// Ensures that `namespace` has a bundle if it may have one, where `own` is velero-trust's own
/// namespace. Waits for `common_roots`, within the deadline of the look-up.
pub(super) async fn ensure(
    client: &Client,
    own: &str,
    namespace: &str,
    dry_run: bool,
    mut common_roots: CommonRootsReceiver,
) -> kube::Result<Outcome> {
    let common_roots = match common_roots.wait_for(Option::is_some).await {
        Ok(common_roots) => common_roots.clone().unwrap_or_default(),
        Err(_) => Arc::default(),
    };
    let ensured = bundle::ensure(client, own, namespace, dry_run, &common_roots);
    Ok(match ensured.await? {
        EnsureOutcome::Exists { held } => Outcome::Found(Fact::Bundle(Bundle { held })),
        EnsureOutcome::NoRoots => Outcome::Absent,
        EnsureOutcome::NotOwned => Outcome::Unavailable(foreign_error()),
        EnsureOutcome::Refused(why) => Outcome::Unavailable(LookupError {
            kind: LookupErrorKind::NoBundle(why),
            message: "no CA bundle is made in this namespace".to_owned(),
        }),
    })
}

fn foreign_error() -> LookupError {
    LookupError {
        kind: LookupErrorKind::Foreign,
        message: format!(
            "a ConfigMap with that name exists that is not velero-trust's; {NOT_OWNED_FIX}"
        ),
    }
}
