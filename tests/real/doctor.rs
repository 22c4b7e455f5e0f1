//! `velero-trust doctor` on a cluster in which one thing is broken at a time, run by a user with
//! read access only. The fix that it suggests is applied and must work.

use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer, NAMESPACE};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{rig, scratch, wait};

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("doctor::finds_what_is_broken_and_mends_it", finds),
        alone("doctor::cannot_look_at_what_is_not_there", nowhere),
    ]
}

/// velero-trust, run by one user.
struct Doctor(Cli);

impl Doctor {
    fn new(cluster: &Cluster, account: &str, folder: &Path) -> Result<Self> {
        let kubectl = cluster.kubectl();
        kubectl.ok(&["create", "serviceaccount", account, "-n", "default"])?;
        let access = cluster.service_account("default", account)?;
        let kubeconfig = folder.join(account);
        fs::write(&kubeconfig, access.kubeconfig())?;
        Ok(Self(Cli::new(binary().to_owned(), Some(&kubeconfig))?))
    }

    /// Returns the exit code and the checks that are not ok, without those of records.
    fn bad(&self) -> Result<(Option<i32>, Vec<Value>)> {
        let output = self.0.run(&["doctor", "--output=json"])?;
        let all = checks(&output)?;
        // There are no records here; `story::a_backup_is_recorded_and_verified` has these checks.
        let is_here = |check: &Value| {
            !["records", "bucket"].contains(&check["check"].as_str().unwrap_or_default())
        };
        let fails = |check: &&Value| check["level"] == "fail";
        let mut failed = all.iter().filter(fails).peekable();
        let is_only_of_records = failed.peek().is_some() && !failed.any(is_here);
        ensure!(!is_only_of_records || output.code == Some(1), "{output:?}");
        let code = if is_only_of_records {
            Some(0)
        } else {
            output.code
        };
        let all = all.iter().filter(|check| is_here(check));
        let bad = all.filter(|check| check["level"] != "ok");
        Ok((code, bad.cloned().collect()))
    }

    /// Waits until all checks are ok.
    fn is_content(&self) -> Result<()> {
        wait::poll("the doctor to be content", PATIENCE, || {
            self.is_content_now()
        })
    }

    fn is_content_now(&self) -> Result<()> {
        let (code, bad) = self.bad()?;
        ensure!(code == Some(0) && bad.is_empty(), "{code:?}: {bad:#?}");
        Ok(())
    }

    /// Waits until exactly one check is not ok, apart from the issues that the controllers report
    /// as a consequence and from what it keeps from being checked, and returns its fix.
    fn finds(&self, level: &str, check: &str, word: &str) -> Result<String> {
        wait::poll(&format!("exactly {level} {check}"), PATIENCE, || {
            let (code, bad) = self.bad()?;
            let follows = |check: &&Value| {
                check["check"] == "bundle"
                    && check["fix"].to_string().contains("velero-trust status")
                    || check["level"] == "skipped"
            };
            let bad: Vec<_> = bad.iter().filter(|check| !follows(check)).collect();
            let [one] = &bad[..] else {
                anyhow::bail!("{bad:#?}");
            };
            ensure!(one["level"] == level && one["check"] == check, "{one}");
            ensure!(one["message"].to_string().contains(word), "{one}");
            ensure!(code == Some(i32::from(level == "fail")), "{code:?}: {one}");
            Ok(one["fix"].as_str().unwrap_or_default().to_owned())
        })
    }
}

pub(crate) fn checks(output: &Output) -> Result<Vec<Value>> {
    let document: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("what it printed is no JSON: {output:?}"))?;
    Ok(document["checks"].as_array().context("no checks")?.clone())
}

/// Runs the fix that doctor suggests in a shell, as an administrator would.
pub(crate) fn fix(cluster: &Cluster, command: &str) -> Result<()> {
    let folder = |program: &Path| program.parent().map(Path::to_owned);
    let kubectl = rig::binary("kubectl")?;
    let folders = [folder(&kubectl), folder(binary())].into_iter().flatten();
    let folders = folders.chain(["/usr/bin".into(), "/bin".into()]);
    let path = std::env::join_paths(folders)?;
    let path = path.to_str().context("a folder whose name is no text")?;
    let shell = Cli::new("/bin/sh".into(), Some(cluster.kubeconfig()))?;
    let shell = shell.with_environment(&[("PATH", path)]);
    shell.ok(&["-ec", command]).map(drop)
}

