//! YAML files as documents whose every value knows its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::decision::{FieldPath, Segment};

/// One YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which one of its file, from 1.
    pub number: usize,
    /// The line of the file in which it begins, from 1.
    pub line: u64,
    tree: Tree,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {number}, line {line}: {message}")]
pub struct NotYaml {
    /// Which document, from 1.
    pub number: usize,
    /// The line of the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub message: String,
}

#[derive(Clone, Debug)]
struct Tree {
    /// The line within the document's text, from 1.
    line: u64,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Value),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// Reads all documents of `text`; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, NotYaml> {
    let mut documents = Vec::new();
    for (number, (line, part)) in (1..).zip(split(text)) {
        let tree = parse(part).map_err(|error| NotYaml {
            number,
            line: line - 1 + error.location().map_or(1, |location| location.line()),
            message: explain(part, &error),
        })?;
        if !matches!(tree.node, Node::Leaf(Value::Null)) {
            documents.push(Document { number, line, tree });
        }
    }
    Ok(documents)
}

/// The parts between `---` lines, each with its first line. YAML knows no `---` at the start of
/// a line inside a value, so that the split needs no parser.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let marker = content.trim_end();
        if marker == "---" || marker.starts_with("--- ") || marker.starts_with("---\t") {
            parts.push((first_line, text.get(start..offset).unwrap_or_default()));
            // What stands behind the marker belongs to the new document.
            start = offset + 3;
            first_line = line;
        }
        offset += content.len();
    }
    parts.push((first_line, text.get(start..).unwrap_or_default()));
    parts.retain(|(_, part)| !part.trim().is_empty());
    parts
}

fn parse(text: &str) -> Result<Tree, serde_saphyr::Error> {
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
}

fn explain(text: &str, error: &serde_saphyr::Error) -> String {
    if text.contains("{{") && text.contains("}}") {
        return "this is a template, not a manifest; render it first (`helm template`)".to_owned();
    }
    format!(
        "not YAML: {}",
        error.to_string().lines().next().unwrap_or_default()
    )
}

impl Document {
    /// The document as JSON.
    pub fn to_json(&self) -> Value {
        self.tree.to_json()
    }

    /// The documents in a Kubernetes `List`, or the document itself.
    pub fn flatten(self) -> Vec<Self> {
        let is_list = matches!(self.tree.get("kind"), Some(Tree { node: Node::Leaf(Value::String(kind)), .. }) if kind.ends_with("List"));
        let items = match self.tree.get("items") {
            Some(Tree {
                node: Node::List(items),
                ..
            }) if is_list => items.clone(),
            _ => return vec![self],
        };
        let (number, line) = (self.number, self.line);
        // Lines of the items count from the document's start as well.
        items
            .into_iter()
            .flat_map(|tree| Self { number, line, tree }.flatten())
            .collect()
    }

    /// The line of the file, from 1, in which the object itself begins.
    pub fn first_line(&self) -> u64 {
        self.line - 1 + self.tree.line
    }

    /// The line of the file, from 1, with the value at `path`; where that is not there, with the
    /// nearest value that holds it.
    pub fn line_of(&self, path: &FieldPath) -> u64 {
        let mut tree = &self.tree;
        for segment in path.segments() {
            let next = match (segment, &tree.node) {
                (Segment::Field(name), _) => tree.get(name),
                (Segment::Key(name), _) => tree.get(name),
                (Segment::Index(index), Node::List(list)) => list.get(*index),
                (Segment::Index(_), _) => None,
            };
            match next {
                Some(next) => tree = next,
                None => break,
            }
        }
        self.line - 1 + tree.line
    }
}

impl Tree {
    fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Map(map) => map
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, tree)| tree),
            Node::Leaf(_) | Node::List(_) => None,
        }
    }

    fn to_json(&self) -> Value {
        match &self.node {
            Node::Leaf(value) => value.clone(),
            Node::List(list) => list.iter().map(Self::to_json).collect(),
            Node::Map(map) => {
                let pairs = map.iter().map(|(key, tree)| (key.clone(), tree.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value, referenced, ..
        } = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self {
            line: referenced.line(),
            node: value,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(tree) = seq.next_element()? {
            list.push(tree);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = access.next_entry()? {
            map.push(pair);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line_in_the_file() {
        let text = "# comment\n---\nkind: A\nspec:\n  ca: |\n    x\n    y\n  n: 3\n--- # second\n\nkind: B\n";
        let documents = documents(text).unwrap();
        // The first part is a comment only: no document.
        assert_eq!(documents.len(), 2);
        let [a, b] = &documents[..] else { panic!() };
        assert_eq!(
            a.to_json(),
            serde_json::json!({"kind": "A", "spec": {"ca": "x\ny\n", "n": 3}})
        );
        assert_eq!(a.first_line(), 3);
        assert_eq!(a.line_of(&FieldPath::of(&["spec", "n"])), 8);
        assert_eq!(a.line_of(&FieldPath::of(&["spec", "absent", "deeper"])), 5);
        assert_eq!(b.first_line(), 11);
    }

    #[test]
    fn a_list_is_its_items_and_they_keep_their_lines() {
        let text = "kind: List\nitems:\n- kind: A\n- kind: B\n  x: 1\n";
        let documents = documents(text).unwrap().remove(0).flatten();
        let kinds: Vec<_> = documents.iter().map(Document::to_json).collect();
        assert_eq!(kinds[1], serde_json::json!({"kind": "B", "x": 1}));
        assert_eq!(documents[1].line_of(&FieldPath::of(&["x"])), 5);
    }

    #[test]
    fn what_is_not_yaml_is_named_by_document_and_line() {
        let error = documents("a: 1\n---\nb: 2\nc: [\n").unwrap_err();
        assert_eq!(error.number, 2);
        assert!(error.line >= 4, "{error}");
        let error = documents("a: 1\na: 2\n").unwrap_err();
        assert_eq!((error.number, error.line), (1, 2), "{error}");
        let error = documents("a: {{ .Values.x }}\n").unwrap_err();
        assert!(error.message.contains("template"), "{error}");
    }
}
