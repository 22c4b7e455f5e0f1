//! The installation itself, on its own clusters: when the webhooks become active, and what is kept.

use crate::shared::{alone, binary};
use crate::words::{is_admitted, is_refused};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer, rendered};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{rig, scratch, wait};

/// A namespace other than that of the manifests.
const ELSEWHERE: &str = "guards";

const CONFIGURATIONS: [(&str, &str); 5] = [
    (
        "validatingwebhookconfiguration",
        "velero-trust-backupstoragelocations",
    ),
    ("validatingwebhookconfiguration", "velero-trust-restores"),
    ("mutatingwebhookconfiguration", "velero-trust-pods"),
    ("mutatingwebhookconfiguration", "velero-trust-backups"),
    ("mutatingwebhookconfiguration", "velero-trust-restores"),
];

/// Time limit for changes that take effect at once or as soon as the API server notices them.
const SOON: Duration = Duration::from_secs(20);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone(
            "installed::is_active_only_when_somebody_answers",
            active_only_when_answered,
        ),
        alone("installed::revokes_the_cas_of_before", revokes_old_cas),
        alone("installed::says_when_it_is_not_asked", says_when_not_asked),
        alone(
            "installed::says_what_its_certificate_is_worth",
            says_what_certificate_is_worth,
        ),
        alone(
            "installed::says_when_a_webhook_is_not_as_shipped",
            says_when_not_as_shipped,
        ),
        alone("installed::is_never_in_a_backup", never_in_a_backup),
        alone(
            "installed::reads_secrets_where_the_component_says",
            component,
        ),
        alone(
            "installed::accepts_all_manifests_strictly",
            manifests_are_accepted_strictly,
        ),
    ]
}

/// Goes from an empty cluster to the second certificate, in a namespace set by kustomize.
fn active_only_when_answered() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), ELSEWHERE)?;
    let kubectl = cluster.kubectl();
    let output = installer.certs(SOON)?;
    ensure!(output.code == Some(2), "without manifests: {output:?}");
    ensure!(
        output
            .stderr
            .contains("apply your kustomization of the manifests first"),
        "{output:?}"
    );

    installer.apply()?;
    nothing_is_active(kubectl).context("after the manifests")?;

    image_is_not_pulled(kubectl)?;
    let output = installer.certs(Duration::from_secs(3))?;
    for says in [
        "velero-trust: waiting for deployment/velero-trust: Pod velero-trust-",
        ": ImagePullBackOff: no such image); see `kubectl",
    ] {
        ensure!(output.stderr.contains(says), "{says}: {output:?}");
    }
    let why = format!(
        "Deployment {ELSEWHERE}/velero-trust is not available after 3 s, so nothing was made active that was not before"
    );
    ensure!(output.code == Some(2), "with no Pod ready: {output:?}");
    ensure!(output.stderr.contains(&why), "{output:?}");
    nothing_is_active(kubectl).context("after an installation that failed")?;

    let (webhook, output) = installer.activate()?;
    ensure!(output.code == Some(0), "{output:?}");
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    is_refused(&bad_location(kubectl)?, &["[VT010]"])?;
    let first = active(kubectl)?;
    ensure!(
        certificates(&first)? == 2,
        "the first caBundle is not the new CA and that of the run that failed"
    );

    installer.apply()?;
    ensure!(
        active(kubectl)? == first,
        "applying the manifests again changed what is active"
    );

    let output = installer.certs(SOON)?;
    ensure!(output.code == Some(0), "{output:?}");
    let second = active(kubectl)?;
    ensure!(
        certificates(&second)? == 3,
        "the new caBundle is not the new CA and those before"
    );
    let ca = second.first().context("none is active")?.clone();
    let old = first.first().context("none is active")?.clone();
    ensure!(
        text(&ca.ca)?.ends_with(&text(&old.ca)?),
        "the CA before is gone"
    );
    // The server still presents the previous certificate.
    is_refused(&bad_location(kubectl)?, &["[VT010]"]).context("after a second certificate")?;

    // Pods that were ready and no longer are do not serve requests.
    installer.set_ready(false)?;
    let output = wait::poll("the Deployment to be unavailable", SOON, || {
        let output = installer.certs(Duration::from_secs(1))?;
        ensure!(output.code == Some(2), "{output:?}");
        Ok(output)
    })?;
    ensure!(
        output.stderr.contains("is not available after 1 s"),
        "{output:?}"
    );

    // That run wrote a Secret before it failed, and servers will present its certificate.
    drop(webhook);
    let webhook = installer.serve(&[])?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    Ok(())
}