/// Returns the command between backticks.
pub(crate) fn command_in(advice: &str) -> Result<&str> {
    advice.split('`').nth(1).with_context(|| advice.to_owned())
}

/// Returns level, check and fix of what is not ok.
fn told(bad: &[Value]) -> Vec<(&str, &str, &str)> {
    bad.iter()
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap_or_default();
            (text("level"), text("check"), text("fix"))
        })
        .collect()
}

/// What is told before velero-trust is installed, and between the steps of the installation.
fn before(cluster: &Cluster, doctor: &Doctor) -> Result<Installer> {
    let crds = ["backupstoragelocations", "backups", "restores"];
    let crds = crds.map(|name| format!("crd/{name}.velero.io"));
    let delete = [&["delete".to_owned()], &crds[..]].concat();
    cluster.kubectl().ok(&delete)?;
    let (code, bad) = doctor.bad()?;
    let install = "apply your kustomization of the manifests with namespace velero-trust (docs/install.md); \
         `velero-trust doctor --namespace velero-trust --wait 120` says when it is active";
    let ask = "let an administrator of the cluster install it, or ask for these rights";
    let velero = "install Velero by its chart, or see `velero install --help`";
    let expected = [
        ("fail", "server", install),
        ("fail", "rights", ask),
        ("warn", "crds", velero),
        ("skipped", "skipped", ""),
        ("skipped", "skipped", ""),
    ];
    ensure!(
        code == Some(1) && told(&bad) == expected,
        "of an empty cluster: {bad:#?}"
    );

    let admin = Doctor(Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?);
    cluster.install_velero(VELERO_NAMESPACE, &["--image=velero/velero:v1.18.3"])?;
    let (_, bad) = admin.bad()?;
    let location = ("fail", "namespaces", "velero backup-location create --help");
    let expected = [
        ("fail", "server", install),
        location,
        ("skipped", "skipped", ""),
    ];
    ensure!(
        told(&bad) == expected,
        "with Velero, of an administrator: {bad:#?}"
    );

    let installer = Installer::new(cluster, binary(), NAMESPACE)?;
    installer.apply()?;
    installer::bind(cluster.kubectl(), VELERO_NAMESPACE)?;
    let (_, bad) = admin.bad()?;
    let certs = "velero-trust certs --install --namespace velero-trust";
    let expected = [
        ("fail", "certificate", certs),
        location,
        ("skipped", "skipped", ""),
    ];
    ensure!(told(&bad) == expected, "of manifests alone: {bad:#?}");
    Ok(installer)
}

/// The CRDs of a version of Velero that has no `caCertRef`.
fn crds(cluster: &Cluster, doctor: &Doctor) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/objectStorage/\
                properties/caCertRef";
    let removal = json!([{"op": "remove", "path": path}]).to_string();
    let crd = [
        "patch",
        "crd",
        "backupstoragelocations.velero.io",
        "--type=json",
    ];
    cluster
        .kubectl()
        .ok(&[&crd[..], &["-p", &removal]].concat())?;
    let said = doctor.finds("fail", "crds", "drops spec.objectStorage.caCertRef")?;
    fix(cluster, command_in(&said)?)?;
    doctor.is_content()
}

/// A proxy that Velero has and velero-trust has not, and that is to be used for a store of this network.
fn proxies(cluster: &Cluster, doctor: &Doctor) -> Result<()> {
    let set = ["set", "env", "deployment/velero", "-n", VELERO_NAMESPACE];
    let proxy = [
        "HTTP_PROXY=http://proxy:3128",
        "NO_PROXY=.svc, .cluster.local",
    ];
    cluster.kubectl().ok(&[&set[..], &proxy].concat())?;
    let proxies = wait::poll("both proxies to be judged", PATIENCE, || {
        let (_, bad) = doctor.bad()?;
        let is_proxy = |one: &Value| one["check"] == "proxy" && one["level"] == "warn";
        ensure!(bad.len() == 2 && bad.iter().all(is_proxy), "{bad:#?}");
        Ok(bad)
    })?;
    let of = |word: &str| {
        let mut proxies = proxies.iter();
        let found = proxies.find(|one| one["message"].to_string().contains(word));
        found.with_context(|| format!("{word} is not told: {proxies:#?}"))
    };
    of("velero-trust has not")?;
    let said = of("s3.corp")?["fix"].as_str().unwrap_or_default();
    fix(cluster, said)?;
    doctor.finds("warn", "proxy", "velero-trust has not")?;
    cluster
        .kubectl()
        .ok(&[&set[..], &["HTTP_PROXY-", "NO_PROXY-"]].concat())?;
    doctor.is_content()
}

