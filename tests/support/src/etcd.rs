//! etcd, the store of one API server.

use crate::process::{Process, clean_command};
use crate::{ports, rig, scratch};
use anyhow::{Result, ensure};
use tempfile::TempDir;

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    /// The URL for clients.
    pub url: String,
    _process: Process,
    _folder: TempDir,
}

impl Etcd {
    /// Starts an etcd with an empty store.
    pub fn start() -> Result<Self> {
        ports::retrying(Self::attempt)
    }

    fn attempt() -> Result<Self> {
        let folder = scratch::folder("etcd")?;
        let url = format!("http://127.0.0.1:{}", ports::free()?);
        let peer = format!("http://127.0.0.1:{}", ports::free()?);
        let mut command = clean_command(&rig::binary("etcd")?, folder.path());
        command
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            // The store is not needed after a crash of the machine.
            .arg("--unsafe-no-fsync")
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .arg(format!("--initial-cluster=default={peer}"));
        let mut process = Process::start("etcd", command, folder.path())?;
        // Its own log message instead of an open port, which could be another process's etcd.
        process.ready(|process| {
            ensure!(
                process.log().contains("ready to serve client requests"),
                "it does not serve yet"
            );
            Ok(())
        })?;
        Ok(Self {
            url,
            _process: process,
            _folder: folder,
        })
    }
}