/// Reports what a kubelet reports that cannot pull the image of velero-trust.
fn image_is_not_pulled(kubectl: &Cli) -> Result<()> {
    let get = ["get", "pods", "-n", ELSEWHERE, "-o", "name"];
    let pods = wait::poll("the Pods of velero-trust", SOON, || {
        let pods = kubectl.ok(&get)?;
        ensure!(pods.contains("pod/velero-trust-"), "there are none");
        Ok(pods)
    })?;
    let waiting = json!({"reason": "ImagePullBackOff", "message": "no such image"});
    let container = json!({
        "name": "velero-trust", "image": "absent", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": waiting},
    });
    let patch = json!({"status": {"containerStatuses": [container]}}).to_string();
    for pod in pods.lines() {
        let patch = [
            "patch",
            pod,
            "-n",
            ELSEWHERE,
            "--subresource=status",
            "-p",
            &patch,
        ];
        kubectl.ok(&patch)?;
    }
    Ok(())
}

/// `kubectl replace` takes rules and caBundle away, and a second installation the configurations.
fn says_when_not_asked() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?;
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    let installation = installer.install()?;
    let installer = &installation.installer;
    wait::poll("the metric of an active webhook", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "active")
    })?;
    told(&installer.command, &[])?;

    let restores = |objects: Vec<Value>| {
        let mut objects = objects.into_iter();
        objects.find(|object| {
            object["kind"] == "ValidatingWebhookConfiguration"
                && object["metadata"]["name"] == "velero-trust-restores"
        })
    };
    let plain = restores(installer.objects()?).context("no such configuration")?;
    let output = kubectl.run_with_input(&["replace", "-f", "-"], &plain.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    let unjudged = "ValidatingWebhookConfiguration velero-trust-restores has no rules: Restores that \
                    are created or changed pass unjudged now";
    told(&installer.command, &[unjudged])?;
    wait::poll("metric, log and Event of it", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "noRules")?;
        ensure!(
            !installation.webhook.events(unjudged).is_empty(),
            "not logged"
        );
        has_event(kubectl, "WebhookInactive", unjudged)
    })?;

    let output = installer.certs(SOON)?;
    ensure!(output.code == Some(0), "{output:?}");
    told(&installer.command, &[])?;
    wait::poll("the Event that it is over", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "active")?;
        has_event(kubectl, "WebhookActive", "restores")
    })?;

    // The manifests of a second installation, as kustomize renders them.
    let taken = restores(rendered(kubectl, ELSEWHERE)?).context("no such configuration")?;
    let mut taken = taken;
    taken["webhooks"][0]["rules"] = webhook_of(kubectl, "velero-trust-restores")?["rules"].clone();
    taken["webhooks"][0]["clientConfig"]["caBundle"] =
        webhook_of(kubectl, "velero-trust-restores")?["clientConfig"]["caBundle"].clone();
    let output = kubectl.run_with_input(&["replace", "-f", "-"], &taken.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    told(
        &installer.command,
        &["calls namespace guards, which is not there: Restores"],
    )?;
    kubectl.ok(&["create", "namespace", ELSEWHERE])?;
    let refused = "calls Service guards/velero-trust, which has no ready endpoint: Restores that are \
                   created or changed are refused now";
    told(&installer.command, &[refused])?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "velero-trust-1",
            "namespace": ELSEWHERE,
            "labels": {"kubernetes.io/service-name": "velero-trust"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [],
    });
    kubectl.apply(&slice.to_string())?;
    told(
        &installer.command,
        &["calls the installation in namespace guards"],
    )?;
    let before = webhook_of(kubectl, "velero-trust-restores")?;
    let output = installer.certs(SOON)?;
    let named =
        "velero-trust-restores calls another installation of velero-trust, in namespace guards";
    ensure!(
        output.code == Some(0) && output.stdout.contains(named),
        "{output:?}"
    );
    let after = webhook_of(kubectl, "velero-trust-restores")?;
    ensure!(before == after, "it was changed: {after}");
    wait::poll("metric and Event of it", SOON, || {
        has_metric(
            &installation.webhook.metrics()?,
            "restores",
            "otherInstallation",
        )?;
        has_event(kubectl, "WebhookInactive", "namespace guards")
    })
}