fn finds() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let folder = scratch::folder("doctor")?;
    let doctor = reader(&cluster, folder.path())?;
    let installer = before(&cluster, &doctor)?;
    let (webhook, certs) = installer.activate()?;
    ensure!(certs.code == Some(0), "{certs:?}");
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    location(kubectl)?;
    // Velero was installed first: the only problem is that its Pods lack the bundle.
    let said = doctor.finds("fail", "coverage", "made before velero-trust was there")?;
    let admin = Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?;
    let arguments: Vec<_> = said.split(' ').skip(1).collect();
    let restarts = admin.run(&arguments)?.stdout;
    ensure!(
        restarts.contains("rollout restart deployment/velero"),
        "{restarts}"
    );
    // As a restart would. There is no kubelet here to report a new Pod as ready to the Deployment.
    let delete = ["delete", "pods", "--all", "--force", "-n", VELERO_NAMESPACE];
    kubectl.ok(&delete)?;
    doctor.is_content().with_context(|| webhook.log())?;
    let text = doctor.0.run(&["doctor"])?.stdout;
    ensure!(
        // The kinds of the records are not installed, and the store does not exist.
        text.ends_with("warn: 0, fail: 1, unknown: 1, skipped: 0\n"),
        "{text}"
    );

    let delete = ["delete", "rolebinding", "velero-trust-secret-reader", "-n"];
    kubectl.ok(&[&delete[..], &[VELERO_NAMESPACE]].concat())?;
    let said = doctor.finds(
        "fail",
        "rights",
        "may not get secrets, list secrets, watch secrets",
    )?;
    fix(&cluster, &said)?;
    doctor.is_content()?;

    let scale = ["scale", "deployment/velero-trust", "--replicas=0", "-n"];
    kubectl.ok(&[&scale[..], &[NAMESPACE]].concat())?;
    let said = doctor.finds("fail", "server", "0 of 0")?;
    fix(&cluster, &said)?;
    wait::poll("the Pods to be ready again", PATIENCE, || {
        installer.set_ready(true)?;
        doctor.is_content_now()
    })?;

    kubectl.ok(&[
        "delete",
        "mutatingwebhookconfiguration",
        "velero-trust-pods",
    ])?;
    let said = doctor.finds("fail", "webhooks", "no webhook configuration asks it")?;
    ensure!(
        said.starts_with("apply your kustomization of the manifests"),
        "{said}"
    );
    installer.apply()?;
    let certs = installer.certs(PATIENCE)?;
    ensure!(certs.code == Some(0), "{certs:?}");
    doctor.is_content()?;

    crds(&cluster, &doctor)?;
    backups(&cluster)?;

    proxies(&cluster, &doctor)?;

    // A certificate that the API server would not accept.
    let stray = Authority::new("stray")?.server("stray")?.certificate_pem;
    let patch = json!({"stringData": {"tls.crt": stray}}).to_string();
    let secret = ["patch", "secret", "velero-trust-tls", "-n", NAMESPACE, "-p"];
    kubectl.ok(&[&secret[..], &[&patch]].concat())?;
    let said = doctor.finds("fail", "certificate", "does not verify it")?;
    fix(&cluster, &said)?;
    doctor.is_content()?;

    // Without permissions, nothing is known. That is one line, and no good result.
    let blind = Doctor::new(&cluster, "blind", folder.path())?;
    let (code, bad) = blind.bad()?;
    ensure!(code == Some(1), "{code:?}: {bad:#?}");
    let [one] = &bad[..] else {
        anyhow::bail!("{bad:#?}");
    };
    ensure!(
        one["level"] == "unknown" && one["check"] == "access",
        "{one}"
    );
    let message = one["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("you may not get deployments.apps in namespace velero-trust"),
        "{message}"
    );
    Ok(())
}

