//! Where the keys of a profile come from.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use super::ini::Setting;
use super::{CredentialsError, Identity};

/// Where the keys of a profile come from.
#[derive(Debug)]
pub enum Source {
    /// They are in the profile.
    Keys(AwsCredential),
    /// The identity of this process.
    Own,
    /// A role that is assumed with the keys of another source.
    Role {
        /// The role.
        role: Role,
        /// The other source.
        source: Box<Self>,
    },
    /// A role that is assumed with the token of a ServiceAccount.
    WebIdentity {
        /// The role.
        role: Role,
        /// The token.
        token: TokenFile,
    },
}

/// A role of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub arn: String,
    /// The name of the session, which AWS writes into its log.
    pub session_name: Option<String>,
    /// What the owner of the role wants to hear.
    pub external_id: Option<String>,
    /// How long the keys are valid, in seconds.
    pub duration: Option<u32>,
    /// The setting with which the profile says where the role is assumed. Its value is not used.
    pub endpoint: Option<Setting>,
}

/// The file of a token, as a file of credentials names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// The path.
    pub path: String,
    /// Where it is named.
    pub setting: Setting,
}

/// With what a role is assumed.
#[derive(Clone, Debug)]
pub enum AssumedWith {
    /// The keys of another identity.
    Keys(AwsCredentialProvider),
    /// A token.
    Token(TokenFile),
}

impl Source {
    /// Returns the role that the keys are those of; `None` if they are those of a user or of this process.
    pub fn role(&self) -> Option<&Role> {
        match self {
            Self::Keys(_) | Self::Own => None,
            Self::Role { role, .. } | Self::WebIdentity { role, .. } => Some(role),
        }
    }

    /// Returns the provider of the keys. `region` is that of the bucket; empty if it is not known.
    pub(super) fn provider(
        self,
        identity: &impl Identity,
        region: &str,
    ) -> Result<AwsCredentialProvider, CredentialsError> {
        let (role, with) = match self {
            Self::Keys(keys) => return Ok(Arc::new(StaticCredentialProvider::new(keys))),
            Self::Own => return identity.aws(region),
            Self::Role { role, source } => {
                (role, AssumedWith::Keys(source.provider(identity, region)?))
            }
            Self::WebIdentity { role, token } => (role, AssumedWith::Token(token)),
        };
        identity.assume(role, with, region)
    }
}
