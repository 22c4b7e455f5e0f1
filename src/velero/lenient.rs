//! Leniency of the views: `null` is "not set".

use serde::{Deserialize, Deserializer};

/// Reads a value, and its default where there is a `null`. With `#[serde(default)]` for the field
/// that is not there at all, an object written by hand and one written by Go read the same.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
