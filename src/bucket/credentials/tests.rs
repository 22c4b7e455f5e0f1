use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::azure::{AzureCredential, AzureCredentialProvider};
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use serde_json::json;

use super::*;
use crate::bucket::settings::{Provider, SecretKey};
use crate::velero::bsl::Bsl;

/// Secrets by `name/key`.
#[derive(Default)]
struct Secrets {
    values: BTreeMap<&'static str, &'static [u8]>,
    installed: Option<&'static str>,
}

impl SecretSource for Secrets {
    async fn value(&self, secret: &SecretKey) -> Result<Option<Vec<u8>>, CredentialsError> {
        let SecretKey { name, key } = secret;
        let value = self.values.get(format!("{name}/{key}").as_str());
        Ok(value.map(|value| value.to_vec()))
    }

    async fn installed(&self, _provider: Provider) -> Result<Option<SecretKey>, CredentialsError> {
        Ok(self.installed.map(secret))
    }
}

/// An identity with fixed keys.
pub(super) struct Own;

impl Identity for Own {
    fn aws(&self, _region: &str) -> Result<AwsCredentialProvider, CredentialsError> {
        let keys = AwsCredential {
            key_id: "own".to_owned(),
            secret_key: "s".to_owned(),
            token: None,
        };
        Ok(AwsCredentials::fixed(keys)?.provider)
    }

    fn azure(&self, client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError> {
        let token = format!("own-{}", client_id.unwrap_or_default());
        let token = AzureCredential::BearerToken(token);
        Ok(Arc::new(StaticCredentialProvider::new(token)))
    }

    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError> {
        let bearer = "own".to_owned();
        Ok(Arc::new(StaticCredentialProvider::new(GcpCredential {
            bearer,
        })))
    }

    fn assume(
        &self,
        role: Role,
        _with: AssumedWith,
        _region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError> {
        let keys = AwsCredential {
            key_id: role.arn,
            secret_key: "s".to_owned(),
            token: None,
        };
        Ok(AwsCredentials::fixed(keys)?.provider)
    }
}

fn secret(text: &str) -> SecretKey {
    let (name, key) = text.split_once('/').unwrap();
    let (name, key) = (name.to_owned(), key.to_owned());
    SecretKey { name, key }
}

const FILE: &[u8] = b"[default]\naws_access_key_id=A\naws_secret_access_key=s\nregion=r\n\
    [p]\naws_access_key_id=P\naws_secret_access_key=s\n";

async fn read(
    secrets: &Secrets,
    credential: Option<&str>,
    config: serde_json::Value,
) -> Result<(String, AwsCredentials), CredentialsError> {
    let mut spec = json!({"provider": "aws", "objectStorage": {"bucket": "b"}, "config": config});
    if let Some(text) = credential {
        let SecretKey { name, key } = secret(text);
        spec["credential"] = json!({"name": name, "key": key});
    }
    let text = json!({"spec": spec}).to_string();
    let settings = BucketSettings::read("velero", &Bsl::from_json(&text)).unwrap();
    let Credentials::Aws(credentials) = Credentials::read(&settings, secrets, &Own).await? else {
        panic!("other credentials");
    };
    let keys = credentials.provider.get_credential().await.unwrap();
    Ok((keys.key_id.clone(), credentials))
}

#[tokio::test]
async fn the_order_is_veleros() {
    let mut secrets = Secrets {
        values: [
            ("own/cloud", FILE),
            (
                "installed/cloud",
                b"[p]\naws_access_key_id=I\naws_secret_access_key=s",
            ),
        ]
        .into(),
        installed: None,
    };
    let (key, credentials) = read(&secrets, Some("own/cloud"), json!({})).await.unwrap();
    assert_eq!(
        (key.as_str(), credentials.region.as_deref()),
        ("A", Some("r"))
    );
    let (key, _) = read(&secrets, Some("own/cloud"), json!({"profile": "p"}))
        .await
        .unwrap();
    assert_eq!(key, "P");
    let (key, _) = read(&secrets, None, json!({})).await.unwrap();
    assert_eq!(key, "own");
    secrets.installed = Some("installed/cloud");
    let (key, _) = read(&secrets, None, json!({"profile": "p"})).await.unwrap();
    assert_eq!(key, "I");
    // What is named and absent is never replaced by something else.
    let absent = read(&secrets, Some("own/other"), json!({}))
        .await
        .unwrap_err();
    assert_eq!(absent, CredentialsError::NoSecret(secret("own/other")));
    assert_eq!(
        absent.to_string(),
        "key `other` of Secret `own` does not exist; create it, or correct the BSL"
    );
}

/// Velero would read another store than velero-trust.
#[tokio::test]
async fn a_profile_names_no_store_where_the_bsl_names_none() {
    let file = b"[default]\naws_access_key_id=A\naws_secret_access_key=s\nendpoint_url=https://x\n";
    let secrets = Secrets {
        values: [("own/cloud", &file[..])].into(),
        installed: None,
    };
    let error = read(&secrets, Some("own/cloud"), json!({}))
        .await
        .unwrap_err();
    let name = "endpoint_url";
    let setting = ini::Setting { line: 4, name };
    assert_eq!(error, CredentialsError::Endpoint(setting));
    // The plugin prefers the URL of the BSL.
    let config = json!({"s3Url": "https://store"});
    let (key, _) = read(&secrets, Some("own/cloud"), config).await.unwrap();
    assert_eq!(key, "A");
}

#[tokio::test]
async fn the_key_of_a_customer_has_32_bytes() {
    let config = json!({"customerKeyEncryptionSecret": "sse/key"});
    let mut secrets = Secrets {
        values: [("own/cloud", FILE), ("sse/key", &[7; 32][..])].into(),
        installed: None,
    };
    let (_, credentials) = read(&secrets, Some("own/cloud"), config.clone())
        .await
        .unwrap();
    assert_eq!(credentials.customer_key.unwrap().0, [7; 32]);
    secrets.values.insert("sse/key", &[7; 33]);
    let error = read(&secrets, Some("own/cloud"), config).await.unwrap_err();
    assert_eq!(
        error,
        CredentialsError::CustomerKeyLength {
            secret: secret("sse/key"),
            found: 33
        }
    );
}

#[tokio::test]
async fn nothing_shows_what_a_secret_contains() {
    let secrets = Secrets {
        values: [("own/cloud", &b"\xff\xfetop-secret"[..])].into(),
        installed: None,
    };
    let error = read(&secrets, Some("own/cloud"), json!({}))
        .await
        .unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("secret:"),
        "{error:?}"
    );
    assert_eq!(error, CredentialsError::NotText(secret("own/cloud")));
    let shown = format!("{:?}", CustomerKey(b"top-secret".to_vec()));
    assert_eq!(shown, "CustomerKey(******)");
}
