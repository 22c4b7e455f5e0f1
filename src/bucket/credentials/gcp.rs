//! The credentials for a bucket of Google Cloud Storage, as the gcp plugin and Google's library read them
//! (`golang.org/x/oauth2/google`).

use std::sync::Arc;

use object_store::gcp::GcpCredentialProvider;
use serde::Deserialize;

use super::service_account::ServiceAccount;
use super::stored::StoredKey;
use super::{CredentialsError, Identity};
use crate::bucket::settings::gcp::UNIVERSE;
use crate::velero::text::single_line;

/// Most characters of a type of credentials that are shown.
const MAX_TYPE_CHARS: usize = 40;

/// What a bucket of Google Cloud Storage is opened with.
#[derive(Clone, Debug)]
pub enum GcpCredentials {
    /// The key of a service account.
    ServiceAccount(GcpCredentialProvider),
    /// The identity of this process.
    Own(GcpCredentialProvider),
}

/// The file with the key of a service account. What else is in it is not read: Google's library asks
/// `token_uri` for a token, and velero-trust signs its tokens itself.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    universe_domain: Option<String>,
}

impl GcpCredentials {
    /// Makes the credentials of the file that is stored, or of `identity` if there is none.
    pub(super) fn new(
        file: Option<StoredKey>,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        match file {
            Some(file) => service_account(file).map(Self::ServiceAccount),
            None => identity.gcp().map(Self::Own),
        }
    }
}

fn service_account(file: StoredKey) -> Result<GcpCredentialProvider, CredentialsError> {
    let secret = file.secret.clone();
    let text = file.text()?;
    // Its error might quote the key.
    let file: File = serde_json::from_str(&text).map_err(|_| CredentialsError::NotJson(secret))?;
    if file.kind != "service_account" {
        let kind = single_line(&file.kind, MAX_TYPE_CHARS).into_owned();
        return Err(CredentialsError::GcpNotSupported { kind });
    }
    if file
        .universe_domain
        .is_some_and(|domain| !domain.is_empty() && domain != UNIVERSE)
    {
        return Err(CredentialsError::Universe);
    }
    for (name, value) in [
        ("client_email", &file.client_email),
        ("private_key", &file.private_key),
    ] {
        if value.is_empty() {
            return Err(CredentialsError::NoVariable(name));
        }
    }
    let account = ServiceAccount::new(&file.client_email, &file.private_key_id, &file.private_key);
    Ok(Arc::new(account.ok_or(CredentialsError::GcpKey)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Own;
    use super::*;
    use crate::bucket::settings::SecretKey;

    fn new(file: Option<&str>) -> Result<GcpCredentials, CredentialsError> {
        let file = file.map(|text| StoredKey {
            secret: SecretKey {
                name: "own".to_owned(),
                key: "cloud".to_owned(),
            },
            value: text.as_bytes().to_vec(),
        });
        GcpCredentials::new(file, &Own)
    }

    #[tokio::test]
    async fn without_a_file_it_is_the_own_identity() {
        let GcpCredentials::Own(own) = new(None).unwrap() else {
            panic!("not the own identity");
        };
        assert_eq!(own.get_credential().await.unwrap().bearer, "own");
    }

    #[test]
    fn what_is_wrong_with_the_file_is_told_without_what_is_in_it() {
        let secret = SecretKey {
            name: "own".to_owned(),
            key: "cloud".to_owned(),
        };
        let kind = |kind: &str| CredentialsError::GcpNotSupported { kind: kind.into() };
        for (file, error) in [
            ("top-secret", CredentialsError::NotJson(secret)),
            (
                r#"{"type": "external_account", "credential_source": {"file": "top-secret"}}"#,
                kind("external_account"),
            ),
            (
                r#"{"type": "authorized_user", "refresh_token": "top-secret"}"#,
                kind("authorized_user"),
            ),
            ("{}", kind("")),
            (
                r#"{"type": "service_account", "private_key": "top-secret"}"#,
                CredentialsError::NoVariable("client_email"),
            ),
            (
                r#"{"type": "service_account", "client_email": "e"}"#,
                CredentialsError::NoVariable("private_key"),
            ),
            (
                r#"{"type": "service_account", "client_email": "e", "private_key": "top-secret"}"#,
                CredentialsError::GcpKey,
            ),
            (
                r#"{"type": "service_account", "universe_domain": "example.com", "private_key": "top-secret"}"#,
                CredentialsError::Universe,
            ),
        ] {
            let found = new(Some(file)).unwrap_err();
            assert_eq!(found, error, "{file}");
            assert!(
                !format!("{found} {found:?}").contains("top-secret"),
                "{found}"
            );
        }
    }
}
