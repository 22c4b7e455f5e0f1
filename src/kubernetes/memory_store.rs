//! Persists the CA memory of a Velero namespace in a ConfigMap in the namespace of velero-trust.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use super::{error, owned_config_map};
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::merged_bundle::{Memory, Unreadable};
use crate::names;

/// Key of the memory in its ConfigMap.
const KEY: &str = "memory.json";

/// The stored memory of one Velero namespace.
pub struct MemoryStore {
    config_maps: Api<ConfigMap>,
    name: String,
    /// The text in the ConfigMap; `None` until it was read.
    saved: Option<String>,
    /// The resourceVersion of the ConfigMap at that time.
    version: Option<String>,
    was_loaded: bool,
    /// Why the text could not be parsed, until it is replaced.
    unreadable: Option<Unreadable>,
}

impl MemoryStore {
    /// Returns the store of `namespace`, in our own namespace `own`.
    pub fn new(client: Client, own: &str, namespace: &str) -> Self {
        Self {
            config_maps: Api::namespaced(client, own),
            name: format!("{}{namespace}", names::MEMORY_PREFIX),
            saved: None,
            version: None,
            was_loaded: false,
            unreadable: None,
        }
    }

    /// Reads the memory; returns `None` if it was read before. If this fails and the store
    /// [is loaded](Self::is_loaded) nevertheless, the memory counts as empty.
    pub async fn load(&mut self) -> Result<Option<Memory>, BundleIssue> {
        if self.saved.is_some() {
            return match &self.unreadable {
                Some(why) => Err(self.issue(why.to_string())),
                None => Ok(None),
            };
        }
        let map = self
            .config_maps
            .get_opt(&self.name)
            .await
            .map_err(|error| self.issue(error::lookup_error(&error).message))?;
        self.version = map
            .as_ref()
            .and_then(|map| map.metadata.resource_version.clone());
        if map.is_none() && self.was_loaded {
            // Somebody deleted the ConfigMap. This process still knows its content.
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
            let issue = self.issue(why.to_string());
            self.unreadable = Some(why);
            issue
        })
    }

    /// Returns whether nothing was stored, or nothing that can be parsed.
    pub fn is_blank(&self) -> bool {
        self.unreadable.is_some() || self.saved.as_ref().is_none_or(String::is_empty)
    }

    /// Returns whether the ConfigMap was read.
    pub const fn is_loaded(&self) -> bool {
        self.saved.is_some()
    }

    /// Stores `memory` if it changed. What a newer version of velero-trust wrote is not replaced:
    /// that version may come back. After a conflict with another replica the next
    /// [`load`](Self::load) reads the ConfigMap again.
    pub async fn save(&mut self, memory: &Memory) -> Result<(), BundleIssue> {
        let text = memory.to_text();
        let is_newer = matches!(self.unreadable, Some(Unreadable::Version(_)));
        if is_newer || self.saved.as_ref() == Some(&text) {
            return Ok(());
        }
        let data = BTreeMap::from([(KEY.to_owned(), text.clone())]);
        let version = self.version.clone();
        match owned_config_map::apply(&self.config_maps, &self.name, data, version).await {
            Ok(version) => self.version = version,
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                    self.saved = None;
                }
                return Err(self.issue(error::lookup_error(&error).message));
            }
        }
        self.saved = Some(text);
        self.unreadable = None;
        Ok(())
    }

    /// Deletes the ConfigMap, unless it changed after it was read.
    pub async fn delete(&mut self) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: self.version.clone(),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        // Whether or not this succeeds, the ConfigMap has to be read again.
        self.saved = None;
        owned_config_map::delete(&self.config_maps, &self.name, &params).await
    }

    fn issue(&self, reason: String) -> BundleIssue {
        BundleIssue::MemoryFailed {
            config_map: self.name.clone(),
            reason,
        }
    }
}
