//! What a BSL says about its bucket, as the aws plugin and Velero read it
//! (`velero-plugin-for-aws/object_store.go`, `pkg/persistence/object_store.go`).

use serde_json::json;

use super::url::{Addressing, BucketUrl};
use crate::ca::endpoint::{build_s3_url, parse_bool, parse_url, skips_verification};
use crate::digest::Sha256;
use crate::velero::bsl::{Bsl, SecretKeySelector};
use crate::velero::text::{or_empty, shown};

/// A key of a Secret in Velero's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// How a store encrypts what is put into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket's own settings say.
    #[default]
    Bucket,
    /// With keys of the store, by one of its algorithms (SSE-S3).
    Algorithm(&'static str),
    /// With a key of its key management service (SSE-KMS).
    Kms {
        /// The id of the key.
        key_id: String,
    },
    /// With a key that every request has to carry (SSE-C).
    CustomerKey(SecretKey),
}

/// The checksum that an upload carries, so that the store can verify it. A bucket with Object Lock
/// refuses an upload without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
}

/// What a BSL says about its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// The namespace of the BSL: its Secrets are there, and a host of one label is a Service there.
    pub namespace: String,
    /// The bucket.
    pub bucket: String,
    /// The folder in the bucket, without a slash at its ends; empty for the whole bucket.
    pub prefix: String,
    /// The region, if it is set.
    pub region: Option<String>,
    /// Whether no certificate of the store is verified.
    pub skips_verification: bool,
    /// The Secret of `spec.credential`. Without it, the credentials are those of Velero's
    /// installation.
    pub credential: Option<SecretKey>,
    /// The profile in the file of credentials.
    pub profile: String,
    /// How uploads are encrypted, and what reading them needs.
    pub encryption: Encryption,
    /// The tags of what is uploaded: names and values.
    pub tags: Vec<(String, String)>,
    /// The checksum of an upload.
    pub checksum: Option<Checksum>,
    s3_url: Option<String>,
    addressing: Addressing,
}

/// Why a bucket cannot be read as its BSL stands. A person has to change the BSL, or velero-trust
/// does not support it yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No bucket is named.
    #[error("spec.objectStorage.bucket is empty; name the bucket")]
    NoBucket,
    /// The bucket's name is none.
    #[error(
        "spec.objectStorage.bucket `{}` is no name of a bucket; a folder in it belongs into \
         spec.objectStorage.prefix, and access points are not supported", shown(.0)
    )]
    Bucket(String),
    /// The prefix has a form that names no file.
    #[error(
        "spec.objectStorage.prefix `{}` has an empty part, a part `.` or `..`, or a control character, \
         and is not supported; use another prefix", shown(.0)
    )]
    Prefix(String),
    /// The provider is not supported.
    #[error(
        "provider `{}` is not supported: velero-trust reads stores that speak S3 (provider aws)", shown(.0)
    )]
    Provider(String),
    /// `s3Url` is no URL.
    #[error("spec.config.s3Url is no http:// or https:// URL of a host: {0}")]
    Url(crate::ca::endpoint::EndpointSettingError),
    /// The region has a form that no region has.
    #[error("spec.config.region `{}` is no name of a region; correct it", shown(.0))]
    Region(String),
    /// A setting is neither true nor false.
    #[error("spec.config.{0} is neither true nor false; correct it, the aws plugin refuses it too")]
    Bool(&'static str),
    /// A setting has a value that no plugin has.
    #[error("spec.config.{0} has a value that is not supported; correct or remove it")]
    Value(&'static str),
    /// Two settings exclude each other.
    #[error(
        "of spec.config.kmsKeyId, customerKeyEncryptionFile and customerKeyEncryptionSecret only one may \
         be set; remove the others"
    )]
    TwoEncryptions,
    /// The key of the encryption is a file in Velero's Pod.
    #[error(
        "spec.config.customerKeyEncryptionFile is a file in Velero's Pod, which velero-trust cannot \
         read; put the key into a Secret and name it in customerKeyEncryptionSecret"
    )]
    CustomerKeyFile,
    /// The credentials are a file in Velero's Pod.
    #[error(
        "spec.config.credentialsFile is a file in Velero's Pod, which velero-trust cannot read; put it \
         into a Secret and name it in spec.credential"
    )]
    CredentialsFile,
}