/// Another tool issues a certificate that the caBundles do not verify and that expires soon; then the
/// caBundles are rotated with an overlap.
fn says_what_certificate_is_worth() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?;
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    let installation = installer.install()?;
    let installer = &installation.installer;
    certificate_is(&installer.command, "valid")?;
    told(&installer.command, &[])?;

    let elsewhere = Authority::new("elsewhere")?;
    let host = ["velero-trust.velero-trust.svc"];
    installer.mount(&elsewhere.server_for_seconds("webhook", &host, 10 * 24 * 60 * 60)?)?;
    certificate_is(&installer.command, "expiresSoon")?;
    let cause = "does not verify the serving certificate (it was issued by CN=elsewhere, and the bundle \
                 has no CA of that name), so every new connection fails: ";
    let restores = format!("{cause}Restores that are created or changed are refused now");
    let locations =
        format!("{cause}BackupStorageLocations that are created or changed are refused now");
    let pods = format!("{cause}Pods of Velero that are created start without the CA bundle now");
    let backups =
        format!("{cause}Backups with reserved annotations that are created keep them now");
    told(
        &installer.command,
        &[&restores, &restores, &locations, &pods, &backups],
    )?;
    // That is what happens: with another caBundle, the API server makes a new connection.
    let secret = text(&installer.secret()?["data"]["ca.crt"])?;
    let trust = |cas: [String; 2]| {
        let cas = ByteString(cas.concat().into_bytes());
        let patch =
            json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": cas}]);
        CONFIGURATIONS.iter().try_for_each(|(kind, name)| {
            let patch = patch.to_string();
            kubectl.ok(&["patch", kind, name, "--type=json", "-p", &patch])?;
            anyhow::Ok(())
        })
    };
    trust([secret.clone(), Authority::new("third")?.pem()])?;
    wait::poll("a write to be refused", SOON, || {
        let output = bad_location(kubectl)?;
        let says = "signed by unknown authority";
        ensure!(output.stderr.contains(says), "{output:?}");
        Ok(())
    })?;
    wait::poll("metric and Events of it", SOON, || {
        has_metric(
            &installation.webhook.metrics()?,
            "restores",
            "wrongCaBundle",
        )?;
        has_event(kubectl, "WebhookInactive", &restores)?;
        let note = "; run `velero-trust certs --install";
        has_event(kubectl, "ServingCertificateExpiring", note)
    })?;

    trust([elsewhere.pem(), secret])?;
    told(&installer.command, &[])?;
    wait::poll("the Event that it is over", SOON, || {
        has_event(kubectl, "WebhookActive", "restores")
    })?;
    installer.mount_certificate()?;
    certificate_is(&installer.command, "valid")?;
    wait::poll("the Event of the new certificate", SOON, || {
        let note = "a serving certificate that expires on ";
        has_event(kubectl, "ServingCertificateRenewed", note)
    })?;
    told(&installer.command, &[])?;
    has_metric(&installation.webhook.metrics()?, "restores", "active")?;
    let warnings = installation.webhook.log().matches(cause).count();
    ensure!(warnings == CONFIGURATIONS.len(), "warned {warnings} times");
    Ok(())
}

/// Waits until `status` shows this state of the serving certificate.
fn certificate_is(command: &Cli, state: &str) -> Result<()> {
    wait::poll("status to tell of the certificate", SOON, || {
        let output = command.run(&["status", "--output", "json"])?;
        let status: Value = serde_json::from_str(&output.stdout)?;
        let certificate = &status["servingCertificate"];
        ensure!(certificate["state"] == state, "{certificate}");
        ensure!(certificate["notAfter"].is_string(), "{certificate}");
        let problems = status["problems"].to_string();
        let is_problem = problems.contains("the serving certificate expires at ");
        ensure!(is_problem == (state != "valid"), "{problems}");
        Ok(())
    })
}

