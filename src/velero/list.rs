//! Lists and maps that are read up to a bound, because memory is needed for each entry, however
//! short its JSON is.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::text::Text;

/// The first `MAX` entries of a list. Whether there were more is known; what they were is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize> {
    entries: Vec<T>,
    is_cut: bool,
}

impl<T, const MAX: usize> List<T, MAX> {
    /// Whether the list has more than `MAX` entries.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            is_cut: false,
        }
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Entries<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut read = List::default();
                while read.entries.len() < MAX {
                    match list.next_element()? {
                        Some(entry) => read.entries.push(entry),
                        None => return Ok(read),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    read.is_cut = true;
                }
                Ok(read)
            }
        }

        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

/// Reads a map of at most `MAX` entries, `null` as `None`. One with more is an error: a check that
/// does not see an entry must not pass the object.
pub(super) fn bounded_map<'de, D, const MAX: usize>(
    deserializer: D,
) -> Result<Option<BTreeMap<Text<'de>, Text<'de>>>, D::Error>
where
    D: Deserializer<'de>,
{
    let map = Option::<Bounded<'de, MAX>>::deserialize(deserializer)?;
    Ok(map.map(|Bounded(map)| map))
}

struct Bounded<'a, const MAX: usize>(BTreeMap<Text<'a>, Text<'a>>);

impl<'de, const MAX: usize> Deserialize<'de> for Bounded<'de, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<const MAX: usize>;

        impl<'de, const MAX: usize> Visitor<'de> for Entries<MAX> {
            type Value = Bounded<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    read.insert(key, value);
                    if read.len() > MAX {
                        return Err(A::Error::custom(format!(
                            "a map has more than {MAX} entries"
                        )));
                    }
                }
                Ok(Bounded(read))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_bound_and_says_if_there_was_more() {
        let read = |json| serde_json::from_str::<List<u8, 2>>(json).unwrap();
        for (json, entries, is_cut) in [
            ("[]", &[][..], false),
            ("[1]", &[1], false),
            ("[1, 2]", &[1, 2], false),
            ("[1, 2, 3]", &[1, 2], true),
            // What is beyond may be anything.
            ("[1, 2, {}, [[]]]", &[1, 2], true),
        ] {
            let list = read(json);
            assert_eq!((&*list, list.is_cut()), (entries, is_cut), "{json}");
        }
        for json in ["{}", "1", "[1, {}]", "[1, 2, 3"] {
            assert!(serde_json::from_str::<List<u8, 2>>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_map_with_more_entries_than_its_bound_is_an_error() {
        let read = |json| bounded_map::<_, 2>(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(read("null").unwrap(), None);
        assert_eq!(read("{}").unwrap(), Some(BTreeMap::new()));
        let map = read(r#"{"a": "1", "b": "2", "a": "3"}"#).unwrap().unwrap();
        let pairs: Vec<_> = map.iter().map(|(key, value)| (&**key, &**value)).collect();
        // As Go reads it, the last of several counts.
        assert_eq!(pairs, [("a", "3"), ("b", "2")]);
        let error = read(r#"{"a": "1", "b": "2", "c": "3", "d": 4}"#).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("a map has more than 2 entries"), "{said}");
    }
}
