//! The credentials for a container of Azure, as the azure plugin reads them
//! (`velero/pkg/util/azure/{storage,credential}.go`).

use std::fmt;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::azure::{AzureAccessKey, AzureCredential, AzureCredentialProvider};

use super::env_file::{self, Variables};
use super::stored::StoredKey;
use super::{CredentialsError, Identity};
use crate::bucket::settings::azure::{AzureAuthorization, AzureCloud, AzureSettings};

/// What a container of Azure is opened with.
#[derive(Clone, Debug)]
pub struct AzureCredentials {
    /// The cloud that the account is in.
    pub cloud: AzureCloud,
    /// Whose they are.
    pub keys: AzureKeys,
}

/// With what requests to Azure are authorised.
#[derive(Clone, Debug)]
pub enum AzureKeys {
    /// The key of the account.
    AccountKey(AzureCredentialProvider),
    /// A secret for which the login service gives a token.
    ServicePrincipal(ServicePrincipal),
    /// The identity of this process.
    Own(AzureCredentialProvider),
}

/// A service principal with its secret.
#[derive(Clone)]
pub struct ServicePrincipal {
    pub(in crate::bucket) tenant: String,
    pub(in crate::bucket) client_id: String,
    pub(in crate::bucket) secret: String,
}

impl fmt::Debug for ServicePrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePrincipal").finish_non_exhaustive()
    }
}

/// The variables with a credential that velero-trust cannot use, because `object_store` cannot.
const NOT_SUPPORTED: [&str; 3] = [
    "AZURE_CLIENT_CERTIFICATE",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_USERNAME",
];

/// The key of the account, which the plugin prefers to a token.
const ACCOUNT_KEY: &str = "AZURE_STORAGE_KEY";

impl AzureCredentials {
    /// Makes the credentials of the file that is stored, or of `identity` if the file has none.
    pub(super) fn new(
        settings: &AzureSettings,
        file: Option<StoredKey>,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        let variables = match file {
            Some(file) => variables(file)?,
            None => Variables::new(),
        };
        let value = |name: &str| {
            let found = variables.get(name).map(String::as_str);
            found.filter(|value| !value.is_empty())
        };
        let name = value("AZURE_CLOUD_NAME").unwrap_or_default();
        let cloud = AzureCloud::of_name(name).ok_or(CredentialsError::AzureCloud)?;
        let key = match &settings.authorization {
            AzureAuthorization::AccountKey(name) => {
                let missing = || CredentialsError::NoAccountKey(name.clone());
                Some(value(name).ok_or_else(missing)?)
            }
            AzureAuthorization::EntraId => value(ACCOUNT_KEY),
        };
        if let Some(key) = key {
            let key = AzureAccessKey::try_new(key).map_err(|_| CredentialsError::AccountKey)?;
            let key = AzureCredential::AccessKey(key);
            let keys = AzureKeys::AccountKey(Arc::new(StaticCredentialProvider::new(key)));
            return Ok(Self { cloud, keys });
        }
        if let Some(secret) = value("AZURE_CLIENT_SECRET") {
            let required = |name| value(name).ok_or(CredentialsError::NoVariable(name));
            let tenant = required("AZURE_TENANT_ID")?;
            if !is_tenant(tenant) {
                return Err(CredentialsError::Characters("AZURE_TENANT_ID"));
            }
            let keys = AzureKeys::ServicePrincipal(ServicePrincipal {
                tenant: tenant.to_owned(),
                client_id: required("AZURE_CLIENT_ID")?.to_owned(),
                secret: secret.to_owned(),
            });
            return Ok(Self { cloud, keys });
        }
        if let Some(name) = NOT_SUPPORTED.into_iter().find(|name| value(name).is_some()) {
            return Err(CredentialsError::AzureNotSupported(name));
        }
        let keys = AzureKeys::Own(identity.azure(value("AZURE_CLIENT_ID"))?);
        Ok(Self { cloud, keys })
    }
}

fn variables(file: StoredKey) -> Result<Variables, CredentialsError> {
    let secret = file.secret.clone();
    env_file::read(&file.text()?).map_err(|line| CredentialsError::NotVariables { secret, line })
}

