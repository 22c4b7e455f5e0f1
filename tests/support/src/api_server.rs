//! A real kube-apiserver with an etcd of its own.

use crate::access::Access;
use crate::cli::Cli;
use crate::etcd::Etcd;
use crate::process::{Process, clean_command};
use crate::{pki, ports, rig, scratch};
use anyhow::{Context as _, Result};
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A running API server. Dropping it kills it, because with SIGTERM it would hold its port for
/// seconds.
#[derive(Debug)]
pub struct ApiServer {
    access: Access,
    kubeconfig: PathBuf,
    process: Process,
    _etcd: Etcd,
    folder: TempDir,
}

impl ApiServer {
    /// Starts an API server without controllers. The ServiceAccount admission plugin is off,
    /// because nothing would create the accounts that it requires.
    pub fn start() -> Result<Self> {
        Self::start_with(&["--disable-admission-plugins=ServiceAccount"])
    }

    /// Starts an API server with these arguments in addition to the necessary ones.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        ports::retrying(|| Self::attempt(arguments))
    }

    fn attempt(arguments: &[&str]) -> Result<Self> {
        let etcd = Etcd::start()?;
        let folder = scratch::folder("api-server")?;
        let files = Files::write(folder.path())?;
        let port = ports::free()?;
        let mut command = clean_command(&rig::binary("kube-apiserver")?, folder.path());
        command
            .args(["--etcd-servers", &etcd.url])
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={port}"))
            .arg("--cert-dir")
            .arg(&files.certificates)
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--service-account-key-file")
            .arg(&files.public_key)
            .arg("--service-account-signing-key-file")
            .arg(&files.private_key)
            .arg("--token-auth-file")
            .arg(&files.tokens)
            .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // An Endpoints object cannot contain a loopback address.
            .arg("--endpoint-reconciler-type=none")
            .args(arguments);
        let mut process = Process::start("kube-apiserver", command, folder.path())?;
        let access = process.ready(|_| {
            let certificate = files.certificates.join("apiserver.crt");
            let ca_pem = fs::read_to_string(certificate).context("it made no certificate yet")?;
            let server = format!("https://127.0.0.1:{port}");
            let access = Access {
                server,
                ca_pem,
                token: files.token.clone(),
            };
            access.check_ready().map(|()| access)
        })?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, access.kubeconfig())?;
        Ok(Self {
            access,
            kubeconfig,
            process,
            _etcd: etcd,
            folder,
        })
    }

    /// Returns the administrator's access.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns kubectl as the administrator.
    pub fn kubectl(&self) -> Result<Cli> {
        Cli::kubectl(&self.kubeconfig)
    }

    /// Returns the access of an existing ServiceAccount.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<Access> {
        self.access
            .service_account(&self.kubectl()?, namespace, name)
    }

    /// Sends the API server a signal, by its name without `SIG`: `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.signal(signal)
    }

    /// Returns the end of the server's log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Returns the key that signs ServiceAccount tokens, which the controller manager needs.
    pub(crate) fn signing_key(&self) -> PathBuf {
        self.folder.path().join(PRIVATE_KEY)
    }

    /// Returns the file with the certificates that sign the server's own.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join(CERTIFICATES).join("apiserver.crt")
    }
}

const PRIVATE_KEY: &str = "accounts.key";
const CERTIFICATES: &str = "certificates";

/// The files that the API server reads when it starts.
struct Files {
    certificates: PathBuf,
    private_key: PathBuf,
    public_key: PathBuf,
    tokens: PathBuf,
    token: String,
}

impl Files {
    fn write(folder: &Path) -> Result<Self> {
        // Random, so that a client cannot mistake another test's server for its own.
        let token = format!("{:016x}", RandomState::new().build_hasher().finish());
        let files = Self {
            certificates: folder.join(CERTIFICATES),
            private_key: folder.join(PRIVATE_KEY),
            public_key: folder.join("accounts.pub"),
            tokens: folder.join("tokens.csv"),
            token,
        };
        let (private, public) = pki::signing_key()?;
        fs::write(&files.private_key, private)?;
        fs::write(&files.public_key, public)?;
        fs::write(
            &files.tokens,
            format!("{},admin,admin,system:masters\n", files.token),
        )?;
        Ok(files)
    }
}