/// Somebody adds a condition to a webhook, or changes what a failed call does.
fn says_when_not_as_shipped() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?;
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    let installation = installer.install()?;
    let installer = &installation.installer;
    let patch = |patch: Value| {
        let (kind, name) = ("validatingwebhookconfiguration", "velero-trust-restores");
        kubectl.ok(&["patch", kind, name, "--type=json", "-p", &patch.to_string()])
    };
    // What kubectl, the API server and the manifests make of it is as shipped.
    told(&installer.command, &[])?;
    wait::poll("the metric of an active webhook", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "active")
    })?;

    let condition = json!({"name": "only-mine", "expression": "object.metadata.name == 'mine'"});
    patch(json!([
        {"op": "add", "path": "/webhooks/0/matchConditions/-", "value": condition},
        {"op": "add", "path": "/webhooks/0/namespaceSelector", "value": {"matchLabels": {"team": "a"}}},
    ]))?;
    let narrowed = "ValidatingWebhookConfiguration velero-trust-restores has the matchCondition \
                    `only-mine` and the namespaceSelector `team in (a)`, which the manifests do not \
                    have: Restores that are created or changed pass unjudged now where that is not met";
    told(&installer.command, &[narrowed])?;
    wait::poll("metric and Event of it", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "narrowed")?;
        has_event(kubectl, "WebhookInactive", narrowed)
    })?;
    let doctor = installer.command.run(&["doctor"])?;
    ensure!(doctor.stdout.contains("`only-mine`"), "{doctor:?}");

    patch(json!([
        {"op": "remove", "path": "/webhooks/0/matchConditions/1"},
        {"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}},
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
    ]))?;
    let opened = "the failurePolicy of ValidatingWebhookConfiguration velero-trust-restores is Ignore, \
                  not Fail: Restores that are created or changed pass unjudged whenever velero-trust \
                  does not answer";
    told(&installer.command, &[opened])?;
    // Applying the manifests again, as the fix says, mends it.
    installer.apply()?;
    told(&installer.command, &[])?;
    wait::poll("the Event that it is over", SOON, || {
        has_metric(&installation.webhook.metrics()?, "restores", "active")?;
        has_event(kubectl, "WebhookActive", "restores")
    })
}

/// Waits until `status` names these problems of the webhooks and no others.
pub(crate) fn told(command: &Cli, wanted: &[&str]) -> Result<()> {
    wait::poll("status to tell of the webhooks", SOON, || {
        let output = command.run(&["status", "--output", "json"])?;
        let status: Value = serde_json::from_str(&output.stdout)?;
        let problems = status["problems"].as_array().context("no problems")?;
        let problems = problems.iter().filter_map(Value::as_str);
        let problems: Vec<_> = problems
            .filter(|problem| problem.contains("Webhook"))
            .collect();
        let is_told = |wanted: &&str| problems.iter().any(|problem| problem.contains(wanted));
        ensure!(
            problems.len() == wanted.len() && wanted.iter().all(is_told),
            "{problems:?}"
        );
        Ok(())
    })
}

