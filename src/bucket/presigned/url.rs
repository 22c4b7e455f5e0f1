//! Whether a URL that somebody else signed is that of one file of a backup.

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::bucket::settings::aws::{Addressing, AwsSettings, is_host_of_s3};
use crate::bucket::settings::azure::{AzureCloud, AzureSettings};
use crate::bucket::settings::gcp::{GcpSettings, STORE};
use crate::bucket::settings::{BucketSettings, ProviderSettings};
use crate::bucket::url::BucketUrl;
use crate::ca::endpoint::{StoreUrl, parse_url};
use crate::velero::text::shown;

/// Why a URL that somebody else signed is not used. Nothing of it is told but a host or the name of a parameter: it is
/// as good as a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresignedUrlError {
    /// It is no URL.
    #[error("the signed URL is none")]
    NotUrl,
    /// It is one of another server, or of this one without TLS.
    #[error("the signed URL is of {}, which is not the store of the BSL", shown(.0))]
    Host(String),
    /// It is one of another file.
    #[error("the signed URL is not that of the file")]
    OtherFile,
    /// It asks for more than the file as it is, such as for an older version.
    #[error("the signed URL has the parameter `{}`, which no plugin of Velero sets", shown(.0))]
    Parameter(String),
}

/// Returns `url`, if it is that of `file` of `backup` in the bucket of `settings`, as it is at this moment.
pub(super) fn check(
    settings: &BucketSettings,
    backup: &str,
    file: &str,
    url: &str,
) -> Result<Uri, PresignedUrlError> {
    let uri: Uri = url.parse().map_err(|_| PresignedUrlError::NotUrl)?;
    let place = Place::of(url).ok_or(PresignedUrlError::NotUrl)?;
    let key = settings.key(backup, file);
    let expected = match &settings.provider {
        ProviderSettings::Aws(aws) => of_aws(aws, &settings.bucket, &key, &place.store),
        ProviderSettings::Azure(azure) => of_azure(azure, &settings.bucket, &key),
        ProviderSettings::Gcp(gcp) => of_gcp(gcp, &settings.bucket, &key),
    };
    if !expected.iter().any(|one| one.store == place.store) {
        return Err(PresignedUrlError::Host(place.store.host));
    }
    if !expected.contains(&place) {
        return Err(PresignedUrlError::OtherFile);
    }
    let names = uri.query().unwrap_or_default().split('&');
    let names = names.filter(|pair| !pair.is_empty());
    let mut names = names.filter_map(|pair| pair.split('=').next());
    match names.find(|name| !is_of_signature(&settings.provider, name)) {
        Some(name) => Err(PresignedUrlError::Parameter(name.to_owned())),
        None => Ok(uri),
    }
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    store: StoreUrl,
    /// The path, decoded.
    path: String,
}

impl Place {
    /// Returns where `url` leads; `None` if it is no URL, or has a user.
    fn of(url: &str) -> Option<Self> {
        let store = parse_url(url).ok()?;
        let uri: Uri = url.parse().ok()?;
        let path = percent_decode_str(uri.path()).decode_utf8().ok()?;
        let has_user = uri.authority()?.as_str().contains('@');
        (!has_user).then(|| Self {
            store,
            path: path.into_owned(),
        })
    }

    /// Returns where `key` of `bucket` is at `store`.
    fn at(store: &str, bucket: &str, addressing: Addressing, key: &str) -> Option<Self> {
        let url = BucketUrl::new(store, bucket, addressing).ok()?;
        Self::of(&url.of_key(key))
    }
}

/// Returns where the file may be at the store of an S3 bucket: in both ways to write the bucket. AWS itself has a host
/// for each region, and others; `found` counts if it is one of them.
fn of_aws(aws: &AwsSettings, bucket: &str, key: &str, found: &StoreUrl) -> Vec<Place> {
    let of_found;
    let store = if let Some(store) = aws.presigning_url() {
        store
    } else {
        let below = found.host.strip_prefix(bucket);
        let below = below.and_then(|rest| rest.strip_prefix('.'));
        let host = below.unwrap_or(&found.host);
        if !is_host_of_s3(host) {
            return Vec::new();
        }
        of_found = format!("https://{host}");
        &of_found
    };
    let ways = [false, true].map(Addressing::forcing_path_style);
    let places = ways.map(|way| Place::at(store, bucket, way, key));
    places.into_iter().flatten().collect()
}

