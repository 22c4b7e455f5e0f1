//! The velero CLI on a user's machine, which downloads from the object store directly.
//!
//! Since 1.17, the CLI reads the CA from the spec of a location. The location here therefore names
//! its CA by our annotation only, so that a failure is really expected without the file.

use crate::bundle::{holds, squeezed};
use crate::shared::{Shared, binary};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installation};
use velero_trust_testing::kubelet::Injected;
use velero_trust_testing::velero::Velero;
use velero_trust_testing::{rig, scratch, wait};

const PATIENCE: Duration = Duration::from_secs(90);

/// Go's error for a certificate whose CA is unknown.
const UNKNOWN: &str = "x509: certificate signed by unknown authority";

/// A line that is in the log of every backup.
const LOGGED: &str = "Setting up backup temp file";

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed("client_ca::lets_velero_fetch_from_the_store", fetches),
        shared.installed("client_ca::says_what_it_cannot_give", says),
    ]
}

/// A user with their own home folder, on a machine with velero and velero-trust.
struct Person {
    /// Runs a program with exactly the given environment.
    env: Cli,
    namespace: String,
    home: TempDir,
}

impl Person {
    fn new(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        Ok(Self {
            env: Cli::new("/usr/bin/env".into(), Some(kubeconfig))?,
            namespace: namespace.to_owned(),
            home: scratch::folder("person")?,
        })
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        let velero = rig::binary("velero")?;
        let tools = velero.parent().context("it is in no folder")?;
        let environment = [
            format!("HOME={}", self.home.path().display()),
            // Velero ignores it.
            format!("XDG_CONFIG_HOME={}", self.home.path().join("xdg").display()),
            format!("PATH={}", tools.display()),
        ];
        let program = [program.display().to_string()];
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let all: Vec<_> = environment
            .into_iter()
            .chain(program)
            .chain(arguments)
            .collect();
        self.env.run(&all)
    }

    fn client_ca(&self, arguments: &[&str]) -> Result<Output> {
        let command = ["client-ca", "--velero-namespace", &self.namespace];
        self.run(binary(), &[&command[..], arguments].concat())
    }

    fn velero(&self, arguments: &[&str]) -> Result<Output> {
        let namespace = ["--namespace", &self.namespace];
        let velero = rig::binary("velero")?;
        self.run(&velero, &[arguments, &namespace[..]].concat())
    }

    /// Runs the two commands that fetch from the store with the additional arguments `more`, and
    /// returns their output.
    fn fetch(&self, more: &[&str]) -> Result<[(&'static str, Output); 2]> {
        let logs = [&["backup", "logs", "first"], more].concat();
        let details = [&["backup", "describe", "first", "--details"], more].concat();
        Ok([
            ("logs", self.velero(&logs)?),
            ("describe", self.velero(&details)?),
        ])
    }

    fn cannot_fetch(&self) -> Result<()> {
        let [(_, logs), (_, details)] = self.fetch(&[])?;
        ensure!(
            logs.code == Some(1) && logs.stderr.contains(UNKNOWN),
            "{logs:?}"
        );
        // It describes what it can, and includes the error.
        ensure!(details.stdout.contains(UNKNOWN), "{details:?}");
        Ok(())
    }

    fn can_fetch(&self, more: &[&str]) -> Result<()> {
        for (what, output) in self.fetch(more)? {
            ensure!(output.code == Some(0), "{what}: {output:?}");
            let all = [output.stdout.as_str(), &output.stderr].concat();
            ensure!(!all.contains("x509"), "{what}: {output:?}");
            let proof = match what {
                "logs" => LOGGED,
                _ => "v1/ConfigMap:",
            };
            ensure!(all.contains(proof), "{what} lacks `{proof}`: {output:?}");
        }
        Ok(())
    }
}

fn fetches(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("client")?;
    // `_injected` stays alive with the server, which reads the injected files as long as it runs.
    let (server, _injected) = backed_up(cluster, &namespace)?;
    let person = Person::new(cluster.kubeconfig(), &namespace)?;
    person.cannot_fetch().with_context(|| server.tail())?;

    let ca = cluster.minio()?.authority.pem();
    let file = person.home.path().join("store.crt");
    let out = file.display().to_string();
    for (source, count) in [(&["--bsl", "default"][..], 1..=1), (&[], 100..=500)] {
        let written = person.client_ca(&[source, &["--out", &out]].concat())?;
        ensure!(written.code == Some(0), "{written:?}");
        ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o644);
        let text = fs::read_to_string(&file)?;
        ensure!(
            squeezed(&text).contains(&squeezed(&ca)),
            "not in {source:?}"
        );
        let certificates = text.matches("BEGIN CERTIFICATE").count();
        ensure!(
            count.contains(&certificates),
            "{certificates} in {source:?}"
        );
        person
            .can_fetch(&["--cacert", &out])
            .with_context(|| format!("{source:?}"))?;
        let printed = person.client_ca(source)?;
        ensure!(
            printed.stdout == text && printed.stderr.is_empty(),
            "{source:?} prints something else"
        );
    }
    person
        .cannot_fetch()
        .context("nothing was configured yet")?;

    let configured = person.client_ca(&["--configure"])?;
    ensure!(configured.code == Some(0), "{configured:?}");
    person
        .can_fetch(&[])
        .with_context(|| format!("{configured:?}"))?;
    let home = person.home.path();
    ensure!(home.join(".config/velero/velero-trust-ca.crt").is_file());
    ensure!(!home.join("xdg").exists(), "Velero does not look there");
    Ok(())
}

