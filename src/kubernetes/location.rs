//! Reads BackupStorageLocations from the API server.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde::Deserialize as _;
use serde_json::Value;

use crate::names::PREFIX;
use crate::velero::bsl::{Bsl, BslSpec, BslStatus};
use crate::velero::metadata::Metadata;
use crate::velero::text::Text;

/// Returns the API resource of BackupStorageLocations.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "BackupStorageLocation");
    ApiResource::from_gvk(&kind)
}

/// Returns the API for the BackupStorageLocations of all namespaces.
pub fn everywhere(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource())
}

/// Returns the API for the BackupStorageLocations of `namespace`.
pub fn in_namespace(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource())
}

/// Reads a location, leniently: if its spec cannot be read, the result contains only the name, the
/// uid and the status.
pub fn read(object: &DynamicObject) -> Bsl<'static> {
    view(object, |_| true)
}

/// Returns the part of a location that the controllers depend on. Labels, the annotations of others
/// and the status message are left out, so that two versions of a location are equal if no relevant
/// field changed. This matters because Velero writes the status once a minute.
pub fn project(object: &DynamicObject) -> Bsl<'static> {
    let mut bsl = view(object, |annotation| annotation.starts_with(PREFIX));
    bsl.metadata.labels = None;
    bsl.status.message = None;
    bsl
}

/// Reads a location with those annotations whose keys match `wanted`.
fn view(object: &DynamicObject, wanted: fn(&str) -> bool) -> Bsl<'static> {
    let part = |field| object.data.get(field).unwrap_or(&Value::Null);
    let text = |text: &Option<String>| text.clone().map(Text::from);
    let metadata = &object.metadata;
    let identity = Metadata {
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        ..Metadata::default()
    };
    let status = Option::<BslStatus<'_>>::deserialize(part("status"));
    let status = status.ok().flatten().unwrap_or_default().into_owned();
    let Ok(spec) = Option::<BslSpec<'_>>::deserialize(part("spec")) else {
        return Bsl {
            metadata: identity,
            status,
            ..Bsl::default()
        };
    };
    let map = |map: &Option<BTreeMap<String, String>>, wanted: fn(&str) -> bool| {
        let pairs = map.as_ref()?.iter().filter(|(key, _)| wanted(key));
        let pairs = pairs.map(|(key, value)| (key.clone().into(), value.clone().into()));
        Some(pairs.collect())
    };
    Bsl {
        metadata: Metadata {
            labels: map(&metadata.labels, |_| true),
            annotations: map(&metadata.annotations, wanted),
            ..identity
        },
        spec: spec.unwrap_or_default().into_owned(),
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(change: impl FnOnce(&mut Value)) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {
                "name": "default", "namespace": "velero", "uid": "u",
                "labels": {"l": "1"},
                "annotations": {"velero-trust.io/ca-secret": "a/b", "other": "1"},
            },
            "spec": {"provider": "aws", "config": {"region": "r"}},
            "status": {"phase": "Unavailable", "message": "m"},
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_location_reads_the_same_from_an_object_and_from_json() {
        let object = object(|_| ());
        let value = serde_json::to_value(&object).unwrap();
        assert_eq!(read(&object), Bsl::from_value(&value));
        assert_eq!(read(&object).phase(), "Unavailable");
    }

    #[test]
    fn only_what_the_controllers_depend_on_makes_a_difference() {
        let before = project(&object(|_| ()));
        let is_same = |change: fn(&mut Value)| project(&object(change)) == before;
        assert!(is_same(
            |object| object["metadata"]["labels"]["l"] = "2".into()
        ));
        assert!(is_same(|object| {
            object["metadata"]["annotations"]["other"] = "2".into();
            object["metadata"]["resourceVersion"] = "5".into();
            object["spec"]["default"] = true.into();
            object["status"]["message"] = "n".into();
            object["status"]["lastSyncedTime"] = "2026-01-01T00:00:00Z".into();
        }));
        let differences: [fn(&mut Value); 4] = [
            |object| object["metadata"]["annotations"]["velero-trust.io/ca-secret"] = "a/c".into(),
            |object| object["metadata"]["uid"] = "v".into(),
            |object| object["spec"]["config"]["region"] = "s".into(),
            |object| object["status"]["phase"] = "Available".into(),
        ];
        for difference in differences {
            assert!(!is_same(difference));
        }
    }

    #[test]
    fn a_location_whose_spec_cannot_be_read_has_its_name_and_its_status() {
        let bsl = read(&object(|object| object["spec"]["provider"] = 5.into()));
        let actual = (bsl.name(), bsl.uid(), bsl.phase());
        assert_eq!(actual, ("default", "u", "Unavailable"));
        assert_eq!(bsl.spec, BslSpec::default());
        assert_eq!(bsl.metadata.annotations, None);
    }
}
