//! Reads Velero's CRDs.

use futures::future::try_join_all;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, Error};
use serde_json::Value;

use super::cluster_snapshot::{Read, VeleroCrds};
use crate::kubernetes::{error, location};

/// The fields that lead to the reference to a CA, within the schema of a BackupStorageLocation.
const CA_CERT_REF: [&str; 3] = ["spec", "objectStorage", "caCertRef"];

/// Reads the CRDs. A user who may not read them still sees from the list of BackupStorageLocations
/// whether there are none.
pub(super) async fn read(client: &Client) -> Read<VeleroCrds> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk(&kind);
    let crds = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let read = try_join_all(VeleroCrds::NAMES.map(|name| crds.get_opt(name))).await;
    match read {
        Ok(found) => Ok(summary(&found)),
        Err(refused) => {
            let one = ListParams::default().limit(1);
            match location::everywhere(client.clone())
                .list_metadata(&one)
                .await
            {
                Err(Error::Api(status)) if status.code == 404 => Ok(summary(&[None, None, None])),
                _ => Err(error::lookup_error(&refused).message),
            }
        }
    }
}

/// Summarizes the CRDs in the order of [`VeleroCrds::NAMES`].
fn summary(found: &[Option<DynamicObject>]) -> VeleroCrds {
    let names = VeleroCrds::NAMES.iter().zip(found);
    let missing = names.filter(|(_, found)| found.is_none());
    VeleroCrds {
        missing: missing.map(|(name, _)| *name).collect(),
        has_ca_cert_ref: found
            .first()
            .and_then(Option::as_ref)
            .is_some_and(|crd| keeps_ca_cert_ref(&crd.data)),
    }
}

/// Whether version `v1` of a CRD keeps [`CA_CERT_REF`]: its schema has the field, or keeps unknown
/// fields on the way to it.
fn keeps_ca_cert_ref(crd: &Value) -> bool {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let mut versions = versions.into_iter().flatten();
    let schema = versions
        .find(|version| version["name"] == "v1")
        .and_then(|version| version.pointer("/schema/openAPIV3Schema"));
    let Some(mut schema) = schema else {
        return false;
    };
    for field in CA_CERT_REF {
        if schema["x-kubernetes-preserve-unknown-fields"] == true {
            return true;
        }
        match schema.get("properties").and_then(|all| all.get(field)) {
            Some(part) => schema = part,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crd(spec: &Value) -> Value {
        let schema = json!({"openAPIV3Schema": {"properties": {"spec": spec}}});
        json!({"spec": {"versions": [
            {"name": "v1alpha1"},
            {"name": "v1", "schema": schema},
        ]}})
    }

    #[test]
    fn the_schema_tells_whether_the_reference_is_kept() {
        let storage = |properties: Value| {
            crd(&json!({"properties": {"objectStorage": {"properties": properties}}}))
        };
        assert!(keeps_ca_cert_ref(&storage(
            json!({"caCert": {}, "caCertRef": {}})
        )));
        assert!(!keeps_ca_cert_ref(&storage(json!({"caCert": {}}))));
        assert!(!keeps_ca_cert_ref(&crd(&json!({}))));
        assert!(!keeps_ca_cert_ref(&json!({})));
        let open = json!({"x-kubernetes-preserve-unknown-fields": true});
        assert!(keeps_ca_cert_ref(&crd(&open)));
        let closed = json!({"x-kubernetes-preserve-unknown-fields": false});
        assert!(!keeps_ca_cert_ref(&crd(&closed)));
    }

    #[test]
    fn crds_that_are_not_there_are_named() {
        let object = |data: Value| {
            let mut object = data;
            object["metadata"] = json!({"name": "x"});
            serde_json::from_value::<DynamicObject>(object).unwrap()
        };
        let some = summary(&[Some(object(crd(&json!({})))), None, None]);
        assert_eq!(some.missing, ["backups.velero.io", "restores.velero.io"]);
        assert!(!some.are_absent());
        assert!(summary(&[None, None, None]).are_absent());
    }
}
