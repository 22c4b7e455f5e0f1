//! Signs the requests that `object_store` does not send itself.

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;

use crate::bucket::connector::describe;
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
        }
    }
}
