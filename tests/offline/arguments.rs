//! Invalid arguments are reported in one sentence, with exit code 2, before any request is sent.

use std::path::Path;
use std::process::Command;

/// Runs `velero-trust` with only `variables` in its environment. Asserts that it exits with code 2
/// and prints nothing on standard output, and returns its standard error.
fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .current_dir(Path::new("tests/status/covered"));
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    error
}

#[test]
fn a_name_that_no_api_server_has_is_refused() {
    let options = [
        ("status", "--velero-namespace", "a namespace is 1 to 63"),
        ("status", "--namespace", "a namespace is 1 to 63"),
        ("rollout", "--velero-namespace", "a namespace is 1 to 63"),
        ("rollout", "--namespace", "a namespace is 1 to 63"),
        ("doctor", "--namespace", "a namespace is 1 to 63"),
        ("certs", "--namespace", "a namespace is 1 to 63"),
        ("certs", "--name", "neither a DNS name nor an IP address"),
        ("lint", "--namespace", "a namespace is 1 to 63"),
        ("serve", "--namespace", "a namespace is 1 to 63"),
        ("client-ca", "--velero-namespace", "a namespace is 1 to 63"),
        ("client-ca", "--bsl", "a name is 1 to 253"),
    ];
    for (command, option, says) in options {
        for value in ["", "A_B/../x", "a b"] {
            let said = refused(&[command, &format!("{option}={value}")], &[]);
            let first = said.lines().next().unwrap();
            assert!(
                first.starts_with(&format!("error: invalid value '{value}' for '{option}")),
                "{command}: {said}"
            );
            assert!(first.contains(says), "{command}: {said}");
        }
    }
    let said = refused(
        &["status"],
        &[("VELERO_TRUST_VELERO_NAMESPACE", "velero,a/b")],
    );
    assert!(said.contains("invalid value 'a/b'"), "{said}");
}

#[test]
fn status_refuses_what_a_cluster_would_ignore() {
    for (option, name) in [
        ("--extra-ca=no-such-file.pem", "--extra-ca"),
        ("--public-roots=none", "--public-roots"),
        ("--rule=VT001=off", "--rule"),
    ] {
        let said = refused(&["status", option], &[]);
        let says = format!("error: {name} can be used with --objects only");
        assert!(said.starts_with(&says), "{option}: {said}");
        assert!(said.contains("Usage: velero-trust status"), "{said}");
    }
    // The server's variables are set in its Pod and must not be refused there. The command only
    // fails because there is no cluster.
    let said = refused(&["status"], &[("VELERO_TRUST_EXTRA_CA", "corp.pem")]);
    assert!(said.contains("no cluster to talk to"), "{said}");
}
