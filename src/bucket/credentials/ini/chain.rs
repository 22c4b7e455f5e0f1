//! The profiles that lead from one to the other, until one has keys.

use super::profile::ProfileSections;
use super::role::read_role;
use super::sections::Sections;
use crate::bucket::credentials::CredentialsError;
use crate::bucket::credentials::source::{Source, TokenFile};

/// Most roles that lead from one to the other.
const MAX_ROLES: usize = 5;

/// Settings that say where keys come from. A profile may have one of them.
const SOURCES: [&str; 4] = [
    "source_profile",
    "credential_source",
    "credential_process",
    "web_identity_token_file",
];

/// The places where the SDK looks for keys with `credential_source`. Each is one of Velero's Pod; for
/// velero-trust, it is the identity of its own Pod.
const OWN: [&str; 3] = ["Ec2InstanceMetadata", "EcsContainer", "Environment"];

/// Settings with which the SDK gets keys in a way that velero-trust does not have.
const NOT_SUPPORTED: [&str; 3] = ["sso_session", "sso_start_url", "credential_process"];

/// The profiles that led to the one that is read.
pub(super) struct Chain<'a> {
    sections: &'a Sections<'a>,
    profiles: Vec<&'a str>,
}

impl<'a> Chain<'a> {
    /// Begins with any profile.
    pub(super) const fn new(sections: &'a Sections<'a>) -> Self {
        let profiles = Vec::new();
        Self { sections, profiles }
    }

    /// Returns where the keys of `profile` come from, in the order of the SDK (`resolveCredsFromProfile`).
    pub(super) fn source(
        mut self,
        profile: &'a str,
        settings: &ProfileSections<'a>,
    ) -> Result<Source, CredentialsError> {
        let keys = settings.keys()?;
        let mut named = SOURCES
            .into_iter()
            .filter_map(|name| settings.setting(name));
        let (first, second) = (named.next(), named.next());
        if let (Some(first), Some(second)) = (first, second) {
            return Err(CredentialsError::TwoSources(first, second));
        }
        let role = read_role(settings)?;
        if let Some(setting) = first.filter(|it| role.is_none() && it.name != "credential_process")
        {
            let problem = "needs a role_arn in its profile; add the role, or remove the setting";
            return Err(CredentialsError::Setting(setting, problem));
        }
        if let Some(setting) = settings.setting("mfa_serial").filter(|_| role.is_some()) {
            return Err(CredentialsError::NotSupported(setting));
        }
        self.profiles.push(profile);
        let source = if let Some(other) = settings.value("source_profile") {
            self.linked(other, settings)?
        } else if let Some(keys) = keys {
            Source::Keys(keys)
        } else if let Some(setting) = settings.setting("credential_source") {
            let own = settings.value("credential_source").unwrap_or_default();
            if !OWN.contains(&own) {
                let problem = "must be Ec2InstanceMetadata, EcsContainer or Environment";
                return Err(CredentialsError::Setting(setting, problem));
            }
            Source::Own
        } else if let (Some(setting), Some(role)) =
            (settings.setting("web_identity_token_file"), &role)
        {
            let path = settings.value(setting.name).unwrap_or_default().to_owned();
            let token = TokenFile { path, setting };
            let role = role.clone();
            return Ok(Source::WebIdentity { role, token });
        } else if let Some(other) = NOT_SUPPORTED
            .into_iter()
            .find_map(|it| settings.setting(it))
        {
            return Err(CredentialsError::NotSupported(other));
        } else if role.is_none() {
            return Err(CredentialsError::NoKeys);
        } else {
            // The SDK takes the identity of the machine.
            Source::Own
        };
        Ok(match role {
            Some(role) => Source::Role {
                role,
                source: Box::new(source),
            },
            None => source,
        })
    }

    /// Returns where the keys of the profile `other` come from, which `settings` name.
    fn linked(
        self,
        other: &'a str,
        settings: &ProfileSections<'a>,
    ) -> Result<Source, CredentialsError> {
        let fails = |problem| {
            let setting = settings.setting("source_profile");
            setting.map_or(CredentialsError::NoKeys, |setting| {
                CredentialsError::Setting(setting, problem)
            })
        };
        let found = ProfileSections::of(self.sections, other).ok_or_else(|| {
            fails("names a profile that they do not have; add it, or correct the name")
        })?;
        // A profile to which another one leads, and which has keys, gives nothing else.
        if let Some(keys) = found.keys()? {
            return Ok(Source::Keys(keys));
        }
        if self.profiles.contains(&other) {
            return Err(fails(
                "leads back to its own profile; name a profile with keys",
            ));
        }
        if self.profiles.len() >= MAX_ROLES {
            return Err(fails(
                "is the sixth role in a row; name a profile with keys",
            ));
        }
        match self.source(other, &found) {
            Err(CredentialsError::NoKeys) => Err(fails(
                "names a profile without an aws_access_key_id and an aws_secret_access_key; add both to it",
            )),
            source => source,
        }
    }
}
