//! Whether each key stands once in its JSON object.
//!
//! RFC 8259 leaves open which of two equal keys counts, and readers differ. What is signed must mean
//! the same to each of them.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::text::{Text, shown};

/// Maximum number of keys in one text. Each takes memory.
const MAX_KEYS: usize = 100_000;

/// Why a text is refused.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be read in one way only: {0}")]
pub struct UniqueKeysError(#[from] serde_json::Error);

/// Checks the JSON `text`.
pub fn check(text: &[u8]) -> Result<(), UniqueKeysError> {
    let keys = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    AnyValue(&keys).deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
}

/// Any value. Counts the keys of all objects.
#[derive(Clone, Copy)]
struct AnyValue<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys: BTreeSet<Cow<'de, str>> = BTreeSet::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            self.0.set(self.0.get() + 1);
            if self.0.get() > MAX_KEYS {
                return Err(A::Error::custom(format!(
                    "it has more than {MAX_KEYS} keys"
                )));
            }
            if let Some(key) = keys.replace(key) {
                let key = shown(&key);
                return Err(A::Error::custom(format!("the key \"{key}\" stands twice")));
            }
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_stands_twice_in_one_object_is_refused() {
        let text = r#"{"a": [{"a": 1, "b": null}, {"a": true}], "b": {"a": "x", "c": -1.5}}"#;
        check(text.as_bytes()).unwrap();
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"[[{"b": {"a": 1, "a": {}}}]]"#,
            r#"{"\u0061": 1, "a": 1}"#,
        ] {
            let error = check(twice.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("the key \"a\" stands twice"), "{error}");
        }
        // Upper case makes another key for Velero as well.
        check(br#"{"a": 1, "A": 1}"#).unwrap();
        for broken in ["", "{", "{}x", "{\"a\"}"] {
            assert!(check(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_work_is_bounded() {
        let of = |keys: usize| {
            let keys: Vec<String> = (0..keys).map(|n| format!("{{\"{n}\":1}}")).collect();
            format!("[{}]", keys.join(","))
        };
        check(of(MAX_KEYS).as_bytes()).unwrap();
        let error = check(of(MAX_KEYS + 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 100000 keys"), "{error}");
        let deep = "[".repeat(1000);
        assert!(
            check(deep.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("recursion")
        );
    }
}
