//! The bundle of a Velero namespace.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Line, Of, SOON, days};
use crate::ca::bundle::{hash, mozilla};
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::cli::doctor::line::Level;
use crate::cli::doctor::seen::{Seen, Velero};
use crate::kubernetes::bundle::{is_ours, text};
use crate::names;

pub(super) fn check(seen: &Seen, velero: &Velero) -> Vec<Line> {
    let about = format!("ConfigMap {}/{}", velero.namespace, names::BUNDLE);
    let of = |check| Of::new(check, about.clone());
    let log = format!(
        "kubectl -n {} logs deployment/{}",
        seen.namespace,
        names::APP
    );
    let map = match &velero.bundle {
        Err(why) => return vec![of("bundle").unknown(why)],
        Ok(None) => {
            let absent = of("bundle").fail("it is not there", log);
            return [vec![absent], complaints(velero, &about)].concat();
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
    let complaints = complaints(velero, &about);
    let mut lines = Vec::new();
    if certificates.is_empty() {
        lines.push(of("bundle").fail(
            "it holds no certificate: AWS stores cannot be reached",
            &log,
        ));
    } else if annotation(map, names::bundle::HASH) != Some(&*hash(bundle)) {
        let edited = "somebody edited it, and velero-trust did not put it right";
        lines.push(of("bundle").fail(edited, &log));
    } else if complaints.iter().all(|line| line.level != Level::Warn) {
        lines.push(of("bundle").ok(format!("it holds {} certificates", certificates.len())));
    }
    lines.extend(complaints);
    lines.extend(expiry(seen.now, &certificates, of("expiry")));
    if let Some(why) = annotation(map, names::bundle::HOLD) {
        lines.push(of("hold").warn(
            format!("the namespace is held, its Pods get no AWS_CA_BUNDLE: {why}"),
            format!(
                "kubectl -n {} annotate backupstoragelocation NAME {}=SECRET/KEY",
                velero.namespace,
                names::CA_SECRET_ANNOTATION
            ),
        ));
    }
    lines
}

/// What the controllers say keeps the bundle from being as it should be, as `status` shows it.
fn complaints(velero: &Velero, about: &str) -> Vec<Line> {
    let complaints = match &velero.complaints {
        Err(why) => return vec![Of::new("report", about).unknown(why)],
        Ok(complaints) => complaints.iter(),
    };
    let status = format!(
        "velero-trust status --velero-namespace {} tells more",
        velero.namespace
    );
    complaints
        .map(|complaint| Of::new("bundle", about).warn(complaint, &status))
        .collect()
}

/// Of public roots nobody here can renew any; none of them counts.
fn expiry(now: i64, certificates: &[Certificate], of: Of) -> Option<Line> {
    let public: BTreeSet<_> = mozilla().iter().map(Certificate::fingerprint).collect();
    let named = certificates
        .iter()
        .filter(|certificate| !public.contains(&certificate.fingerprint()));
    let first = named.min_by_key(|certificate| certificate.not_after)?;
    let said = format!("{} {}", first.subject(), days(now, first.not_after));
    Some(if first.not_after < now + SOON {
        let mend = "put its successor beside it into the Secret that the BSL names";
        of.warn(said, mend)
    } else {
        of.ok(format!("first of the CAs that are not public: {said}"))
    })
}

fn annotation<'m>(map: &'m ConfigMap, key: &str) -> Option<&'m str> {
    Some(map.metadata.annotations.as_ref()?.get(key)?)
}
