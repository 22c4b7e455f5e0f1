//! Lenient deserialization: `null` means "not set", and a field that is only reported makes no
//! object unreadable.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::text::Text;

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

/// A field that is only reported: a value of another type counts as not set.
pub(super) trait Reported<'de>: Default {
    /// Reads a text.
    fn of_text(_: Cow<'de, str>) -> Self {
        Self::default()
    }

    /// Reads a truth value.
    fn of_bool(_: bool) -> Self {
        Self::default()
    }

    /// Reads an object.
    fn of_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Self::default())
    }
}

impl<'de> Reported<'de> for Option<String> {
    fn of_text(text: Cow<'de, str>) -> Self {
        Some(text.into_owned())
    }
}

impl Reported<'_> for Option<bool> {
    fn of_bool(value: bool) -> Self {
        Some(value)
    }
}

impl<'de> Reported<'de> for Option<Text<'de>> {
    fn of_text(text: Cow<'de, str>) -> Self {
        Some(Text(text))
    }
}

/// Reads a value, and its default where it or a part of it is of another type. The value is kept in
/// memory until its end, in many times the size of its JSON, so this is only for what the API server
/// sends. For what a caller sends, there is [`reported`].
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

/// Reads a value, and its default where there is a value of another type. Nothing is kept of that.
pub(super) fn reported<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Reported<'de>,
{
    struct AnyValue<T>(PhantomData<T>);

    impl<'de, T: Reported<'de>> Visitor<'de> for AnyValue<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
            Ok(T::of_text(Cow::Borrowed(text)))
        }

        fn visit_str<E>(self, text: &str) -> Result<T, E> {
            Ok(T::of_text(Cow::Owned(text.to_owned())))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::of_map(map)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
            IgnoredAny.visit_seq(list).map(|_| T::default())
        }

        fn visit_unit<E>(self) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_bool<E>(self, value: bool) -> Result<T, E> {
            Ok(T::of_bool(value))
        }

        fn visit_i64<E>(self, _: i64) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<T, E> {
            Ok(T::default())
        }
    }

    deserializer.deserialize_any(AnyValue(PhantomData))
}
