//! The file of credentials of AWS's tools.
//!
//! The aws plugin hands the file to the AWS SDK for Go, as file of credentials and as file of
//! configuration at once. This reads it as that does (`config/shared_config.go`,
//! `config/resolve_credentials.go`).

mod chain;
mod profile;
mod role;
mod sections;

use std::fmt;

use object_store::aws::AwsCredential;

use self::chain::Chain;
use self::profile::ProfileSections;
use super::CredentialsError;
use super::source::Source;
use crate::bucket::settings::is_visible;

/// What a profile says.
#[derive(Debug)]
pub struct Profile {
    /// Where its keys come from.
    pub source: Source,
    /// The region, which counts if the BSL has none.
    pub region: Option<String>,
    /// The setting with which it says where the store is. It counts if the BSL has no URL.
    pub endpoint: Option<Setting>,
}

/// A setting of a file of credentials, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// In which line it is.
    pub line: usize,
    /// Its name.
    pub name: &'static str,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in line {}", self.name, self.line)
    }
}

/// Reads `profile` in the text of a file.
pub fn read(text: &str, profile: &str) -> Result<Profile, CredentialsError> {
    let sections = sections::read(text);
    let no_profile = || CredentialsError::NoProfile {
        profile: profile.to_owned(),
    };
    let settings = ProfileSections::of(&sections, profile).ok_or_else(no_profile)?;
    Ok(Profile {
        source: Chain::new(&sections).source(profile, &settings)?,
        region: settings.value("region").map(str::to_owned),
        endpoint: settings.endpoint(),
    })
}

/// Checks that the keys can be sent. `object_store` panics at others.
pub(super) fn check(keys: &AwsCredential) -> Result<(), CredentialsError> {
    if !is_visible(&keys.key_id) {
        return Err(CredentialsError::Characters("aws_access_key_id"));
    }
    if !keys.token.as_deref().is_none_or(is_visible) {
        return Err(CredentialsError::Characters("aws_session_token"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