/// `status` counts the backups that the webhook would let pass, over several pages of the list.
fn backups(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let backup = |index: usize| {
        let phase = if index.is_multiple_of(6) {
            "Failed"
        } else {
            "Completed"
        };
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {"name": format!("b{index}"), "namespace": VELERO_NAMESPACE},
            "spec": {"storageLocation": "default"},
            "status": {"phase": phase},
        })
    };
    let items: Vec<_> = (0..120).map(backup).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    kubectl.apply(&list.to_string())?;
    // Only velero-trust may set them.
    let names = (0..120).step_by(2).map(|index| format!("b{index}"));
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{NAMESPACE}");
    let annotate = [
        "annotate",
        "backups.velero.io",
        "-n",
        VELERO_NAMESPACE,
        &account,
    ];
    let checksum = format!("velero-trust.io/checksum=sha256:{}", "0".repeat(64));
    let annotate = annotate.map(str::to_owned).into_iter().chain(names);
    let annotate = annotate.chain([checksum]);
    kubectl.ok(&annotate.collect::<Vec<_>>())?;

    let admin = Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?;
    let output = admin.run(&["status", "--output=json"])?;
    let status: Value = serde_json::from_str(&output.stdout)?;
    let expected = json!({
        "restores": "enforce", "total": 120, "restorable": 40,
        "reasons": {"backup without a checksum [VT101]": 60, "failed": 20},
        "enforced": {"refused": 60, "reasons": {"backup without a checksum [VT101]": 60}},
        "recorded": null, "levels": {}, "notRecorded": [],
    });
    let told = &status["namespaces"][0]["backups"];
    ensure!(*told == expected, "{told}");
    let text = admin.run(&["status"])?.stdout;
    let row = "40 of 120 now";
    ensure!(text.contains(row), "{text}");

    for (name, is_restorable) in [("b1", false), ("b2", true)] {
        let restore = json!({
            "apiVersion": "velero.io/v1",
            "kind": "Restore",
            "metadata": {"name": name, "namespace": VELERO_NAMESPACE},
            "spec": {"backupName": name},
        });
        let dry_run = ["create", "--dry-run=server", "-f", "-"];
        let output = kubectl.run_with_input(&dry_run, &restore.to_string())?;
        ensure!(
            (output.code == Some(0)) == is_restorable,
            "{name}: {output:?}"
        );
    }
    let delete = ["delete", "backups", "--all", "-n", VELERO_NAMESPACE];
    kubectl.ok(&delete).map(drop)
}

/// Creates a user who may get and list everything, and create access reviews.
fn reader(cluster: &Cluster, folder: &Path) -> Result<Doctor> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
            {
                "apiGroups": ["authorization.k8s.io"],
                "resources": ["subjectaccessreviews"],
                "verbs": ["create"],
            },
        ],
    });
    let kubectl = cluster.kubectl();
    kubectl.apply(&role.to_string())?;
    let bind = [
        "create",
        "clusterrolebinding",
        "reader",
        "--clusterrole=reader",
    ];
    kubectl.ok(&[&bind[..], &["--serviceaccount=default:reader"]].concat())?;
    Doctor::new(cluster, "reader", folder)
}

/// Creates a location with the status that Velero, which does not run here, would set for an
/// available one. Its store does not exist, so its URL is plain HTTP: an endpoint that cannot be
/// verified would hold the namespace.
fn location(kubectl: &Cli) -> Result<()> {
    let ca = Authority::new("store")?.pem();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "ca", "namespace": VELERO_NAMESPACE},
        "stringData": {"ca.crt": ca},
    });
    let location = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": VELERO_NAMESPACE},
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
            "config": {"region": "minio", "s3Url": "http://s3.corp:9000"},
        },
        "status": {"phase": "Available"},
    });
    kubectl.apply(&secret.to_string())?;
    kubectl.apply(&location.to_string())?;
    Ok(())
}

fn nowhere() -> Result<()> {
    let folder = scratch::folder("doctor")?;
    let nobody = folder.path().join("kubeconfig");
    // The discard port, on which nothing listens.
    let access = velero_trust_testing::access::Access {
        server: "https://127.0.0.1:9".to_owned(),
        ca_pem: Authority::new("nobody")?.pem(),
        token: "none".to_owned(),
    };
    fs::write(&nobody, access.kubeconfig())?;
    for kubeconfig in [Some(nobody.as_path()), None] {
        let output = Cli::new(binary().to_owned(), kubeconfig)?.run(&["doctor"])?;
        ensure!(
            output.code == Some(2) && output.stdout.is_empty(),
            "{output:?}"
        );
        let why = match kubeconfig {
            Some(_) => "the API server https://127.0.0.1:9/ cannot be reached",
            None => "no cluster to talk to",
        };
        ensure!(output.stderr.contains(why), "{output:?}");
    }
    Ok(())
}
