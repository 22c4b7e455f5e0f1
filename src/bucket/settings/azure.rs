//! What the BSL of an Azure container says, as the azure plugin reads it
//! (`velero/pkg/util/azure/{storage,util}.go`).

use super::SettingsError;
use crate::bucket::url::{Addressing, BucketUrl};
use crate::ca::endpoint::{parse_bool, parse_url};
use crate::velero::bsl::Bsl;

/// A cloud of Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AzureCloud {
    /// The public one.
    #[default]
    Public,
    /// Azure operated by 21Vianet.
    China,
    /// Azure Government.
    UsGovernment,
}

impl AzureCloud {
    /// All clouds.
    pub const ALL: [Self; 3] = [Self::Public, Self::China, Self::UsGovernment];

    /// Returns the cloud of `AZURE_CLOUD_NAME`; `None` if there is none of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "" | "AZURECLOUD" | "AZUREPUBLICCLOUD" => Self::Public,
            "AZURECHINACLOUD" => Self::China,
            "AZUREUSGOVERNMENT" | "AZUREUSGOVERNMENTCLOUD" => Self::UsGovernment,
            _ => return None,
        })
    }

    /// Returns the domain of its blob storage.
    pub const fn blob_domain(self) -> &'static str {
        match self {
            Self::Public => "blob.core.windows.net",
            Self::China => "blob.core.chinacloudapi.cn",
            Self::UsGovernment => "blob.core.usgovcloudapi.net",
        }
    }

    /// Returns the URL of its login service.
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
        }
    }
}

/// How requests are authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureAuthorization {
    /// With the key of the account, which the file of credentials has under this name.
    AccountKey(String),
    /// With a token of Microsoft Entra ID (`useAAD`).
    EntraId,
}

/// What the BSL of an Azure container says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureSettings {
    /// The storage account.
    pub account: String,
    /// How requests are authorised.
    pub authorization: AzureAuthorization,
    /// The URL of the login service, if it is not the cloud's.
    pub authority: Option<String>,
    /// The URL of the account's blobs, if it is not the cloud's.
    pub(super) uri: Option<String>,
}

/// The domains below which only Azure's blob storage answers: those of the clouds, with the names of
/// private endpoints, and that of accounts in DNS zones.
const DOMAINS: [&str; 4] = [
    AzureCloud::Public.blob_domain(),
    AzureCloud::China.blob_domain(),
    AzureCloud::UsGovernment.blob_domain(),
    "blob.storage.azure.net",
];

/// The hosts of login services of Azure that Microsoft's own library knows (`aadTrustedHostList` of
/// `microsoft-authentication-library-for-go`). It asks Azure about others before it sends them a secret.
const LOGIN_HOSTS: [&str; 9] = [
    "login.chinacloudapi.cn",
    "login.microsoft.com",
    "login.microsoftonline.com",
    "login.microsoftonline.de",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.usgovcloudapi.net",
    "login.windows.net",
    "login-us.microsoftonline.com",
];

impl AzureSettings {
    /// Reads the settings of `bsl`, which names `container`.
    pub(super) fn read(bsl: &Bsl<'_>, container: &str) -> Result<Self, SettingsError> {
        let text = |key| bsl.config(key).filter(|value| !value.is_empty());
        let account = text("storageAccount").ok_or(SettingsError::Missing("storageAccount"))?;
        if !is_account(account) {
            return Err(SettingsError::Value("storageAccount"));
        }
        let uri = text("storageAccountURI");
        // A query may be a token (SAS), which the plugin sends and velero-trust does not.
        if uri.is_some_and(|uri| uri.contains(['?', '#'])) {
            return Err(SettingsError::Value("storageAccountURI"));
        }
        let authority = text("activeDirectoryAuthorityURI");
        let settings = Self {
            account: account.to_owned(),
            authorization: authorization(&text)?,
            authority: authority.map(authority_url).transpose()?,
            uri: uri.map(str::to_owned),
        };
        settings.url(container, AzureCloud::default())?;
        Ok(settings)
    }