impl BucketSettings {
    /// Reads the settings of `bsl`, which is in `namespace`.
    pub fn read(namespace: &str, bsl: &Bsl<'_>) -> Result<Self, SettingsError> {
        if bsl.provider() != "aws" {
            return Err(SettingsError::Provider(bsl.provider().to_owned()));
        }
        let storage = bsl.spec.object_storage.as_ref();
        let text = |key| bsl.config(key).filter(|value| !value.is_empty());
        if text("credentialsFile").is_some() {
            return Err(SettingsError::CredentialsFile);
        }
        let path_style = text("s3ForcePathStyle")
            .map(|value| parse_bool(value).ok_or(SettingsError::Bool("s3ForcePathStyle")))
            .transpose()?;
        let skip = "insecureSkipTLSVerify";
        if text(skip).is_some_and(|value| parse_bool(value).is_none()) {
            return Err(SettingsError::Bool(skip));
        }
        let bucket = or_empty(storage.and_then(|storage| storage.bucket.as_ref()));
        let prefix = or_empty(storage.and_then(|storage| storage.prefix.as_ref()));
        let mut settings = Self::of_bucket(namespace, bucket, prefix)?;
        settings.s3_url = text("s3Url").map(str::to_owned);
        settings.region = text("region").map(str::to_owned);
        settings.addressing = Addressing::forcing_path_style(path_style == Some(true));
        settings.skips_verification = skips_verification(bsl);
        settings.credential = bsl.spec.credential.as_ref().map(secret_key);
        text("profile")
            .unwrap_or("default")
            .clone_into(&mut settings.profile);
        settings.encryption = encryption(&text)?;
        settings.tags = text("tagging").map_or(Ok(Vec::new()), tags)?;
        settings.checksum = checksum(bsl.config("checksumAlgorithm"))?;
        settings.check()?;
        Ok(settings)
    }

    /// Returns the settings for a bucket of AWS that no BSL names, for the command line.
    pub fn of_bucket(namespace: &str, bucket: &str, prefix: &str) -> Result<Self, SettingsError> {
        // Velero trims both (`objectBackupStoreGetter.Get`).
        let bucket = bucket.trim_matches('/');
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(SettingsError::NoBucket);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.len() > 255 || !bucket.bytes().all(is_name) || bucket.starts_with('.') {
            return Err(SettingsError::Bucket(bucket.to_owned()));
        }
        let is_odd = |part: &str| {
            ["", ".", ".."].contains(&part) || part.chars().any(|c| c.is_ascii_control())
        };
        if !prefix.is_empty() && prefix.split('/').any(is_odd) {
            return Err(SettingsError::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: None,
            skips_verification: false,
            credential: None,
            profile: "default".to_owned(),
            encryption: Encryption::Bucket,
            tags: Vec::new(),
            checksum: Some(Checksum::Sha256),
            s3_url: None,
            addressing: Addressing::forcing_path_style(false),
        })
    }

    /// Sets the URL of a store that is not AWS, for the command line.
    pub fn at(
        mut self,
        s3_url: Option<&str>,
        region: Option<&str>,
        path_style: bool,
    ) -> Result<Self, SettingsError> {
        self.s3_url = s3_url.map(str::to_owned);
        self.region = region.map(str::to_owned);
        self.addressing = Addressing::forcing_path_style(path_style);
        self.check()?;
        Ok(self)
    }

    /// Returns where the bucket is, in `region`.
    pub fn url(&self, region: &str) -> Result<BucketUrl, SettingsError> {
        let of_region;
        let store = if let Some(url) = &self.s3_url {
            url
        } else {
            let invalid = || SettingsError::Region(region.to_owned());
            of_region = build_s3_url(region).ok_or_else(invalid)?;
            &of_region
        };
        BucketUrl::new(store, &self.bucket, self.addressing).map_err(SettingsError::Url)
    }

