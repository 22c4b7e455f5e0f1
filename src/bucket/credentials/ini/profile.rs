//! The settings of a profile.

use object_store::aws::AwsCredential;

use super::sections::{Entry, Section, Sections};
use super::{Setting, check};
use crate::bucket::credentials::CredentialsError;

/// The settings from which the SDK takes the URLs of AWS's services (`config/shared_config.go`).
const ENDPOINTS: [&str; 2] = ["endpoint_url", "services"];

/// The settings of a profile: those of the file of credentials, then those of the file of configuration.
pub(super) struct ProfileSections<'a>([Option<&'a Section<'a>>; 2]);

impl<'a> ProfileSections<'a> {
    /// Returns those of `profile`; `None` if there is none of this name.
    pub(super) fn of(sections: &'a Sections<'a>, profile: &str) -> Option<Self> {
        let of_configuration = sections.get(format!("profile {profile}").as_str());
        let of_credentials = sections.get(profile);
        let is_there = of_configuration.is_some() || of_credentials.is_some();
        is_there.then_some(Self([of_credentials, of_configuration]))
    }

    fn entry(&self, name: &str) -> Option<Entry<'a>> {
        let both = self.0.into_iter().flatten();
        let mut entries = both.filter_map(|section| section.get(name).copied());
        entries.find(|entry| !entry.value.is_empty())
    }

    /// Returns the value of a setting; `None` if it is absent or empty.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.entry(name).map(|entry| entry.value)
    }

    /// Returns where a setting is; `None` if it is absent or empty.
    pub(super) fn setting(&self, name: &'static str) -> Option<Setting> {
        let Entry { line, .. } = self.entry(name)?;
        Some(Setting { line, name })
    }

    /// Returns the setting with which it says where AWS's services are.
    pub(super) fn endpoint(&self) -> Option<Setting> {
        ENDPOINTS.into_iter().find_map(|name| self.setting(name))
    }

    /// Returns its keys, if it has both.
    pub(super) fn keys(&self) -> Result<Option<AwsCredential>, CredentialsError> {
        let key_id = self.value("aws_access_key_id");
        let (Some(key_id), Some(secret)) = (key_id, self.value("aws_secret_access_key")) else {
            return Ok(None);
        };
        let keys = AwsCredential {
            key_id: key_id.to_owned(),
            secret_key: secret.to_owned(),
            token: self.value("aws_session_token").map(str::to_owned),
        };
        check(&keys)?;
        Ok(Some(keys))
    }
}
