//! Reads BackupStorageLocations from the API server.

mod entry;

use std::collections::BTreeMap;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Request};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use entry::LocationEntry;

use crate::velero::bsl::{Bsl, BslSpec, BslStatus};
use crate::velero::metadata::{Metadata, is_read};
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
    let map = |map: &Option<BTreeMap<String, String>>| {
        let pairs = map.as_ref()?.iter().filter(|(key, _)| is_read(key));
        let pairs = pairs.map(|(key, value)| (key.clone().into(), value.clone().into()));
        Some(pairs.collect())
    };
    Bsl {
        metadata: Metadata {
            labels: map(&metadata.labels),
            annotations: map(&metadata.annotations),
            ..identity
        },
        spec: spec.unwrap_or_default().into_owned(),
        status,
    }
}

/// A list of one location.
#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// Reads the location `name` of `namespace`. Also returns how many bytes were read. `None` if it
/// does not exist.
///
/// It is listed by its name: that needs no right beyond those for the watch of all locations.
pub async fn find(
    client: &Client,
    namespace: &str,
    name: &str,
) -> kube::Result<Option<(Bsl<'static>, usize)>> {
    let url = in_namespace(client, namespace).resource_url().to_owned();
    let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
    let request = Request::new(url).list(&by_name);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let text = client.request_text(request).await?;
    let List { items } = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
    let found = items.first();
    Ok(found.map(|object| (Bsl::from_json(object.get()).into_owned(), text.len())))
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
    fn a_location_whose_spec_cannot_be_read_has_its_name_and_its_status() {
        let bsl = read(&object(|object| object["spec"]["provider"] = 5.into()));
        let actual = (bsl.name(), bsl.uid(), bsl.phase());
        assert_eq!(actual, ("default", "u", "Unavailable"));
        assert_eq!(bsl.spec, BslSpec::default());
        assert_eq!(bsl.metadata.annotations, None);
    }
}
