//! Lenient deserialization: `null` means "not set", and a field that is only reported makes no
//! object unreadable.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// Reads a value, or the type's default for `null`. Together with `#[serde(default)]`, which
/// handles an absent field, this reads an object written by hand and one written by Go the same
/// way.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a value, and its default where there is a value of another type. For fields that are only
/// reported: an object is not refused because of them.
pub(super) fn wrong_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read<T> {
        Right(T),
        Wrong(IgnoredAny),
    }
    Ok(match Read::deserialize(deserializer)? {
        Read::Right(value) => value,
        Read::Wrong(_) => T::default(),
    })
}
