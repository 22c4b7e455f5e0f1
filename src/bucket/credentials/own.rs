//! The identity that a cloud gives to this process.

use object_store::aws::AwsCredentialProvider;
use object_store::azure::AzureCredentialProvider;
use object_store::gcp::GcpCredentialProvider;

use super::identity::Services;
use super::{CredentialsError, azure_identity, gcp_identity, identity};

/// Gives the credentials of this process itself. Nothing is requested before the first credentials are
/// needed; they are kept and renewed.
pub trait Identity {
    /// Returns those for AWS. `region` is the one of the bucket, if it is known.
    fn aws(&self, region: &str) -> Result<AwsCredentialProvider, CredentialsError>;

    /// Returns those for Azure, of the managed identity `client_id` if there is a choice.
    fn azure(&self, client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError>;

    /// Returns those for Google's cloud.
    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError>;
}

/// The identity of a process with these variables in its environment.
#[derive(Clone, Debug)]
pub struct OwnIdentity<V> {
    /// Reads a variable of the environment.
    pub variable: V,
    /// How the services are reached.
    pub services: Services,
}

impl<V: Fn(&str) -> Option<String>> Identity for OwnIdentity<V> {
    fn aws(&self, region: &str) -> Result<AwsCredentialProvider, CredentialsError> {
        identity::provider(&self.variable, region, self.services.clone())
    }

    fn azure(&self, client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError> {
        azure_identity::provider(&self.variable, client_id, self.services.clone())
    }

    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError> {
        gcp_identity::provider(&self.variable, self.services.clone())
    }
}

/// No identity, for this reason.
#[derive(Clone, Debug)]
pub struct NoIdentity(pub CredentialsError);

impl Identity for NoIdentity {
    fn aws(&self, _region: &str) -> Result<AwsCredentialProvider, CredentialsError> {
        Err(self.0.clone())
    }

    fn azure(&self, _client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError> {
        Err(self.0.clone())
    }

    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError> {
        Err(self.0.clone())
    }
}