fn has_metric(metrics: &str, webhook: &str, state: &str) -> Result<()> {
    let line = format!(r#"velero_trust_webhook{{webhook="{webhook}",state="{state}"}} 1"#);
    ensure!(metrics.contains(&line), "no {line}");
    let series = format!(r#"velero_trust_webhook{{webhook="{webhook}","#);
    ensure!(
        metrics.matches(&series).count() == 1,
        "another state as well"
    );
    Ok(())
}

fn has_event(kubectl: &Cli, reason: &str, note: &str) -> Result<()> {
    let events = kubectl.get(&["events", "-n", installer::NAMESPACE])?;
    let events = events["items"].as_array().context("no list")?;
    let has = events.iter().any(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["reason"] == reason && message.contains(note)
    });
    ensure!(has, "no Event {reason}");
    Ok(())
}

fn webhook_of(kubectl: &Cli, name: &str) -> Result<Value> {
    let configuration = kubectl.get(&["validatingwebhookconfiguration", name])?;
    Ok(configuration["webhooks"][0].clone())
}

/// After the key of a certificate was exposed, the API server trusts only the new CA.
fn revokes_old_cas() -> Result<()> {
    let cluster = Cluster::start()?;
    let installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?;
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    let installation = installation.install()?;
    installation.renew_certificate()?;
    ensure!(certificates(&active(kubectl)?)? == 2, "not both CAs");
    let pods = ["get", "pods", "-n", installer::NAMESPACE, "-o", "name"];
    let before = kubectl.ok(&pods)?;

    let output = installation.revoke_old_cas()?;
    ensure!(output.code == Some(0), "{output:?}");
    let said = "is active and trusts only the new CA";
    ensure!(output.stdout.contains(said), "{output:?}");
    ensure!(certificates(&active(kubectl)?)? == 1, "not only the new CA");
    is_refused(&bad_location(kubectl)?, &["[VT010]"])?;
    let after = kubectl.ok(&pods)?;
    let same = before
        .lines()
        .any(|pod| after.lines().any(|new| new == pod));
    ensure!(!same, "a Pod still presents the old certificate: {after}");
    Ok(())
}

/// The components that other tests of their own use.
const KUBE_SYSTEM: &str = "kube-system";
const OPENSHIFT: &str = "openshift-service-ca";

/// The components that can be used together with all manifests.
const COMPONENTS: [&str; 5] = [
    KUBE_SYSTEM,
    OPENSHIFT,
    "certificate-files",
    "cert-manager",
    "network-policy",
];

/// No object of the installation is in a backup: a webhook configuration that is restored without
/// its server would deny every later restore.
fn never_in_a_backup() -> Result<()> {
    let kubectl = offline_kubectl()?;
    for namespace in [installer::NAMESPACE, ELSEWHERE] {
        let components = COMPONENTS.map(str::to_owned);
        let objects = components.iter().map(|one| {
            let component = std::slice::from_ref(one);
            installer::whole(&kubectl, namespace, component)
        });
        let objects = objects.collect::<Result<Vec<_>>>()?.concat();
        ensure!(objects.len() >= 100, "only {} objects", objects.len());
        for object in &objects {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            let template = &object["spec"]["template"];
            for metadata in [&object["metadata"], &template["metadata"]] {
                let excluded = &metadata["labels"]["velero.io/exclude-from-backup"];
                ensure!(
                    metadata.is_null() || excluded == "true",
                    "{name} would be in backups"
                );
            }
            let text = object.to_string();
            ensure!(
                namespace == installer::NAMESPACE
                    || object["kind"] == "CustomResourceDefinition"
                    || !text.contains(r#""namespace":"velero-trust""#),
                "{name} still names the namespace velero-trust"
            );
        }
    }
    Ok(())
}

/// Uses `manifests/components/secret-reader` as described in docs/install.md.
fn component() -> Result<()> {
    let folder = scratch::folder("component")?;
    let source = installer::manifests().join("components/secret-reader");
    let copy = folder.path().join("secret-reader");
    fs::create_dir(&copy)?;
    for name in ["kustomization.yaml", "rolebinding.yaml"] {
        fs::copy(source.join(name), copy.join(name))?;
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "backups",
        "components": ["secret-reader"],
    });
    fs::write(
        folder.path().join("kustomization.yaml"),
        kustomization.to_string(),
    )?;
    let text = offline_kubectl()?.ok(&["kustomize".as_ref(), folder.path()])?;
    let binding: Value = serde_saphyr::from_str(&text)?;
    ensure!(binding["metadata"]["namespace"] == "backups", "{binding}");
    let subject =
        json!({"kind": "ServiceAccount", "name": "velero-trust", "namespace": "velero-trust"});
    ensure!(binding["subjects"] == json!([subject]), "{binding}");
    ensure!(
        binding["roleRef"]["name"] == "velero-trust-secret-reader",
        "{binding}"
    );
    ensure!(
        binding["metadata"]["labels"]["velero.io/exclude-from-backup"] == "true",
        "{binding}"
    );
    Ok(())
}

/// The API server accepts the manifests, with every component and as docs/install.md patches them,
/// and knows every field of them. Nothing is stored.
fn manifests_are_accepted_strictly() -> Result<()> {
    let server = ApiServer::start()?;
    let kubectl = server.kubectl()?;
    kubectl.ok(&["create", "namespace", installer::NAMESPACE])?;
    kubectl.ok(&["create", "namespace", "velero"])?;
    let folder = scratch::folder("strict")?;
    scratch::copy_folder(&installer::manifests(), &folder.path().join("manifests"))?;
    let page = fs::read_to_string(installer::manifests().join("../docs/install.md"))?;
    let documented = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("components/network-policy"))
        .context("docs/install.md does not use the component")?;
    let more = [KUBE_SYSTEM, OPENSHIFT].map(|one| format!("  - manifests/components/{one}\n"));
    let more = format!("components:\n{}", more.concat());
    let kustomization = documented.replacen("components:\n", &more, 1);
    fs::write(folder.path().join("kustomization.yaml"), kustomization)?;
    let text = kubectl.ok(&["kustomize".as_ref(), folder.path()])?;
    for placeholder in ["192.0.2.", "198.51.100."] {
        ensure!(!text.contains(placeholder), "{placeholder} remains: {text}");
    }
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = kubectl.run_with_input(&arguments, &text)?;
    ensure!(output.code == Some(0), "{output:?}");
    for name in ["velero-trust-ingress", "velero-trust-egress"] {
        let created = format!("networkpolicy.networking.k8s.io/{name} created");
        ensure!(output.stdout.contains(&created), "{output:?}");
    }
    // It is strict: a field that is unknown is refused.
    let misspelt = text.replacen("policyTypes", "policyTyppes", 1);
    let output = kubectl.run_with_input(&arguments, &misspelt)?;
    ensure!(output.stderr.contains("policyTyppes"), "{output:?}");
    Ok(())
}

