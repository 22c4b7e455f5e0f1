//! ConfigMaps of our own namespace, and the memory of a namespace in one of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, Client};

use crate::ca::issue::BundleIssue;
use crate::ca::merged_bundle::{Memory, Unreadable};
use crate::kubernetes::bundle::KEEP;
use crate::kubernetes::error;
use crate::names;

/// Key of the memory in its ConfigMap.
const KEY: &str = "memory.json";

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Selects what [`apply`] wrote.
pub(super) const OURS: &str = "app.kubernetes.io/managed-by=velero-trust";

/// What was to be removed may have gone by itself.
pub(super) fn missing_is_well<T>(removed: kube::Result<T>) -> kube::Result<()> {
    match removed {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        removed => removed.map(drop),
    }
}

/// Writes a ConfigMap of our own namespace, over this version if one is said; gives the version it
/// has now. Like all that is ours it is in no backup, and GitOps leaves it alone.
pub(super) async fn apply(
    maps: &Api<ConfigMap>,
    name: &str,
    data: BTreeMap<String, String>,
    version: Option<String>,
) -> kube::Result<Option<String>> {
    let labels = [
        (MANAGED_BY, names::APP),
        ("velero.io/exclude-from-backup", "true"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(KEEP.map(owned).into()),
            labels: Some(labels.map(owned).into()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let written = maps.patch(name, &params, &Patch::Apply(&map)).await?;
    Ok(written.metadata.resource_version)
}

/// The memory of one namespace, in a ConfigMap of our own.
pub(super) struct Store {
    maps: Api<ConfigMap>,
    name: String,
    /// What the ConfigMap says, once it was read.
    saved: Option<String>,
    /// The ConfigMap's version then.
    version: Option<String>,
    /// It was read before.
    was_loaded: bool,
    /// Why that could not be understood, until it was replaced.
    unreadable: Option<Unreadable>,
}

impl Store {
    /// The memory of `namespace` in our namespace `own`.
    pub(super) fn new(client: Client, own: &str, namespace: &str) -> Self {
        Self {
            maps: Api::namespaced(client, own),
            name: format!("{}{namespace}", names::MEMORY),
            saved: None,
            version: None,
            was_loaded: false,
            unreadable: None,
        }
    }

    /// What is remembered, where that was not read yet. When it [is loaded](Self::is_loaded) in
    /// spite of a complaint, it is empty.
    pub(super) async fn load(&mut self) -> Result<Option<Memory>, BundleIssue> {
        if self.saved.is_some() {
            return match &self.unreadable {
                Some(why) => Err(self.complaint(why.to_string())),
                None => Ok(None),
            };
        }
        let map = self
            .maps
            .get_opt(&self.name)
            .await
            .map_err(|error| self.complaint(error::lookup_error(&error).message))?;
        self.version = map
            .as_ref()
            .and_then(|map| map.metadata.resource_version.clone());
        if map.is_none() && self.was_loaded {
            // Somebody deleted it. We still know what it said.
            self.saved = Some(String::new());
            return Ok(None);
        }
        self.was_loaded = true;
        let data = map.and_then(|map| map.data);
        let text = data.and_then(|mut data| data.remove(KEY));
        let text = self.saved.insert(text.unwrap_or_default());
        if text.is_empty() {
            return Ok(Some(Memory::default()));
        }
        let memory = Memory::from_text(text);
        memory.map(Some).map_err(|why| {
            let complaint = self.complaint(why.to_string());
            self.unreadable = Some(why);
            complaint
        })
    }

    /// Whether nothing was ever remembered, or nothing that can be understood.
    pub(super) fn is_blank(&self) -> bool {
        self.unreadable.is_some() || self.saved.as_ref().is_none_or(String::is_empty)
    }

    /// Whether it is known what is remembered.
    pub(super) const fn is_loaded(&self) -> bool {
        self.saved.is_some()
    }

    /// Remembers, where that is something new. What a newer version of us wrote stays: it may come
    /// back. When another replica wrote meanwhile, it is read again the next time.
    pub(super) async fn save(&mut self, memory: &Memory) -> Result<(), BundleIssue> {
        let text = memory.to_text();
        let is_newer = matches!(self.unreadable, Some(Unreadable::Version(_)));
        if is_newer || self.saved.as_ref() == Some(&text) {
            return Ok(());
        }
        let data = BTreeMap::from([(KEY.to_owned(), text.clone())]);
        match apply(&self.maps, &self.name, data, self.version.clone()).await {
            Ok(version) => self.version = version,
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                    self.saved = None;
                }
                return Err(self.complaint(error::lookup_error(&error).message));
            }
        }
        self.saved = Some(text);
        self.unreadable = None;
        Ok(())
    }

    /// Removes the ConfigMap, unless somebody wrote it after it was read.
    pub(super) async fn remove(&mut self) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: self.version.clone(),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        // Whatever came of it, it has to be read again.
        self.saved = None;
        missing_is_well(self.maps.delete(&self.name, &params).await)
    }

    fn complaint(&self, why: String) -> BundleIssue {
        BundleIssue::Memory {
            name: self.name.clone(),
            why,
        }
    }
}
