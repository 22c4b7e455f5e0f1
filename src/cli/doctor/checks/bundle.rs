//! The bundle of a Velero namespace.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{CheckSubject, Diagnostic, SOON, days};
use crate::ca::bundle::{hash, mozilla};
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Velero};
use crate::cli::doctor::diagnostic::Level;
use crate::kubernetes::bundle::{is_ours, text};
use crate::names;

pub(super) fn check(cluster: &ClusterSnapshot, velero: &Velero) -> Vec<Diagnostic> {
    let subject = format!("ConfigMap {}/{}", velero.namespace, names::BUNDLE);
    let of = |check| CheckSubject::new(check, subject.clone());
    let log = format!(
        "kubectl -n {} logs deployment/{}",
        cluster.namespace,
        names::APP
    );
    let map = match &velero.bundle {
        Err(why) => return vec![of("bundle").unknown(why)],
        Ok(None) => {
            let absent = of("bundle").fail("it is not there", log);
            return [vec![absent], issues(velero, &subject)].concat();
        }
        Ok(Some(map)) => map,
    };
    if !is_ours(&map.metadata) {
        let delete = format!(
            "kubectl -n {} delete configmap {}, when nobody needs it under this name",
            velero.namespace,
            names::BUNDLE
        );
        return vec![of("bundle").fail("it was not made by velero-trust", delete)];
    }
    let bundle = text(map).unwrap_or_default();
    let certificates = pem::read(bundle.as_bytes()).certificates;
    let issues = issues(velero, &subject);
    let mut diagnostics = Vec::new();
    if certificates.is_empty() {
        diagnostics.push(of("bundle").fail(
            "it holds no certificate: AWS stores cannot be reached",
            &log,
        ));
    } else if annotation(map, names::bundle::HASH) != Some(&*hash(bundle)) {
        let edited = "somebody edited it, and velero-trust did not put it right";
        diagnostics.push(of("bundle").fail(edited, &log));
    } else if issues
        .iter()
        .all(|diagnostic| diagnostic.level != Level::Warn)
    {
        diagnostics.push(of("bundle").ok(format!("it holds {} certificates", certificates.len())));
    }
    diagnostics.extend(issues);
    diagnostics.extend(expiry(cluster.now, &certificates, of("expiry")));
    if let Some(why) = annotation(map, names::bundle::HOLD) {
        diagnostics.push(of("hold").warn(
            format!("the namespace is held, its Pods get no AWS_CA_BUNDLE: {why}"),
            format!(
                "kubectl -n {} annotate backupstoragelocation NAME {}=SECRET/KEY",
                velero.namespace,
                names::CA_SECRET_ANNOTATION
            ),
        ));
    }
    diagnostics
}

/// What the controllers say keeps the bundle from being as it should be, as `status` shows it.
fn issues(velero: &Velero, subject: &str) -> Vec<Diagnostic> {
    let issues = match &velero.issues {
        Err(why) => return vec![CheckSubject::new("report", subject).unknown(why)],
        Ok(issues) => issues.iter(),
    };
    let status = format!(
        "velero-trust status --velero-namespace {} tells more",
        velero.namespace
    );
    issues
        .map(|issue| CheckSubject::new("bundle", subject).warn(&issue.message, &status))
        .collect()
}

/// CheckSubject public roots nobody here can renew any; none of them counts.
fn expiry(now: i64, certificates: &[Certificate], of: CheckSubject) -> Option<Diagnostic> {
    let public: BTreeSet<_> = mozilla().iter().map(Certificate::fingerprint).collect();
    let named = certificates
        .iter()
        .filter(|certificate| !public.contains(&certificate.fingerprint()));
    let first = named.min_by_key(|certificate| certificate.not_after)?;
    let said = format!("{} {}", first.subject(), days(now, first.not_after));
    Some(if first.not_after < now + SOON {
        let fix = "put its successor beside it into the Secret that the BSL names";
        of.warn(said, fix)
    } else {
        of.ok(format!("first of the CAs that are not public: {said}"))
    })
}

fn annotation<'m>(map: &'m ConfigMap, key: &str) -> Option<&'m str> {
    Some(map.metadata.annotations.as_ref()?.get(key)?)
}
