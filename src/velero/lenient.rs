//! Lenient deserialization: `null` means "not set".

use serde::{Deserialize, Deserializer};

/// Reads a value, or the type's default for `null`. Together with `#[serde(default)]`, which
/// handles an absent field, this reads an object written by hand and one written by Go the same
/// way.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
