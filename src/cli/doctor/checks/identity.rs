//! Checks the identity of velero-trust's own ServiceAccount, with which a bucket without credentials is read.

use super::{CheckSubject, Diagnostic};
use crate::bucket::Provider;
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::cli::doctor::identity::CloudIdentity;
use crate::names;
use crate::velero::text::shown;

/// The page about identities.
const PAGE: &str = "docs/identities.md";

/// How a cloud gives an identity to Pods.
struct Way {
    /// What it is called.
    name: &'static str,
    /// The annotation of the ServiceAccount that chooses it.
    annotation: Option<&'static str>,
    /// The variable that the cloud sets in Pods of that ServiceAccount; it names the same.
    variable: Option<&'static str>,
}

const IRSA: Way = Way {
    name: "IRSA",
    annotation: Some("eks.amazonaws.com/role-arn"),
    variable: Some("AWS_ROLE_ARN"),
};

const POD_IDENTITY: Way = Way {
    name: "EKS Pod Identity",
    annotation: None,
    variable: Some("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
};

const AKS: Way = Way {
    name: "workload identity of AKS",
    annotation: Some("azure.workload.identity/client-id"),
    variable: Some("AZURE_CLIENT_ID"),
};

const GKE: Way = Way {
    name: "workload identity of GKE",
    annotation: Some("iam.gke.io/gcp-service-account"),
    variable: None,
};

/// Checks the identity for a bucket of `provider`. It cannot be tried: only a Pod has it.
pub(super) fn check(
    subject: CheckSubject,
    cluster: &ClusterSnapshot,
    provider: Provider,
) -> Diagnostic {
    let identity = match &cluster.identity {
        Ok(identity) => identity,
        Err(why) => {
            return subject.unknown(format!(
                "its credentials are velero-trust's own identity, of which nothing is known: {why}"
            ));
        }
    };
    let ways: &[Way] = match provider {
        Provider::Aws => &[IRSA, POD_IDENTITY],
        Provider::Azure => &[AKS],
        Provider::Gcp => &[GKE],
    };
    let account = format!("ServiceAccount {}/{}", cluster.namespace, cluster.account());
    let (mut named, mut missing) = (None, None);
    for way in ways {
        match way.find(identity) {
            Found::Whole(of) => named = Some((way.name, of)),
            Found::NotInPods(of) => missing = Some((way.name, of)),
            Found::No => {}
        }
    }
    if let Some((way, of)) = missing {
        return subject.warn(
            format!(
                "its backups cannot be recorded: {account} names `{}` ({way}), and Pods of velero-trust run \
                 without it",
                shown(&of)
            ),
            format!(
                "`kubectl -n {} rollout restart deployment/{}`; if it stays, see {PAGE}",
                cluster.namespace,
                names::APP
            ),
        );
    }
    match named {
        Some((way, of)) => {
            let of = of.map(|of| format!(" `{}`", shown(&of))).unwrap_or_default();
            subject.unknown(format!(
                "its credentials are the identity of {account}{of} ({way}), which only a Pod has; \
                 `velero-trust status` shows whether backups are recorded with it"
            ))
        }
        None if provider == Provider::Gcp => subject.unknown(format!(
            "its credentials are what the metadata server of Google's cloud gives to {account}, of which the API \
             server knows nothing; see {PAGE}"
        )),
        None => subject.warn(
            format!(
                "its credentials are velero-trust's own identity, and nothing shows that {account} has one; \
                 without one, the machine's own counts, if it may be asked"
            ),
            format!("name a Secret in the BSL's spec.credential, or see {PAGE}"),
        ),
    }
}

/// What shows that there is an identity.
enum Found {
    /// All Pods have it: what it is, if that is known.
    Whole(Option<String>),
    /// The ServiceAccount has it, and a Pod does not.
    NotInPods(String),
    No,
}

impl Way {
    fn find(&self, identity: &CloudIdentity) -> Found {
        let annotation = self.annotation.and_then(|it| identity.annotations.get(it));
        let Some(variable) = self.variable else {
            return annotation.map_or(Found::No, |of| Found::Whole(Some(of.clone())));
        };
        let mut values = identity.pods.iter().map(|pod| pod.get(variable));
        match annotation {
            Some(of) if values.all(|value| value == Some(of)) => Found::Whole(Some(of.clone())),
            Some(of) => Found::NotInPods(of.clone()),
            None if !identity.pods.is_empty() && values.all(|value| value.is_some()) => {
                // The address of Pod Identity says nothing.
                let of = identity.pods.first().and_then(|pod| pod.get(variable));
                Found::Whole(of.filter(|_| self.annotation.is_some()).cloned())
            }
            None => Found::No,
        }
    }
}
