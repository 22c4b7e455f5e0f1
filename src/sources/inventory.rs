//! Reads the objects of whole Velero namespaces from files, for `velero-trust status` without a
//! cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Value, json};

use super::object::{self, DEFAULT_NAMESPACE, Object};
use super::objects::{self, BadObjects, Objects};
use super::roots::labelled;
use crate::ca::common_roots::ExtraCas;
use crate::decision::Key;
use crate::kubernetes::bundle::is_ours;
use crate::kubernetes::workloads::{Kind, RunningPod, Workload, WorkloadTemplate};
use crate::names::{BUNDLE, EXTRA_CA_LABEL, VELERO_NAMESPACE_LABEL};
use crate::velero::bsl::Bsl;

/// The objects of some files.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The objects that answer look-ups.
    pub objects: Objects,
    locations: BTreeMap<Key, Bsl<'static>>,
    pods: BTreeMap<Key, DynamicObject>,
    workloads: BTreeMap<(Kind, Key), DynamicObject>,
    /// The metadata of the ConfigMap with the bundle's name, by namespace.
    bundles: BTreeMap<String, ObjectMeta>,
    /// The namespaces that are labelled as Velero's.
    labelled: BTreeSet<String>,
    /// The contents of the objects labelled as extra CAs, by namespace.
    extra: BTreeMap<String, ExtraCas>,
}

impl Inventory {
    /// Reads every `.yaml`, `.yml` and `.json` file at or below `paths`.
    pub fn read(paths: &[PathBuf]) -> Result<Self, BadObjects> {
        let mut inventory = Self::default();
        objects::for_each_document(paths, |file, document| {
            inventory.objects.add_document(file, document)?;
            inventory.take(document.to_json())
        })?;
        Ok(inventory)
    }

    fn take(&mut self, mut object: Value) -> Result<(), String> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let api = text("/apiVersion").unwrap_or_default().to_owned();
        let kind = text("/kind").unwrap_or_default().to_owned();
        let name = text("/metadata/name").unwrap_or_default();
        let key = Key::new(
            text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE),
            name,
        );
        let labelled = |label: &str| {
            let labels = object.pointer("/metadata/labels");
            labels.and_then(|labels| labels.get(label)) == Some(&json!("true"))
        };
        let (extra, velero) = (labelled(EXTRA_CA_LABEL), labelled(VELERO_NAMESPACE_LABEL));
        let duplicate = || format!("{kind} {key} stands here a second time; keep one of them");
        let is_first = match (api.as_str(), kind.as_str()) {
            ("velero.io/v1", "BackupStorageLocation") => {
                let bsl = Bsl::from_value(&object).into_owned();
                self.locations.insert(key.clone(), bsl).is_none()
            }
            ("v1", "Pod") => {
                let pod = dynamic(&mut object, &key)?;
                self.pods.insert(key.clone(), pod).is_none()
            }
            ("apps/v1", "Deployment") => self.workload(Kind::Deployment, &key, &mut object)?,
            ("apps/v1", "DaemonSet") => self.workload(Kind::DaemonSet, &key, &mut object)?,
            ("v1", "Namespace") => {
                if velero {
                    self.labelled.insert(key.name.clone());
                }
                true
            }
            ("v1", "ConfigMap") => {
                self.config_map(&key, object, extra)?;
                true
            }
            ("v1", "Secret") if extra => {
                if let Object::Secret(key, secret, _) = object::read(&object, DEFAULT_NAMESPACE)? {
                    let metadata = dynamic(&mut object, &key)?.metadata;
                    let extra = labelled::read("Secret", &metadata, secret.data);
                    self.extra.entry(key.namespace).or_default().extend(extra);
                }
                true
            }
            _ => true,
        };
        if is_first { Ok(()) } else { Err(duplicate()) }
    }

    fn workload(&mut self, kind: Kind, key: &Key, object: &mut Value) -> Result<bool, String> {
        let workload = dynamic(object, key)?;
        let before = self.workloads.insert((kind, key.clone()), workload);
        Ok(before.is_none())
    }

    fn config_map(&mut self, key: &Key, object: Value, extra: bool) -> Result<(), String> {
        if !extra && key.name != BUNDLE {
            return Ok(());
        }
        let map: ConfigMap =
            serde_json::from_value(object).map_err(|_| format!("ConfigMap {key} is malformed"))?;
        if key.name == BUNDLE {
            self.bundles
                .insert(key.namespace.clone(), map.metadata.clone());
        }
        if extra {
            let metadata = ObjectMeta {
                namespace: Some(key.namespace.clone()),
                ..map.metadata.clone()
            };
            let extra = labelled::read("ConfigMap", &metadata, labelled::config_map_data(map));
            let of_namespace = self.extra.entry(key.namespace.clone()).or_default();
            of_namespace.extend(extra);
        }
        Ok(())
    }

    /// Returns the namespaces that the controllers would treat as Velero's: those that contain a
    /// BackupStorageLocation or one of our bundles, and those with the label.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let bsls = self.locations.keys().map(|key| &key.namespace);
        let bundles = self.bundles.iter().filter(|(_, bundle)| is_ours(bundle));
        let all = bsls
            .chain(bundles.map(|(name, _)| name))
            .chain(&self.labelled);
        all.cloned().collect()
    }

    /// Returns the BackupStorageLocations of `namespace`, by name.
    pub fn locations(&self, namespace: &str) -> BTreeMap<String, Bsl<'static>> {
        let of = self.locations.iter();
        let of = of.filter(|(key, _)| key.namespace == namespace);
        of.map(|(key, bsl)| (key.name.clone(), bsl.clone()))
            .collect()
    }

    /// Returns the Pods of `namespace` that the injection applies to.
    pub fn pods(&self, namespace: &str) -> BTreeMap<String, RunningPod> {
        let of = self.pods.iter();
        let of = of.filter(|(key, _)| key.namespace == namespace);
        of.filter_map(|(key, pod)| Some((key.name.clone(), RunningPod::read(pod)?)))
            .collect()
    }

    /// Returns the workloads of `namespace` whose Pods the injection applies to.
    pub fn templates(&self, namespace: &str) -> BTreeMap<Workload, WorkloadTemplate> {
        let of = self.workloads.iter();
        let of = of.filter(|((_, key), _)| key.namespace == namespace);
        of.filter_map(|((kind, key), object)| {
            let workload = Workload {
                kind: *kind,
                name: key.name.clone(),
            };
            Some((workload, WorkloadTemplate::read(object)?))
        })
        .collect()
    }

    /// Returns the metadata of the ConfigMap with the bundle's name in `namespace`.
    pub fn bundle(&self, namespace: &str) -> Option<&ObjectMeta> {
        self.bundles.get(namespace)
    }

    /// Returns the extra CAs that the labelled objects of `namespace`, our own, add to every
    /// bundle.
    pub fn extra(&self, namespace: &str) -> ExtraCas {
        self.extra.get(namespace).cloned().unwrap_or_default()
    }
}

/// Converts the object to the form that the API server would return, with its namespace set.
fn dynamic(object: &mut Value, key: &Key) -> Result<DynamicObject, String> {
    if let Some(metadata) = object
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        metadata.insert("namespace".to_owned(), json!(key.namespace));
    }
    // The error is dropped because it would quote a value.
    serde_json::from_value(object.take()).map_err(|_| format!("the metadata of {key} is malformed"))
}
