//! Persists the CA memory of a Velero namespace in a ConfigMap in the namespace of velero-trust.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
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
    /// What is in the ConfigMap; `None` if that is not known.
    stored: Option<Stored>,
    /// Whether the caller knows what was stored once.
    was_loaded: bool,
}

/// The ConfigMap as it was last read or written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    /// The text of the memory; empty if there is none, or none to use.
    text: String,
    /// The resourceVersion of the ConfigMap; `None` if there is no ConfigMap.
    version: Option<String>,
    /// Why the content is not used.
    unusable: Option<Unusable>,
}

/// Why the content of the ConfigMap is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Whoever can forge a backup decides what is in it.
    #[error("Velero's Restore {0} wrote it; it is not used, and is replaced")]
    Restored(String),
}

impl MemoryStore {
    /// Returns the store of `namespace`, in our own namespace `own`.
    pub fn new(client: Client, own: &str, namespace: &str) -> Self {
        Self {
            config_maps: Api::namespaced(client, own),
            name: format!("{}{namespace}", names::MEMORY_PREFIX),
            stored: None,
            was_loaded: false,
        }
    }

    /// Reads the memory; returns `None` if what the caller knows is still right. If this fails and
    /// the store [is loaded](Self::is_loaded) nevertheless, what the caller knows counts; that is an
    /// empty memory if nothing was read before.
    pub async fn load(&mut self) -> Result<Option<Memory>, BundleIssue> {
        if let Some(stored) = &self.stored {
            let metadata = self.config_maps.get_metadata_opt(&self.name).await;
            let metadata =
                metadata.map_err(|error| self.issue(error::lookup_error(&error).message))?;
            let version = metadata.and_then(|map| map.metadata.resource_version);
            if version == stored.version {
                return match &stored.unusable {
                    Some(why) => Err(self.issue(why.to_string())),
                    None => Ok(None),
                };
            }
        }
        let map = self.config_maps.get_opt(&self.name).await;
        let map = map.map_err(|error| self.issue(error::lookup_error(&error).message))?;
        let (new, memory) = Stored::read(map.as_ref());
        let before = self.stored.as_ref();
        let is_known = before.is_some_and(|before| before.text == new.text);
        let is_empty = new.text.is_empty();
        let unusable = new.unusable.as_ref().map(ToString::to_string);
        self.stored = Some(new);
        let was_loaded = std::mem::replace(&mut self.was_loaded, true);
        match unusable {
            Some(why) => Err(self.issue(why)),
            // Somebody deleted the ConfigMap, or changed something beside the memory. The caller
            // still knows the content.
            None if is_known || is_empty && was_loaded => Ok(None),
            None => Ok(Some(memory)),
        }
    }

    /// Returns whether nothing was stored, or nothing that can be used.
    pub fn is_blank(&self) -> bool {
        let usable = |stored: &Stored| stored.unusable.is_none() && !stored.text.is_empty();
        !self.stored.as_ref().is_some_and(usable)
    }

    /// Returns whether [Velero restored](owned_config_map::restored_by) what is stored.
    pub fn is_restored(&self) -> bool {
        let unusable = self
            .stored
            .as_ref()
            .and_then(|stored| stored.unusable.as_ref());
        matches!(unusable, Some(Unusable::Restored(_)))
    }

    /// Returns whether this version of the ConfigMap was read or written here; `None` if there is no
    /// ConfigMap.
    pub fn has_seen(&self, version: Option<&str>) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|stored| stored.version.as_deref() == version)
    }

    /// Returns whether the ConfigMap was read.
    pub const fn is_loaded(&self) -> bool {
        self.stored.is_some()
    }

    /// Stores `memory` if it differs from what is [loaded](Self::is_loaded). What a newer version of
    /// velero-trust wrote is not replaced: that version may come back. Fails if the ConfigMap is no
    /// longer the one that was read; the next [`load`](Self::load) reads it again.
    pub async fn save(&mut self, memory: &Memory) -> Result<(), BundleIssue> {
        let Some(stored) = &self.stored else {
            return Ok(());
        };
        let text = memory.to_text();
        let is_kept = match &stored.unusable {
            Some(Unusable::Unreadable(Unreadable::Version(_))) => true,
            Some(_) => false,
            None => stored.text == text,
        };
        if is_kept {
            return Ok(());
        }
        match self.write(stored, text.clone()).await {
            Ok(version) => {
                self.stored = Some(Stored {
                    text,
                    version,
                    unusable: None,
                });
                Ok(())
            }
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                    self.stored = None;
                }
                Err(self.issue(error::lookup_error(&error).message))
            }
        }
    }

    /// Replaces the `stored` ConfigMap, or creates it if there is none. Returns its new
    /// resourceVersion.
    async fn write(&self, stored: &Stored, text: String) -> kube::Result<Option<String>> {
        let data = BTreeMap::from([(KEY.to_owned(), text)]);
        let (config_maps, name) = (&self.config_maps, &self.name);
        match &stored.version {
            Some(version) => {
                owned_config_map::apply(config_maps, name, data, Some(version.clone())).await
            }
            None => owned_config_map::create(config_maps, name, data).await,
        }
    }

    /// Deletes the ConfigMap, unless it changed after it was read.
    pub async fn delete(&mut self) -> kube::Result<()> {
        // Whether or not this succeeds, the ConfigMap has to be read again.
        let version = self.stored.take().and_then(|stored| stored.version);
        let params = version.as_deref().map(owned_config_map::unchanged);
        let params = params.unwrap_or_default();
        owned_config_map::delete(&self.config_maps, &self.name, &params).await
    }

    fn issue(&self, reason: String) -> BundleIssue {
        BundleIssue::MemoryFailed {
            config_map: self.name.clone(),
            reason,
        }
    }
}

impl Stored {
    /// Returns what is in the ConfigMap, and its memory, which is empty if there is none to use.
    fn read(map: Option<&ConfigMap>) -> (Self, Memory) {
        let Some(map) = map else {
            return Default::default();
        };
        let mut stored = Self {
            version: map.metadata.resource_version.clone(),
            ..Self::default()
        };
        if let Some(restore) = owned_config_map::restored_by(&map.metadata) {
            stored.unusable = Some(Unusable::Restored(restore.to_owned()));
            return (stored, Memory::default());
        }
        let text = map.data.as_ref().and_then(|data| data.get(KEY));
        stored.text = text.cloned().unwrap_or_default();
        if stored.text.is_empty() {
            return (stored, Memory::default());
        }
        let memory = Memory::from_text(&stored.text).unwrap_or_else(|why| {
            stored.unusable = Some(why.into());
            Memory::default()
        });
        (stored, memory)
    }
}