/// Starts a real Velero in `namespace` with the environment of its mutated Pod, and makes a backup.
fn backed_up(cluster: &Cluster, namespace: &str) -> Result<(Velero, Injected)> {
    let kubectl = cluster.kubectl();
    let minio = cluster.minio()?;
    minio.make_bucket(namespace)?;
    installer::bind(kubectl, namespace)?;
    kubectl.apply(&secret(namespace, &minio.authority.pem()).to_string())?;
    kubectl.apply(&annotated(&minio.location(namespace, "default", namespace)).to_string())?;
    holds(kubectl, namespace, &minio.authority.pem())?;
    cluster.install_velero(namespace, &[])?;
    let injected = wait::poll("a Pod of the server", PATIENCE, || {
        Injected::of_newest(kubectl, namespace, ("deployment", "velero"), "velero")
    })?;
    let environment: Vec<_> = injected
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let server = cluster.start_velero(namespace, &environment)?;
    wait::poll("the location to be available", PATIENCE, || {
        let location = kubectl.get(&["bsl", "default", "-n", namespace])?;
        ensure!(location["status"]["phase"] == "Available", "{location}");
        Ok(())
    })
    .with_context(|| server.tail())?;
    let backup = [
        "backup",
        "create",
        "first",
        "--namespace",
        namespace,
        "--include-namespaces",
        namespace,
        "--include-resources=configmaps",
        "--wait",
    ];
    cluster
        .velero_cli()?
        .ok(&backup)
        .with_context(|| server.tail())?;
    let backup = kubectl.get(&["backup.velero.io", "first", "-n", namespace])?;
    ensure!(
        backup["status"]["phase"] == "Completed",
        "{}",
        server.tail()
    );
    Ok((server, injected))
}

/// Returns `location`, changed to name its CA by our annotation only.
fn annotated(location: &Value) -> Value {
    let mut location = location.clone();
    let more = json!({
        "metadata": {"annotations": {"velero-trust.io/ca-secret": "store-ca/root.pem"}},
        "spec": {"default": true, "validationFrequency": "1s"},
    });
    merge(&mut location, &more);
    location
}

fn secret(namespace: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "store-ca", "namespace": namespace},
        "stringData": {"root.pem": pem},
    })
}

/// Each failure exits with 2, names the problem, and leaves the user's files unchanged.
fn says(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("client")?;
    let kubectl = cluster.kubectl();
    let person = Person::new(cluster.kubeconfig(), &namespace)?;
    let ca = person.home.path().join("ca.crt");
    fs::write(&ca, "as it was")?;
    let out = ca.display().to_string();
    let refused = |person: &Person, arguments: &[&str], word: &str| {
        let output = person.client_ca(&[arguments, &["--out", &out]].concat())?;
        ensure!(
            output.code == Some(2) && output.stderr.contains(word),
            "no `{word}`: {output:?}"
        );
        ensure!(fs::read_to_string(&ca)? == "as it was", "it was written");
        anyhow::Ok(())
    };

    refused(&person, &[], "there is no ConfigMap")?;
    refused(
        &person,
        &["--bsl=gone"],
        "there is no BackupStorageLocation",
    )?;
    let mut location = cluster.minio()?.location(&namespace, "plain", "b");
    kubectl.apply(&location.to_string())?;
    refused(&person, &["--bsl=plain"], "names no CA")?;

    installer::bind(kubectl, &namespace)?;
    let pem = cluster.minio()?.authority.pem();
    kubectl.apply(&secret(&namespace, &pem).to_string())?;
    location["metadata"]["name"] = "named".into();
    kubectl.apply(&annotated(&location).to_string())?;
    let command = ["create", "role", "reader", "--verb=get", "-n", &namespace];
    let resource = ["--resource=backupstoragelocations.velero.io"];
    kubectl.ok(&[&command[..], &resource].concat())?;
    let account = format!("--serviceaccount={namespace}:default");
    let bind = ["create", "rolebinding", "reader", "--role=reader", "-n"];
    kubectl.ok(&[&bind[..], &[&namespace, &account]].concat())?;
    let kubeconfig = person.home.path().join("kubeconfig");
    let access = cluster.service_account(&namespace, "default")?;
    fs::write(&kubeconfig, access.kubeconfig())?;
    let poor = Person::new(&kubeconfig, &namespace)?;
    let why = format!("you have no right to read Secret {namespace}/store-ca;");
    refused(&poor, &["--bsl=named"], &why)?;
    refused(&poor, &[], "you have no right to read ConfigMap")?;

    // Nothing is written if the velero CLI does not exist or is another program.
    for velero in ["--velero=no-such-velero", "--velero=/bin/true"] {
        refused(&person, &["--configure", velero], "so nothing was changed")?;
    }
    let unfit = person.client_ca(&["--configure", "--out=ca=2.crt"])?;
    ensure!(unfit.code == Some(2), "{unfit:?}");
    ensure!(unfit.stderr.contains("velero cannot store"), "{unfit:?}");

    kubectl.ok(&["delete", "secret", "store-ca", "-n", &namespace])?;
    refused(&person, &["--bsl=named"], "[VT001]")?;
    kubectl.apply(&secret(&namespace, "nonsense").to_string())?;
    refused(&person, &["--bsl=named"], "[VT010]")?;

    let foreign = cluster.namespace("client")?;
    let map = ["create", "configmap", "velero-trust-ca", "-n", &foreign];
    kubectl.ok(&[&map[..], &["--from-literal=ca-bundle.crt=x"]].concat())?;
    let elsewhere = Person::new(cluster.kubeconfig(), &foreign)?;
    refused(&elsewhere, &[], "was not made by velero-trust")
}