    /// Returns the settings of an account of which nothing else is said.
    #[cfg(test)]
    pub(in crate::bucket) fn of_account(account: &str, authorization: AzureAuthorization) -> Self {
        Self {
            account: account.to_owned(),
            authorization,
            authority: None,
            uri: None,
        }
    }

    /// Returns the URL of the account's blobs, in `cloud`.
    fn account_url(&self, cloud: AzureCloud) -> String {
        let of_cloud = || format!("https://{}.{}", self.account, cloud.blob_domain());
        self.uri.clone().unwrap_or_else(of_cloud)
    }

    /// Returns where the container is, in `cloud`.
    pub(in crate::bucket) fn url(
        &self,
        container: &str,
        cloud: AzureCloud,
    ) -> Result<BucketUrl, SettingsError> {
        let setting = "storageAccountURI";
        BucketUrl::new(&self.account_url(cloud), container, Addressing::Path)
            .map_err(|error| SettingsError::Url { setting, error })
    }

    /// Whether only Azure's blob storage gets what is sent there.
    pub(in crate::bucket) fn is_at_azure(&self) -> bool {
        self.uri.as_deref().is_none_or(|uri| {
            parse_url(uri).is_ok_and(|url| url.is_https && is_host_of_azure(&url.host))
        })
    }
}

/// Reads how requests are authorised, in the order of `GetStorageAccountCredentials`.
fn authorization<'a>(
    text: &impl Fn(&'static str) -> Option<&'a str>,
) -> Result<AzureAuthorization, SettingsError> {
    if let Some(name) = text("storageAccountKeyEnvVar") {
        return Ok(AzureAuthorization::AccountKey(name.to_owned()));
    }
    let uses_entra_id = text("useAAD")
        .map(|value| parse_bool(value).ok_or(SettingsError::Bool("useAAD")))
        .transpose()?;
    if uses_entra_id == Some(true) {
        Ok(AzureAuthorization::EntraId)
    } else {
        Err(SettingsError::AccountKeyListing)
    }
}

/// Reads the URL of a login service, without what follows the host.
fn authority_url(text: &str) -> Result<String, SettingsError> {
    let setting = "activeDirectoryAuthorityURI";
    let url = parse_url(text).map_err(|error| SettingsError::Url { setting, error })?;
    if url.is_https && url.port == 443 && LOGIN_HOSTS.contains(&url.host.as_str()) {
        Ok(format!("https://{}", url.host))
    } else {
        Err(SettingsError::Authority(url.host))
    }
}

/// Whether `name` can be that of a storage account, or of its secondary location. It is part of a host
/// and of a header.
fn is_account(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=40).contains(&name.len()) && name.bytes().all(is_part)
}

