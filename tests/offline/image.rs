//! What is told of the image in several places is the same, and its build sees the paths of a machine.

use std::fs;
use std::process::Command;

use velero_trust_testing::installer;

use crate::manifests::pod_template;

#[test]
fn the_image_the_deployment_and_the_binary_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let image = &pod_template()["spec"]["containers"][0]["image"];
    assert_eq!(*image, format!("velero-trust:{version}"));
    let containerfile = installer::manifests().join("image/Containerfile");
    let containerfile = fs::read_to_string(containerfile).unwrap();
    let label = format!("org.opencontainers.image.version=\"{version}\"");
    assert!(containerfile.contains(&label), "{containerfile}");
}

/// The binary of the tests contains the folders that it was compiled from.
#[test]
fn a_binary_with_paths_of_the_machine_is_refused() {
    let build = installer::manifests().join("image/build");
    let paths = |file: &str| {
        let output = Command::new(&build).args(["paths", file]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = paths(env!("CARGO_BIN_EXE_velero-trust"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("contains paths of this machine"), "{told}");
    assert!(told.contains(env!("CARGO_MANIFEST_DIR")), "{told}");
    assert_eq!(paths("Cargo.toml"), (Some(0), String::new()));
}
