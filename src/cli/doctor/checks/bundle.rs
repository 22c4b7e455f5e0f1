//! Checks the bundle of a Velero namespace.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{CheckSubject, Diagnostic, EXPIRY_WARNING_SECONDS, describe_expiry};
use crate::ca::bundle::{hash, mozilla};
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::ca::references::ca_references;
use crate::cli::doctor::cluster_snapshot::{BundleUsers, ClusterSnapshot, VeleroNamespace};
use crate::cli::doctor::diagnostic::Level;
use crate::cli::status::report_problems;
use crate::kubernetes::bundle::{is_ours, text};
use crate::names;

pub(super) fn check(cluster: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let name = format!("ConfigMap {}/{}", velero.namespace, names::BUNDLE);
    let subject = |check| CheckSubject::new(check, name.clone());
    let show_log = format!(
        "kubectl -n {} logs deployment/{}",
        cluster.namespace,
        names::APP
    );
    let map = match &velero.bundle {
        Err(why) => return vec![subject("bundle").unknown(why)],
        Ok(None) => {
            let absent = subject("bundle").fail("it is not there", &show_log);
            return [vec![absent], issues(cluster, velero, &name, &show_log)].concat();
        }
        Ok(Some(map)) => map,
    };
    if !is_ours(&map.metadata) {
        let delete = format!(
            "when nobody needs it under this name, `kubectl -n {} delete configmap {}`",
            velero.namespace,
            names::BUNDLE
        );
        return vec![subject("bundle").fail("it was not made by velero-trust", delete)];
    }
    let bundle = text(map).unwrap_or_default();
    let certificates = pem::read(bundle.as_bytes()).certificates;
    let issues = issues(cluster, velero, &name, &show_log);
    let mut diagnostics = Vec::new();
    if certificates.is_empty() {
        diagnostics.push(subject("bundle").fail(
            "it holds no certificate: AWS stores cannot be reached",
            &show_log,
        ));
    } else if annotation(map, names::bundle::HASH) != Some(&*hash(bundle)) {
        let message = "somebody edited it, and velero-trust did not put it right";
        diagnostics.push(subject("bundle").fail(message, &show_log));
    } else if issues
        .iter()
        .all(|diagnostic| diagnostic.level != Level::Fail)
    {
        diagnostics
            .push(subject("bundle").ok(format!("it holds {} certificates", certificates.len())));
    }
    diagnostics.extend(issues);
    diagnostics.extend(expiry(cluster.now, &certificates, subject("expiry")));
    if let Some(why) = annotation(map, names::bundle::HOLD) {
        diagnostics.push(subject("hold").fail(
            format!("the namespace is held, its Pods get no AWS_CA_BUNDLE: {why}"),
            name_ca(velero),
        ));
    }
    diagnostics
}

/// Checks the bundles in namespaces that are not Velero's: a review of a Pod made them, or Velero is
/// gone. velero-trust deletes none of them, because a Pod may mount it.
pub(super) fn check_others(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let others = match &cluster.other_bundles {
        Ok(others) => others,
        Err(why) => {
            let subject = format!("ConfigMaps {} of other namespaces", names::BUNDLE);
            return vec![CheckSubject::new("bundle", subject).unknown(why)];
        }
    };
    let found = others.iter().filter_map(|other| {
        let namespace = &other.namespace;
        let name = format!("ConfigMap {namespace}/{}", names::BUNDLE);
        let subject = CheckSubject::new("bundle", name);
        match &other.users {
            Err(why) => Some(subject.unknown(why)),
            Ok(BundleUsers::Velero) => None,
            Ok(BundleUsers::Others) => Some(subject.warn(
                "Pods use it, and nothing says that the namespace is Velero's, so it may be out of date",
                format!(
                    "kubectl label --overwrite namespace {namespace} {}=true",
                    names::VELERO_NAMESPACE_LABEL
                ),
            )),
            Ok(BundleUsers::None) => Some(subject.warn(
                "nothing of Velero is in the namespace, and no Pod asks for the bundle",
                format!("kubectl -n {namespace} delete configmap {}", names::BUNDLE),
            )),
        }
    });
    found.collect()
}

/// Returns how to name the CA of a location that names none.
fn name_ca(velero: &VeleroNamespace) -> String {
    let namespace = &velero.namespace;
    let mut unnamed = velero
        .locations
        .iter()
        .filter(|bsl| ca_references(namespace, bsl).is_empty());
    let location = match (unnamed.next(), unnamed.next()) {
        (Some(bsl), None) => bsl.name(),
        _ => "NAME",
    };
    format!(
        "put the CA into a Secret there, and name it: `kubectl -n {namespace} annotate \
         backupstoragelocation {location} {}=SECRET/KEY`",
        names::CA_SECRET_ANNOTATION
    )
}

/// Returns the issues of the bundle that the controllers report, as `status` shows them: without
/// those that the findings of a location explain.
fn issues(
    cluster: &ClusterSnapshot,
    velero: &VeleroNamespace,
    name: &str,
    show_log: &str,
) -> Vec<Diagnostic> {
    let report = match &velero.report {
        Err(why) => return vec![CheckSubject::new("report", name).unread(why, show_log)],
        Ok(report) => report,
    };
    let mut issues: Vec<_> = report.issues.iter().collect();
    for bsl in &velero.locations {
        if let Some(location) = report.locations.get(bsl.name()) {
            report_problems(bsl.name(), location, cluster.time(), &mut issues);
        }
    }
    let status = format!(
        "velero-trust status --velero-namespace {}",
        velero.namespace
    );
    let issues = issues.into_iter();
    issues
        .map(|issue| CheckSubject::new("bundle", name).fail(&issue.message, &status))
        .collect()
}

/// Checks the expiry of the CAs that are not public. Public roots are left out, because the
/// operator cannot renew them.
fn expiry(now: i64, certificates: &[Certificate], subject: CheckSubject) -> Option<Diagnostic> {
    let public: BTreeSet<_> = mozilla().iter().map(Certificate::fingerprint).collect();
    let not_public = certificates
        .iter()
        .filter(|certificate| !public.contains(&certificate.fingerprint()));
    let first = not_public.min_by_key(|certificate| certificate.not_after)?;
    let message = format!(
        "{} {}",
        first.subject(),
        describe_expiry(now, first.not_after)
    );
    Some(if first.not_after < now + EXPIRY_WARNING_SECONDS {
        let fix = "put its successor beside it into the Secret that the BSL names";
        subject.warn(message, fix)
    } else {
        subject.ok(format!("first of the CAs that are not public: {message}"))
    })
}

fn annotation<'m>(map: &'m ConfigMap, key: &str) -> Option<&'m str> {
    Some(map.metadata.annotations.as_ref()?.get(key)?)
}
