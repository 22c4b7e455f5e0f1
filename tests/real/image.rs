//! The image: what is in it, that it is the same when it is built twice, and that it does its work in an empty
//! root, with the account of a Pod instead of a kubeconfig.

use crate::shared::alone;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::container::Image;
use velero_trust_testing::installer::{self, Installer};

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "image::does_its_work_in_an_empty_root",
        in_an_empty_root,
    )]
}

/// Links the program as that of the image is linked. Its code is that of the program under test: optimised code
/// takes minutes.
fn static_program() -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["rustc", "--quiet", "--locked", "--message-format=json"]);
    cargo.args(["--example", "static", "--", "-Ctarget-feature=+crt-static"]);
    let output = cargo.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let artifacts = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let mut programs = artifacts.flatten().filter_map(|artifact| {
        let name = artifact["executable"].as_str()?;
        Some(PathBuf::from(name))
    });
    programs.next().context("cargo made no program")
}

fn in_an_empty_root() -> Result<()> {
    let program = static_program()?;
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let image = Image::build(&program, architecture)?;
    let again = Image::build(&program, architecture)?;
    ensure!(
        image.digest == again.digest,
        "{} and {}",
        image.digest,
        again.digest
    );
    check_content(&image, architecture)?;
    let other = ["amd64", "arm64"]
        .into_iter()
        .find(|it| *it != architecture);
    let other = other.context("only one")?;
    // Nothing runs it.
    let foreign = Image::build(&installer::manifests().join("image/Containerfile"), other)?;
    ensure!(foreign.config["architecture"] == other, "{foreign:?}");

    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    Installer::new(&cluster, &program, installer::NAMESPACE)?
        .issuing()
        .apply()?;
    let access = cluster.service_account(installer::NAMESPACE, installer::NAMESPACE)?;
    let container = image.program(&access, installer::NAMESPACE)?;
    let installer = Installer::new(&cluster, &container, installer::NAMESPACE)?;
    let installer = installer.issuing();
    // The Service with its balancer.
    installer.apply()?;
    let webhook = installer.serve(&[])?;
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    let readiness = webhook.readiness()?;
    ensure!(readiness.ends_with("\nready\n"), "{readiness}");
    check_process(webhook.id())
}

/// One layer with one file, and what a runtime and a registry read.
fn check_content(image: &Image, architecture: &str) -> Result<()> {
    let files = fs::read_dir(image.root())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(files == ["velero-trust"] && image.layers == 1, "{files:?}");
    let config = &image.config;
    ensure!(
        config["architecture"] == architecture && config["os"] == "linux",
        "{config}"
    );
    // The time of the build would make another image of each.
    ensure!(config["created"] == "1970-01-01T00:00:00Z", "{config}");
    let config = &config["config"];
    ensure!(config["User"] == "65532:65532", "{config}");
    ensure!(config["Entrypoint"] == json!(["/velero-trust"]), "{config}");
    let labels = json!({
        "org.opencontainers.image.title": "velero-trust",
        "org.opencontainers.image.description": "Admission webhook for Velero",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    ensure!(config["Labels"] == labels, "{config}");
    Ok(())
}

/// The process has no rights, and its root cannot be written: otherwise this trial would show less than it says.
fn check_process(id: u32) -> Result<()> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}"));
    let status = read("status")?;
    let has = |key: &str, value: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let found = line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        ensure!(found.as_deref() == Some(value), "{key} {found:?}");
        Ok(())
    };
    has("Uid:", "65532 65532 65532 65532")?;
    has("Gid:", "65532 65532 65532 65532")?;
    has("Groups:", "")?;
    has("CapEff:", "0000000000000000")?;
    let mounts = read("mountinfo")?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(4);
        (fields.next() == Some("/")).then(|| fields.next())?
    });
    let options = root.context("no root")?;
    ensure!(options.split(',').any(|option| option == "ro"), "{options}");
    Ok(())
}