    /// Whether the store is AWS itself.
    pub(super) const fn is_at_aws(&self) -> bool {
        self.s3_url.is_none()
    }

    /// Whether the store is AWS itself, and nobody on the way can answer in its place. There nobody chooses
    /// the ETag and the time with which a file is listed.
    pub fn is_verified_aws(&self) -> bool {
        let is_aws = self.s3_url.as_deref().is_none_or(|url| {
            parse_url(url).is_ok_and(|url| url.is_https && is_host_of_s3(&url.host))
        });
        is_aws && !self.skips_verification
    }

    /// Returns a digest of the store and of the folder in it. Another server can list whatever it likes.
    pub fn place(&self) -> Sha256 {
        let Self {
            bucket,
            prefix,
            region,
            skips_verification,
            s3_url,
            ..
        } = self;
        let place = json!([s3_url, region, skips_verification, bucket, prefix]);
        Sha256::of(place.to_string().as_bytes())
    }

    /// Whether the BSL names the URL of the store.
    pub(super) fn has_url(&self) -> bool {
        self.s3_url.is_some()
    }

    /// Returns what the keys of all backups begin with: `<prefix>/backups/`.
    pub(super) fn folder(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}backups/", self.prefix)
    }

    /// Returns the key of `file` in the folder of `backup`: `<prefix>/backups/<backup>/<file>`.
    pub(super) fn key(&self, backup: &str, file: &str) -> String {
        format!("{}{backup}/{file}", self.folder())
    }

    fn check(&self) -> Result<(), SettingsError> {
        let region = self.region.as_deref().unwrap_or("us-east-1");
        if !is_region(region) {
            return Err(SettingsError::Region(region.to_owned()));
        }
        self.url(region).map(drop)
    }
}

/// Whether `region` can be the name of a region. It becomes part of host names and of signatures.
/// Stores other than AWS choose their own.
pub(super) fn is_region(region: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&region.len()) && region.bytes().all(is_part)
}

/// Whether AWS serves S3 at `host`: `s3[-fips][.dualstack][.REGION].amazonaws.com`. Below that domain
/// there are also hosts of customers.
fn is_host_of_s3(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let service = host.strip_suffix(".amazonaws.com");
    let service = service.or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    let mut labels = service.unwrap_or_default().split('.').peekable();
    let is_s3 = labels
        .next()
        .is_some_and(|label| ["s3", "s3-fips"].contains(&label));
    labels.next_if_eq(&"dualstack");
    let is_region = |label: &str| label.contains('-');
    is_s3 && labels.next().is_none_or(is_region) && labels.next().is_none()
}

fn secret_key(selector: &SecretKeySelector<'_>) -> SecretKey {
    SecretKey {
        name: or_empty(selector.name.as_ref()).to_owned(),
        key: or_empty(selector.key.as_ref()).to_owned(),
    }
}

/// Reads the settings in the order of `buildPutObjectInput`.
fn encryption<'a>(
    text: &impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Encryption, SettingsError> {
    let kms = text("kmsKeyId");
    let file = text("customerKeyEncryptionFile");
    let secret = text("customerKeyEncryptionSecret");
    let count = [kms, file, secret].into_iter().flatten().count();
    if count > 1 {
        return Err(SettingsError::TwoEncryptions);
    }
    if file.is_some() {
        return Err(SettingsError::CustomerKeyFile);
    }
    if let Some(key_id) = kms {
        // It is a header.
        if !is_visible(key_id) {
            return Err(SettingsError::Value("kmsKeyId"));
        }
        let key_id = key_id.to_owned();
        return Ok(Encryption::Kms { key_id });
    }
    if let Some(reference) = secret {
        let pair = reference.split_once('/');
        let pair =
            pair.filter(|(name, key)| !name.is_empty() && !key.is_empty() && !key.contains('/'));
        let (name, key) = pair.ok_or(SettingsError::Value("customerKeyEncryptionSecret"))?;
        let (name, key) = (name.to_owned(), key.to_owned());
        return Ok(Encryption::CustomerKey(SecretKey { name, key }));
    }
    match text("serverSideEncryption") {
        None => Ok(Encryption::Bucket),
        Some("AES256") => Ok(Encryption::Algorithm("AES256")),
        Some("aws:kms") => Ok(Encryption::Algorithm("aws:kms")),
        Some("aws:kms:dsse") => Ok(Encryption::Algorithm("aws:kms:dsse")),
        Some(_) => Err(SettingsError::Value("serverSideEncryption")),
    }
}

