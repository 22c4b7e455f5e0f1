//! The file of credentials of AWS's tools.
//!
//! The aws plugin hands the file to the AWS SDK for Go, as file of credentials and as file of
//! configuration at once. This reads it line by line as that does (`config/internal/ini`,
//! `config/shared_config.go`, `config/resolve_credentials.go`). A general reader of INI files would
//! read other values out of it: comments, quotes, colons and continuations differ.

use std::collections::BTreeMap;

use object_store::aws::AwsCredential;

use super::CredentialsError;
use crate::bucket::settings::is_visible;

/// What a profile says.
#[derive(Debug)]
pub struct Profile {
    /// The keys.
    pub keys: AwsCredential,
    /// The region, which counts if the BSL has none.
    pub region: Option<String>,
    /// The setting with which it says where the store is. It counts if the BSL has no URL.
    pub endpoint: Option<&'static str>,
}

/// The settings from which the SDK takes the URL of the store (`config/shared_config.go`).
const ENDPOINTS: [&str; 2] = ["endpoint_url", "services"];

/// The settings of a section.
type Section<'a> = BTreeMap<String, &'a str>;

/// Reads `profile` in the text of a file.
pub fn read(text: &str, profile: &str) -> Result<Profile, CredentialsError> {
    let sections = sections(text);
    let of_configuration = sections.get(format!("profile {profile}").as_str());
    let of_credentials = sections.get(profile);
    if of_configuration.is_none() && of_credentials.is_none() {
        let profile = profile.to_owned();
        return Err(CredentialsError::NoProfile { profile });
    }
    let value = |key: &str| {
        let both = [of_credentials, of_configuration].into_iter().flatten();
        let mut values = both.filter_map(|section| section.get(key).copied());
        values.find(|value| !value.is_empty())
    };
    // The SDK assumes a role whatever else there is.
    if value("role_arn").is_some() {
        return Err(CredentialsError::NotSupported("role_arn"));
    }
    let key_id = value("aws_access_key_id");
    let secret = value("aws_secret_access_key");
    let (Some(key_id), Some(secret)) = (key_id, secret) else {
        let others = [
            "credential_source",
            "web_identity_token_file",
            "sso_session",
            "sso_start_url",
            "credential_process",
        ];
        let other = others.into_iter().find(|key| value(key).is_some());
        return Err(other.map_or(CredentialsError::NoKeys, CredentialsError::NotSupported));
    };
    let keys = AwsCredential {
        key_id: key_id.to_owned(),
        secret_key: secret.to_owned(),
        token: value("aws_session_token").map(str::to_owned),
    };
    check(&keys)?;
    let region = value("region").map(str::to_owned);
    let endpoint = ENDPOINTS.into_iter().find(|key| value(key).is_some());
    Ok(Profile {
        keys,
        region,
        endpoint,
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

fn sections(text: &str) -> BTreeMap<String, Section<'_>> {
    let mut sections: BTreeMap<String, Section<'_>> = BTreeMap::new();
    let mut current: Option<String> = None;
    // The property that an indented line may belong to.
    let mut last: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = section_name(line) {
            sections.entry(name.clone()).or_default();
            current = Some(name);
            last = None;
            continue;
        }
        let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name)) else {
            continue;
        };
        if line.starts_with([' ', '\t']) {
            let Some((key, value)) = property(trimmed) else {
                // A continuation, which none of the settings that are read here has.
                continue;
            };
            // Below an empty value it is a setting of that; elsewhere it is one of the section.
            let is_nested = last
                .as_ref()
                .is_some_and(|last| section.get(last).is_some_and(|value| value.is_empty()));
            if !is_nested {
                last = Some(key.clone());
                section.insert(key, without_comment(value).trim());
            }
            continue;
        }
        if let Some((key, value)) = property(without_comment(line).trim_end()) {
            last = Some(key.clone());
            section.insert(key, value);
        }
    }
    sections
}

/// Returns the name of a section, with one space between its two words: `[ profile  a ] # comment`.
fn section_name(line: &str) -> Option<String> {
    let text = line.split(['#', ';']).next()?.trim();
    let name = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut words = name.splitn(2, [' ', '\t']);
    let first = words.next()?;
    Some(match words.next() {
        Some(second) => format!("{first} {}", second.trim_start()),
        None => first.to_owned(),
    })
}

