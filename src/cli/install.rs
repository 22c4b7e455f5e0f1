//! Installs the serving certificate into a cluster and activates the webhook.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::wait::Condition;
use kube::{Api, Client};
use serde_json::json;

use super::activation::ActivationPatch;
use super::rollout::restart::{restart, wait_until_complete};
use super::wait::{self, WaitError};
use crate::admission::activation::{OLDEST_KUBERNETES, OtherCas};
use crate::clock;
use crate::kubernetes::client::kubernetes_version;
use crate::kubernetes::webhook_configurations::{self, WebhookConfiguration};
use crate::kubernetes::workloads::{Kind, Workload, is_rolled_out};
use crate::names;
use crate::serving_ca::issue::Issued;

/// Name of the Secret with the serving certificate, which the Deployment mounts.
pub(super) const TLS_SECRET: &str = "velero-trust-tls";

/// Where to install the certificate.
pub(super) struct Install<'a> {
    /// The cluster.
    pub(super) client: Client,
    /// The namespace of velero-trust.
    pub(super) namespace: &'a str,
    /// Time limit for the Deployment to become available.
    pub(super) wait: Duration,
    /// Whether the API server trusts only the new CA afterwards. The Deployment is restarted before,
    /// so that no server presents a certificate of another CA.
    pub(super) revoke_old: bool,
}

/// Installs `issued`, and writes each step to `out`. The order of the steps is safe even if one of
/// them fails: the configurations match nothing while no server responds, and the API server trusts
/// a CA before a server presents a certificate of it.
pub(super) async fn run(
    install: &Install<'_>,
    issued: &Issued,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Install {
        client,
        namespace,
        wait,
        revoke_old,
    } = install;
    require_match_conditions(client).await?;
    require_files(client, namespace).await?;
    let configurations = webhook_configurations::list(client).await?;
    let (others, ours): (Vec<_>, Vec<_>) = configurations
        .into_iter()
        .partition(|configuration| configuration.other_namespace(namespace).is_some());
    let (current, retired): (Vec<_>, Vec<_>) =
        ours.into_iter().partition(WebhookConfiguration::is_current);
    let foreign = describe_others(namespace, &others);
    if current.is_empty() && !foreign.is_empty() {
        bail!(
            "{}; nothing was changed. To move the configurations to {namespace}, apply the manifests of \
             that installation again, and run this again",
            foreign.join("; ")
        );
    }
    for line in foreign {
        writeln!(out, "{line}; it was left as it is")?;
    }
    if current.is_empty() {
        bail!(
            "the cluster has no webhook configuration labelled app.kubernetes.io/name={} and {}; \
             apply your kustomization of the manifests first (docs/install.md)",
            names::APP,
            names::WEBHOOK_LABEL
        );
    }
    // Servers may still present the certificate that is in the Secret now for some minutes.
    let installed = CurrentCa::read(client, namespace).await?;
    let current_ca = installed.pem.as_str();
    let unrevoked = installed.others(Timestamp::now());
    let patches = |others: OtherCas| {
        let cas = match others {
            OtherCas::Kept | OtherCas::Dropped => vec![issued.ca.as_str(), current_ca],
            OtherCas::Revoked => vec![issued.ca.as_str()],
        };
        let patches = current
            .iter()
            .map(|configuration| ActivationPatch::new(configuration, &cas, others, clock::now()));
        patches.collect::<anyhow::Result<Vec<_>>>()
    };
    let mut patches_to_activate = patches(unrevoked)?;

    for patch in patches_to_activate.iter().filter(|patch| patch.is_active) {
        patch.apply(client).await?;
        writeln!(out, "{} trusts the new CA as well", patch.configuration)?;
    }
    write_secret(client, namespace, issued).await?;
    writeln!(out, "Secret {namespace}/{TLS_SECRET} written")?;

    let workload = Workload {
        kind: Kind::Deployment,
        name: names::APP.to_owned(),
    };
    if *revoke_old {
        // Then every Pod has read the Secret anew.
        restart(client, namespace, &workload, Timestamp::now()).await?;
        writeln!(out, "Deployment {namespace}/{} is restarted", names::APP)?;
        wait_until_complete(client, namespace, &workload, *wait)
            .await
            .context("no CA was revoked")?;
        patches_to_activate = patches(OtherCas::Revoked)?;
    }
    match wait::until(client, namespace, &workload, is_available(), *wait).await {
        Ok(()) => {}
        Err(WaitError::Timeout(why)) => bail!(
            "Deployment {namespace}/{} is not available after {} s, so nothing was made active \
             that was not before{}; see `kubectl -n {namespace} get pods`, then run this again",
            names::APP,
            wait.as_secs(),
            wait::because(&why)
        ),
        Err(error) => return Err(error.into()),
    }
    writeln!(out, "Deployment {namespace}/{} is available", names::APP)?;

    for patch in &patches_to_activate {
        patch.apply(client).await?;
        let only = if *revoke_old {
            " and trusts only the new CA"
        } else {
            ""
        };
        writeln!(out, "{} is active{only}", patch.configuration)?;
    }
    // Only after their successors are active, so that nothing passes unreviewed in between.
    for configuration in &retired {
        writeln!(out, "{}", configuration.deactivate(client).await?)?;
    }
    Ok(())
}

