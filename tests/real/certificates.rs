//! An installation that issues its own certificates: nobody makes one, and nobody renews one.

use crate::load::{Answer, Load};
use crate::shared::{alone, applied, binary, is_ready, leads};
use anyhow::{Context as _, Result, bail, ensure};
use axum::http::Uri;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};
use velero_trust_testing::balancer::ClosedPort;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::https;
use velero_trust_testing::installer::{self, Installer};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Time limit for what a replica looks at every 30 seconds.
const SOON: Duration = Duration::from_secs(100);

/// Time limit for a rotation: two minutes in every webhook, a canary a minute, and two looks.
const ROTATION: Duration = Duration::from_secs(400);

/// Time for which the API server is away.
const AWAY: Duration = Duration::from_secs(45);

/// More than the second between two looks for the CA, and less than other pauses grow to.
const MOST_LATE: Duration = Duration::from_secs(8);

/// Kind and name of the configuration that is changed here.
const RESTORES: [&str; 2] = ["validatingwebhookconfiguration", "velero-trust-restores"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("certificates::of_its_own", of_its_own),
        alone("certificates::move_from_files", move_from_files),
        alone("certificates::move_back_to_files", move_back),
        alone(
            "certificates::an_api_server_that_comes_late",
            late_api_server,
        ),
    ]
}

struct Scene<'c> {
    kubectl: &'c Cli,
    installer: Installer,
    replicas: [Webhook; 2],
}

/// `kubectl apply` is the whole installation. Then the CA is replaced while the API server asks, and its
/// Secret is spoilt in every way.
fn of_its_own() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let installer = applied(&cluster, None)?;
    let scene = Scene {
        replicas: start_both(&installer)?,
        installer,
        kubectl,
    };
    let began = Instant::now();
    scene.installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| scene.replicas[0].log())?;
    eprintln!(
        "certificates: active {:?} after the rollout",
        began.elapsed()
    );
    let first = scene.ca()?;
    scene.presents(&first)?;

    let load = Load::new(&cluster, Answer::Refused)?;
    let failed = load.during(|| {
        scene.rotation()?;
        scene.spoilt_secret()
    })?;
    eprintln!(
        "certificates: {} asked, {} failed",
        load.asked(),
        failed.len()
    );
    ensure!(failed.is_empty(), "{failed:?}");
    ensure!(load.asked() > 500, "only {} were asked", load.asked());
    scene.spoilt_ca_bundles()?;
    let install = scene.installer.certs(Duration::ZERO)?;
    let why = "it issues its own certificates, and becomes active by itself";
    ensure!(install.stderr.contains(why), "{install:?}");
    Ok(())
}

/// A replica that issues its own certificate comes beside a leader that has files, as in a rolling update. It
/// waits until the API server trusts it, and no call fails when it takes over.
fn move_from_files() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?.activating();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    installer.apply()?;
    installer.put_certificate(&Authority::new("ours")?)?;
    let mut files = installer.serve(&[])?;
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| files.log())?;

    let new = installer.serve_issuing_beside("new")?;
    let load = Load::new(&cluster, Answer::Refused)?;
    let failed = load.during(|| {
        is_ready(&new, SOON).with_context(|| files.log())?;
        installer.set_replicas(&[new.address()?]);
        files.signal("TERM")?;
        leads(&new)?;
        installer::wait_until_asked(kubectl).with_context(|| new.log())?;
        files.ended(Duration::from_secs(110)).map(drop)
    })?;
    eprintln!(
        "certificates: {} asked in a move, {} failed",
        load.asked(),
        failed.len()
    );
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

/// The other way: the component of the manifests is applied, and `certs --install` is run, while a leader that issues
/// its own certificate is there.
fn move_back() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let installer = applied(&cluster, None)?;
    let mut own = installer.serve(&[])?;
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| own.log())?;

    let installer = installer.from_files();
    installer.apply()?;
    let load = Load::new(&cluster, Answer::Refused)?;
    let failed = load.during(|| {
        let certs = thread::scope(|scope| {
            let certs = scope.spawn(|| installer.certs(SOON));
            wait::poll("the Secret", SOON, || installer.secret().map(drop))?;
            installer.mount_certificate()?;
            let files = installer.serve_beside("files")?;
            is_ready(&files, SOON).with_context(|| own.log())?;
            installer.set_replicas(&[files.address()?]);
            own.signal("TERM")?;
            wait::poll("certs --install to end", SOON, || {
                installer.set_ready(true)?;
                ensure!(certs.is_finished(), "it still waits");
                Ok(())
            })?;
            leads(&files)?;
            installer::wait_until_asked(kubectl).with_context(|| files.log())?;
            own.ended(Duration::from_secs(110))?;
            match certs.join() {
                Ok(output) => output,
                Err(_) => bail!("the thread of certs --install panicked"),
            }
        })?;
        ensure!(certs.code == Some(0), "{certs:?}");
        Ok(())
    })?;
    eprintln!(
        "certificates: {} asked in the move back, {} failed",
        load.asked(),
        failed.len()
    );
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

