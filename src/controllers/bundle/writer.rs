//! Reads and writes the ConfigMap of the bundle, and sends its certificates to the other
//! reconcilers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::ca::bundle_issue::BundleIssue;
use crate::ca::certificate::Certificate;
use crate::ca::merged_bundle::MergedBundle;
use crate::controllers::channels::PublishedCertificatesSender;
use crate::kubernetes::bundle::{self, BundleStatus};
use crate::kubernetes::error;
use crate::names;

/// Writes the bundle of one namespace.
pub(super) struct BundleWriter {
    config_maps: Api<ConfigMap>,
    namespace: String,
    published: Arc<PublishedCertificatesSender>,
    /// The resourceVersion of the ConfigMap that was last read or written.
    version: Option<String>,
}

/// Why the bundle was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PublishError {
    /// Another writer changed the ConfigMap after it was read.
    #[error("the ConfigMap changed after it was read")]
    Conflict,
    /// Any other failure, which is reported.
    #[error(transparent)]
    Issue(#[from] BundleIssue),
}

impl BundleWriter {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        published: Arc<PublishedCertificatesSender>,
    ) -> Self {
        Self {
            config_maps: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            published,
            version: None,
        }
    }

    /// Returns whether this version of the ConfigMap was read or written here.
    pub(super) fn has_seen(&self, version: Option<&str>) -> bool {
        version.is_some() && version == self.version.as_deref()
    }

    /// Returns the certificates that this process published last; none before the first time.
    pub(super) fn published(&self) -> Arc<[Certificate]> {
        Arc::clone(&self.published.borrow())
    }

    /// Reads the ConfigMap. Fails if it is not ours to write.
    pub(super) async fn read(&mut self) -> Result<Option<ConfigMap>, BundleIssue> {
        let live = self.config_maps.get_opt(names::BUNDLE).await;
        let live = live.map_err(|error| BundleIssue::ReadFailed {
            reason: error::lookup_error(&error).message,
        })?;
        self.version = live.as_ref().and_then(version);
        if live
            .as_ref()
            .is_some_and(|live| !bundle::is_ours(&live.metadata))
        {
            return Err(BundleIssue::NotOwned);
        }
        Ok(live)
    }

    /// Writes the bundle over `live`, unless both are equal. Returns whether it wrote.
    pub(super) async fn write(
        &mut self,
        merged: &MergedBundle,
        status: BundleStatus<'_>,
        live: Option<&ConfigMap>,
    ) -> Result<bool, PublishError> {
        let wanted = bundle::config_map(&self.namespace, merged, status);
        let is_same = live.is_some_and(|live| bundle::is_same(live, &wanted));
        if !is_same {
            let written = bundle::write(&self.config_maps, wanted, live).await;
            let written = written.map_err(|error| match error {
                kube::Error::Api(status) if status.code == 409 => PublishError::Conflict,
                error => {
                    let reason = error::lookup_error(&error).message;
                    BundleIssue::WriteFailed { reason }.into()
                }
            })?;
            self.version = version(&written);
            tracing::info!(
                certificates = merged.bundle.count,
                hash = merged.bundle.hash,
                "bundle published"
            );
        }
        self.published.send_if_modified(|published| {
            let is_new = **published != *merged.certificates;
            if is_new {
                *published = merged.certificates.as_slice().into();
            }
            is_new
        });
        Ok(!is_same)
    }
}

fn version(map: &ConfigMap) -> Option<String> {
    map.metadata.resource_version.clone()
}
