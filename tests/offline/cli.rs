//! The command line as a user sees it: exit codes and output.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use velero_trust_testing::https;
use velero_trust_testing::pki::Authority;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `velero-trust` in `folder` with an empty environment.
fn run(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command.env_clear().current_dir(folder).args(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const LOCATION: &str = "\
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata:
  name: default
  namespace: velero
spec:
  provider: aws
  objectStorage:
    bucket: backups
    caCertRef:
      name: ca
      key: ca.crt
  config:
    region: minio
";

fn secret(pem: &str) -> String {
    let indented = pem.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: velero}}\n\
         stringData:\n  ca.crt: |\n    {indented}\n"
    )
}

#[test]
fn lint_is_silent_about_good_manifests_and_ends_with_0() {
    let ca = Authority::new("good").unwrap().pem();
    let folder = folder(&[("bsl.yaml", LOCATION), ("secret.yaml", &secret(&ca))]);
    let ran = run(folder.path(), &["lint", "."]);
    assert_eq!(
        ran.out,
        "BackupStorageLocations: 1, denials: 0, warnings: 0\n"
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn lint_names_file_line_field_and_rule_and_ends_with_1() {
    let folder = folder(&[("bsl.yaml", LOCATION)]);
    let ran = run(folder.path(), &["lint", "bsl.yaml"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let line = ran.out.lines().next().unwrap();
    assert!(
        line.starts_with("bsl.yaml:11: deny: BackupStorageLocation velero/default: "),
        "{line}"
    );
    assert!(
        line.contains("spec.objectStorage.caCertRef: Secret velero/ca does not exist"),
        "{line}"
    );
    assert!(line.ends_with("[VT001]"), "{line}");

    // An operator may relax a rule, but not one about a bundle that is useless or dangerous.
    let ran = run(folder.path(), &["lint", "--rule=VT001=warn", "bsl.yaml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("bsl.yaml:11: warn: "), "{}", ran.out);
    let ran = run(folder.path(), &["lint", "--rule=VT011=off", "bsl.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`VT011` cannot be changed"), "{}", ran.err);
}

#[test]
fn lint_goes_on_after_a_location_that_cannot_be_read() {
    let broken = LOCATION.replace("bucket: backups", "bucket: 7");
    let other = LOCATION.replace("name: default", "name: other");
    let folder = folder(&[("a.yaml", &broken), ("b.yaml", &other)]);
    let ran = run(folder.path(), &["lint", "."]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{}", ran.out);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with(
            "./a.yaml:9: deny: BackupStorageLocation velero/default: spec.objectStorage.bucket: \
             the value is a number, and the API server wants a string; quote it"
        ) && lines[0].ends_with("[VT000]"),
        "{}",
        lines[0]
    );
    assert!(lines[2].starts_with("./b.yaml:11: deny: ") && lines[2].ends_with("[VT001]"));
    assert_eq!(
        lines[3],
        "BackupStorageLocations: 2, denials: 3, warnings: 0"
    );
}

#[test]
fn lint_says_where_a_file_is_broken_and_ends_with_2() {
    let lint = |text: &str| {
        let folder = folder(&[("x.yaml", text)]);
        run(folder.path(), &["lint", "x.yaml"])
    };
    let ran = lint("a: 1\n---\nb:\n- [\n");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.starts_with("velero-trust: x.yaml:4: not YAML: "),
        "{}",
        ran.err
    );
    // A template is neither an error nor a manifest.
    let ran = lint("a: {{ .Values.a }}");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("helm template"), "{}", ran.out);
    let ran = lint(&format!("{LOCATION}---\n{LOCATION}"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out
            .contains("x.yaml:16: note: BackupStorageLocation velero/default stands in line 1 too"),
        "{}",
        ran.out
    );
    let ran = run(Path::new("."), &["lint", "no-such-file.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("no-such-file.yaml: cannot be read"),
        "{}",
        ran.err
    );
}

#[test]
fn lint_never_prints_a_private_key() {
    let key = Authority::new("leaked")
        .unwrap()
        .server("leaf")
        .unwrap()
        .key_pem;
    let folder = folder(&[("bsl.yaml", LOCATION), ("secret.yaml", &secret(&key))]);
    let ran = run(folder.path(), &["lint", "."]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("[VT011]"), "{}", ran.out);
    let body = key.lines().nth(1).unwrap();
    assert!(!ran.out.contains(body) && !ran.err.contains(body));
}

#[test]
fn certs_are_readable_by_their_owner_only_and_serve_takes_them() {
    let folder = folder(&[]);
    let ran = run(folder.path(), &["certs"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out
            .contains("caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"),
        "{}",
        ran.out
    );
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        let metadata = fs::metadata(folder.path().join("certs-dev").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
    // Existing files are overwritten.
    assert_eq!(run(folder.path(), &["certs", "--days=1"]).code, 0);
}

#[test]
fn serve_ends_with_2_and_names_the_file_when_it_has_no_certificate() {
    let folder = folder(&[("bsl.yaml", LOCATION)]);
    let serve = |arguments: &[&str]| {
        let mut all = vec![
            "serve",
            "--listen=127.0.0.1:0",
            "--ops-listen=127.0.0.1:0",
            "--objects=.",
        ];
        all.extend(arguments);
        let ran = run(folder.path(), &all);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        ran.err
    };
    let said = serve(&[]);
    assert!(said.contains("certs-dev/tls.crt"), "{said}");
    run(folder.path(), &["certs"]);
    run(folder.path(), &["certs", "--dir=other"]);
    let said = serve(&["--tls-key=other/tls.key"]);
    assert!(said.contains("other/tls.key"), "{said}");
    let said = serve(&["--objects=no-such-folder"]);
    assert!(said.contains("no-such-folder"), "{said}");
    let said = serve(&["--rule=VT999=off"]);
    assert!(said.contains("there is no rule `VT999`"), "{said}");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = folder(&[]);
    run(folder.path(), &["certs"]);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_velero-trust"))
        .env_clear()
        .current_dir(folder.path())
        .args([
            "serve",
            "--listen=127.0.0.1:0",
            "--ops-listen=127.0.0.1:0",
            "--objects=.",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(full)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let url = format!(
        "{}/validate/restores",
        line.trim_start_matches("listening on ")
    );
    let ca = fs::read_to_string(folder.path().join("certs-dev/ca.crt")).unwrap();
    // Each request is refused with a line in the log.
    let answers = [(); 2].map(|()| https::send("POST", &url, &ca, &[], "{}"));
    server.kill().unwrap();
    server.wait().unwrap();
    for answer in answers {
        assert_eq!(answer.unwrap().status, 415);
    }
}

#[test]
fn help_teaches() {
    let folder = folder(&[]);
    let ran = run(folder.path(), &["--help"]);
    assert_eq!(ran.code, 0);
    for word in [
        "serve",
        "certs",
        "lint",
        "client-ca",
        "doctor",
        "version",
        "completion",
        "Exit codes",
    ] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    let ran = run(folder.path(), &["serve", "--help"]);
    for word in ["--objects", "VELERO_TRUST_RESTORES", "[default: enforce]"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    let ran = run(folder.path(), &["lint", "--help"]);
    for word in ["kustomize build", "--fix-hint", "sarif", "Exit codes"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    assert_eq!(run(folder.path(), &["serve", "--no-such"]).code, 2);
}

#[test]
fn the_version_of_the_command_needs_no_cluster() {
    let version = env!("CARGO_PKG_VERSION");
    let folder = folder(&[]);
    let ran = run(folder.path(), &["version", "--client"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, format!("client: {version}\n"));
    let ran = run(folder.path(), &["version", "--client", "-o", "json"]);
    assert_eq!(ran.out, format!("{{\n  \"client\": \"{version}\"\n}}\n"));
    // It is printed even where the cluster cannot be read.
    let ran = run(folder.path(), &["version"]);
    assert_eq!((ran.code, ran.out), (2, format!("client: {version}\n")));
    assert!(ran.err.contains("no cluster to talk to"), "{}", ran.err);
    let ran = run(folder.path(), &["--version"]);
    assert_eq!(ran.out, format!("velero-trust {version}\n"));
}

#[test]
fn completions_know_commands_options_and_values() {
    let folder = folder(&[]);
    for (shell, starts) in [
        ("bash", "_velero__trust() {"),
        ("zsh", "#compdef velero-trust"),
        ("fish", "# Print an optspec"),
    ] {
        let ran = run(folder.path(), &["completion", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        assert!(ran.out.starts_with(starts), "{shell}: {}", ran.out);
        for word in ["client-ca", "velero-namespace", "kubeconfig", "sarif"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(folder.path(), &["completion", "tcsh"]).code, 2);
}

#[test]
fn explain_prints_the_page_of_each_rule() {
    let folder = folder(&[]);
    let listed = run(folder.path(), &["explain"]);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    for rule in velero_trust::admission::all_rules() {
        assert!(listed.out.contains(rule.title), "{}", rule.id);
        let ran = run(folder.path(), &["explain", &rule.id.to_lowercase()]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", rule.id);
        let title = format!("{}: {}\n", rule.id, rule.title);
        assert!(ran.out.starts_with(&title), "{}", ran.out);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&ran.out).contains(&words(rule.about)), "{}", ran.out);
        let by_default = if rule.fixed {
            ", always: "
        } else {
            "; `--rule "
        };
        let by_default = format!("By default: {}{by_default}", rule.severity);
        assert!(ran.out.contains(&by_default), "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 80));
    }
    let ran = run(folder.path(), &["explain", "VT999"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("there is no rule `VT999`"), "{}", ran.err);
}

#[test]
fn a_server_with_a_json_log_prints_nothing_but_json() {
    let folder = folder(&[]);
    let serve = [
        "serve",
        "--listen=127.0.0.1:0",
        "--ops-listen=127.0.0.1:0",
        "--objects=.",
        "--log-format=json",
    ];
    // Without a certificate it ends with an error.
    let ran = run(folder.path(), &serve);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let line: serde_json::Value = serde_json::from_str(ran.err.trim_end()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["error"]
            .as_str()
            .unwrap()
            .contains("certs-dev/tls.crt")
    );

    run(folder.path(), &["certs"]);
    let mut server = Command::new(env!("CARGO_BIN_EXE_velero-trust"))
        .env_clear()
        .current_dir(folder.path())
        .args(serve)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "listening");
    assert!(
        line["webhook"]
            .as_str()
            .unwrap()
            .starts_with("https://127.0.0.1:")
    );
    assert!(
        line["ops"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
}

#[test]
fn lint_tells_that_velero_in_kube_system_gets_no_bundle() {
    let location = LOCATION.replace("namespace: velero", "namespace: kube-system");
    let folder = folder(&[("bsl.yaml", &location)]);
    let ran = run(folder.path(), &["lint", "bsl.yaml"]);
    let says = "bsl.yaml: note: velero-trust changes no Pod of kube-system";
    assert!(ran.out.contains(says), "{}", ran.out);
    let included = run(
        folder.path(),
        &["lint", "--include-kube-system", "bsl.yaml"],
    );
    assert!(!included.out.contains("changes no Pod"), "{}", included.out);
}
