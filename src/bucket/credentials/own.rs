//! The identity that a cloud gives to this process.

use std::path::PathBuf;

use object_store::aws::AwsCredentialProvider;
use object_store::azure::AzureCredentialProvider;
use object_store::gcp::GcpCredentialProvider;

use super::identity::Services;
use super::role::{self, Proof, Sts};
use super::source::{AssumedWith, Role, TokenFile};
use super::{CredentialsError, azure_identity, gcp_identity, identity};
use crate::bucket::connector::Reach;
use crate::ca::endpoint::build_sts_url;

/// The variable with the path of the token of this process's own ServiceAccount.
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// The variable with the URL of the Security Token Service.
const STS_URL: &str = "AWS_ENDPOINT_URL_STS";

/// The region of the Security Token Service where none is named.
const DEFAULT_REGION: &str = "us-east-1";

/// Gives the credentials of this process itself, and those of roles. Nothing is requested before the first credentials are
/// needed; they are kept and renewed.
pub trait Identity {
    /// Returns those for AWS. `region` is the one of the bucket, if it is known.
    fn aws(&self, region: &str) -> Result<AwsCredentialProvider, CredentialsError>;

    /// Returns those for Azure, of the managed identity `client_id` if there is a choice.
    fn azure(&self, client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError>;

    /// Returns those for Google's cloud.
    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError>;

    /// Returns those of a role of AWS that a file of credentials names. `region` is the one of the bucket;
    /// empty if it is not known.
    fn assume(
        &self,
        role: Role,
        with: AssumedWith,
        region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError>;
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

    fn assume(
        &self,
        role: Role,
        with: AssumedWith,
        region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError> {
        let proof = match with {
            AssumedWith::Keys(keys) => Proof::Keys(keys),
            // It is a path in Velero's Pod. The same path may lead to a token of our own, and to nothing else.
            AssumedWith::Token(TokenFile { path, setting }) => {
                if self.set(TOKEN_FILE).as_ref() != Some(&path) {
                    return Err(CredentialsError::TokenFile(setting));
                }
                Proof::Token(PathBuf::from(path))
            }
        };
        role::provider(role.clone(), proof, self.sts(&role, region)?)
    }
}

impl<V: Fn(&str) -> Option<String>> OwnIdentity<V> {
    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Returns where `role` is assumed. Neither a BSL nor a file of credentials chooses the host.
    fn sts(&self, role: &Role, region: &str) -> Result<Sts, CredentialsError> {
        let region = Some(region.to_owned()).filter(|region| !region.is_empty());
        let region = region.or_else(|| self.set("AWS_REGION"));
        let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let url = match (self.set(STS_URL), role.endpoint) {
            (Some(url), _) => url,
            (None, Some(setting)) => return Err(CredentialsError::StsEndpoint(setting)),
            (None, None) => build_sts_url(&region).ok_or(CredentialsError::NoSts)?,
        };
        let Services {
            trust,
            denied,
            proxies,
            timing,
        } = self.services.clone();
        let reach = Reach {
            trust,
            denied,
            proxies,
            timing,
        };
        Ok(Sts { url, region, reach })
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

    fn assume(
        &self,
        _role: Role,
        _with: AssumedWith,
        _region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError> {
        Err(self.0.clone())
    }
}

/// The roles that are assumed with keys of a file of credentials, and no identity: that of another machine
/// is not that of velero-trust's Pods.
#[derive(Clone, Debug)]
pub struct RolesOnly<V>(pub OwnIdentity<V>);

/// The identity is another machine's.
fn elsewhere<T>() -> Result<T, CredentialsError> {
    let why = "this machine has none".to_owned();
    Err(CredentialsError::Identity { why })
}

impl<V: Fn(&str) -> Option<String>> Identity for RolesOnly<V> {
    fn aws(&self, _region: &str) -> Result<AwsCredentialProvider, CredentialsError> {
        elsewhere()
    }

    fn azure(&self, _client_id: Option<&str>) -> Result<AzureCredentialProvider, CredentialsError> {
        elsewhere()
    }

    fn gcp(&self) -> Result<GcpCredentialProvider, CredentialsError> {
        elsewhere()
    }

    fn assume(
        &self,
        role: Role,
        with: AssumedWith,
        region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError> {
        match with {
            AssumedWith::Keys(_) => self.0.assume(role, with, region),
            AssumedWith::Token(_) => elsewhere(),
        }
    }
}
