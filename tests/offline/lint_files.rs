//! Which files `velero-trust lint` reads, and the paths in its output.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::lint::lint;

const LOCATION: &str = "tests/lint/manifests/in/absent.yaml";

fn folder(secret: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::copy(LOCATION, folder.path().join("sub/bsl.yaml")).unwrap();
    if let Some(secret) = secret {
        fs::write(folder.path().join("sub/secret.yaml"), secret).unwrap();
    }
    folder
}

#[test]
fn a_file_that_several_paths_lead_to_is_read_once() {
    let folder = folder(None);
    std::os::unix::fs::symlink("bsl.yaml", folder.path().join("sub/link.yaml")).unwrap();
    let whole = folder.path().join("sub/bsl.yaml").display().to_string();
    for paths in [
        &["sub", "sub"][..],
        &["sub", "./sub/bsl.yaml"],
        &["sub/bsl.yaml", "sub/../sub", &whole],
        &[".", "sub", "sub/link.yaml"],
    ] {
        let ran = lint(folder.path(), paths, "");
        let says = "BackupStorageLocations: 1, denials: 1, warnings: 0\n";
        assert!(ran.out.ends_with(says), "{paths:?}: {}", ran.out);
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{paths:?}");
    }
    let text = fs::read_to_string(LOCATION).unwrap();
    let ran = lint(folder.path(), &["-", "-"], &text);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
}

/// A link in another folder counts as a separate manifest, because the Secret next to it may
/// differ.
#[test]
fn what_overlays_share_by_links_is_judged_in_each() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for overlay in ["base", "overlays/a", "overlays/b"] {
        fs::create_dir_all(at(overlay)).unwrap();
    }
    fs::copy(LOCATION, at("base/bsl.txt")).unwrap();
    for overlay in ["a", "b"] {
        let link = at(&format!("overlays/{overlay}/bsl.yaml"));
        std::os::unix::fs::symlink("../../base/bsl.txt", link).unwrap();
    }
    let ran = lint(folder.path(), &["overlays"], "");
    let says = "BackupStorageLocations: 2, denials: 2, warnings: 0\n";
    assert!(ran.out.ends_with(says), "{}", ran.out);
    for overlay in ["a", "b"] {
        let place = format!("overlays/{overlay}/bsl.yaml:");
        assert!(ran.out.contains(&place), "{}", ran.out);
    }
}

#[test]
fn a_file_that_is_named_is_to_be_readable_in_whatever_order() {
    let folder = folder(None);
    fs::write(folder.path().join("sub/other.yaml"), "a: [\n").unwrap();
    let ran = lint(folder.path(), &["sub"], "");
    assert_eq!(ran.code, 1, "a note: {}", ran.err);
    for paths in [["sub", "sub/other.yaml"], ["sub/other.yaml", "sub"]] {
        let ran = lint(folder.path(), &paths, "");
        assert_eq!(ran.code, 2, "{paths:?}: {}", ran.out);
        assert!(ran.err.contains("sub/other.yaml:"), "{}", ran.err);
    }
}

#[test]
fn a_secret_that_is_broken_is_not_one_that_does_not_exist() {
    let location = fs::read_to_string(LOCATION).unwrap();
    let name = location.split_once("caCertRef:").unwrap().1;
    let name = name.split_once("name: ").unwrap().1;
    let name = name.split(['\n', ',', '}']).next().unwrap();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: velero\ndata:\n  \
         other: YQ==\n  ca.crt: '%%%'\n"
    );
    let folder = folder(Some(&secret));
    let ran = lint(folder.path(), &["sub"], "");
    assert_eq!(
        ran.out,
        "BackupStorageLocations: 1, denials: 0, warnings: 0\n"
    );
    let says = format!(
        "velero-trust: sub/secret.yaml:8: Secret velero/{name}: data.ca.crt is not base64\n"
    );
    assert_eq!((ran.code, ran.err), (2, says));
}

#[test]
fn what_is_above_the_working_directory_has_a_whole_uri() {
    let folder = folder(None);
    fs::create_dir(folder.path().join("here")).unwrap();
    let here = folder.path().join("here");
    let uri = |paths: &[&str], here: &Path| {
        let ran = lint(here, &[&["--output=sarif"], paths].concat(), "");
        let log: Value = serde_json::from_str(&ran.out).unwrap();
        let place = "/runs/0/results/0/locations/0/physicalLocation/artifactLocation/uri";
        log.pointer(place).unwrap().as_str().unwrap().to_owned()
    };
    let whole = folder.path().canonicalize().unwrap();
    let whole = format!("file://{}/sub/bsl.yaml", whole.display());
    assert_eq!(uri(&["../sub"], &here), whole);
    assert_eq!(uri(&["here/../sub"], folder.path()), "sub/bsl.yaml");
}