fn is_host_of_azure(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let is_below = |domain: &&str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    };
    // An account in a DNS zone: `<account>.z01.blob.storage.azure.net`.
    DOMAINS.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::read;
    use super::super::{BucketSettings, ProviderSettings};
    use super::*;

    fn bucket_with(config: &Value) -> Result<BucketSettings, SettingsError> {
        let mut all = json!({"storageAccount": "acct", "useAAD": "true"});
        json_patch::merge(&mut all, config);
        read(
            &json!({"provider": "velero.io/azure", "objectStorage": {"bucket": "b"}, "config": all}),
        )
    }

    fn with(config: &Value) -> Result<AzureSettings, SettingsError> {
        match bucket_with(config)?.provider {
            ProviderSettings::Azure(settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_account_is_in_its_cloud_or_where_the_bsl_says() {
        let url = |config: Value, cloud: &str| {
            let cloud = AzureCloud::of_name(cloud).unwrap();
            let url = with(&config).unwrap().url("b", cloud).unwrap();
            url.as_str().to_owned()
        };
        for (cloud, host) in [
            ("", "blob.core.windows.net"),
            ("AzurePublicCloud", "blob.core.windows.net"),
            ("AzureCloud", "blob.core.windows.net"),
            ("azurechinacloud", "blob.core.chinacloudapi.cn"),
            ("AzureUSGovernmentCloud", "blob.core.usgovcloudapi.net"),
            ("AzureUSGovernment", "blob.core.usgovcloudapi.net"),
        ] {
            assert_eq!(
                url(json!({}), cloud),
                format!("https://acct.{host}/b"),
                "{cloud}"
            );
        }
        assert_eq!(AzureCloud::of_name("AzureGermanCloud"), None);
        let uri = json!({"storageAccountURI": "https://127.0.0.1:10000/acct/"});
        assert_eq!(url(uri, ""), "https://127.0.0.1:10000/acct/b");
    }

    #[test]
    fn requests_are_authorised_in_the_plugins_order() {
        let of = |config: Value| with(&config).map(|settings| settings.authorization);
        assert_eq!(of(json!({})), Ok(AzureAuthorization::EntraId));
        let key = json!({"storageAccountKeyEnvVar": "K", "useAAD": "nonsense"});
        assert_eq!(of(key), Ok(AzureAuthorization::AccountKey("K".into())));
        for value in ["false", "0", ""] {
            let error = of(json!({"useAAD": value})).unwrap_err();
            assert_eq!(error, SettingsError::AccountKeyListing, "{value}");
        }
        let told = SettingsError::AccountKeyListing.to_string();
        for what in [
            "useAAD",
            "storageAccountKeyEnvVar",
            "Storage Blob Data Contributor",
        ] {
            assert!(told.contains(what), "{told}");
        }
    }

    #[test]
    fn what_is_not_supported_is_told_by_its_name() {
        for (config, error) in [
            (
                json!({"storageAccount": null}),
                SettingsError::Missing("storageAccount"),
            ),
            (
                json!({"storageAccount": "a.evil"}),
                SettingsError::Value("storageAccount"),
            ),
            (json!({"useAAD": "yes"}), SettingsError::Bool("useAAD")),
            (
                json!({"credentialsFile": "/c"}),
                SettingsError::CredentialsFile,
            ),
            (
                json!({"storageAccountURI": "https://acct.blob.core.windows.net?sv=1&sig=secret"}),
                SettingsError::Value("storageAccountURI"),
            ),
            (
                json!({"activeDirectoryAuthorityURI": "https://login.microsoftonline.com.evil.example/"}),
                SettingsError::Authority("login.microsoftonline.com.evil.example".into()),
            ),
            (
                json!({"activeDirectoryAuthorityURI": "http://login.microsoftonline.com"}),
                SettingsError::Authority("login.microsoftonline.com".into()),
            ),
        ] {
            assert_eq!(with(&config), Err(error), "{config}");
        }
        let authority = json!({"activeDirectoryAuthorityURI": "https://login.microsoftonline.us/"});
        let authority = with(&authority).unwrap().authority;
        assert_eq!(
            authority.as_deref(),
            Some("https://login.microsoftonline.us")
        );
    }

    #[test]
    fn only_azure_itself_is_taken_for_azure() {
        assert!(with(&json!({})).unwrap().is_at_azure());
        for (uri, expected) in [
            ("https://acct.blob.core.windows.net/", true),
            ("https://ACCT.privatelink.blob.core.windows.net", true),
            ("https://acct.z01.blob.storage.azure.net", true),
            ("https://acct.blob.core.usgovcloudapi.net", true),
            ("http://acct.blob.core.windows.net", false),
            ("https://blob.core.windows.net", false),
            ("https://acctblob.core.windows.net", false),
            ("https://acct.blob.core.windows.net.evil.example", false),
            ("https://acct.blob.core.windows.net@evil.example", false),
        ] {
            let settings = with(&json!({"storageAccountURI": uri})).unwrap();
            assert_eq!(settings.is_at_azure(), expected, "{uri}");
        }
        // A list of Azure is not believed without a reading.
        assert!(!bucket_with(&json!({})).unwrap().is_verified_aws());
        let place = |config: Value| bucket_with(&config).unwrap().place();
        let elsewhere = json!({"storageAccountURI": "https://elsewhere"});
        assert_ne!(place(json!({})), place(elsewhere));
        assert_ne!(place(json!({})), place(json!({"storageAccount": "other"})));
    }
}
