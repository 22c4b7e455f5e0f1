use std::collections::BTreeMap;

use super::*;
use crate::bucket::Provider;
use crate::cli::doctor::buckets::BucketAccess;

const ROLE: &str = "arn:aws:iam::1:role/r";

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Changes a cluster whose bucket is read with velero-trust's own identity, and of which this is known.
fn own(
    cluster: &mut ClusterSnapshot,
    provider: Provider,
    annotations: &[(&str, &str)],
    pods: &[&[(&str, &str)]],
) {
    first(cluster).buckets[0].1 = BucketAccess::OwnIdentity(provider);
    cluster.identity = Ok(CloudIdentity {
        annotations: strings(annotations),
        pods: pods.iter().map(|pod| strings(pod)).collect(),
    });
}

#[test]
fn the_identity_of_the_service_account_is_told() {
    use Provider::{Aws, Azure, Gcp};
    let token = ("AZURE_FEDERATED_TOKEN_FILE", "/token");
    let agent = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://169.254.170.23/v1/credentials",
    );
    let role = ("AWS_ROLE_ARN", ROLE);
    let client = ("AZURE_CLIENT_ID", "c-1");
    let irsa = ("eks.amazonaws.com/role-arn", ROLE);
    let aks = ("azure.workload.identity/client-id", "c-1");
    let gke = (
        "iam.gke.io/gcp-service-account",
        "a@p.iam.gserviceaccount.com",
    );
    for (provider, annotations, pods, said) in [
        (
            Aws,
            vec![irsa],
            vec![&[role][..], &[role]],
            "`arn:aws:iam::1:role/r` (IRSA)",
        ),
        (Aws, vec![], vec![&[agent][..]], "guard (EKS Pod Identity)"),
        (
            Azure,
            vec![aks],
            vec![&[client, token][..]],
            "`c-1` (workload identity of AKS)",
        ),
        (
            Gcp,
            vec![gke],
            vec![&[][..]],
            "`a@p.iam.gserviceaccount.com` (workload identity of GKE)",
        ),
    ] {
        exactly(
            Level::Unknown,
            "bucket",
            &["velero-trust/guard", said],
            |cluster| {
                own(cluster, provider, &annotations, &pods);
            },
        );
    }
    // Such a Pod was started before the annotation, or without the webhook of the cloud.
    for (provider, annotation, pod) in [(Aws, irsa, role), (Azure, aks, client)] {
        let said = [
            annotation.1,
            "run without it",
            "rollout restart deployment/velero-trust",
        ];
        exactly(Level::Warn, "bucket", &said, |cluster| {
            own(cluster, provider, &[annotation], &[&[pod], &[]]);
        });
    }
    exactly(
        Level::Unknown,
        "bucket",
        &["metadata server", "velero-trust/guard"],
        |cluster| {
            own(cluster, Gcp, &[], &[&[]]);
        },
    );
    for provider in [Aws, Azure] {
        let said = ["nothing shows that", "docs/identities.md"];
        exactly(Level::Warn, "bucket", &said, |cluster| {
            own(cluster, provider, &[], &[&[]]);
        });
    }
    exactly(Level::Unknown, "bucket", &["no right to get"], |cluster| {
        own(cluster, Aws, &[], &[]);
        cluster.identity = Err("no right to get".to_owned());
    });
}

#[test]
fn the_role_of_the_credentials_is_told() {
    let mut cluster = healthy();
    if let BucketAccess::Tried { role, .. } = &mut first(&mut cluster).buckets[0].1 {
        *role = Some(ROLE.to_owned());
    }
    let all = run_all(&cluster);
    let bucket = all.iter().find(|one| one.check == "bucket").unwrap();
    let said = "the role arn:aws:iam::1:role/r may list, read and write in it";
    assert!(bucket.message.starts_with(said), "{bucket:?}");
}