/// An active webhook.
#[derive(Clone, Debug, PartialEq)]
struct Active {
    name: Value,
    rules: Value,
    ca: Value,
}

/// Returns the webhooks. Fails unless all of them are active.
fn active(kubectl: &Cli) -> Result<Vec<Active>> {
    let mut all = Vec::new();
    for webhook in webhooks(kubectl)? {
        ensure!(
            webhook["rules"].is_array(),
            "this one has no rules: {webhook}"
        );
        all.push(Active {
            name: webhook["name"].clone(),
            rules: webhook["rules"].clone(),
            ca: webhook["clientConfig"]["caBundle"].clone(),
        });
    }
    Ok(all)
}

fn nothing_is_active(kubectl: &Cli) -> Result<()> {
    for webhook in webhooks(kubectl)? {
        ensure!(webhook["rules"].is_null(), "this one has rules: {webhook}");
        let ca = &webhook["clientConfig"]["caBundle"];
        ensure!(ca.is_null(), "this one has a caBundle: {webhook}");
    }
    // The location is admitted, and the webhook is not called: no server would respond.
    is_admitted(&bad_location(kubectl)?, &[])
}

fn webhooks(kubectl: &Cli) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for (kind, name) in CONFIGURATIONS {
        let configuration = kubectl.get(&[kind, name])?;
        let webhooks = configuration["webhooks"].as_array();
        all.extend(webhooks.context("no webhooks")?.iter().cloned());
    }
    ensure!(all.len() == CONFIGURATIONS.len(), "{} webhooks", all.len());
    Ok(all)
}

/// Returns the number of certificates in the caBundles, which must all be the same.
fn certificates(active: &[Active]) -> Result<usize> {
    let first = &active.first().context("none is active")?.ca;
    ensure!(
        active.iter().all(|webhook| webhook.ca == *first),
        "they trust different CAs"
    );
    Ok(text(first)?.matches("BEGIN CERTIFICATE").count())
}

fn text(encoded: &Value) -> Result<String> {
    let bytes: ByteString = serde_json::from_value(encoded.clone())?;
    Ok(String::from_utf8(bytes.0)?)
}

/// Tries to create a location with an invalid CA.
pub(crate) fn bad_location(kubectl: &Cli) -> Result<Output> {
    let location = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b", "caCert": "bm90aGluZw=="}},
    });
    kubectl.run_with_input(
        &["create", "--dry-run=server", "-f", "-"],
        &location.to_string(),
    )
}

/// Returns a kubectl for commands that need no cluster.
fn offline_kubectl() -> Result<Cli> {
    Cli::new(rig::binary("kubectl")?, None)
}