fn without_comment(text: &str) -> &str {
    let starts = [" #", " ;", "\t#", "\t;"];
    let ends = starts.iter().filter_map(|start| text.find(start));
    let end = ends.min().unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Splits at the first equals sign or colon. Keys are compared in lower case, and quotes around the
/// value are removed.
fn property(text: &str) -> Option<(String, &str)> {
    let (key, value) = text.split_once(['=', ':'])?;
    let value = value.trim();
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('\'').or_else(|| quoted('"')).unwrap_or(value);
    Some((key.trim().to_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str, profile: &str) -> Result<String, String> {
        let profile = read(text, profile).map_err(|error| error.to_string())?;
        let AwsCredential {
            key_id,
            secret_key,
            token,
        } = &profile.keys;
        let token = token.as_deref().unwrap_or("-");
        let region = profile.region.as_deref().unwrap_or("-");
        Ok(format!("{key_id} {secret_key} {token} {region}"))
    }

    #[test]
    fn the_usual_file_is_read() {
        let text = "[default]\naws_access_key_id=A\naws_secret_access_key=S/+=\n";
        assert_eq!(keys(text, "default").unwrap(), "A S/+= - -");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(keys(&windows, "default").unwrap(), "A S/+= - -");
    }

    #[test]
    fn lines_are_read_as_the_sdk_reads_them() {
        let text = "ignored = before any section\n\
            # comment\n  ; comment\n\
            [ default ] # comment\n\
            AWS_Access_Key_Id : A#1 ; comment\n\
            aws_secret_access_key = \"S = 1\"\t# comment\n\
            \x20 region = r1 # comment\n\
            [profile\t two]\n\
            aws_access_key_id = B\n\
            s3 =\n\
            \x20 aws_access_key_id = nested\n\
            no property\n\
            aws_secret_access_key = 'T'\n\
            [two]\n\
            aws_session_token = U\n\
            [two]\n\
            region = r2\n";
        assert_eq!(keys(text, "default").unwrap(), "A#1 S = 1 - r1");
        assert_eq!(keys(text, "two").unwrap(), "B T U r2");
    }

    #[test]
    fn what_has_no_keys_is_told_by_its_name_and_quotes_nothing() {
        let secret = "top-secret";
        for (line, said) in [
            ("role_arn = a\naws_access_key_id = b", "role_arn"),
            ("credential_process = top-secret", "credential_process"),
            (
                "web_identity_token_file = top-secret",
                "web_identity_token_file",
            ),
            ("credential_source = Environment", "credential_source"),
            ("sso_start_url = https://top-secret", "sso_start_url"),
            ("aws_access_key_id = A", "aws_secret_access_key"),
            (
                "aws_access_key_id =\naws_secret_access_key = top-secret",
                "aws_secret_access_key",
            ),
            (
                "aws_access_key_id = ü\naws_secret_access_key = top-secret",
                "aws_access_key_id",
            ),
            (
                "aws_access_key_id = A\naws_secret_access_key = top-secret\naws_session_token = a b",
                "aws_session_token",
            ),
        ] {
            let error = keys(&format!("[default]\n{line}\n"), "default").unwrap_err();
            assert!(
                error.contains(said) && !error.contains(secret),
                "{line}: {error}"
            );
        }
        let error = keys("top-secret", "default").unwrap_err();
        assert!(
            error.contains("no profile `default`") && !error.contains(secret),
            "{error}"
        );
    }

    #[test]
    fn a_profile_that_says_where_the_store_is_is_told() {
        let keys = "[default]\naws_access_key_id = k\naws_secret_access_key = s\n";
        let endpoint = |more: &str| {
            let read = read(&format!("{keys}{more}"), "default");
            read.unwrap().endpoint
        };
        assert_eq!(endpoint("region = r\n"), None);
        assert_eq!(
            endpoint("endpoint_url = https://evil\n"),
            Some("endpoint_url")
        );
        assert_eq!(
            endpoint("services = s\n[services s]\ns3 =\n  endpoint_url = https://evil\n"),
            Some("services")
        );
    }
}
