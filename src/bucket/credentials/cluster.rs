//! Reads Secrets and Deployments of a namespace from the API server.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};

use super::installation::mounted_credentials;
use super::{CredentialsError, SecretSource};
use crate::bucket::settings::{Provider, SecretKey};
use crate::kubernetes::workloads::Kind;
use crate::velero::text::single_line;

/// Number of Deployments in one page of a list. Each may be as large as etcd stores, about 1.5 MiB.
const PAGE_SIZE: u32 = 10;

/// Most pages that are read.
const MAX_PAGES: usize = 5;

/// Most characters of an error of the API server that are kept.
const MAX_ERROR_CHARS: usize = 200;

/// The Secrets and Deployments of a namespace.
#[derive(Clone)]
pub struct ClusterSecrets {
    client: Client,
    namespace: String,
}

impl ClusterSecrets {
    /// Reads those of `namespace`. Only Secrets that are named are read.
    pub fn new(client: Client, namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self { client, namespace }
    }
}

fn unavailable(error: &kube::Error) -> CredentialsError {
    let why = single_line(&error.to_string(), MAX_ERROR_CHARS).into_owned();
    CredentialsError::Unavailable { why }
}

impl SecretSource for ClusterSecrets {
    async fn value(&self, secret: &SecretKey) -> Result<Option<Vec<u8>>, CredentialsError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get_opt(&secret.name).await;
        let found = found.map_err(|error| match error {
            // Its message might quote the Secret.
            kube::Error::SerdeError(_) => CredentialsError::Unavailable {
                why: "the answer is no Secret".to_owned(),
            },
            error => unavailable(&error),
        })?;
        let data = found.and_then(|secret| secret.data);
        let value = data.and_then(|mut data| data.remove(&secret.key));
        Ok(value.map(|value| value.0))
    }

    async fn installed(&self, provider: Provider) -> Result<Option<SecretKey>, CredentialsError> {
        let deployments = Kind::Deployment.api(self.client.clone(), &self.namespace);
        let mut params = ListParams::default().limit(PAGE_SIZE);
        for _ in 0..MAX_PAGES {
            let page = deployments.list(&params).await;
            let page = page.map_err(|error| unavailable(&error))?;
            for deployment in &page.items {
                let text = serde_json::to_string(deployment).unwrap_or_default();
                if let Some(secret) = mounted_credentials(&text, provider.file_variable()) {
                    return Ok(Some(secret));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        Ok(None)
    }
}