/// Says of each configuration which installation it calls instead of that in `own`.
fn describe_others(own: &str, others: &[WebhookConfiguration]) -> Vec<String> {
    let described = others.iter().filter_map(|configuration| {
        let namespace = configuration.other_namespace(own)?;
        Some(format!(
            "{configuration} calls another installation of {}, in namespace {namespace}",
            names::APP
        ))
    });
    described.collect()
}

/// Fails if the API server is too old. Older API servers silently drop `matchConditions` and would
/// send Velero's own status writes to the webhook, which could then fail backups while it is down.
async fn require_match_conditions(client: &Client) -> anyhow::Result<()> {
    let version = kubernetes_version(client)
        .await
        .context("cannot read the version of the API server")?;
    if version < OLDEST_KUBERNETES {
        bail!(
            "the cluster is Kubernetes {}.{}, and velero-trust needs {}.{} for `matchConditions`; \
             nothing was made active",
            version.0,
            version.1,
            OLDEST_KUBERNETES.0,
            OLDEST_KUBERNETES.1
        );
    }
    Ok(())
}

/// Fails if the servers issue their own certificates: the leader would remove the CA of one from files.
async fn require_files(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let deployment = deployments.get_opt(names::APP).await;
    let deployment = deployment.context("cannot read the Deployment")?;
    if deployment.is_some_and(|deployment| !takes_files(&deployment)) {
        bail!(
            "Deployment {namespace}/{} does not mount Secret {TLS_SECRET}: it issues its own certificates, and becomes \
             active by itself; nothing was changed. `velero-trust certs rotate` replaces its CA",
            names::APP
        );
    }
    Ok(())
}

/// Whether the servers of our Deployment take their certificate from files: by an argument, a variable, or the volume of
/// [`TLS_SECRET`].
pub(super) fn takes_files(deployment: &Deployment) -> bool {
    let spec = deployment.spec.as_ref();
    let Some(pods) = spec.and_then(|spec| spec.template.spec.as_ref()) else {
        return false;
    };
    let mut arguments = pods
        .containers
        .iter()
        .flat_map(|one| one.args.iter().flatten());
    let mut variables = pods
        .containers
        .iter()
        .flat_map(|one| one.env.iter().flatten());
    let mut volumes = pods.volumes.iter().flatten();
    arguments.any(|one| one.starts_with("--tls-cert") || one == "--certificates=files")
        || variables.any(|one| {
            one.name == "VELERO_TRUST_TLS_CERT"
                || one.name == "VELERO_TRUST_CERTIFICATES" && one.value.as_deref() == Some("files")
        })
        || volumes.any(|volume| {
            let secret = volume.secret.as_ref();
            secret.and_then(|secret| secret.secret_name.as_deref()) == Some(TLS_SECRET)
        })
}

/// Time after which every server shows the certificate of a Secret: a kubelet updates the files within
/// two minutes, and a server reads them every ten seconds.
const SHOWN_AFTER_SECONDS: i64 = 10 * 60;

/// The CA of the certificate that is installed in the cluster.
struct CurrentCa {
    /// Empty if there is none.
    pem: String,
    /// When this command wrote it, if that is known.
    written: Option<Timestamp>,
}

