//! Where a bucket is: in the host of its store's URL, or in the path. As `s3.Client` of the AWS SDK
//! for Go decides (`endpoints.go`, `isVirtualHostableS3Bucket`).

use std::fmt::Write as _;
use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ca::endpoint::{EndpointSettingError, StoreUrl, parse_url};

/// What SigV4 leaves as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The same for a path.
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// Whether the bucket may be part of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// Where the bucket's name allows it.
    VirtualHost,
    /// Never (`s3ForcePathStyle`).
    Path,
}

impl Addressing {
    pub(super) const fn forcing_path_style(is_forced: bool) -> Self {
        if is_forced {
            Self::Path
        } else {
            Self::VirtualHost
        }
    }
}

/// The URL of a bucket, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    url: String,
    /// Whether the scheme is https.
    pub is_https: bool,
}

impl BucketUrl {
    /// Returns the URL of the store, where the bucket is in the path.
    pub(super) fn without_bucket(&self) -> &str {
        let end = self.url.rfind('/').unwrap_or(self.url.len());
        self.url.get(..end).unwrap_or(&self.url)
    }

    /// Returns the URL of `part` below it.
    pub(super) fn joined(mut self, part: &str) -> Self {
        self.url.push('/');
        self.url.push_str(part);
        self
    }

    pub(super) fn new(
        store: &str,
        bucket: &str,
        addressing: Addressing,
    ) -> Result<Self, EndpointSettingError> {
        let StoreUrl {
            is_https,
            host,
            port,
        } = parse_url(store)?;
        let (scheme, usual_port) = if is_https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let address = host.parse::<IpAddr>();
        let host = match address {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host,
        };
        let is_in_host = addressing == Addressing::VirtualHost
            && address.is_err()
            && is_label(bucket, !is_https);
        let mut url = format!("{scheme}://");
        if is_in_host {
            url.push_str(bucket);
            url.push('.');
        }
        url.push_str(&host);
        if port != usual_port {
            let _ = write!(url, ":{port}");
        }
        url.push_str(path(store));
        if !is_in_host {
            url.push('/');
            url.push_str(bucket);
        }
        Ok(Self { url, is_https })
    }

    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the URL of an object.
    pub(super) fn of_key(&self, key: &str) -> String {
        format!("{}/{}", self.url, utf8_percent_encode(key, ENCODED_IN_PATH))
    }

    /// Returns the URL of a request about the whole bucket.
    pub(super) fn with_query(&self, pairs: &[(&str, &str)]) -> String {
        let mut url = self.url.clone();
        // A host needs a path before the query.
        if url.matches('/').count() == 2 {
            url.push('/');
        }
        for (at, (name, value)) in pairs.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, ENCODED);
            let _ = write!(url, "{mark}{name}={value}");
        }
        url
    }
}

/// Returns the path of a store's URL without a slash at its end. What is no path of a URL is none.
fn path(store: &str) -> &str {
    let rest = store.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    let path = rest.find('/').and_then(|slash| rest.get(slash..));
    let path = path.unwrap_or("").trim_end_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if path.bytes().all(is_plain) { path } else { "" }
}

/// Whether a bucket can be a label of a host. One with dots matches no wildcard certificate.
fn is_label(bucket: &str, with_dots: bool) -> bool {
    if with_dots && bucket.contains('.') {
        return bucket.split('.').all(|part| is_label(part, false));
    }
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = bucket.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    (3..=63).contains(&bucket.len())
        && ends.into_iter().flatten().all(|&end| is_alphanumeric(end))
        && bytes
            .iter()
            .all(|&byte| is_alphanumeric(byte) || byte == b'-')
}

/// Decodes a part of a query, in which a plus is a space; `None` if that is no text.
pub(super) fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// An `s3://bucket/prefix/backups/NAME` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupUrl {
    /// The bucket.
    pub bucket: String,
    /// The folder in the bucket; may be empty.
    pub prefix: String,
    /// The backup.
    pub backup: String,
}

