//! Imports point only down, from the edges to the core, and the core is pure.

use std::fs;
use std::path::{Component, Path};

use crate::tree::files_with_extension;

/// The modules of the crate. Each may use only those before it.
const LAYERS: [&str; 22] = [
    "names",
    "digest",
    "decision",
    "velero",
    "ca",
    "injection",
    "integrity",
    "admission",
    "clock",
    "rate_limiter",
    "shared_quota",
    "dial",
    "serving_ca",
    "signing_key",
    "encrypted_key",
    "telemetry",
    "kubernetes",
    "bucket",
    "sources",
    "controllers",
    "serving",
    "cli",
];

/// The last pure layer.
const LAST_PURE: &str = "admission";

/// Modules that must not import each other although one comes before the other.
const STRANGERS: [(&str, &str); 3] = [
    ("injection", "ca"),
    ("integrity", "ca"),
    ("integrity", "injection"),
];

/// The reconcilers: folders of `controllers` that must not import each other.
const RECONCILERS: [&str; 7] = [
    "activation",
    "bundle",
    "coverage",
    "endpoints",
    "recorder",
    "restores",
    "status",
];

/// Names that no pure layer may use: I/O, clocks, the environment, the log.
const IMPURE: [&str; 16] = [
    "tokio",
    "kube::",
    "hyper",
    "axum",
    "rustls::",
    "tracing",
    "std::fs",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::io",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
];

/// Returns the other reconcilers that a file of `reconciler` imports.
fn imported_reconcilers(reconciler: &str, code: &str) -> Vec<String> {
    let mut imported = Vec::new();
    for other in RECONCILERS.iter().filter(|other| **other != reconciler) {
        for path in ["controllers::", "super::"] {
            let path = format!("{path}{other}");
            let names = code.match_indices(path.as_str());
            let ends = names.map(|(start, name)| &code[start + name.len()..]);
            imported.extend(
                ends.filter(|rest| ends_name(rest))
                    .map(|_| format!("uses {path}")),
            );
        }
        for parent in ["controllers", "super"] {
            let path = format!("{parent}::{{");
            let groups = code.match_indices(path.as_str());
            let groups = groups.map(|(start, path)| &code[start + path.len()..]);
            let names = groups.filter(|group| names_in_group(group).contains(other));
            imported.extend(names.map(|_| format!("uses {parent}::{other}")));
        }
    }
    imported
}

/// Whether a name is at its end where `rest` begins.
fn ends_name(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Returns the first names of the paths in a group of imports, which begins after its `{`.
fn names_in_group(group: &str) -> Vec<&str> {
    let group = group.split(';').next().unwrap();
    let paths = group.split(['{', ',', '}']).map(str::trim);
    let paths = paths.filter(|path| !path.is_empty());
    paths.map(|path| path.split("::").next().unwrap()).collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

/// Returns the code of a file without comments and tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the violations in a file of `module`.
fn offences(module: &str, code: &str) -> Vec<String> {
    let own = layer(module).unwrap();
    let mut offences = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        let used = rest
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap();
        let up = layer(used).is_none_or(|used| used > own);
        if up || STRANGERS.contains(&(module, used)) {
            offences.push(format!("uses crate::{used}"));
        }
    }
    if own <= layer(LAST_PURE).unwrap() {
        let impure = IMPURE.iter().filter(|name| code.contains(**name));
        offences.extend(impure.map(|name| format!("names {name}, and is pure")));
    }
    offences
}

#[test]
fn every_file_uses_only_the_layers_before_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_with_extension(&root, "rs");
    let mut wrong = Vec::new();
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        let first = within
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        if ["main", "lib"].contains(&module) {
            continue;
        }
        assert!(
            layer(module).is_some(),
            "src/{first} has no layer: give it one in this test"
        );
        let code = code(&fs::read_to_string(&file).unwrap());
        let mut found = offences(module, &code);
        let folder = within.components().nth(1).unwrap_or(Component::CurDir);
        let folder = folder.as_os_str().to_str().unwrap();
        if module == "controllers" && RECONCILERS.contains(&folder) {
            found.extend(imported_reconcilers(folder, &code));
        }
        for offence in found {
            wrong.push(format!("src/{}: {offence}", within.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_a_reconciler_is_held() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controllers");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    // What several reconcilers follow, what is above them, and their tests.
    let others = ["leader", "namespaces", "records", "testing"];
    let names = names.filter(|name| !others.contains(&name.as_str()));
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, RECONCILERS);
}

#[test]
fn an_import_of_another_reconciler_is_seen() {
    let imported = |code| imported_reconcilers("endpoints", code);
    assert_eq!(imported("use super::bundle::X;"), ["uses super::bundle"]);
    let path = "use crate::controllers::status;";
    assert_eq!(imported(path), ["uses controllers::status"]);
    let group = "use super::{channels::X, bundle::{Y, Z}};";
    assert_eq!(imported(group), ["uses super::bundle"]);
    let group = "use crate::controllers::{\n    coverage,\n};";
    assert_eq!(imported(group), ["uses controllers::coverage"]);
    assert!(imported("use super::{status_reporter, locations};").is_empty());
    assert!(imported("use super::bundle_watch; use crate::controllers::endpoints;").is_empty());
}

#[test]
fn an_import_upwards_and_an_impure_name_are_seen() {
    assert_eq!(
        offences("ca", "use crate::sources::Source;"),
        ["uses crate::sources"]
    );
    assert_eq!(
        offences("integrity", "use crate::ca::pem;"),
        ["uses crate::ca"]
    );
    assert_eq!(offences("ca", "let now = SystemTime::now();").len(), 1);
    assert!(offences("cli", "use crate::sources::Source; std::env::args();").is_empty());
}
