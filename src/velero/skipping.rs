//! Deserialization that skips what is of the wrong type without holding it, however large it is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a text, or `None` where there is a value of another type.
pub(super) fn text_or_none<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TextVisitor)
}

/// Reads an object, or its default where there is a value of another type.
pub(super) fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

/// Implements the methods of a visitor that skip a value: the result is the default.
macro_rules! skip_scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<String>;

    skip_scalars!();

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    skip_scalars!();

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "text_or_none")]
        text: Option<String>,
        #[serde(deserialize_with = "object_or_default")]
        object: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(deserialize_with = "text_or_none")]
        text: Option<String>,
    }

    #[test]
    fn what_is_of_another_type_is_as_if_it_were_not_there() {
        let wrong = [
            "null",
            "true",
            "-1",
            "1",
            "1.5",
            "[1, [2], {}]",
            r#"[{"text": "x"}]"#,
        ];
        for value in wrong {
            let json = format!(r#"{{"text": {value}, "object": {value}, "more": {value}}}"#);
            assert_eq!(
                serde_json::from_str::<Outer>(&json).unwrap(),
                Outer::default()
            );
            let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
            assert_eq!(Outer::deserialize(&json).unwrap(), Outer::default());
        }
        let json = r#"{"text": {"text": "x"}, "object": "x"}"#;
        assert_eq!(
            serde_json::from_str::<Outer>(json).unwrap(),
            Outer::default()
        );
        let json = r#"{"text": "a\n", "object": {"text": "b", "c": 1}}"#;
        let read = serde_json::from_str::<Outer>(json).unwrap();
        assert_eq!(read.text.as_deref(), Some("a\n"));
        assert_eq!(read.object.text.as_deref(), Some("b"));
    }
}
