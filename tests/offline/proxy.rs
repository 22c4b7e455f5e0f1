//! Commands behind a proxy, and those whose cluster is chosen by options.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

/// Nobody resolves this name, so that only a proxy gets to it.
const SERVER: &str = "https://api.corp.invalid:6443";

/// What a proxy was asked for: the line with the target, the credentials, and the first byte that
/// follows.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    target: String,
    credentials: String,
    first_byte: u8,
}

/// Starts an HTTP proxy that accepts one tunnel, and ends it after its first byte.
fn proxy() -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, asked) = channel();
    thread::spawn(move || {
        let stream = listener.incoming().next().unwrap().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut first_byte = [0];
        reader.read_exact(&mut first_byte).unwrap();
        let credentials = lines.iter().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            (name.eq_ignore_ascii_case("proxy-authorization")).then(|| value.to_owned())
        });
        let credentials = credentials.collect();
        sender
            .send(Asked {
                target: lines[0].clone(),
                credentials,
                first_byte: first_byte[0],
            })
            .unwrap();
    });
    (address, asked)
}

fn kubeconfig(clusters: &[(&str, Value)]) -> String {
    let named = |name: &str, field: &str, value: Value| json!({"name": name, field: value});
    let all = clusters.iter();
    let context =
        |(name, _): &(&str, Value)| named(name, "context", json!({"cluster": name, "user": "u"}));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": all.clone().map(|(name, it)| named(name, "cluster", it.clone())).collect::<Vec<_>>(),
        "contexts": all.map(context).collect::<Vec<_>>(),
        "users": [named("u", "user", json!({"token": "t"}))],
        "current-context": clusters[0].0,
    })
    .to_string()
}

/// Runs a command that fails with exit code 2, and returns what it says.
fn refused(kubeconfig: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command
        .env_clear()
        .env("KUBECONFIG", "kubeconfig")
        .envs(variables.iter().copied());
    let output = command
        .current_dir(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    error
}

#[test]
fn a_command_goes_through_the_proxy_of_the_environment_with_its_credentials() {
    let cluster = kubeconfig(&[("one", json!({"server": SERVER}))]);
    let (address, asked) = proxy();
    let url = format!("http://jane:p%40ss@{address}");
    let said = refused(&cluster, &["status"], &[("HTTPS_PROXY", &url)]);
    let want = format!("{SERVER}/ cannot be reached through the proxy http://{address}/: ");
    assert!(said.contains(&want), "{said}");
    assert!(!said.contains("ss@"), "{said}");
    let want = Asked {
        target: "CONNECT api.corp.invalid:6443 HTTP/1.1".to_owned(),
        // jane:p@ss
        credentials: "Basic amFuZTpwQHNz".to_owned(),
        // The handshake of TLS.
        first_byte: 0x16,
    };
    assert_eq!(asked.recv().unwrap(), want);
}

#[test]
fn no_proxy_names_what_is_reached_directly() {
    let cluster = kubeconfig(&[("one", json!({"server": SERVER}))]);
    let (address, asked) = proxy();
    let variables = [
        ("HTTPS_PROXY", format!("http://{address}")),
        ("NO_PROXY", ".corp.invalid".to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let said = refused(&cluster, &["status"], &variables);
    let want = format!("{SERVER}/ cannot be reached: ");
    assert!(said.contains(&want), "{said}");
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_proxy_of_another_protocol_is_named() {
    let cluster = kubeconfig(&[("one", json!({"server": SERVER}))]);
    let said = refused(
        &cluster,
        &["status"],
        &[("HTTPS_PROXY", "https://proxy.invalid:1")],
    );
    assert!(
        said.contains("the proxy https://proxy.invalid:1/"),
        "{said}"
    );
    assert!(
        said.contains("neither an http nor a socks5 proxy"),
        "{said}"
    );
}

#[test]
fn the_cluster_is_chosen_by_options() {
    let port = |port: u16| json!({"server": format!("https://127.0.0.1:{port}")});
    let clusters = kubeconfig(&[("one", port(9)), ("two", port(7))]);
    let commands: [&[&str]; 6] = [
        &["status"],
        &["rollout"],
        &["doctor"],
        &["client-ca"],
        &["certs", "--install"],
        &["version"],
    ];
    for command in commands {
        let run = |option: &str| {
            let variables = [("KUBECONFIG", "no-such-file")];
            let arguments = [command, &["--kubeconfig=kubeconfig", option]].concat();
            refused(&clusters, &arguments, &variables)
        };
        let said = run("--context=two");
        assert!(said.contains("https://127.0.0.1:7/"), "{command:?}: {said}");
        let said = run("--context=three");
        let want = "the kubeconfig has no context three; it has: one, two";
        assert!(said.contains(want), "{command:?}: {said}");
    }
    let said = refused(&clusters, &["status", "--kubeconfig=absent"], &[]);
    assert!(
        said.contains("absent cannot be read: No such file") && !said.contains("in-cluster"),
        "{said}"
    );
}
