//! Parses the URLs of a BSL.

use core::net::{IpAddr, Ipv6Addr};

use http::Uri;

use super::setting::EndpointSettingError;

/// The domains of S3 by prefix of the region's name, from `partitions.json` of the AWS SDK.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "amazonaws.com.cn"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("", "amazonaws.com"),
];

/// Returns the URL that the AWS SDK uses for S3 in `region`; none if that is no region name.
pub fn build_s3_url(region: &str) -> Option<String> {
    build_aws_url("s3", region)
}

/// Returns the URL that the AWS SDK uses for the Security Token Service in `region`; none if that is
/// no region name.
pub fn build_sts_url(region: &str) -> Option<String> {
    build_aws_url("sts", region)
}

fn build_aws_url(service: &str, region: &str) -> Option<String> {
    let is_region = region.len() <= 40
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_region {
        return None;
    }
    let (_, domain) = PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix))?;
    Some(format!("https://{service}.{region}.{domain}"))
}

/// An http or https URL of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    /// Whether the scheme is https.
    pub is_https: bool,
    /// The host, in lower case and without brackets: a DNS name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Parses an http or https URL. Ignores userinfo, path and query.
pub fn parse_url(text: &str) -> Result<StoreUrl, EndpointSettingError> {
    // Parse nothing after the host: it is not needed, and `Uri` is stricter about it than Go.
    let (scheme, rest) = text
        .split_once("://")
        .ok_or(EndpointSettingError::NotHttps)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if !authority.is_ascii() {
        return Err(EndpointSettingError::InvalidHost);
    }
    let uri: Uri = format!("{scheme}://{authority}")
        .parse()
        .map_err(|_| EndpointSettingError::NotHttps)?;
    let is_https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(EndpointSettingError::NotHttps),
    };
    let authority = uri.authority().ok_or(EndpointSettingError::NotHttps)?;
    let host = parse_host(authority.host())?;
    let port = authority
        .as_str()
        .rsplit_once(authority.host())
        .map_or("", |(_, port)| port.strip_prefix(':').unwrap_or(port));
    let port = match port {
        "" if is_https => 443,
        "" => 80,
        digits => digits
            .parse()
            .map_err(|_| EndpointSettingError::InvalidPort)?,
    };
    if port == 0 {
        return Err(EndpointSettingError::InvalidPort);
    }
    Ok(StoreUrl {
        is_https,
        host,
        port,
    })
}

/// Returns the host, in lower case and without brackets, and the port of an https URL. Ignores
/// userinfo, path and query.
pub(super) fn parse_https_url(text: &str) -> Result<(String, u16), EndpointSettingError> {
    let url = parse_url(text)?;
    if url.is_https {
        Ok((url.host, url.port))
    } else {
        Err(EndpointSettingError::PlainHttp)
    }
}

fn parse_host(host: &str) -> Result<String, EndpointSettingError> {
    if let Some(literal) = host.strip_prefix('[') {
        let address: Ipv6Addr = literal
            .strip_suffix(']')
            .and_then(|literal| literal.parse().ok())
            .ok_or(EndpointSettingError::InvalidHost)?;
        return Ok(address.to_string());
    }
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = name.len() <= 253 && name.split('.').all(is_label);
    if is_name || host.parse::<IpAddr>().is_ok() {
        Ok(host)
    } else {
        Err(EndpointSettingError::InvalidHost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_host_and_the_port() {
        let long = format!("https://{}.example", "x".repeat(64));
        for (text, expected) in [
            ("https://minio.storage:9000", Ok(("minio.storage", 9000))),
            ("HTTPS://MinIO.Storage", Ok(("minio.storage", 443))),
            ("https://minio.storage:/", Ok(("minio.storage", 443))),
            (
                "https://minio.storage./bucket?x#y",
                Ok(("minio.storage.", 443)),
            ),
            ("https://user:secret@minio:9000/", Ok(("minio", 9000))),
            ("https://minio@evil.example/", Ok(("evil.example", 443))),
            ("https://evil.example/@minio", Ok(("evil.example", 443))),
            ("https://10.0.0.1:443", Ok(("10.0.0.1", 443))),
            ("https://[2001:DB8:0::1]:9000", Ok(("2001:db8::1", 9000))),
            (
                "https://[::ffff:169.254.169.254]",
                Ok(("::ffff:169.254.169.254", 443)),
            ),
            // getaddrinfo may parse these as addresses. Its results are checked again.
            ("https://0x7f.1", Ok(("0x7f.1", 443))),
            (
                "https://under_score.example",
                Ok(("under_score.example", 443)),
            ),
            (
                "https://xn--bcher-kva.example",
                Ok(("xn--bcher-kva.example", 443)),
            ),
            (
                "https://bücher.example",
                Err(EndpointSettingError::InvalidHost),
            ),
            ("https://minio/bücher", Ok(("minio", 443))),
            (
                "https://[fe80::1%25eth0]/",
                Err(EndpointSettingError::InvalidHost),
            ),
            ("https://a..b", Err(EndpointSettingError::InvalidHost)),
            ("https://a%20b", Err(EndpointSettingError::NotHttps)),
            (&long, Err(EndpointSettingError::InvalidHost)),
            ("https://minio:0", Err(EndpointSettingError::InvalidPort)),
            (
                "https://minio:65536",
                Err(EndpointSettingError::InvalidPort),
            ),
            ("http://minio:9000", Err(EndpointSettingError::PlainHttp)),
            ("Http://minio", Err(EndpointSettingError::PlainHttp)),
            ("minio:9000", Err(EndpointSettingError::NotHttps)),
            ("ftp://minio", Err(EndpointSettingError::NotHttps)),
            ("https://", Err(EndpointSettingError::NotHttps)),
            ("https://a\r\nb", Err(EndpointSettingError::NotHttps)),
            (" https://minio", Err(EndpointSettingError::NotHttps)),
            ("", Err(EndpointSettingError::NotHttps)),
            ("/", Err(EndpointSettingError::NotHttps)),
        ] {
            let found = parse_https_url(text);
            let found = found.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(found.map_err(|why| *why), expected, "{text}");
        }
    }

    #[test]
    fn every_partition_of_aws_has_its_domain() {
        for (region, url) in [
            ("us-east-1", "https://s3.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "https://s3.us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", "https://s3.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://s3.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", "https://s3.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(build_s3_url(region).as_deref(), Some(url));
        }
        assert_eq!(build_s3_url("evil.example#"), None);
    }
}
