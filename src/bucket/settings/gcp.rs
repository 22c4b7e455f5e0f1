//! What the BSL of a bucket of Google Cloud Storage says, as the gcp plugin and Google's library read it
//! (`velero-plugin-for-gcp/object_store.go`, `cloud.google.com/go/storage/storage.go`).

use super::{SettingsError, is_visible};
use crate::bucket::url::{Addressing, BucketUrl};
use crate::ca::endpoint::{StoreUrl, parse_url};
use crate::velero::bsl::Bsl;

/// The only universe that velero-trust knows the services of.
pub(in crate::bucket) const UNIVERSE: &str = "googleapis.com";

/// The URL of Google Cloud Storage.
pub(in crate::bucket) const STORE: &str = "https://storage.googleapis.com";

/// The path of its JSON API.
const API_PATH: &str = "/storage/v1";

/// What the BSL of a bucket of Google Cloud Storage says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcpSettings {
    /// The key of Google's key management service that uploads are encrypted with.
    pub kms_key: Option<String>,
    /// The URL of the API, if it is not Google's usual one.
    pub(super) endpoint: Option<String>,
}

impl GcpSettings {
    /// Reads the settings of `bsl`, which names `bucket`.
    pub(super) fn read(bsl: &Bsl<'_>, bucket: &str) -> Result<Self, SettingsError> {
        let text = |key| bsl.config(key).filter(|value| !value.is_empty());
        if text("universeDomain").is_some_and(|domain| domain != UNIVERSE) {
            return Err(SettingsError::Universe);
        }
        let kms_key = text("kmsKeyName");
        // It is a header.
        if kms_key.is_some_and(|key| !is_visible(key)) {
            return Err(SettingsError::Value("kmsKeyName"));
        }
        let settings = Self {
            kms_key: kms_key.map(str::to_owned),
            endpoint: text("storeEndpoint").map(str::to_owned),
        };
        settings.url(bucket)?;
        settings.list_url(bucket)?;
        Ok(settings)
    }

    /// Returns where the bucket's files are, by the XML API. That is at the host of the endpoint, whatever
    /// its path says.
    pub(in crate::bucket) fn url(&self, bucket: &str) -> Result<BucketUrl, SettingsError> {
        let (scheme, host, _) = self.endpoint_parts();
        let store = format!("{scheme}://{host}");
        BucketUrl::new(&store, bucket, Addressing::Path).map_err(invalid)
    }

    /// Returns where the bucket's list is, by the JSON API.
    pub(in crate::bucket) fn list_url(&self, bucket: &str) -> Result<BucketUrl, SettingsError> {
        let (scheme, host, path) = self.endpoint_parts();
        let bucket = BucketUrl::new(
            &format!("{scheme}://{host}{path}/b"),
            bucket,
            Addressing::Path,
        );
        bucket.map(|url| url.joined("o")).map_err(invalid)
    }

    /// Returns where files are uploaded to, by the JSON API.
    pub(in crate::bucket) fn upload_url(&self, bucket: &str) -> Result<BucketUrl, SettingsError> {
        let (scheme, host, _) = self.endpoint_parts();
        let api = format!("{scheme}://{host}/upload{API_PATH}/b");
        let bucket = BucketUrl::new(&api, bucket, Addressing::Path);
        bucket.map(|url| url.joined("o")).map_err(invalid)
    }

    /// Whether only Google gets what is sent there.
    pub(in crate::bucket) fn is_at_google(&self) -> bool {
        let (scheme, host, _) = self.endpoint_parts();
        let url = parse_url(&format!("{scheme}://{host}"));
        url.is_ok_and(|StoreUrl { is_https, host, .. }| {
            let host = host.trim_end_matches('.');
            is_https
                && host
                    .strip_suffix(UNIVERSE)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    }

    /// Returns scheme, host with port, and path of the JSON API. An endpoint without a scheme is a host
    /// (`mergeEndpoints`); one with a scheme is the whole URL of the API.
    fn endpoint_parts(&self) -> (&str, &str, &str) {
        let endpoint = self.endpoint.as_deref().unwrap_or(STORE);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_whole = self.endpoint.is_some() && endpoint.contains("://");
        let path = if is_whole {
            path.trim_end_matches('/')
        } else {
            API_PATH
        };
        (scheme, host, path)
    }
}

fn invalid(error: crate::ca::endpoint::EndpointSettingError) -> SettingsError {
    let setting = "storeEndpoint";
    SettingsError::Url { setting, error }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::ProviderSettings;
    use super::super::tests::read;
    use super::*;

    fn with(config: &Value) -> Result<GcpSettings, SettingsError> {
        let spec = json!({"provider": "gcp", "objectStorage": {"bucket": "b"}, "config": config});
        match read(&spec)?.provider {
            ProviderSettings::Gcp(settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_endpoint_is_read_as_googles_library_reads_it() {
        for (endpoint, files, list, is_at_google) in [
            (
                "",
                "https://storage.googleapis.com/b",
                "https://storage.googleapis.com/storage/v1/b/b/o",
                true,
            ),
            (
                "https://storage-a.p.googleapis.com/storage/v1/",
                "https://storage-a.p.googleapis.com/b",
                "https://storage-a.p.googleapis.com/storage/v1/b/b/o",
                true,
            ),
            (
                "restricted.googleapis.com",
                "https://restricted.googleapis.com/b",
                "https://restricted.googleapis.com/storage/v1/b/b/o",
                true,
            ),
            (
                "http://fake:4443/storage/v1/",
                "http://fake:4443/b",
                "http://fake:4443/storage/v1/b/b/o",
                false,
            ),
            // Google's library does not add the path either.
            (
                "https://fake",
                "https://fake/b",
                "https://fake/b/b/o",
                false,
            ),
            (
                "https://storage.googleapis.com@evil.example",
                "https://evil.example/b",
                "https://evil.example/b/b/o",
                false,
            ),
            (
                "https://evilgoogleapis.com/",
                "https://evilgoogleapis.com/b",
                "https://evilgoogleapis.com/b/b/o",
                false,
            ),
        ] {
            let settings = with(&json!({"storeEndpoint": endpoint})).unwrap();
            assert_eq!(settings.url("b").unwrap().as_str(), files);
            assert_eq!(settings.list_url("b").unwrap().as_str(), list);
            assert_eq!(settings.is_at_google(), is_at_google, "{endpoint}");
        }
    }

    #[test]
    fn what_is_not_supported_is_told_by_its_name() {
        let key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        let config =
            json!({"kmsKeyName": key, "serviceAccount": "a@p", "universeDomain": UNIVERSE});
        assert_eq!(with(&config).unwrap().kms_key.as_deref(), Some(key));
        for (config, error) in [
            (
                json!({"universeDomain": "example.com"}),
                SettingsError::Universe,
            ),
            (
                json!({"kmsKeyName": "a\nb"}),
                SettingsError::Value("kmsKeyName"),
            ),
            (
                json!({"credentialsFile": "/c"}),
                SettingsError::CredentialsFile,
            ),
        ] {
            assert_eq!(with(&config), Err(error), "{config}");
        }
        let error = with(&json!({"storeEndpoint": "ftp://a"})).unwrap_err();
        assert!(matches!(error, SettingsError::Url { .. }), "{error}");
    }
}
