//! `velero-trust client-ca`: writes the CA file that `velero --cacert` needs on a user's machine.
//!
//! `velero backup logs`, `describe --details` and `download` fetch from the object store directly,
//! with a signed URL. A webhook cannot inject a CA into a process on a laptop.

mod fetch;
mod velero;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use self::fetch::{Ca, CaSource};
use self::velero::VeleroCli;
use super::cluster_args::ClusterArgs;
use super::stdout::Stdout;
use super::{exit, file, install_crypto_provider, parse, print_warning, runtime};

/// Write the CA certificates that the velero CLI needs on your machine
///
/// `velero --cacert FILE` needs them to fetch logs and backups from the object store. By default,
/// the merged bundle of the namespace is written; with `--bsl`, the CA of one
/// BackupStorageLocation. The cluster is read with the permissions of your kubeconfig.
#[derive(Args, Debug)]
pub(super) struct ClientCa {
    /// Write only the CA of this BackupStorageLocation; requires read access to the Secret it names
    #[arg(long, value_name = "NAME", value_parser = parse::object, env = "VELERO_TRUST_CLIENT_CA_BSL")]
    bsl: Option<String>,

    /// Namespace that Velero is installed in
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "velero",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_CLIENT_CA_VELERO_NAMESPACE"
    )]
    velero_namespace: String,

    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_CLIENT_CA_OUT")]
    out: Option<PathBuf>,

    /// Configure the velero CLI to use the certificates
    ///
    /// Without `--out`, they are written to `~/.config/velero/velero-trust-ca.crt`.
    #[arg(long)]
    configure: bool,

    /// Name or path of the velero CLI that `--configure` runs
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "velero",
        env = "VELERO_TRUST_CLIENT_CA_VELERO"
    )]
    velero: PathBuf,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ClientCa {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        // Everything that can be checked up front is checked before anything is written.
        let velero = self.velero()?;
        let source = CaSource {
            namespace: &self.velero_namespace,
            bsl: self.bsl.as_deref(),
        };
        let ca = runtime()?.block_on(source.fetch(&self.cluster))?;
        for warning in &ca.warnings {
            print_warning(warning);
        }
        let mut out = Stdout::ignore_when_closed();
        match (&velero, &self.out) {
            (Some((velero, path)), _) => {
                write(path, &ca)?;
                writeln!(out, "wrote {}, certificates: {}", path.display(), ca.count)?;
                velero.use_ca(path)?;
                writeln!(
                    out,
                    "velero uses it from now on; run this command again when the CA is rotated"
                )?;
            }
            (None, Some(path)) => {
                write(path, &ca)?;
                writeln!(out, "wrote {}, certificates: {}", path.display(), ca.count)?;
            }
            (None, None) => Stdout::fail_when_closed().write_all(ca.pem.as_bytes())?,
        }
        Ok(exit::CLEAN)
    }

    /// Returns the velero CLI and the path of the file to configure it with, or `None` without
    /// `--configure`.
    ///
    /// # Errors
    /// If the CLI does not run, or if it cannot store the path.
    fn velero(&self) -> anyhow::Result<Option<(VeleroCli, PathBuf)>> {
        if !self.configure {
            return Ok(None);
        }
        let path = match &self.out {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        let path = std::path::absolute(path).context("the file name is not a valid path")?;
        let velero = VeleroCli::find(&self.velero)?;
        if !velero::is_storable(&path) {
            bail!(
                "velero cannot store the path {}: it contains `=` or is not UTF-8; set another \
                 path with --out",
                path.display()
            );
        }
        Ok(Some((velero, path)))
    }
}

/// Returns the default path of the file. It is in the folder of Velero's own client configuration,
/// which is permanent and under HOME regardless of XDG_CONFIG_HOME (`pkg/client/config.go`).
fn default_path() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.context("HOME is not set; set the path of the file with --out")?;
    Ok(Path::new(&home).join(".config/velero/velero-trust-ca.crt"))
}

fn write(path: &Path, ca: &Ca) -> anyhow::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| folder.ends_with(".config/velero"))
    {
        create_config_folder(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    file::write(path, ca.pem.as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Creates the folder of Velero's client configuration with the permissions that Velero gives it.
fn create_config_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}
