//! How the tests start `velero-trust serve`.

use crate::installer;
use crate::limited::MemoryLimit;
use crate::process::clean_command;
use crate::scratch;
use crate::webhook::Webhook;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The option that says whether the leader makes the webhooks active.
const ACTIVATION: &str = "VELERO_TRUST_ACTIVATION";

/// A `velero-trust serve` that is to be started, with a JSON log. Unless something else is said it
/// listens on free ports of loopback.
#[derive(Debug)]
pub struct Serve {
    binary: PathBuf,
    /// A shell script that starts `"$@"`.
    script: Option<String>,
    listen: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    limit: Option<MemoryLimit>,
}

impl Serve {
    /// `certificates` holds `tls.crt` and `tls.key`.
    pub fn new(binary: &Path, certificates: &Path) -> Self {
        Self::plain(binary)
            .path("--tls-cert", &certificates.join("tls.crt"))
            .path("--tls-key", &certificates.join("tls.key"))
            // Most tests take their time between a change and what becomes of it.
            .variable(ACTIVATION, "off")
    }

    /// It issues its own certificates, as in the manifests.
    pub fn issuing(binary: &Path) -> Self {
        Self::plain(binary).arguments(&["--certificates=self"])
    }

    fn plain(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            script: None,
            listen: "127.0.0.1:0".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            limit: None,
        }
    }

    /// Lets the leader make the webhooks active by itself, as it does unless it is told otherwise.
    #[must_use]
    pub fn activating(mut self) -> Self {
        self.environment.retain(|(name, _)| name != ACTIVATION);
        self
    }

    /// Lets the webhook listen on this address.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Adds an option whose value is a path.
    #[must_use]
    pub fn path(self, option: &str, path: &Path) -> Self {
        self.arguments(&[option, &path.display().to_string()])
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().copied().map(str::to_owned);
        self.arguments.extend(arguments);
        self
    }

    /// Lets it use the cluster of a kubeconfig.
    #[must_use]
    pub fn kubeconfig(self, path: &Path) -> Self {
        self.variable("KUBECONFIG", &path.display().to_string())
    }

    /// Adds a variable to the environment, which has `PATH`, `HOME` and `TMPDIR` only.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it by a shell that runs `script`, with the program and its arguments as `"$@"`.
    #[must_use]
    pub fn script(mut self, script: &str) -> Self {
        self.script = Some(script.to_owned());
        self
    }

    /// Gives it the memory limit and the settings of malloc that its container has in
    /// `manifests/deployment.yaml`.
    pub fn as_deployed(mut self) -> Result<Self> {
        let text = fs::read_to_string(installer::manifests().join("deployment.yaml"))?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let deployment = objects.first().context("deployment.yaml is empty")?;
        let container = deployment.pointer("/spec/template/spec/containers/0");
        let container = container.context("the Deployment has no container")?;
        let limit = container.pointer("/resources/limits/memory");
        let limit = limit.and_then(Value::as_str);
        let mebibytes = limit.and_then(|limit| limit.strip_suffix("Mi"));
        let mebibytes: u64 = mebibytes.context("no limit in MiB")?.parse()?;
        self.limit = Some(MemoryLimit::new(mebibytes << 20));
        let variables = container.get("env").and_then(Value::as_array);
        let text = |one: &Value, key: &str| Some(one.get(key)?.as_str()?.to_owned());
        let malloc: Vec<_> = variables
            .into_iter()
            .flatten()
            .filter_map(|one| Some((text(one, "name")?, text(one, "value")?)))
            .filter(|(name, _)| name.starts_with("MALLOC_"))
            .collect();
        ensure!(malloc.len() == 3, "not the settings of malloc: {malloc:?}");
        self.environment.extend(malloc);
        Ok(self)
    }

    /// Starts it, and waits until it listens.
    pub fn start(self) -> Result<Webhook> {
        let folder = scratch::folder("webhook")?;
        let program: &OsStr = match self.script {
            Some(_) => "/bin/sh".as_ref(),
            None => self.binary.as_os_str(),
        };
        let mut command: Command = match &self.limit {
            Some(limit) => limit.command(Path::new(program), folder.path()),
            None => clean_command(Path::new(program), folder.path()),
        };
        if let Some(script) = &self.script {
            command.args(["-c", script, "sh"]).arg(&self.binary);
        }
        command
            .args(["serve", "--log-format=json", "--ops-listen=127.0.0.1:0"])
            .args(["--listen", &self.listen])
            .args(&self.arguments)
            .envs(self.environment);
        Webhook::run(command, folder, self.limit)
    }
}
