//! The velero CLI on this machine. It owns its client configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};

/// A velero CLI that is known to run.
pub(super) struct VeleroCli(PathBuf);

impl VeleroCli {
    /// Finds the velero CLI `program`, in PATH if it is a bare name. To check it, its configuration
    /// is read, which needs no cluster, changes nothing, and fails if the file is invalid.
    pub(super) fn find(program: &Path) -> anyhow::Result<Self> {
        let velero = Self(program.to_owned());
        velero.configured_ca().with_context(|| {
            format!(
                "the command `{}` cannot be used, so nothing was changed; name Velero's own with \
                 --velero, or leave --configure out",
                program.display()
            )
        })?;
        Ok(velero)
    }

    /// Configures it to use the certificates at `path`. The stored value is read back, because the
    /// CLI only warns about a value that it does not understand and exits with 0.
    pub(super) fn use_ca(&self, path: &Path) -> anyhow::Result<()> {
        let setting = format!("cacert={}", path.display());
        let hint = || {
            format!(
                "velero is not configured; the file is there, so try `{} client config set {setting}`",
                self.0.display()
            )
        };
        self.run(&["client", "config", "set", &setting])
            .with_context(hint)?;
        let stored = self.configured_ca().with_context(hint)?;
        if stored != path.display().to_string() {
            return Err(anyhow::anyhow!("velero reports its cacert as {stored}"))
                .with_context(hint);
        }
        Ok(())
    }

    /// Returns the `cacert` in its configuration.
    fn configured_ca(&self) -> anyhow::Result<String> {
        let said = self.run(&["client", "config", "get", "cacert"])?;
        let value = said.trim_end().strip_prefix("cacert: ");
        Ok(value
            .context("the output is not that of velero")?
            .to_owned())
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.0).args(arguments).output();
        let Output {
            status,
            stdout,
            stderr,
        } = output.with_context(|| format!("cannot run `{}`", self.0.display()))?;
        if !status.success() {
            let said = String::from_utf8_lossy(&stderr);
            let command = arguments.join(" ");
            bail!("`velero {command}` ended with {status}: {}", said.trim());
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }
}

/// Returns whether `path` can be set as `KEY=VALUE`. Velero splits the argument at every `=`.
pub(super) fn is_storable(path: &Path) -> bool {
    path.to_str().is_some_and(|path| !path.contains('='))
}
