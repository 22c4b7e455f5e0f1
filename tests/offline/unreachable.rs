//! Commands for a cluster when no API server answers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use velero_trust_testing::access::Access;
use velero_trust_testing::pki::Authority;

const COMMANDS: [&[&str]; 5] = [
    &["status"],
    &["rollout"],
    &["doctor"],
    &["client-ca"],
    &["certs", "--install"],
];

/// Runs `velero-trust` with this kubeconfig. Asserts that it exits with code 2, and returns its
/// standard error.
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
    // The port of the discard service, on which nothing listens.
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

#[test]
fn what_a_damaged_kubeconfig_contains_is_never_printed() {
    for text in [
        "users: [{name: a, user: {token: hunter2",
        "users: hunter2",
        "users: [{name: a, user: {token: {hunter2: }}}]",
        "hunter2",
    ] {
        for arguments in [&["status"][..], &["status", "--kubeconfig=kubeconfig"]] {
            let said = refused(arguments, Some(text));
            assert!(said.contains("kubeconfig"), "{said}");
            assert!(
                !said.contains("hunter2") && said.lines().count() == 1,
                "{said}"
            );
        }
    }
}

/// Starts a web server that answers every request with `status` and `body` for the rest of the
/// test. Returns its URL.
fn web_server(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn another_web_server_is_told_from_an_api_server() {
    for (status, body) in [
        ("200 OK", "<html>welcome</html>"),
        ("200 OK", "{\"welcome\": true}"),
        ("302 Found", ""),
        ("404 Not Found", "<html>no such page</html>"),
        ("404 Not Found", "{\"error\": \"no such page\"}"),
        ("403 Forbidden", "<html>denied</html>"),
    ] {
        let server = web_server(status, body);
        let want = format!("what answers at {server}/ is no Kubernetes API server");
        let access = Access {
            server,
            ca_pem: Authority::new("nobody").unwrap().pem(),
            token: "none".to_owned(),
        };
        for arguments in COMMANDS {
            let said = refused(arguments, Some(&access.kubeconfig()));
            assert!(said.contains(&want), "{status} {arguments:?}: {said}");
            assert!(!said.contains("html"), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
