//! Splits the JSON of a list into its objects while it arrives.
//!
//! A page of the largest objects has tens of megabytes, and as a tree of values ten times as much.
//! Only one object at a time is held, as text.

use serde::Deserialize;

/// What precedes the objects of a list.
const ITEMS_KEY: &[u8] = b"\"items\"";

/// A list of which a part has arrived.
#[derive(Debug, Default)]
pub(in crate::kubernetes) struct ListSplitter {
    /// Number of objects and arrays around the current byte.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Whether the current byte belongs to the array of objects.
    in_items: bool,
    /// The object that has not arrived as a whole.
    item: Vec<u8>,
    /// The list without its objects.
    envelope: Vec<u8>,
}

/// The metadata of a list.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::kubernetes) struct ListMetadata {
    /// The version at which a watch continues.
    pub(in crate::kubernetes) resource_version: Option<String>,
    /// The token for the next page; none or empty on the last.
    #[serde(rename = "continue")]
    pub(in crate::kubernetes) continue_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    metadata: ListMetadata,
}

impl ListSplitter {
    /// Reads the next `bytes` of the list. Calls `found` with the text of each object that is
    /// complete.
    pub(in crate::kubernetes) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(&[u8])) {
        for &byte in bytes {
            let was_outside = !self.in_items;
            let is_structure = !self.in_string;
            self.scan(byte);
            if was_outside || !self.in_items {
                self.envelope.push(byte);
                continue;
            }
            // Between two objects are a comma and white space.
            let is_last = is_structure && byte == b'}' && self.depth == 2;
            if self.depth > 2 || is_last {
                self.item.push(byte);
            }
            if is_last {
                found(&self.item);
                self.item.clear();
            }
        }
    }

    fn scan(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                let may_begin = byte == b'[' && self.depth == 1;
                if may_begin && ends_with_items_key(&self.envelope) {
                    self.in_items = true;
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 {
                    self.in_items = false;
                }
            }
            _ => {}
        }
    }

    /// Returns the metadata of the list, which has arrived as a whole. Fails if it is no JSON or
    /// was cut off.
    pub(in crate::kubernetes) fn finish(self) -> serde_json::Result<ListMetadata> {
        Ok(serde_json::from_slice::<Envelope>(&self.envelope)?.metadata)
    }
}

/// Whether `text` ends in the key of the objects and a colon.
fn ends_with_items_key(text: &[u8]) -> bool {
    let before_colon = text.trim_ascii_end().strip_suffix(b":");
    before_colon.is_some_and(|text| text.trim_ascii_end().ends_with(ITEMS_KEY))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(text: &str, piece: usize) -> (Vec<Value>, serde_json::Result<ListMetadata>) {
        let mut splitter = ListSplitter::default();
        let mut items = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            splitter.push(bytes, |item| {
                items.push(serde_json::from_slice(item).unwrap());
            });
        }
        (items, splitter.finish())
    }

    #[test]
    fn finds_each_object_and_the_metadata_before_or_after_them() {
        let items = [
            json!({"a": {"items": [{"b": "}]\\\"{"}]}, "c": [[], {}]}),
            json!({}),
            json!({"\"items\":[": "\u{1}\u{e9}"}),
        ];
        let metadata = json!({"resourceVersion": "5", "continue": "t", "items": [{"not": "one"}]});
        let pretty = serde_json::to_string_pretty(&items).unwrap();
        for text in [
            format!(
                r#"{{"kind":"List","metadata":{metadata},"items":{}}}"#,
                json!(items)
            ),
            format!(r#"{{"items" : {pretty} , "kind":"List", "metadata":{metadata}}}"#),
        ] {
            for piece in [1, 2, 7, 10_000] {
                let (found, metadata) = split(&text, piece);
                assert_eq!(found, items);
                let metadata = metadata.unwrap();
                assert_eq!(metadata.resource_version.as_deref(), Some("5"));
                assert_eq!(metadata.continue_token.as_deref(), Some("t"));
            }
        }
        assert_eq!(split(r#"{"items":[]}"#, 3).0, [json!(null); 0]);
        assert_eq!(
            split(r#"{"items":null,"metadata":{}}"#, 3).1.unwrap(),
            ListMetadata::default()
        );
    }

    #[test]
    fn a_list_that_is_cut_off_is_no_list() {
        let text = r#"{"metadata":{"resourceVersion":"5"},"items":[{"a":1},{"b":2}]}"#;
        for length in 0..text.len() {
            assert!(split(&text[..length], 100).1.is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut splitter = ListSplitter::default();
            splitter.push(&bytes, |_| {});
            splitter.push(b"{\"items\":[", |_| {});
            splitter.push(&bytes, |_| {});
        }

        #[test]
        fn keys_and_texts_never_end_an_object(
            texts in proptest::collection::vec((".*", ".*"), 0..4),
            piece in 1..50_usize,
        ) {
            let items: Vec<_> = texts.iter().map(|(key, text)| json!({key: text})).collect();
            let text = json!({"items": items, "metadata": {"resourceVersion": "1"}});
            let (found, metadata) = split(&text.to_string(), piece);
            prop_assert_eq!(found, items);
            prop_assert!(metadata.is_ok());
        }
    }
}
