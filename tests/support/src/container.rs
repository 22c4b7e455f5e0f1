//! The image, and a container of it as a container runtime would start one: an empty root that cannot be
//! written, the user of the image, and nothing of this machine but its loopback interface.

use crate::access::Access;
use crate::cli::Cli;
use crate::installer;
use crate::kubelet;
use crate::scratch;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The devices that the server opens, of those that every container has (OCI runtime specification, "Default
/// Devices"). A static binary cannot look up `getrandom` of the C library by its name.
const DEVICES: [&str; 2] = ["dev/random", "dev/urandom"];

/// Where a Pod finds what its account is.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// The name of the API server in a container.
const API_SERVER: &str = "kubernetes.default.svc";

/// An image as `manifests/image/build` writes it, unpacked.
#[derive(Debug)]
pub struct Image {
    /// The digest of the manifest, by which a registry knows the image.
    pub digest: String,
    /// The configuration: architecture, user, entry point, labels.
    pub config: Value,
    /// The number of layers.
    pub layers: usize,
    folder: TempDir,
}

impl Image {
    /// Builds the image of this program, for an architecture as images name it.
    pub fn build(program: &Path, architecture: &str) -> Result<Self> {
        let folder = scratch::folder("image")?;
        let archive = folder.path().join("image.tar");
        let build = Cli::new(installer::manifests().join("image/build"), None)?
            .with_environment(&[("TARGETARCH", architecture)]);
        build.ok(&["image".as_ref(), program, &archive])?;

        let unpacked = folder.path().join("unpacked");
        unpack(&archive, &unpacked)?;
        let index: Value = serde_json::from_slice(&fs::read(unpacked.join("index.json"))?)?;
        let digest = digest(index.pointer("/manifests/0"))?;
        let manifest: Value = serde_json::from_slice(&blob(&unpacked, &digest)?)?;
        let config = blob(&unpacked, &self::digest(manifest.get("config"))?)?;
        let layers = manifest
            .get("layers")
            .and_then(Value::as_array)
            .context("no layers")?;
        let root = folder.path().join("root");
        for layer in layers {
            unpack(&path(&unpacked, &self::digest(Some(layer))?), &root)?;
        }
        Ok(Self {
            digest,
            config: serde_json::from_slice(&config)?,
            layers: layers.len(),
            folder,
        })
    }

    /// Returns the root of the image.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Returns a program that starts a container with its own arguments for the entry point. It has what a Pod
    /// would have of this access: the files of its account, and the variables with the address of the API server,
    /// whose name is in `/etc/hosts`. `HOSTNAME` is passed on.
    pub fn program(&self, access: &Access, namespace: &str) -> Result<PathBuf> {
        let root = self.root();
        let account = root.join(ACCOUNT);
        let files = [
            ("token".to_owned(), &access.token[..]),
            ("ca.crt".to_owned(), &access.ca_pem),
            ("namespace".to_owned(), namespace),
        ];
        let files = files.iter().map(|(name, text)| (name, text.as_bytes()));
        kubelet::lay_out(&account, files)?;
        for entry in fs::read_dir(&account)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        fs::create_dir(root.join("dev"))?;
        for device in DEVICES {
            fs::write(root.join(device), "")?;
        }
        fs::create_dir(root.join("etc"))?;
        fs::write(root.join("etc/hosts"), format!("127.0.0.1\t{API_SERVER}\n"))?;

        let (_, port) = access.server.rsplit_once(':').context("no port")?;
        let text = |pointer: &str| {
            let text = self.config.pointer(pointer).and_then(Value::as_str);
            text.with_context(|| format!("its configuration has no {pointer}"))
        };
        let user = text("/config/User")?;
        let entry_point = text("/config/Entrypoint/0")?;
        let variables = self.config.pointer("/config/Env");
        let variables = variables
            .and_then(Value::as_array)
            .context("no variables")?;
        let variables = variables.iter().filter_map(Value::as_str);
        let variables = variables.collect::<Vec<_>>().join(" ");
        let devices = DEVICES.join(" ");
        let root = root.display();
        let program = self.folder.path().join("container");
        // Each step replaces the one before, so the process that was started is the server. What is filled in is
        // ours, and has no character that a shell would read otherwise.
        let script = format!(
            r#"#!/bin/sh
set -eu
[ "$(id -u)" = 0 ] || exec buildah unshare "$0" "$@"
exec unshare --mount --propagation private sh -euc '
  mount --bind {root} {root}
  for device in {devices}; do mount --bind /$device {root}/$device; done
  mount -o remount,bind,ro {root}
  exec env -i HOME=/ {variables} HOSTNAME="$HOSTNAME" \
    KUBERNETES_SERVICE_HOST={API_SERVER} KUBERNETES_SERVICE_PORT={port} \
    chroot --userspec={user} --groups= {root} {entry_point} "$@"
' sh "$@"
"#
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(program)
    }
}

/// Unpacks a tar file, compressed or not.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let tar = Cli::new("/bin/tar".into(), None)?;
    let arguments = ["-xf".as_ref(), archive, "-C".as_ref(), folder];
    tar.ok(&arguments).map(drop)
}

fn digest(descriptor: Option<&Value>) -> Result<String> {
    let digest = descriptor.and_then(|descriptor| descriptor.get("digest")?.as_str());
    Ok(digest.context("no digest")?.to_owned())
}

fn blob(layout: &Path, digest: &str) -> Result<Vec<u8>> {
    let path = path(layout, digest);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Returns the path of a blob in an OCI layout.
fn path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}
