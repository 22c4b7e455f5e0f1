//! Access to an API server: address, CA and token, as a kubeconfig or a kube client.

use crate::cli::Cli;
use crate::https;
use anyhow::{Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

/// The address of an API server and the credentials for it.
#[derive(Clone, Debug)]
pub struct Access {
    /// `https://127.0.0.1:PORT`
    pub server: String,
    /// The certificates that sign the server's own, in PEM.
    pub ca_pem: String,
    /// The bearer token.
    pub token: String,
}

impl Access {
    /// Returns access to the same server with another token, for example one of a ServiceAccount.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Returns access to the same server as an existing ServiceAccount. The token is valid for a
    /// day, because `make cluster` may be left running. `kubectl` must be the administrator's.
    pub fn service_account(&self, kubectl: &Cli, namespace: &str, name: &str) -> Result<Self> {
        let token = ["create", "token", name, "--duration=24h"];
        let token = kubectl.ok(&[&token[..], &["-n", namespace]].concat())?;
        Ok(self.with_token(token.trim()))
    }

    /// Returns a kubeconfig as JSON, which every YAML reader understands.
    pub fn kubeconfig(&self) -> String {
        use k8s_openapi::ByteString;

        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": self.server,
                "certificate-authority-data": ByteString(self.ca_pem.clone().into_bytes()),
            }}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        })
        .to_string()
    }

    /// Returns a kube client. It must be created and used inside a Tokio runtime.
    pub async fn client(&self) -> Result<kube::Client> {
        https::install_provider();
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig())?;
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // A proxy configured on this machine cannot reach our loopback address.
        config.proxy_url = None;
        Ok(kube::Client::try_from(config)?)
    }

    /// Fails unless the server reports that it is ready.
    pub fn check_ready(&self) -> Result<()> {
        let bearer = format!("Bearer {}", self.token);
        let url = format!("{}/readyz", self.server);
        let response = https::get(&url, &self.ca_pem, &[("Authorization", &bearer)])?;
        ensure!(
            response.status == 200,
            "{} {}",
            response.status,
            response.body
        );
        Ok(())
    }
}