/// Reads `tagging`, which the plugin sends as it is: `name=value&name=value`, URL-encoded.
fn tags(text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let decode = |part: &str| super::url::decode(part).ok_or(SettingsError::Value("tagging"));
    let tags = text.split('&').map(|tag| {
        let (name, value) = tag.split_once('=').ok_or(SettingsError::Value("tagging"))?;
        Ok((decode(name)?, decode(value)?))
    });
    tags.collect()
}

/// Reads `checksumAlgorithm`. Any checksum satisfies a bucket with Object Lock, so one that velero-trust
/// does not compute is replaced by SHA-256.
fn checksum(setting: Option<&str>) -> Result<Option<Checksum>, SettingsError> {
    match setting {
        Some("") => Ok(None),
        Some("CRC64NVME") => Ok(Some(Checksum::Crc64Nvme)),
        None | Some("CRC32" | "CRC32C" | "SHA1" | "SHA256") => Ok(Some(Checksum::Sha256)),
        Some(_) => Err(SettingsError::Value("checksumAlgorithm")),
    }
}

/// Whether `text` can be the value of a header.
pub(super) fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: &Value) -> Result<BucketSettings, SettingsError> {
        let text = json!({"spec": spec}).to_string();
        BucketSettings::read("velero", &Bsl::from_json(&text))
    }

    fn with(config: &Value) -> Result<BucketSettings, SettingsError> {
        read(&json!({"provider": "aws", "objectStorage": {"bucket": "b"}, "config": config}))
    }

    #[test]
    fn bucket_and_prefix_are_trimmed_as_velero_does() {
        for (prefix, key) in [
            (Value::Null, "backups/n/f"),
            ("".into(), "backups/n/f"),
            ("/".into(), "backups/n/f"),
            ("p".into(), "p/backups/n/f"),
            ("//p/q//".into(), "p/q/backups/n/f"),
        ] {
            let storage = json!({"bucket": "/b//", "prefix": prefix});
            let settings = read(&json!({"provider": "velero.io/aws", "objectStorage": storage}));
            let settings = settings.unwrap();
            assert_eq!(settings.bucket, "b");
            assert_eq!(settings.key("n", "f"), key, "{prefix}");
        }
    }

    #[test]
    fn what_is_not_supported_is_told_by_its_name() {
        let storage = |bucket: &str, prefix: &str| {
            let storage = json!({"bucket": bucket, "prefix": prefix});
            read(&json!({"provider": "aws", "objectStorage": storage})).unwrap_err()
        };
        assert_eq!(storage("", ""), SettingsError::NoBucket);
        assert_eq!(storage("a/b", ""), SettingsError::Bucket("a/b".into()));
        assert_eq!(storage("a#b", ""), SettingsError::Bucket("a#b".into()));
        for prefix in ["a//b", "a/../b", "./a", "a\nb"] {
            assert_eq!(storage("b", prefix), SettingsError::Prefix(prefix.into()));
        }
        let azure = read(&json!({"provider": "azure"})).unwrap_err().to_string();
        assert!(azure.contains("`azure` is not supported"), "{azure}");
        for (config, error) in [
            (
                json!({"customerKeyEncryptionFile": "/k"}),
                SettingsError::CustomerKeyFile,
            ),
            (
                json!({"credentialsFile": "/c"}),
                SettingsError::CredentialsFile,
            ),
            (
                json!({"kmsKeyId": "k", "customerKeyEncryptionSecret": "s/k"}),
                SettingsError::TwoEncryptions,
            ),
            (
                json!({"customerKeyEncryptionSecret": "s"}),
                SettingsError::Value("customerKeyEncryptionSecret"),
            ),
            (
                json!({"kmsKeyId": "a\nb"}),
                SettingsError::Value("kmsKeyId"),
            ),
            (
                json!({"serverSideEncryption": "rot13"}),
                SettingsError::Value("serverSideEncryption"),
            ),
            (json!({"tagging": "a=%ff"}), SettingsError::Value("tagging")),
            (
                json!({"checksumAlgorithm": "MD5"}),
                SettingsError::Value("checksumAlgorithm"),
            ),
            (
                json!({"s3ForcePathStyle": "yes"}),
                SettingsError::Bool("s3ForcePathStyle"),
            ),
            (
                json!({"insecureSkipTLSVerify": "yes"}),
                SettingsError::Bool("insecureSkipTLSVerify"),
            ),
            (
                json!({"region": "eu/../x"}),
                SettingsError::Region("eu/../x".into()),
            ),
            // Without s3Url the region is part of the host.
            (
                json!({"region": "evil.example"}),
                SettingsError::Region("evil.example".into()),
            ),
        ] {
            assert_eq!(with(&config), Err(error), "{config}");
        }
        let error = with(&json!({"s3Url": "ftp://a"})).unwrap_err();
        assert!(matches!(error, SettingsError::Url(_)), "{error}");
    }

    #[test]
    fn only_aws_itself_is_taken_for_aws() {
        let is_aws = |config: Value| with(&config).unwrap().is_verified_aws();
        assert!(is_aws(json!({})));
        assert!(is_aws(json!({"region": "eu-central-1"})));
        assert!(!is_aws(json!({"insecureSkipTLSVerify": "true"})));
        for (url, expected) in [
            ("https://s3.amazonaws.com", true),
            ("https://S3.eu-west-1.amazonaws.com./", true),
            (
                "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com:443",
                true,
            ),
            ("https://s3.cn-north-1.amazonaws.com.cn", true),
            ("http://s3.amazonaws.com", false),
            ("https://s3.amazonaws.com.example.com", false),
            ("https://amazonaws.com", false),
            ("https://xs3.amazonaws.com", false),
            ("https://s3.evil.amazonaws.com", false),
            ("https://s3-1.eu-west-1.elb.amazonaws.com", false),
            ("https://a1b2c3.execute-api.eu-west-1.amazonaws.com", false),
            ("https://x.s3-object-lambda.eu-west-1.amazonaws.com", false),
            ("https://s3.eu-west-1.x.amazonaws.com", false),
            ("https://minio:9000", false),
        ] {
            let config = json!({"s3Url": url, "region": "eu-west-1"});
            assert_eq!(is_aws(config), expected, "{url}");
        }
    }

    #[test]
    fn the_settings_of_the_plugin_are_read() {
        let settings = with(&json!({
            "region": "minio", "s3Url": "https://minio:9000/", "s3ForcePathStyle": "true",
            "insecureSkipTLSVerify": "1", "profile": "backup", "kmsKeyId": "alias/k",
            "tagging": "a=1&b=x%20y+z", "checksumAlgorithm": "CRC64NVME",
        }));
        let settings = settings.unwrap();
        assert_eq!(settings.region.as_deref(), Some("minio"));
        assert!(settings.skips_verification);
        assert_eq!(settings.profile, "backup");
        let key_id = "alias/k".to_owned();
        assert_eq!(settings.encryption, Encryption::Kms { key_id });
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.tags, [tag("a", "1"), tag("b", "x y z")]);
        assert_eq!(settings.checksum, Some(Checksum::Crc64Nvme));
        let url = settings.url("minio").unwrap();
        assert_eq!(url.as_str(), "https://minio:9000/b");

        let plain = with(&json!({})).unwrap();
        assert_eq!(plain.profile, "default");
        assert_eq!(plain.checksum, Some(Checksum::Sha256));
        assert_eq!(plain.region, None);
        let without = with(&json!({"checksumAlgorithm": ""})).unwrap();
        assert_eq!(without.checksum, None);
        let secret = with(&json!({"customerKeyEncryptionSecret": "s/k"})).unwrap();
        let key = SecretKey {
            name: "s".into(),
            key: "k".into(),
        };
        assert_eq!(secret.encryption, Encryption::CustomerKey(key));
    }
}
