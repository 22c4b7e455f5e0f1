//! The role of a profile, which is checked before anybody is asked for it. So a value that is none, such as
//! a key in the wrong place, is neither sent nor shown.

use super::profile::ProfileSections;
use crate::bucket::credentials::CredentialsError;
use crate::bucket::credentials::source::Role;

/// Shortest and longest name of a role. AWS's own limits.
const ARN_BYTES: (usize, usize) = (20, 2048);

/// Shortest and longest time for which AWS gives keys, in seconds.
const SECONDS: (i64, i64) = (900, 43_200);

/// Returns the role of a profile, if it has one.
pub(super) fn read_role(settings: &ProfileSections<'_>) -> Result<Option<Role>, CredentialsError> {
    let checked = |name, is_good: fn(&str) -> bool, problem| match (
        settings.setting(name),
        settings.value(name),
    ) {
        (Some(setting), Some(value)) if !is_good(value) => {
            Err(CredentialsError::Setting(setting, problem))
        }
        (_, value) => Ok(value.map(str::to_owned)),
    };
    let arn = checked(
        "role_arn",
        is_role_arn,
        "is not the name of a role; write arn:aws:iam::ACCOUNT:role/NAME",
    )?;
    let Some(arn) = arn else { return Ok(None) };
    let seconds = checked(
        "duration_seconds",
        is_duration,
        "must be a number from 900 to 43200",
    )?;
    Ok(Some(Role {
        arn,
        session_name: checked(
            "role_session_name",
            |value| (2..=64).contains(&value.len()) && value.bytes().all(is_name),
            "must have 2 to 64 letters, digits and characters of _+=,.@-",
        )?,
        external_id: checked(
            "external_id",
            |value| {
                let is_part = |byte| is_name(byte) || b":/".contains(&byte);
                (2..=1224).contains(&value.len()) && value.bytes().all(is_part)
            },
            "must have 2 to 1224 letters, digits and characters of _+=,.@:/-",
        )?,
        // The SDK takes what is no number for the usual one.
        duration: seconds.and_then(|it| it.parse().ok()).filter(|it| *it != 0),
        endpoint: settings.endpoint(),
    }))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// Whether it is the name of a role: `arn:aws:iam::123456789012:role/path/name`. The partition and the account
/// are other ones in stores that are not AWS.
fn is_role_arn(text: &str) -> bool {
    let (shortest, longest) = ARN_BYTES;
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let is_arn = next() == "arn" && !next().is_empty() && next() == "iam" && next().is_empty();
    let is_account = next().bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = next().strip_prefix("role/").unwrap_or_default();
    let is_role = !name.is_empty() && name.bytes().all(|byte| is_name(byte) || byte == b'/');
    is_arn && is_account && is_role && (shortest..=longest).contains(&text.len())
}

/// Whether the service takes it, or the SDK does not send it.
fn is_duration(text: &str) -> bool {
    let (shortest, longest) = SECONDS;
    match text.parse() {
        Ok(0_i64) | Err(_) => true,
        Ok(seconds) => (shortest..=longest).contains(&seconds),
    }
}