impl BackupUrl {
    /// Parses it. Returns `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (bucket, path) = text.strip_prefix("s3://")?.split_once('/')?;
        let (folder, backup) = path.trim_end_matches('/').rsplit_once('/')?;
        let prefix = folder.strip_suffix("backups")?;
        let is_whole = prefix.is_empty() || prefix.ends_with('/');
        (is_whole && !bucket.is_empty() && !backup.is_empty()).then(|| Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            backup: backup.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_host_where_the_sdk_puts_it() {
        use Addressing::{Path, VirtualHost};
        for (store, bucket, addressing, expected) in [
            (
                "https://s.example",
                "bkt",
                VirtualHost,
                "https://bkt.s.example",
            ),
            ("https://s.example", "bkt", Path, "https://s.example/bkt"),
            (
                "https://S.example:443/",
                "bkt",
                Path,
                "https://s.example/bkt",
            ),
            (
                "https://s.example:9000",
                "bkt",
                VirtualHost,
                "https://bkt.s.example:9000",
            ),
            // An address has no names below it.
            (
                "https://10.0.0.1:9000",
                "bkt",
                VirtualHost,
                "https://10.0.0.1:9000/bkt",
            ),
            (
                "https://[2001:db8::1]",
                "bkt",
                VirtualHost,
                "https://[2001:db8::1]/bkt",
            ),
            // No certificate is valid for two labels.
            (
                "https://s.example",
                "b.k.t",
                VirtualHost,
                "https://s.example/b.k.t",
            ),
            (
                "http://s.example:80",
                "bkt",
                VirtualHost,
                "http://bkt.s.example",
            ),
            (
                "http://s.example",
                "bkt.two",
                Path,
                "http://s.example/bkt.two",
            ),
            (
                "http://s.example",
                "one.two",
                VirtualHost,
                "http://one.two.s.example",
            ),
            (
                "https://s.example",
                "Upper",
                VirtualHost,
                "https://s.example/Upper",
            ),
            (
                "https://s.example",
                "un_der",
                VirtualHost,
                "https://s.example/un_der",
            ),
            (
                "https://s.example",
                "-bkt",
                VirtualHost,
                "https://s.example/-bkt",
            ),
            (
                "https://s.example/base/",
                "bkt",
                Path,
                "https://s.example/base/bkt",
            ),
            (
                "https://u:p@s.example/?x#y",
                "bkt",
                Path,
                "https://s.example/bkt",
            ),
        ] {
            let url = BucketUrl::new(store, bucket, addressing).unwrap();
            assert_eq!(url.as_str(), expected, "{store} {bucket}");
        }
    }

    #[test]
    fn keys_and_queries_are_encoded_as_they_are_signed() {
        let url = BucketUrl::new("https://s.example", "bkt", Addressing::VirtualHost).unwrap();
        let key = url.of_key("p/backups/b c/ü+%?#\n");
        assert_eq!(
            key,
            "https://bkt.s.example/p/backups/b%20c/%C3%BC%2B%25%3F%23%0A"
        );
        let query = url.with_query(&[("list-type", "2"), ("prefix", "a/b +&")]);
        assert_eq!(
            query,
            "https://bkt.s.example/?list-type=2&prefix=a%2Fb%20%2B%26"
        );
        let path = BucketUrl::new("https://s.example", "bkt", Addressing::Path).unwrap();
        assert_eq!(path.with_query(&[("a", "b")]), "https://s.example/bkt?a=b");
    }

    #[test]
    fn the_url_of_a_backup_is_parsed() {
        let parse = |text| {
            let url = BackupUrl::parse(text)?;
            Some([url.bucket, url.prefix, url.backup].join("|"))
        };
        assert_eq!(parse("s3://b/backups/n").as_deref(), Some("b||n"));
        assert_eq!(parse("s3://b/p/q/backups/n/").as_deref(), Some("b|p/q|n"));
        for text in [
            "s3://b/n",
            "s3://b/xbackups/n",
            "s3:///backups/n",
            "s3://b/backups/",
            "https://b/backups/n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
