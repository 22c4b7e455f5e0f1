//! Checks the proxy variables of Velero's Pods. A proxy often cannot reach an internal store.

use std::net::IpAddr;

use axum::http::Uri;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::velero::velero_workloads;
use super::{CheckSubject, Diagnostic};
use crate::cli::advice::shell_word;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace, Workload};

/// Returns the environment variables of the containers of `template`. The value is `None` if it
/// comes from another object.
pub(super) fn variables(template: &PodTemplateSpec) -> Vec<(&str, Option<&str>)> {
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

/// Whether Go reads a proxy from the variable `name`.
pub(super) fn is_proxy(name: &str) -> bool {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].contains(&name)
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
        if value(names).is_some() && !is_exempt(host, url.port_u16().unwrap_or(port), no_proxy) {
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

/// Whether Go connects to `host` without the proxy (`golang.org/x/net/http/httpproxy`).
fn is_exempt(host: &str, port: u16, no_proxy: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let ip = host.parse::<IpAddr>().ok();
    host == "localhost"
        || ip.is_some_and(|ip| ip.is_loopback())
        || no_proxy.split(',').any(|entry| {
            let entry = entry.trim().to_ascii_lowercase();
            entry == "*" || covers(&entry, host, ip, port)
        })
}

fn covers(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        let network = network.parse::<IpAddr>().ok();
        let bits = bits.parse::<u32>().ok();
        return matches!((network, bits, ip), (Some(network), Some(bits), Some(ip))
            if in_network(ip, network, bits));
    }
    let (name, entry_port) = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
            (name, digits.parse::<u16>().ok())
        }
        _ => (entry, None),
    };
    if entry_port.is_some_and(|only| only != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let (Some(ip), Ok(entry)) = (ip, name.parse::<IpAddr>()) {
        return ip == entry;
    }
    // `.example.com` and `*.example.com` match subdomains; `example.com` also matches itself.
    let parent = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
    let is_subdomain = |domain: &str| {
        let rest = host.strip_suffix(domain);
        !domain.is_empty() && rest.is_some_and(|rest| rest.ends_with('.'))
    };
    match parent {
        Some(domain) => is_subdomain(domain),
        None => host == name || is_subdomain(name),
    }
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
    };
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_as_go_does_what_goes_past_the_proxy() {
        for (host, no_proxy, exempt) in [
            ("localhost", "", true),
            ("127.0.0.1", "", true),
            ("s3.corp", "", false),
            ("s3.corp", "*", true),
            ("s3.corp", "corp", true),
            ("s3.corp", ".corp", true),
            ("s3.corp", "*.corp", true),
            ("corp", ".corp", false),
            ("S3.Corp", "other, s3.corp", true),
            ("as3.corp", "s3.corp", false),
            ("s3.corp", "s3.corp:9000", true),
            ("s3.corp", "s3.corp:443", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("fd00::1", "fd00::/8", true),
            ("fd00::1", "[fd00::1]:9000", true),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("s3.corp", "10.0.0.0/99", false),
        ] {
            assert_eq!(
                is_exempt(host, 9000, no_proxy),
                exempt,
                "{host} in {no_proxy}"
            );
        }
    }
}