impl CurrentCa {
    async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let secret = secrets.get_opt(TLS_SECRET).await;
        let secret =
            secret.with_context(|| format!("cannot read Secret {namespace}/{TLS_SECRET}"))?;
        Ok(Self::of(secret.unwrap_or_default()))
    }

    fn of(secret: Secret) -> Self {
        let fields = secret.metadata.managed_fields.unwrap_or_default();
        let writes = fields
            .into_iter()
            .filter(|fields| fields.manager.as_deref() == Some(names::FIELD_MANAGER));
        let data = secret.data.unwrap_or_default();
        let ca = data.get("ca.crt");
        Self {
            pem: ca.map_or_else(String::new, |ca| {
                String::from_utf8_lossy(&ca.0).into_owned()
            }),
            written: writes.filter_map(|fields| Some(fields.time?.0)).max(),
        }
    }

    /// Returns what becomes of other CAs at `now`. Once every server shows the certificate of this
    /// one, none shows one of an earlier CA.
    fn others(&self, now: Timestamp) -> OtherCas {
        let is_shown = self
            .written
            .is_some_and(|written| now.as_second() - written.as_second() > SHOWN_AFTER_SECONDS);
        if is_shown && !self.pem.is_empty() {
            OtherCas::Dropped
        } else {
            OtherCas::Kept
        }
    }
}

/// Returns the condition that the Deployment is rolled out.
fn is_available() -> impl Condition<DynamicObject> {
    |deployment: Option<&DynamicObject>| deployment.is_some_and(is_rolled_out)
}

async fn write_secret(client: &Client, namespace: &str, issued: &Issued) -> anyhow::Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": TLS_SECRET,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": names::APP,
                "velero.io/exclude-from-backup": "true",
            },
        },
        "type": "kubernetes.io/tls",
        "stringData": {
            "ca.crt": issued.ca,
            "tls.crt": issued.certificate,
            "tls.key": issued.key,
        },
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    Api::<Secret>::namespaced(client.clone(), namespace)
        .patch(TLS_SECRET, &params, &Patch::Apply(secret))
        .await
        .with_context(|| format!("cannot write Secret {namespace}/{TLS_SECRET}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn servers_take_files_by_argument_variable_or_volume() {
        let takes = |container: serde_json::Value, volumes: serde_json::Value| {
            let pods = json!({"containers": [container], "volumes": volumes});
            let template = json!({"spec": pods});
            let deployment = json!({"spec": {"selector": {}, "template": template}});
            takes_files(&serde_json::from_value(deployment).unwrap())
        };
        let secret = |name: &str| json!([{"name": "tls", "secret": {"secretName": name}}]);
        let args = |args: &[&str]| json!({"name": "c", "args": args});
        let plain = || args(&["serve", "--log-format=json"]);
        assert!(!takes(plain(), json!([])) && !takes(plain(), secret("other")));
        assert!(takes(plain(), secret(TLS_SECRET)));
        assert!(takes(args(&["serve", "--tls-cert=/x/tls.crt"]), json!([])));
        assert!(takes(args(&["--certificates=files"]), secret("other")));
        assert!(!takes(args(&["--certificates=self"]), json!([])));
        let variable = |name: &str, value: &str| {
            let env = json!([{"name": name, "value": value}]);
            takes(json!({"name": "c", "env": env}), json!([]))
        };
        assert!(
            variable("VELERO_TRUST_TLS_CERT", "/x")
                && variable("VELERO_TRUST_CERTIFICATES", "files")
        );
        assert!(!variable("VELERO_TRUST_CERTIFICATES", "self"));
    }

    #[test]
    fn earlier_cas_are_dropped_once_every_server_shows_the_current_one() {
        let secret = |manager: &str, ca: &str| {
            let secret = json!({
                "metadata": {"managedFields": [
                    {"manager": "kubectl", "time": "2026-11-28T10:30:00Z"},
                    {"manager": manager, "time": "2026-11-28T10:00:00Z"},
                ]},
                "data": {"ca.crt": STANDARD.encode(ca)},
            });
            CurrentCa::of(serde_json::from_value(secret).unwrap())
        };
        let at = |time: &str| time.parse().unwrap();
        let ours = secret(names::FIELD_MANAGER, "CA");
        assert_eq!(ours.pem, "CA");
        assert_eq!(ours.others(at("2026-11-28T10:10:00Z")), OtherCas::Kept);
        assert_eq!(ours.others(at("2026-11-28T10:10:01Z")), OtherCas::Dropped);
        let late = at("2026-11-29T10:00:00Z");
        // What somebody else wrote may be newer than it seems.
        assert_eq!(secret("cert-manager", "CA").others(late), OtherCas::Kept);
        assert_eq!(
            secret(names::FIELD_MANAGER, "").others(late),
            OtherCas::Kept
        );
        assert_eq!(
            CurrentCa::of(Secret::default()).others(late),
            OtherCas::Kept
        );
    }
}
