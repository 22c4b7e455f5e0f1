//! A reader that closes standard output early, as `head` does.

use std::process::{Command, Stdio};

/// Exit code that a shell reports for a program ended by SIGPIPE.
const CLOSED: Option<i32> = Some(141);

/// Runs `velero-trust` with a standard output that nobody reads. Returns its exit code and standard
/// error.
fn run(arguments: &[&str], folder: &str) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command.env_clear().current_dir(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(writer);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), error)
}

#[test]
fn what_only_prints_ends_quietly() {
    let formats = ["text", "json", "sarif", "github"];
    let lint = formats.map(|format| vec!["lint".to_owned(), "in".into(), format!("-o{format}")]);
    for arguments in lint {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ended = run(&arguments, "tests/lint/manifests");
        assert_eq!(ended, (CLOSED, String::new()), "{arguments:?}");
    }
    for format in ["-otable", "-ojson"] {
        let ended = run(&["status", "--objects=in", format], "tests/status/covered");
        assert_eq!(ended, (CLOSED, String::new()), "{format}");
    }
    let (code, error) = run(&["lint", "--help"], ".");
    assert_eq!((code, error.as_str()), (Some(0), ""));
}

#[test]
fn what_does_something_does_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["certs"], folder.path().to_str().unwrap());
    assert_eq!(ended, (Some(0), String::new()));
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        assert!(folder.path().join("certs-dev").join(name).is_file());
    }
}
