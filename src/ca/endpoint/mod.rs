//! The TLS endpoints of a BSL, and whether a bundle verifies what they present.
//!
//! Everything here is pure; `controllers::endpoints` makes the handshakes.

mod algorithms;
mod certification_path;
pub mod denied_addresses;
mod display;
mod extensions;
mod fix;
pub mod judge;
mod names;
mod problem;
mod setting;
mod url;

use core::net::IpAddr;

pub use denied_addresses::{DenialReason, DeniedAddresses};
pub use problem::{ExpiresSoon, Observation, PresentedCertificate, Problem, UntrustedReason};
pub use setting::{EndpointSetting, EndpointSettingError, SkippedSetting};

pub use super::rules::{parse_bool, skips_verification};
pub use url::{StoreUrl, build_s3_url, build_sts_url, parse_url};

use crate::velero::bsl::Bsl;

/// What to dial. Equal targets need a single handshake, however many BSLs name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The host of the URL, in lower case: a DNS name, possibly with a trailing dot, or an IP
    /// address without brackets. The certificate must name it, and SNI contains it.
    pub host: String,
    /// The name to resolve. It differs from `host` if that is a single label, which stands for a
    /// different Service in each namespace.
    pub lookup: String,
    /// The port.
    pub port: u16,
}

/// A TLS endpoint that a BSL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What to dial.
    pub target: Target,
    /// `https://host:port`, for messages, without the userinfo, path and query that the BSL may
    /// contain.
    pub url: String,
    /// The setting of the BSL that names it.
    pub setting: EndpointSetting,
    /// Whether Velero verifies the certificate: false with `insecureSkipTLSVerify`. A `publicUrl`
    /// is always verified, because the `velero` command uses it and does not read that key.
    pub verified_by_velero: bool,
}

/// Returns the endpoints that `bsl`, in `namespace`, names: `s3Url`, `publicUrl`, and the endpoint
/// of its region if the aws plugin has no `s3Url`.
///
/// Without `s3ForcePathStyle`, the SDK puts the bucket before the host. The issuer of the
/// certificate is the same there, so the host itself is probed.
pub fn read_endpoints(namespace: &str, bsl: &Bsl<'_>) -> Vec<Result<Endpoint, SkippedSetting>> {
    let is_verified = !skips_verification(bsl);
    let value =
        |setting: EndpointSetting| bsl.config(setting.key()).filter(|value| !value.is_empty());
    let endpoint = |setting, url: &str, verified_by_velero| {
        let (host, port) =
            url::parse_https_url(url).map_err(|reason| SkippedSetting { setting, reason })?;
        Ok(Endpoint {
            url: format_url(&host, port),
            target: build_target(namespace, host, port),
            setting,
            verified_by_velero,
        })
    };
    let regional = || {
        let setting = EndpointSetting::Region;
        let region = value(setting).filter(|_| bsl.provider() == "aws")?;
        Some(match build_s3_url(region) {
            Some(url) => endpoint(setting, &url, is_verified),
            None => Err(SkippedSetting {
                setting,
                reason: EndpointSettingError::InvalidRegion,
            }),
        })
    };
    let store = value(EndpointSetting::S3Url)
        .map(|url| endpoint(EndpointSetting::S3Url, url, is_verified))
        .or_else(regional);
    let public = value(EndpointSetting::PublicUrl)
        .map(|url| endpoint(EndpointSetting::PublicUrl, url, true));
    store.into_iter().chain(public).collect()
}

/// Returns the host of an https URL, in lower case and without brackets.
pub fn host_of_url(url: &str) -> Option<String> {
    url::parse_https_url(url).ok().map(|(host, _)| host)
}

