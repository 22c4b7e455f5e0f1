//! Checks the proxy variables of Velero's Pods. A proxy often cannot reach an internal store.

use std::collections::BTreeSet;

use axum::http::Uri;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::velero::velero_workloads;
use super::{CheckSubject, Diagnostic};
use crate::cli::advice::shell_word;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace, Workload};
use crate::dial::NoProxy;

/// Returns the environment variables of the containers of `template`. The value is `None` if it
/// comes from another object.
fn variables(template: &PodTemplateSpec) -> Vec<(&str, Option<&str>)> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    variables
        .map(|variable| {
            let value = variable.value.as_deref();
            let plain = variable.value_from.is_none();
            (&*variable.name, plain.then(|| value.unwrap_or_default()))
        })
        .collect()
}

/// Returns which variables of a proxy `template` sets, in upper case.
pub(super) fn set_variables(template: &PodTemplateSpec) -> BTreeSet<String> {
    let variables = variables(template).into_iter();
    let set = variables.filter(|(_, value)| *value != Some(""));
    let names = set.map(|(name, _)| name.to_ascii_uppercase());
    names
        .filter(|name| ["HTTPS_PROXY", "HTTP_PROXY"].contains(&name.as_str()))
        .collect()
}

pub(super) fn check(_: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (_, workload) in velero_workloads(velero) {
        diagnostics.extend(check_workload(velero, workload));
    }
    if diagnostics.is_empty() && velero_workloads(velero).next().is_some() {
        let subject =
            CheckSubject::new("proxy", format!("Velero in namespace {}", velero.namespace));
        diagnostics.push(subject.ok("no s3Url is reached by way of a proxy"));
    }
    diagnostics
}

/// Warns about hosts of the locations that `workload` reaches through a proxy.
fn check_workload(velero: &VeleroNamespace, workload: &Workload) -> Option<Diagnostic> {
    let namespace = &velero.namespace;
    let variables = variables(&workload.template);
    // Like Go: the upper-case name takes precedence, and an empty value counts as unset.
    let value = |names: [&str; 2]| {
        let mut values = names.iter().filter_map(|name| {
            let mut all = variables.iter();
            let (_, value) =
                all.find(|(variable, value)| variable == name && *value != Some(""))?;
            Some(*value)
        });
        values.next()
    };
    let subject = CheckSubject::new("proxy", format!("{} in namespace {namespace}", workload.id));
    let no_proxy = match value(["NO_PROXY", "no_proxy"]) {
        Some(None) => return Some(subject.unknown("NO_PROXY comes from a Secret or a ConfigMap")),
        no_proxy => no_proxy.flatten().unwrap_or_default(),
    };
    let exempt = NoProxy::parse(no_proxy);
    let mut hosts = Vec::new();
    for bsl in &velero.locations {
        let Ok(url) = bsl.config("s3Url").unwrap_or_default().parse::<Uri>() else {
            continue;
        };
        let (names, port) = match url.scheme_str() {
            Some("https") => (["HTTPS_PROXY", "https_proxy"], 443),
            _ => (["HTTP_PROXY", "http_proxy"], 80),
        };
        let Some(host) = url.host() else { continue };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(port);
        if value(names).is_some() && !exempt.exempts(host, port) {
            hosts.push(host.to_owned());
        }
    }
    hosts.sort();
    hosts.dedup();
    if hosts.is_empty() {
        return None;
    }
    let mut entries: Vec<_> = no_proxy
        .split(',')
        .filter(|part| !part.is_empty())
        .collect();
    entries.extend(hosts.iter().map(String::as_str));
    let fix = format!(
        "kubectl -n {namespace} set env {} NO_PROXY={}",
        workload.id,
        shell_word(&entries.join(","))
    );
    let hosts = hosts.join(", ");
    Some(subject.warn(
        format!("a proxy is set, and NO_PROXY lacks the host of an s3Url: {hosts}"),
        fix,
    ))
}
