//! The Secret with the key that signs, of which status and doctor tell that it is gone.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde::Serialize;

use super::trusted_keys::signing_key;
use crate::kubernetes::crds::TrustedKey;
use crate::names;

/// That the Secret is gone, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct SecretGone {
    pub(in crate::cli) message: String,
    pub(in crate::cli) fix: String,
}

/// Whether the Secret is there in `namespace`; `None` if that is not known. Only its metadata is asked for.
pub(in crate::cli) async fn has_signing_secret(client: &Client, namespace: &str) -> Option<bool> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let found = secrets.get_metadata_opt(names::SIGNING_KEY).await;
    found.ok().map(|found| found.is_some())
}

/// Returns what to say where the Secret is not there in `namespace`; `None` if it was never there, because no key signs
/// in this cluster yet.
pub(in crate::cli) fn secret_gone(namespace: &str, keys: &[TrustedKey]) -> Option<SecretGone> {
    signing_key(keys)?;
    Some(SecretGone {
        message: "it is gone: the leader signs with the key in its memory, and the next leader makes a new one; if you \
                  have a copy, `velero-trust keys import` puts it back"
            .to_owned(),
        fix: restart(namespace),
    })
}

/// Returns the command that restarts velero-trust.
pub(in crate::cli) fn restart(namespace: &str) -> String {
    format!(
        "kubectl -n {namespace} rollout restart deployment/{}",
        names::APP
    )
}