/// Builds the target for `host`, as a BSL in `namespace` names it. The cluster's DNS resolves a
/// single label to a Service of the Pod's own namespace, so our Pod must look up a name that includes
/// Velero's namespace.
pub fn build_target(namespace: &str, host: String, port: u16) -> Target {
    let is_word = !host.contains(['.', ':']) && host != "localhost";
    let lookup = if is_word {
        format!("{host}.{namespace}.svc")
    } else {
        host.clone()
    };
    Target { host, lookup, port }
}

fn format_url(host: &str, port: u16) -> String {
    let bracketed = match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    };
    match port {
        443 => format!("https://{bracketed}"),
        port => format!("https://{bracketed}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(spec: &str) -> Vec<String> {
        let text = format!(r#"{{"spec":{spec}}}"#);
        let bsl: Bsl<'_> = serde_json::from_str(&text).unwrap();
        read_endpoints("velero", &bsl)
            .into_iter()
            .map(|found| match found {
                Ok(Endpoint {
                    target,
                    url,
                    setting,
                    verified_by_velero,
                }) => format!(
                    "{}: {url} -> {}:{} {}",
                    setting.path(),
                    target.lookup,
                    target.port,
                    if verified_by_velero { "yes" } else { "no" }
                ),
                Err(SkippedSetting { setting, reason }) => format!("{}: {reason}", setting.path()),
            })
            .collect()
    }

    #[test]
    fn finds_the_endpoints_of_a_bsl() {
        for (spec, expected) in [
            ("{}", &[][..]),
            (r#"{"provider":"aws"}"#, &[]),
            (
                r#"{"provider":"aws","config":{"region":"eu-central-1"}}"#,
                &[
                    "spec.config.region: https://s3.eu-central-1.amazonaws.com -> s3.eu-central-1.amazonaws.com:443 yes",
                ],
            ),
            (
                r#"{"provider":"velero.io/aws","config":{"region":"cn-north-1","s3Url":""}}"#,
                &[
                    "spec.config.region: https://s3.cn-north-1.amazonaws.com.cn -> s3.cn-north-1.amazonaws.com.cn:443 yes",
                ],
            ),
            (
                r#"{"provider":"aws","config":{"region":"a.example/"}}"#,
                &["spec.config.region: the region is none that AWS could have"],
            ),
            // The meaning of another provider's region is unknown.
            (r#"{"provider":"gcp","config":{"region":"eu"}}"#, &[]),
            (
                r#"{"provider":"aws","config":{"region":"minio","s3Url":"https://minio:9000/x","publicUrl":"https://S3.example.com/"}}"#,
                &[
                    "spec.config.s3Url: https://minio:9000 -> minio.velero.svc:9000 yes",
                    "spec.config.publicUrl: https://s3.example.com -> s3.example.com:443 yes",
                ],
            ),
            (
                r#"{"provider":"aws","config":{"insecureSkipTLSVerify":"T","s3Url":"https://[2001:DB8::1]:9000","publicUrl":"https://localhost"}}"#,
                &[
                    "spec.config.s3Url: https://[2001:db8::1]:9000 -> 2001:db8::1:9000 no",
                    "spec.config.publicUrl: https://localhost -> localhost:443 yes",
                ],
            ),
            (
                r#"{"provider":"aws","config":{"s3Url":"http://minio:9000"}}"#,
                &["spec.config.s3Url: the URL is http://, which is not encrypted"],
            ),
        ] {
            assert_eq!(endpoints(spec), expected, "{spec}");
        }
    }

    #[test]
    fn five_hundred_bsls_of_one_host_are_one_target() {
        let targets: std::collections::BTreeSet<_> = (0..500)
            .map(|number| {
                let text = format!(
                    r#"{{"spec":{{"config":{{"s3Url":"https://minio.storage:9000/{number}"}}}}}}"#
                );
                let bsl: Bsl<'_> = serde_json::from_str(&text).unwrap();
                let endpoint = read_endpoints(&format!("velero-{number}"), &bsl)
                    .remove(0)
                    .unwrap();
                endpoint.target
            })
            .collect();
        assert_eq!(targets.len(), 1);
    }
}