/// The API server is away when a replica starts. It listens, says what is missing, and is ready soon after the API
/// server is back, however long that takes.
fn late_api_server() -> Result<()> {
    let cluster = Cluster::start()?;
    let way = ClosedPort::reserve()?;
    let url = format!("https://127.0.0.1:{}", way.port());
    let installer = applied(&cluster, Some(&url))?;
    let mut replica = installer.serve(&[])?;
    wait::poll("the reasons why it is not ready", SOON, || {
        let answer = replica.readiness()?;
        let why = "not ready: there is no serving certificate";
        ensure!(answer.contains(why), "{answer}");
        Ok(())
    })?;
    // Long enough for pauses between two attempts to grow.
    thread::sleep(AWAY);
    ensure!(replica.is_running()?, "it ended: {}", replica.log());
    let answer = replica.readiness()?;
    ensure!(answer.contains("not ready"), "{answer}");
    let server: Uri = cluster.access().server.parse()?;
    let port = server.port_u16().context("no port")?;
    let _way = way.open(Ipv4Addr::LOCALHOST, &[(Ipv4Addr::LOCALHOST, port).into()])?;
    let back = Instant::now();
    is_ready(&replica, SOON)?;
    let took = back.elapsed();
    eprintln!("certificates: ready {took:?} after the API server is back");
    ensure!(took < MOST_LATE, "ready only after {took:?}");
    Ok(())
}

/// Two replicas of an installation without a CA make one.
fn start_both(installer: &Installer) -> Result<[Webhook; 2]> {
    installer.grant()?;
    let both = thread::scope(|scope| {
        let second = scope.spawn(|| installer.serve_beside("second"));
        let first = installer.serve(&[])?;
        match second.join() {
            Ok(second) => Ok([first, second?]),
            Err(_) => bail!("the thread of the second replica panicked"),
        }
    })?;
    let addresses = [both[0].address()?, both[1].address()?];
    installer.set_replicas(&addresses);
    Ok(both)
}

