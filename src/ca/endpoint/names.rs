//! Matches a host against a certificate's names, as Go's `x509.Certificate.VerifyHostname` does.
//!
//! webpki rejects wildcards that Go accepts, such as `*.storage`, which is a useful name for the
//! Services of a cluster.

use core::net::IpAddr;

use crate::ca::x509::{Extensions, GeneralName};

/// The names in a certificate's subjectAltName. Go reads no others, and ignores the common name.
#[derive(Debug, Default)]
pub(super) struct HostNames<'a> {
    dns: Vec<&'a str>,
    addresses: Vec<IpAddr>,
}

impl<'a> HostNames<'a> {
    pub(super) fn of(extensions: &Extensions<'a>) -> Self {
        let mut names = Self::default();
        for name in extensions.subject_alt_names.iter().flatten() {
            match name {
                GeneralName::DnsName(name) => names.dns.push(name),
                GeneralName::IpAddress(address) => names.addresses.push(address.to_canonical()),
                GeneralName::EmailAddress(_) | GeneralName::Uri(_) => {}
            }
        }
        names
    }

    /// Returns whether `host`, a DNS name or an IP address without brackets, matches one of them.
    pub(super) fn contain(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address.to_canonical());
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_valid = is_valid_host(name, false);
        self.dns.iter().any(|pattern| {
            if is_valid && is_valid_host(pattern, true) {
                matches_pattern(pattern, name)
            } else {
                !matches!(host, "" | ".") && pattern.eq_ignore_ascii_case(host)
            }
        })
    }

    /// Returns all of them, DNS names first.
    pub(super) fn to_strings(&self) -> impl Iterator<Item = String> {
        let dns = self.dns.iter().map(|name| (*name).to_owned());
        dns.chain(self.addresses.iter().map(ToString::to_string))
    }
}

/// Go's `validHostname`, for a host without its trailing dot.
fn is_valid_host(host: &str, is_pattern: bool) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host != "*"
        && host
            .split('.')
            .enumerate()
            .all(|(at, label)| is_pattern && at == 0 && label == "*" || is_label(label))
}

/// Go's `matchHostnames`: a `*` matches exactly one label, the first.
fn matches_pattern(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    let mut first = true;
    let fits = pattern.split('.').all(|expected| {
        let any = std::mem::take(&mut first) && expected == "*";
        labels
            .next()
            .is_some_and(|label| any || label.eq_ignore_ascii_case(expected))
    });
    fits && labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_they_do_in_go() {
        for (pattern, host, expected) in [
            ("minio.storage", "minio.storage", true),
            ("MinIO.storage", "minio.STORAGE", true),
            ("minio.storage", "minio.storage.", true),
            ("minio.storage.", "minio.storage", false),
            ("minio", "minio", true),
            ("*.storage", "minio.storage", true),
            ("*.storage", "a.minio.storage", false),
            ("*.storage", "storage", false),
            ("*", "minio", false),
            ("m*.storage", "minio.storage", false),
            ("minio.*", "minio.storage", false),
            ("*.s3.example", ".s3.example", false),
            ("under_score.a", "under_score.a", true),
            ("-a.b", "-a.b", true),
            ("a..b", "a..b", true),
            ("", "", false),
            ("10.0.0.1", "10.0.0.1", false),
        ] {
            let names = HostNames {
                dns: vec![pattern],
                addresses: Vec::new(),
            };
            assert_eq!(names.contain(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn an_address_matches_addresses_only() {
        let addresses = ["::ffff:10.0.0.1", "::1"].map(|address| address.parse().unwrap());
        let names = HostNames::of(&Extensions {
            subject_alt_names: Some(addresses.map(GeneralName::IpAddress).to_vec()),
            ..Extensions::default()
        });
        for host in ["10.0.0.1", "::1", "0:0::1", "::ffff:10.0.0.1"] {
            assert!(names.contain(host), "{host}");
        }
        assert!(!names.contain("10.0.0.2"));
        assert_eq!(names.to_strings().collect::<Vec<_>>(), ["10.0.0.1", "::1"]);
    }
}
