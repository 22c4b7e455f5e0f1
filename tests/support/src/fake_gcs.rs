//! fake-gcs-server, an emulator of Google Cloud Storage, behind a private CA. It takes every token.

use crate::pki::Authority;
use crate::process::{Process, clean_command};
use crate::{https, ports, rig, scratch};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// A running fake-gcs-server.
#[derive(Debug)]
pub struct FakeGcs {
    /// `https://127.0.0.1:PORT`
    pub url: String,
    process: Process,
    /// Removed with the server.
    _folder: TempDir,
}

impl FakeGcs {
    /// Starts a server with these buckets, whose certificate `authority` signs.
    pub fn start(authority: &Authority, buckets: &[&str]) -> Result<Self> {
        ports::retrying(|| Self::attempt(authority, buckets))
    }

    fn attempt(authority: &Authority, buckets: &[&str]) -> Result<Self> {
        let folder = scratch::folder("fake-gcs")?;
        let identity = authority.server("fake-gcs-server")?;
        let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
        fs::write(&key, &identity.key_pem)?;
        fs::write(&certificate, &identity.certificate_pem)?;
        // Each folder in the data becomes a bucket.
        let data = folder.path().join("data");
        for bucket in buckets {
            fs::create_dir_all(data.join(bucket))?;
        }
        let port = ports::free()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = clean_command(&rig::binary("fake-gcs-server")?, folder.path());
        command
            .args([
                "-backend",
                "memory",
                "-scheme",
                "https",
                "-host",
                "127.0.0.1",
            ])
            .args(["-port", &port.to_string(), "-public-host", &address])
            .arg("-data")
            .arg(&data)
            .arg("-cert-location")
            .arg(&certificate)
            .arg("-private-key-location")
            .arg(&key);
        let mut process = Process::start("fake-gcs", command, folder.path())?;
        let url = format!("https://{address}");
        let health = format!("{url}/_internal/healthcheck");
        process.ready(|_| {
            let response = https::get(&health, &authority.pem(), &[])?;
            ensure!(response.status == 200, "{}", response.head);
            Ok(())
        })?;
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

    /// Returns a BackupStorageLocation for one of its buckets.
    pub fn location(&self, namespace: &str, name: &str, bucket: &str) -> Value {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "provider": "gcp",
                "objectStorage": {"bucket": bucket},
                "config": {"storeEndpoint": format!("{}/storage/v1/", self.url)},
            },
        })
    }
}
