//! The `--certificates` and `--ca-bundle` options, and what they start.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;
use kube::Client;
use tokio::sync::watch;

use super::switch::Switch;
use super::{DEFAULT_TLS_CERT, Serve};
use crate::admission::webhook_state::RegisteredWebhook;
use crate::ca::serving_certificate::ServingCertificate;
use crate::controllers::CaSource;
use crate::kubernetes::events::{self, Events};
use crate::kubernetes::registered_webhooks;
use crate::kubernetes::serving_ca::ServingCaHandle;
use crate::names;
use crate::serving::certificates::{CertificateSender, Presented, SelfSigned, Verifier};
use crate::serving::{Condition, Task};
use crate::telemetry::Metrics;

/// Where serving certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CertificateMode {
    /// From a CA of velero-trust's own, which is kept in the Secret velero-trust-serving-ca
    #[value(name = "self")]
    Own,
    /// From the files of --tls-cert and --tls-key
    Files,
}

/// Who sets the caBundle of the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CaBundleMode {
    /// The leader
    Managed,
    /// Another tool, such as cert-manager's cainjector
    External,
}

/// What serving in a cluster needs beside the certificates.
pub(super) struct InCluster<'a> {
    pub(super) client: &'a Client,
    pub(super) own: &'a str,
    pub(super) identity: &'a str,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) certificate: &'a watch::Receiver<Option<ServingCertificate>>,
}

impl Serve {
    /// Returns where certificates come from.
    ///
    /// # Errors
    /// If the options do not fit together.
    pub(super) fn certificate_mode(&self) -> anyhow::Result<CertificateMode> {
        let is_default = self.tls_cert == Path::new(DEFAULT_TLS_CERT);
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let by_default = if in_pod && is_default && self.objects.is_empty() {
            CertificateMode::Own
        } else {
            CertificateMode::Files
        };
        let mode = self.certificates.unwrap_or(by_default);
        if mode == CertificateMode::Files {
            return Ok(mode);
        }
        if !self.objects.is_empty() {
            bail!(
                "--certificates=self keeps its CA in a cluster; with --objects, give --certificates=files"
            );
        }
        if self.activation == Switch::Off {
            bail!(
                "--certificates=self, the default in a Pod, needs --activation=on, because the leader sets the caBundle; \
                 give --certificates=files, with the component certificate-files of the manifests"
            );
        }
        if self.ca_bundle == CaBundleMode::External {
            bail!(
                "--ca-bundle=external needs --certificates=files, with the component certificate-files of the manifests: \
                 only files have a CA that another tool knows"
            );
        }
        Ok(mode)
    }

    /// Returns where the leader gets the CA from; `None` if it makes nothing active.
    pub(super) fn ca_source(&self, own_ca: Option<&ServingCaHandle>) -> Option<CaSource> {
        if self.activation == Switch::Off {
            return None;
        }
        Some(match (own_ca, self.ca_bundle) {
            (Some(own), _) => CaSource::Own(own.subscribe()),
            (None, CaBundleMode::External) => CaSource::External,
            (None, CaBundleMode::Managed) => CaSource::File(self.tls_cert.with_file_name("ca.crt")),
        })
    }

    /// Adds the tasks for the certificates in a cluster. `sender` is given if this replica issues its own.
    /// Returns the conditions for readiness.
    pub(super) fn certificates_in_cluster(
        &self,
        tasks: &mut Vec<Task>,
        cluster: &InCluster<'_>,
        own_ca: Option<(CertificateSender, ServingCaHandle)>,
    ) -> Vec<Condition> {
        let (webhooks_sender, webhooks) =
            watch::channel::<Option<Arc<Vec<RegisteredWebhook>>>>(None);
        let follow = registered_webhooks::follow(cluster.client.clone(), webhooks_sender);
        tasks.push(Task::new("webhook configurations", follow));
        if let Some((sender, ca)) = own_ca {
            let own = SelfSigned {
                client: cluster.client.clone(),
                namespace: cluster.own.to_owned(),
                client_ca: self.client_ca.clone(),
                sender,
                webhooks: webhooks.clone(),
                ca,
            };
            tasks.push(Task::new("serving certificates", own.run()));
        }
        let presented = Presented {
            namespace: cluster.own.to_owned(),
            certificate: cluster.certificate.clone(),
            webhooks,
        };
        let conditions = presented.conditions();
        let verifier = Verifier {
            presented,
            metrics: Arc::clone(cluster.metrics),
            events: Events::new(cluster.client.clone(), cluster.identity),
            about: events::deployment(cluster.own, names::APP),
        };
        tasks.push(Task::new("certificate verification", verifier.run()));
        conditions
    }
}
