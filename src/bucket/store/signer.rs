//! Signs the requests that `object_store` does not send itself.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::HttpRequest;
use object_store::gcp::GcpCredentialProvider;

use crate::bucket::connector::describe;
use crate::bucket::credentials::CredentialsError;
use crate::bucket::error::ErrorKind;

/// Signs requests.
#[derive(Clone, Debug)]
pub(super) enum Signer {
    /// With SigV4.
    S3 {
        /// The keys.
        credentials: AwsCredentialProvider,
        /// The region that is signed for.
        region: String,
    },
    /// With the key of an account, or with a token.
    Azure {
        /// The key or the token.
        credentials: AzureCredentialProvider,
        /// The storage account.
        account: String,
    },
    /// With a token.
    Gcs {
        /// The token.
        credentials: GcpCredentialProvider,
    },
}

impl Signer {
    /// Signs `request`.
    pub(super) async fn sign(&self, request: &mut HttpRequest) -> Result<(), ErrorKind> {
        match self {
            Self::S3 {
                credentials,
                region,
            } => {
                let keys = credentials.get_credential().await;
                let keys = keys.map_err(|error| describe(&error))?;
                AwsAuthorizer::new(&keys, "s3", region)
                    .try_authorize(request, None)
                    .map_err(|error| describe(&error))
            }
            Self::Azure {
                credentials,
                account,
            } => {
                let key = credentials.get_credential().await;
                let key = key.map_err(|error| describe(&error))?;
                AzureAuthorizer::new(&key, account)
                    .try_authorize(request)
                    .map_err(|error| describe(&error))
            }
            Self::Gcs { credentials } => {
                let token = credentials.get_credential().await;
                let token = token.map_err(|error| describe(&error))?;
                let value = HeaderValue::try_from(format!("Bearer {}", token.bearer));
                let mut value = value.map_err(|_| CredentialsError::Characters("the token"))?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::StaticCredentialProvider;
    use object_store::client::HttpRequestBody;
    use object_store::gcp::GcpCredential;

    use super::*;

    /// The emulator of the tests takes requests without a token, too.
    #[tokio::test]
    async fn a_token_is_sent_to_google_and_never_shown() {
        let bearer = "token".to_owned();
        let signer = Signer::Gcs {
            credentials: Arc::new(StaticCredentialProvider::new(GcpCredential { bearer })),
        };
        let mut request = HttpRequest::new(HttpRequestBody::from(String::new()));
        signer.sign(&mut request).await.unwrap();
        let sent = request.headers().get(AUTHORIZATION).unwrap();
        assert_eq!(sent, "Bearer token");
        assert!(!format!("{request:?}").contains("token"), "{request:?}");
    }
}