/// Returns where the file may be in Azure: the credentials name the cloud.
fn of_azure(azure: &AzureSettings, container: &str, key: &str) -> Vec<Place> {
    let urls = AzureCloud::ALL.map(|cloud| azure.url(container, cloud).ok());
    let urls = urls.into_iter().flatten();
    urls.filter_map(|url| Place::of(&url.of_key(key))).collect()
}

/// Returns where the file may be at Google: the library signs for the usual host unless it knows the endpoint.
fn of_gcp(gcp: &GcpSettings, bucket: &str, key: &str) -> Vec<Place> {
    let named = gcp.url(bucket).ok();
    let named = named.and_then(|url| Place::of(&url.of_key(key)));
    let ways = [false, true].map(Addressing::forcing_path_style);
    let usual = ways.map(|way| Place::at(STORE, bucket, way, key));
    named
        .into_iter()
        .chain(usual.into_iter().flatten())
        .collect()
}

/// The parameters of a shared access signature of Azure. Those that choose a snapshot or a version are none of them.
const SAS: [&str; 19] = [
    "sv", "ss", "srt", "sp", "se", "st", "spr", "sig", "sr", "si", "sip", "ses", "skoid", "sktid",
    "skt", "ske", "sks", "skv", "scid",
];

/// Whether the parameter `name` is part of the signature, and does not change what is read. With another, such as
/// `versionId`, the bytes may be others than Velero restores.
fn is_of_signature(provider: &ProviderSettings, name: &str) -> bool {
    let is_one_of = |names: &[&str]| names.contains(&name);
    let lower = name.to_ascii_lowercase();
    match provider {
        ProviderSettings::Aws(_) => {
            lower.starts_with("x-amz-")
                || is_one_of(&["x-id", "AWSAccessKeyId", "Signature", "Expires"])
        }
        ProviderSettings::Azure(_) => is_one_of(&SAS),
        ProviderSettings::Gcp(_) => {
            lower.starts_with("x-goog-") || is_one_of(&["GoogleAccessId", "Signature", "Expires"])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::velero::bsl::Bsl;

    fn settings(provider: &str, config: &Value) -> BucketSettings {
        let storage = json!({"bucket": "bkt", "prefix": "p"});
        let spec = json!({"provider": provider, "objectStorage": storage, "config": config});
        let text = json!({ "spec": spec }).to_string();
        BucketSettings::read("velero", &Bsl::from_json(&text)).unwrap()
    }

    fn result(settings: &BucketSettings, url: &str) -> Result<(), PresignedUrlError> {
        check(settings, "b", "b.tar.gz", url).map(drop)
    }

    const KEY: &str = "p/backups/b/b.tar.gz";
    const SIGNED: &str =
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Signature=00&x-id=GetObject";

    #[test]
    fn the_url_of_the_file_at_the_store_of_the_bsl_is_taken() {
        let minio = settings("aws", &json!({"s3Url": "https://minio.example:9000"}));
        let plain = settings("aws", &json!({"s3Url": "http://10.0.0.1:9000"}));
        let public = json!({"s3Url": "http://minio:9000", "publicUrl": "https://minio.example"});
        let public = settings("aws", &public);
        let aws = settings("aws", &json!({"region": "eu-west-1"}));
        for (settings, base) in [
            (&minio, "https://minio.example:9000/bkt"),
            (&minio, "https://bkt.minio.example:9000"),
            (&minio, "https://MINIO.example:9000/bkt"),
            (&plain, "http://10.0.0.1:9000/bkt"),
            (&public, "https://minio.example/bkt"),
            (&aws, "https://bkt.s3.eu-west-1.amazonaws.com"),
            (&aws, "https://s3.dualstack.eu-west-1.amazonaws.com/bkt"),
            (&aws, "https://bkt.s3.amazonaws.com:443"),
        ] {
            let url = format!("{base}/{KEY}?{SIGNED}");
            assert_eq!(result(settings, &url), Ok(()), "{base}");
        }
        let encoded = format!("https://minio.example:9000/bkt/p%2Fbackups/b/b%2Etar.gz?{SIGNED}");
        assert_eq!(result(&minio, &encoded), Ok(()));
        let azure = settings("azure", &json!({"storageAccount": "acc", "useAAD": "true"}));
        let sas = "sv=2022-11-02&sr=b&sp=r&se=2026-11-29T12%3A00%3A00Z&sig=x%3D";
        for host in [
            "acc.blob.core.windows.net",
            "acc.blob.core.chinacloudapi.cn",
        ] {
            let url = format!("https://{host}/bkt/{KEY}?{sas}");
            assert_eq!(result(&azure, &url), Ok(()), "{host}");
        }
        let gcp = settings("gcp", &json!({}));
        let signed = "X-Goog-Algorithm=a&X-Goog-Signature=0";
        for base in [
            "https://storage.googleapis.com/bkt",
            "https://bkt.storage.googleapis.com",
        ] {
            let url = format!("{base}/{KEY}?{signed}");
            assert_eq!(result(&gcp, &url), Ok(()), "{base}");
        }
    }

    #[test]
    fn a_url_that_leads_elsewhere_is_refused() {
        use PresignedUrlError::{Host, NotUrl, OtherFile, Parameter};
        let minio = settings("aws", &json!({"s3Url": "https://minio.example:9000"}));
        let aws = settings("aws", &json!({"region": "eu-west-1"}));
        let host = |host: &str| Err(Host(host.to_owned()));
        for (settings, url, expected) in [
            (
                &minio,
                format!("https://evil.example:9000/bkt/{KEY}"),
                host("evil.example"),
            ),
            (
                &minio,
                format!("https://minio.example/bkt/{KEY}"),
                host("minio.example"),
            ),
            (
                &minio,
                format!("http://minio.example:9000/bkt/{KEY}"),
                host("minio.example"),
            ),
            (
                &minio,
                format!("https://minio.example:9000.evil/bkt/{KEY}"),
                Err(NotUrl),
            ),
            (
                &minio,
                format!("https://minio.example@evil:9000/bkt/{KEY}"),
                Err(NotUrl),
            ),
            (
                &minio,
                format!("https://a:b@minio.example:9000/bkt/{KEY}"),
                Err(NotUrl),
            ),
            (&minio, "file:///etc/passwd".to_owned(), Err(NotUrl)),
            (&minio, String::new(), Err(NotUrl)),
            (
                &minio,
                format!("https://minio.example:9000/other/{KEY}"),
                Err(OtherFile),
            ),
            (
                &minio,
                "https://minio.example:9000/bkt/p/backups/a/a.tar.gz".to_owned(),
                Err(OtherFile),
            ),
            (
                &minio,
                format!("https://minio.example:9000/bkt/x/../{KEY}"),
                Err(OtherFile),
            ),
            (
                &aws,
                format!("https://s3.eu-west-1.amazonaws.com.evil/bkt/{KEY}"),
                host("s3.eu-west-1.amazonaws.com.evil"),
            ),
            (
                &aws,
                format!("https://other.s3.amazonaws.com/{KEY}"),
                host("other.s3.amazonaws.com"),
            ),
            (
                &aws,
                format!("http://bkt.s3.amazonaws.com/{KEY}"),
                host("bkt.s3.amazonaws.com"),
            ),
            (
                &aws,
                format!("https://bkt.compute.amazonaws.com/{KEY}"),
                host("bkt.compute.amazonaws.com"),
            ),
        ] {
            let url = format!("{url}?{SIGNED}");
            assert_eq!(result(settings, &url), expected, "{url}");
        }
        for name in [
            "versionId",
            "partNumber",
            "response-content-type",
            "VersionID",
        ] {
            let url = format!("https://minio.example:9000/bkt/{KEY}?{SIGNED}&{name}=1");
            assert_eq!(result(&minio, &url), Err(Parameter(name.to_owned())));
        }
        let azure = settings("azure", &json!({"storageAccount": "acc", "useAAD": "true"}));
        for name in ["versionid", "snapshot"] {
            let url = format!("https://acc.blob.core.windows.net/bkt/{KEY}?sv=1&{name}=1&sig=0");
            assert_eq!(result(&azure, &url), Err(Parameter(name.to_owned())));
        }
        let other = format!("https://acc2.blob.core.windows.net/bkt/{KEY}?sv=1");
        assert!(matches!(result(&azure, &other), Err(Host(_))));
        let gcp = settings("gcp", &json!({}));
        let url =
            format!("https://storage.googleapis.com/bkt/{KEY}?generation=1&X-Goog-Signature=0");
        assert_eq!(result(&gcp, &url), Err(Parameter("generation".into())));
    }

    #[test]
    fn an_error_tells_nothing_of_the_signature() {
        let minio = settings("aws", &json!({"s3Url": "https://minio.example:9000"}));
        let url = format!("https://evil.example/bkt/{KEY}?X-Amz-Signature=secret");
        let error = result(&minio, &url).unwrap_err().to_string();
        assert!(
            !error.contains("secret") && error.contains("evil.example"),
            "{error}"
        );
    }
}