impl Scene<'_> {
    fn secret(&self) -> Result<Secret> {
        let name = [
            "secret",
            "velero-trust-serving-ca",
            "-n",
            installer::NAMESPACE,
        ];
        Ok(serde_json::from_value(self.kubectl.get(&name)?)?)
    }

    fn value(&self, key: &str) -> Result<Option<String>> {
        let value = self.secret()?.data.unwrap_or_default().remove(key);
        value
            .map(|value| Ok(String::from_utf8(value.0)?))
            .transpose()
    }

    /// Returns the CA that signs.
    fn ca(&self) -> Result<String> {
        self.value("ca.crt")?.context("no ca.crt")
    }

    /// Waits until both replicas present a certificate of this CA.
    fn presents(&self, ca: &str) -> Result<()> {
        wait::poll("both replicas to present one of that CA", SOON, || {
            for replica in &self.replicas {
                let host = format!("velero-trust.{}.svc", installer::NAMESPACE);
                https::handshake(&host, replica.address()?, ca)?;
            }
            Ok(())
        })
    }

    /// Returns the caBundle that the API server uses.
    fn ca_bundle(&self) -> Result<String> {
        let live = self.kubectl.get(&RESTORES)?;
        let bundle = live["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let bundle: ByteString = serde_json::from_value(bundle)?;
        Ok(String::from_utf8(bundle.0)?)
    }

    /// Somebody asks for a new CA, and gets one.
    fn rotation(&self) -> Result<()> {
        let before = self.ca()?;
        let asked = self.installer.command.run(&["certs", "rotate"])?;
        ensure!(asked.stdout.contains("asked for a new CA"), "{asked:?}");
        let began = Instant::now();
        wait::poll("the next CA", SOON, || {
            self.value("next.crt")?.context("none").map(drop)
        })?;
        let next = self.value("next.crt")?.context("no next.crt")?;
        wait::poll("every webhook to trust it", SOON, || {
            ensure!(self.ca_bundle()?.contains(&next), "not yet");
            Ok(())
        })?;
        self.presents(&before)
            .context("the next CA may not sign yet")?;
        let again = self.installer.command.run(&["certs", "rotate"])?;
        ensure!(again.stdout.contains("on its way already"), "{again:?}");
        wait::poll("the next CA to sign", ROTATION, || {
            ensure!(self.ca()? == next, "not yet: {}", self.replicas[0].tail());
            Ok(())
        })?;
        ensure!(
            began.elapsed() >= Duration::from_mins(2),
            "{:?}",
            began.elapsed()
        );
        self.presents(&next)?;
        eprintln!("certificates: a rotation took {:?}", began.elapsed());
        ensure!(
            self.value("previous.crt")?.as_ref() == Some(&before),
            "not kept"
        );
        ensure!(self.value("ca.key")?.is_some() && self.value("next.key")?.is_none());
        let bundle = self.ca_bundle()?;
        ensure!(
            bundle.contains(&before) && bundle.contains(&next),
            "{bundle}"
        );
        let third = self.installer.command.run(&["certs", "rotate"])?;
        ensure!(third.stdout.contains("has expired, on"), "{third:?}");
        is_told(self.kubectl, "ServingCARotated")
    }

    /// Whatever becomes of the Secret, what is served goes on, and it is written again.
    fn spoilt_secret(&self) -> Result<()> {
        let ca = self.ca()?;
        let name = [
            "secret",
            "velero-trust-serving-ca",
            "-n",
            installer::NAMESPACE,
        ];
        let foreign = foreign_pair()?;
        let patches = [
            None,
            Some(json!({"data": {"ca.key": null}})),
            Some(json!({"data": {"ca.crt": "bm90aGluZw=="}})),
            Some(json!({"stringData": foreign})),
        ];
        for patch in patches {
            let before = self.secret()?.metadata.resource_version;
            match &patch {
                None => self.kubectl.ok(&[&["delete"], &name[..]].concat())?,
                Some(patch) => {
                    let patch = patch.to_string();
                    let arguments = ["--type=merge", "-p", &patch];
                    self.kubectl
                        .ok(&[&["patch"], &name[..], &arguments].concat())?
                }
            };
            wait::poll("the Secret to be written again", SOON, || {
                let secret = self.secret()?;
                ensure!(secret.metadata.resource_version != before);
                ensure!(
                    self.ca()? == ca && self.value("ca.key")?.is_some(),
                    "not yet"
                );
                Ok(())
            })
            .with_context(|| format!("{patch:?}: {}", self.replicas[0].tail()))?;
            self.presents(&ca)?;
        }
        is_told(self.kubectl, "ServingCARestored")
    }

    /// A caBundle that somebody spoils is set again, and replicas that it does not verify say so.
    fn spoilt_ca_bundles(&self) -> Result<()> {
        let before = self.ca_bundle()?;
        let whole = sorted(&before);
        let many = (0..1000)
            .map(|number| Ok(Authority::new(&format!("a{}", number % 20))?.pem()))
            .collect::<Result<Vec<_>>>()?
            .concat();
        for spoilt in [String::new(), Authority::new("wrong")?.pem(), many] {
            let bundle = serde_json::to_value(ByteString(spoilt.into_bytes()))?;
            let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle",
                "value": bundle}])
            .to_string();
            let began = Instant::now();
            // It is too long for an argument.
            let from_input = ["--type=json", "--patch-file=/dev/stdin"];
            let arguments = [&["patch"], &RESTORES[..], &from_input].concat();
            let output = self.kubectl.run_with_input(&arguments, &patch)?;
            ensure!(output.code == Some(0), "{output:?}");
            wait::poll("the caBundle to be set again", SOON, || {
                ensure!(sorted(&self.ca_bundle()?) == whole, "not yet");
                Ok(())
            })?;
            eprintln!(
                "certificates: a caBundle was mended after {:?}",
                began.elapsed()
            );
        }
        is_told(self.kubectl, "ServingCertificateRefused")?;
        installer::wait_until_asked(self.kubectl)
    }
}

/// Returns the certificates of a caBundle, in an order of their own.
fn sorted(bundle: &str) -> Vec<&str> {
    let mut certificates: Vec<_> = bundle
        .split_inclusive("-----END CERTIFICATE-----\n")
        .collect();
    certificates.sort_unstable();
    certificates
}

/// Returns the data of a Secret with a CA that somebody else made.
fn foreign_pair() -> Result<Value> {
    use velero_trust::serving_ca::Authorities;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let foreign = Authorities::first(i64::try_from(now.as_secs())?)?;
    let data = foreign.data().into_iter();
    let data = data.map(|(key, value)| Ok((key, Value::String(String::from_utf8(value)?))));
    Ok(Value::Object(data.collect::<Result<_>>()?))
}

/// Waits until an Event has this reason.
fn is_told(kubectl: &Cli, reason: &str) -> Result<()> {
    wait::poll(&format!("an Event {reason}"), SOON, || {
        let events = kubectl.get(&["events", "--all-namespaces"])?;
        let events = events["items"].as_array().context("no list")?;
        ensure!(events.iter().any(|event| event["reason"] == reason), "none");
        Ok(())
    })
}
