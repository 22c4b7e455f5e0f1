//! Azurite, the emulator of Azure's blob storage, behind a private CA.

use crate::pki::Authority;
use crate::process::{Process, clean_command};
use crate::{https, ports, rig, scratch};
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The storage account.
pub const ACCOUNT: &str = "velerotrust";

/// The key of the account: `velero-trust-key` in base64.
pub const KEY: &str = "dmVsZXJvLXRydXN0LWtleQ==";

/// Where npm puts the program, below the folder of the rig.
const PROGRAM: &str = "azurite/node_modules/azurite/dist/src/blob/main.js";

/// A running Azurite, which takes the key of the account and no tokens.
#[derive(Debug)]
pub struct Azurite {
    /// `https://127.0.0.1:PORT/<account>`
    pub url: String,
    process: Process,
    /// Removed with the server.
    _folder: TempDir,
}

impl Azurite {
    /// Starts an Azurite without containers, whose certificate `authority` signs.
    pub fn start(authority: &Authority) -> Result<Self> {
        ports::retrying(|| Self::attempt(authority))
    }

    fn attempt(authority: &Authority) -> Result<Self> {
        let folder = scratch::folder("azurite")?;
        let identity = authority.server("Azurite")?;
        let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
        fs::write(&key, &identity.key_pem)?;
        fs::write(&certificate, &identity.certificate_pem)?;
        let port = ports::free()?;
        let mut command = clean_command(Path::new("node"), folder.path());
        command
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .arg(rig::binary(PROGRAM)?)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--inMemoryPersistence", "--disableTelemetry"])
            .arg("--cert")
            .arg(&certificate)
            .arg("--key")
            .arg(&key);
        let mut process = Process::start("azurite", command, folder.path())?;
        let url = format!("https://127.0.0.1:{port}/{ACCOUNT}");
        // It refuses the request, and so is there.
        process.ready(|_| https::get(&url, &authority.pem(), &[]).map(drop))?;
        Ok(Self {
            url,
            process,
            _folder: folder,
        })
    }

    /// Returns the end of the server's log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Returns a BackupStorageLocation for one of its containers, with the key of the account in the variable
    /// `KEY` of the credentials.
    pub fn location(&self, namespace: &str, name: &str, container: &str) -> Value {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "provider": "azure",
                "objectStorage": {"bucket": container},
                "config": {
                    "storageAccount": ACCOUNT,
                    "storageAccountURI": self.url,
                    "storageAccountKeyEnvVar": "KEY",
                },
            },
        })
    }
}
