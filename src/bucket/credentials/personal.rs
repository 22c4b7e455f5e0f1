//! The credentials of whoever runs a command: of the environment, else of the file of AWS's tools,
//! else the identity of the machine.

use std::path::PathBuf;

use object_store::aws::AwsCredential;

use super::identity::Services;
use super::{AwsCredentials, CredentialsError, Identity as _, OwnIdentity, ini};

/// Reads them. `variable` reads the environment, and `read` a file; `None` if there is no such file.
/// `profile` is the one that was asked for, else that of `AWS_PROFILE`, else `default`.
pub fn read(
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&PathBuf) -> Option<String>,
    profile: Option<&str>,
    region: &str,
    services: Services,
) -> Result<AwsCredentials, CredentialsError> {
    let own = OwnIdentity { variable, services };
    let set = |name: &str| (own.variable)(name).filter(|value| !value.is_empty());
    let asked = profile.map(str::to_owned).or_else(|| set("AWS_PROFILE"));
    if profile.is_none() {
        let keys = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"));
        if let (Some(key_id), Some(secret_key)) = keys {
            let token = set("AWS_SESSION_TOKEN");
            let keys = AwsCredential {
                key_id,
                secret_key,
                token,
            };
            return AwsCredentials::fixed(keys);
        }
    }
    let home = || Some(PathBuf::from(set("HOME")?).join(".aws/credentials"));
    let file = set("AWS_SHARED_CREDENTIALS_FILE")
        .map(PathBuf::from)
        .or_else(home);
    if let Some(text) = file.and_then(|file| read(&file)) {
        let found = ini::read(&text, asked.as_deref().unwrap_or("default"));
        match found {
            Ok(profile) => {
                let region = Some(region).filter(|region| !region.is_empty());
                return AwsCredentials::of_profile(profile, region, &own);
            }
            // Without a wish for it, the default profile may be absent.
            Err(CredentialsError::NoProfile { .. }) if asked.is_none() => {}
            Err(error) => return Err(error),
        }
    } else if let Some(profile) = asked {
        return Err(CredentialsError::NoProfile { profile });
    }
    Ok(AwsCredentials::of_provider(own.aws(region)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::connector::{Timing, Trust};
    use crate::ca::endpoint::DeniedAddresses;
    use crate::dial::Proxies;

    fn keys(
        variables: &[(&str, &str)],
        file: Option<&str>,
        profile: Option<&str>,
    ) -> Result<String, CredentialsError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let contents = |path: &PathBuf| {
            let is_file = path.ends_with(".aws/credentials") || path.ends_with("elsewhere");
            file.filter(|_| is_file).map(str::to_owned)
        };
        let services = Services {
            trust: Trust::Everything,
            denied: DeniedAddresses::nothing(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        };
        let found = read(variable, contents, profile, "us-east-1", services)?;
        Ok(key_id(&found))
    }

    fn key_id(credentials: &AwsCredentials) -> String {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.build().unwrap();
        let keys = runtime.block_on(credentials.provider.get_credential());
        keys.unwrap().key_id.clone()
    }

    #[test]
    fn they_are_looked_for_in_the_order_of_the_tools() {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("HOME", "/home/u"),
        ];
        let file = "[default]\naws_access_key_id=D\naws_secret_access_key=s\n\
            [p]\naws_access_key_id=P\naws_secret_access_key=s\n";
        let of = |variables: &[(&str, &str)], profile| keys(variables, Some(file), profile);
        assert_eq!(of(&environment, None).unwrap(), "E");
        // Who names a profile means it.
        assert_eq!(of(&environment, Some("p")).unwrap(), "P");
        assert_eq!(of(&environment[2..], None).unwrap(), "D");
        let elsewhere = [
            ("AWS_SHARED_CREDENTIALS_FILE", "/elsewhere"),
            ("AWS_PROFILE", "p"),
        ];
        assert_eq!(of(&elsewhere, None).unwrap(), "P");
        let profile = "q".to_owned();
        let absent = Err(CredentialsError::NoProfile { profile });
        assert_eq!(of(&elsewhere, Some("q")), absent);
        assert_eq!(keys(&environment, None, Some("q")), absent);
    }
}
