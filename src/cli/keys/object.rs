//! TrustedKeys as the commands make them.

use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Error};
use serde::Serialize;
use serde_json::Value;
use serde_saphyr::LitStr;

use crate::digest::Sha256;
use crate::kubernetes::crds::{TrustedKey, TrustedKeySpec};
use crate::kubernetes::keep;
use crate::names;

/// Field manager of what the commands write.
pub(super) const FIELD_MANAGER: &str = "velero-trust-keys";

/// Returns the name that the TrustedKey of a key has unless somebody gives it another one.
pub(super) fn usual_name(id: Sha256) -> String {
    let id = id.to_string();
    format!("{}-{}", names::APP, id.get(..16).unwrap_or(&id))
}

/// Returns a TrustedKey that outlives the installation. Only with `is_own` it is one that signs in this cluster.
pub(super) fn trusted_key(name: &str, spec: TrustedKeySpec, is_own: bool) -> TrustedKey {
    let metadata = if is_own {
        keep::metadata()
    } else {
        keep::metadata_of_others()
    };
    TrustedKey {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..metadata
        },
        spec,
    }
}

/// Creates a TrustedKey, or asks the API server whether it would.
pub(super) async fn create(
    client: &Client,
    key: &TrustedKey,
    is_dry_run: bool,
) -> Result<TrustedKey, Error> {
    let params = PostParams {
        dry_run: is_dry_run,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    Api::<TrustedKey>::all(client.clone())
        .create(&params, key)
        .await
}

/// A TrustedKey in the order in which people write one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    labels: Option<Value>,
    annotations: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    public_key: LitStr<'a>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Returns the TrustedKey as YAML for Git and `kubectl apply`, without what only this cluster knows of it.
pub(super) fn yaml(name: &str, spec: &TrustedKeySpec) -> anyhow::Result<String> {
    let metadata = keep::metadata_of_others();
    let mut rest = match serde_json::to_value(spec)? {
        Value::Object(rest) => rest,
        _ => serde_json::Map::new(),
    };
    rest.remove("publicKey");
    let manifest = Manifest {
        api_version: "velero-trust.io/v1alpha1",
        kind: "TrustedKey",
        metadata: Metadata {
            name,
            labels: metadata.labels.map(serde_json::to_value).transpose()?,
            annotations: metadata.annotations.map(serde_json::to_value).transpose()?,
        },
        spec: Spec {
            public_key: LitStr(&spec.public_key),
            rest,
        },
    };
    Ok(serde_saphyr::to_string(&manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trusted_key_file;
    use crate::decision::{KeyScope, KeyState, SignedLevel};
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    #[test]
    fn what_is_written_for_git_is_read_as_it_was() {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let until = "2026-01-01T00:00:00Z".parse().unwrap();
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(until);
        let spec = TrustedKeySpec {
            public_key: key.public_pem(),
            algorithm: Some(key.public().algorithm().to_string()),
            state: KeyState::VerifyOnly,
            valid_until: Some(time),
            scope: KeyScope {
                backups: vec!["nightly-*".to_owned(), "*".to_owned()],
                levels: vec![SignedLevel::Observed],
                ..KeyScope::default()
            },
            same_bucket_only: true,
            ..TrustedKeySpec::default()
        };
        let name = usual_name(key.public().id());
        let text = yaml(&name, &spec).unwrap();
        assert!(
            text.contains("publicKey: |\n    -----BEGIN PUBLIC KEY-----\n"),
            "{text}"
        );
        let keys = trusted_key_file::parse(&text, trusted_key_file::Others::Refuse).unwrap();
        assert_eq!(keys[0].trusted.spec, spec, "{text}");
        assert_eq!(keys[0].trusted.metadata.name.as_deref(), Some(&*name));
        let labels = keys[0].trusted.metadata.labels.as_ref().unwrap();
        assert_eq!(labels["velero.io/exclude-from-backup"], "true");
        assert!(
            !text.contains("managed-by"),
            "a leader elsewhere does not sign with it: {text}"
        );
    }
}
