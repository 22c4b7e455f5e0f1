//! Commands for a cluster, without one that answers.

use std::fs;
use std::process::Command;

use velero_trust_testing::access::Access;
use velero_trust_testing::pki::Authority;

const COMMANDS: [&[&str]; 5] = [
    &["status"],
    &["rollout"],
    &["doctor"],
    &["client-ca"],
    &["certs", "--install"],
];

/// Runs it with this kubeconfig: standard error.
fn refused(arguments: &[&str], kubeconfig: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command.env_clear().current_dir(folder.path());
    if let Some(kubeconfig) = kubeconfig {
        fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
        command.env("KUBECONFIG", "kubeconfig");
    }
    let output = command.args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    error
}

#[test]
fn a_server_that_is_down_is_named_with_the_cause() {
    // The port of discard: nobody listens there.
    let access = Access {
        server: "https://127.0.0.1:9".to_owned(),
        ca_pem: Authority::new("nobody").unwrap().pem(),
        token: "none".to_owned(),
    };
    for arguments in COMMANDS {
        let said = refused(arguments, Some(&access.kubeconfig()));
        for word in [
            "the API server https://127.0.0.1:9/ cannot be reached: ",
            "Connection refused",
            "KUBECONFIG",
        ] {
            assert!(said.contains(word), "{arguments:?}: {said}");
        }
        assert!(!said.contains("--velero-namespace"), "{said}");
    }
}

#[test]
fn without_a_kubeconfig_the_person_is_told_to_name_one() {
    for arguments in COMMANDS {
        let said = refused(arguments, None);
        for word in ["no cluster to talk to", "KUBECONFIG"] {
            assert!(said.contains(word), "{arguments:?}: {said}");
        }
    }
    let said = refused(&["status"], Some("{ not yaml"));
    assert!(said.contains("kubeconfig"), "{said}");
}
