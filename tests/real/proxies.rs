//! Compares what we send through a proxy with what Go does: Velero must reach a store exactly where
//! velero-trust does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use velero_trust::dial::{Proxies, Proxy};

/// Entries of `NO_PROXY`, alone and in pairs.
const ENTRIES: &[&str] = &[
    "",
    " ",
    "*",
    "*.corp",
    ".corp",
    "corp",
    "*corp",
    ".",
    "*.",
    "Store.CORP",
    "store.corp.",
    "store.corp:443",
    " store.corp:9000 ",
    ".corp:9000",
    "*.corp:80",
    "store.corp:",
    "store.corp:http",
    "store.corp:09000",
    ":9000",
    "http://store.corp",
    "localhost",
    "10.1.2.3",
    "10.1.2.3:9000",
    "10.01.2.3",
    "10.1.2.0/24",
    "10.200.0.0/8",
    "10.0.0.0/+8",
    "10.0.0.0/08",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/8:443",
    "0.0.0.0/0",
    "::/0",
    "::ffff:10.1.2.3",
    "::ffff:10.0.0.0/104",
    "::ffff:10.0.0.0/95",
    "[::ffff:10.1.2.3]:443",
    "fd00::/8",
    "fd00::1",
    "[fd00::1]",
    "[fd00::1]:9000",
    "[fd00::1]9000",
    "fd00::1:9000",
    "[fd00::/8]",
    "127.0.0.0/8",
];

const HOSTS: &[&str] = &[
    "store.corp",
    "Store.Corp",
    "store.corp.",
    "a.store.corp",
    "astore.corp",
    "corp",
    "localhost",
    "localhost.",
    "a.localhost",
    "10.1.2.3",
    "11.1.2.3",
    "10.1",
    "167838211",
    "127.0.0.1",
    "127.9.9.9",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.1.2.3]",
    "[fd00::1]",
    "[fe80::1]",
];

const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy"];

/// Proxies of both schemes, by the variables above; the last ones are none.
const PROXIES: &[[&str; 4]] = &[
    ["http://s:1", "", "p:2", "lower"],
    ["", "lower", "", "http://jane@lower:3128/path"],
    ["https://s", "p", "", ""],
    ["socks5://s:1080", "10.9.9.9:8080", "", ""],
    ["http://[fd00::9]:1", "", "http://p", ""],
    ["", "", "", ""],
];

/// Checks that Go agrees. `judge` is the program in `tests/rig/proxy`.
pub(crate) fn agree_with_go(judge: &Path) -> Result<()> {
    let urls = HOSTS.iter().flat_map(|host| {
        let of = move |(scheme, port)| format!("{scheme}://{host}{port}/path");
        [
            ("https", ""),
            ("http", ""),
            ("https", ":9000"),
            ("http", ":443"),
        ]
        .map(of)
    });
    let urls: Vec<_> = urls.collect();
    let alone = ENTRIES.iter().map(|entry| (*entry).to_owned());
    let pairs = ENTRIES
        .iter()
        .map(|entry| format!("other.example,{entry},.example"));
    let mut compared = [0, 0];
    for proxies in PROXIES {
        for no_proxy in alone.clone().chain(pairs.clone()) {
            let variables: Vec<_> = VARIABLES.into_iter().zip(*proxies).collect();
            let variables = [&variables[..], &[("NO_PROXY", &*no_proxy)]].concat();
            let ours = Proxies::read(|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            let answers = ask(judge, &variables, &urls)?;
            ensure!(answers.len() == urls.len(), "{} answers", answers.len());
            for (url, go) in urls.iter().zip(answers) {
                let own = ours.select_for(&url.parse()?).map(Proxy::url);
                let go = (go != "direct").then(|| address(&go));
                let own = own.map(|own| address(&own));
                ensure!(
                    own == go,
                    "{url} with {variables:?}: {own:?}, and Go {go:?}"
                );
                compared[usize::from(go.is_some())] += 1;
            }
        }
    }
    // The comparison is meaningless if nearly all requests have a proxy or nearly none.
    ensure!(compared.iter().all(|count| *count > 5_000), "{compared:?}");
    Ok(())
}

/// Returns the scheme, the host and the port of a URL.
fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

fn ask(judge: &Path, variables: &[(&str, &str)], urls: &[String]) -> Result<Vec<String>> {
    let mut command = Command::new(judge);
    command
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = String::new();
    for url in urls {
        writeln!(input, "{url}")?;
    }
    let mut stdin = child.stdin.take().context("no standard input")?;
    // Fewer bytes than a pipe holds.
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the judge fails");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}