/// Whether `tenant` is the id or the domain of a tenant. It is a part of a URL.
fn is_tenant(tenant: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    tenant.bytes().all(is_part) && !tenant.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::super::tests::Own;
    use super::*;
    use crate::bucket::settings::SecretKey;

    fn new(
        authorization: AzureAuthorization,
        file: Option<&str>,
    ) -> Result<AzureCredentials, CredentialsError> {
        let settings = AzureSettings::of_account("acct", authorization);
        let file = file.map(|text| StoredKey {
            secret: SecretKey {
                name: "own".to_owned(),
                key: "cloud".to_owned(),
            },
            value: text.as_bytes().to_vec(),
        });
        AzureCredentials::new(&settings, file, &Own)
    }

    fn entra_id(file: Option<&str>) -> Result<AzureCredentials, CredentialsError> {
        new(AzureAuthorization::EntraId, file)
    }

    /// Returns what is sent: the key, or the token.
    async fn sent(credentials: AzureCredentials) -> String {
        match credentials.keys {
            AzureKeys::AccountKey(keys) | AzureKeys::Own(keys) => {
                format!("{:?}", keys.get_credential().await.unwrap())
            }
            AzureKeys::ServicePrincipal(ServicePrincipal {
                tenant,
                client_id,
                secret,
            }) => format!("{tenant}|{client_id}|{secret}"),
        }
    }

    #[tokio::test]
    async fn the_key_of_the_account_comes_first() {
        let key = AzureAuthorization::AccountKey("MY_KEY".into());
        let file = "AZURE_CLOUD_NAME=AzureChinaCloud\nMY_KEY=a2V5\nAZURE_CLIENT_SECRET=s\n";
        let credentials = new(key.clone(), Some(file)).unwrap();
        assert_eq!(credentials.cloud, AzureCloud::China);
        assert!(sent(credentials).await.contains("AccessKey"));
        for file in [None, Some("OTHER=a2V5"), Some("MY_KEY=")] {
            let error = new(key.clone(), file).unwrap_err();
            assert_eq!(error, CredentialsError::NoAccountKey("MY_KEY".into()));
        }
        let error = new(key, Some("MY_KEY=top-secret!")).unwrap_err();
        assert_eq!(error, CredentialsError::AccountKey);
        // The plugin prefers it to a token, too.
        let credentials = entra_id(Some("AZURE_STORAGE_KEY=a2V5")).unwrap();
        assert!(sent(credentials).await.contains("AccessKey"));
    }

    #[tokio::test]
    async fn a_service_principal_comes_before_the_own_identity() {
        let file = "AZURE_TENANT_ID=t-1.example\nAZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET='s#$x'\n";
        let credentials = entra_id(Some(file)).unwrap();
        assert!(!format!("{credentials:?}").contains("s#$x"));
        assert_eq!(sent(credentials).await, "t-1.example|c|s#$x");
        let own = sent(entra_id(None).unwrap()).await;
        assert!(own.contains("own-"), "{own}");
        let managed = sent(entra_id(Some("AZURE_CLIENT_ID=m-1")).unwrap()).await;
        assert!(managed.contains("own-m-1"), "{managed}");
    }

    #[test]
    fn what_is_wrong_with_the_file_is_told_without_what_is_in_it() {
        let secret = SecretKey {
            name: "own".to_owned(),
            key: "cloud".to_owned(),
        };
        for (file, error) in [
            (
                "AZURE_CLIENT_SECRET=top-secret",
                CredentialsError::NoVariable("AZURE_TENANT_ID"),
            ),
            (
                "AZURE_TENANT_ID=t\nAZURE_CLIENT_SECRET=top-secret",
                CredentialsError::NoVariable("AZURE_CLIENT_ID"),
            ),
            (
                "AZURE_TENANT_ID=../x\nAZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET=top-secret",
                CredentialsError::Characters("AZURE_TENANT_ID"),
            ),
            (
                "AZURE_CLIENT_CERTIFICATE=top-secret",
                CredentialsError::AzureNotSupported("AZURE_CLIENT_CERTIFICATE"),
            ),
            ("AZURE_CLOUD_NAME=top-secret", CredentialsError::AzureCloud),
            (
                "A=1\ntop-secret",
                CredentialsError::NotVariables { secret, line: 2 },
            ),
        ] {
            let found = entra_id(Some(file)).unwrap_err();
            assert_eq!(found, error, "{file}");
            assert!(
                !format!("{found} {found:?}").contains("top-secret"),
                "{found}"
            );
        }
    }
}
