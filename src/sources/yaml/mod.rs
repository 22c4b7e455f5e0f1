//! Reads YAML files as documents in which every value knows its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::decision::{FieldPath, Segment};

/// One YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The number of the document in its file, from 1.
    pub number: usize,
    /// The line in the file where the document begins, counted from 1.
    pub line: u64,
    /// Whether all of it is in that line, because it was decoded.
    pub is_one_line: bool,
    tree: Tree,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {number}, line {line}: {message}")]
pub struct NotYaml {
    /// The number of the document, from 1.
    pub number: usize,
    /// The line in the file, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// Whether the text is a template from which another tool renders YAML.
    pub is_template: bool,
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

/// Reads all documents of `text`. Those that cannot be parsed are errors, and empty ones are left
/// out.
pub fn documents(text: &str) -> impl Iterator<Item = Result<Document, NotYaml>> {
    // A byte order mark is not part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = (1..).zip(split(text)).map(|(number, (line, part))| {
        let tree = parse(part).map_err(|error| not_yaml(number, line, part, &error))?;
        Ok(Document {
            number,
            line,
            is_one_line: false,
            tree,
        })
    });
    documents.filter(|document| {
        let empty = |document: &Document| matches!(document.tree.node, Node::Leaf(Value::Null));
        !document.as_ref().is_ok_and(empty)
    })
}

/// Splits a text at its `---` lines into parts, each with its first line. In YAML no value can
/// contain `---` at the start of a line, so splitting needs no parser.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let marker = content.trim_end();
        if marker == "---" || marker.starts_with("--- ") || marker.starts_with("---\t") {
            parts.push((first_line, text.get(start..offset).unwrap_or_default()));
            // Text after the marker belongs to the new document.
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
    // Enough for a List of some megabytes; the limits on aliases keep their defaults.
    let budget = serde_saphyr::budget! { max_nodes: 1_000_000, max_events: 4_000_000 };
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        budget: budget,
    };
    serde_saphyr::from_str_with_options(text, options)
}

fn not_yaml(number: usize, line: u64, text: &str, error: &serde_saphyr::Error) -> NotYaml {
    let is_template = is_template(text);
    let message = if is_template {
        "this is a template, not a manifest; render it first (`helm template`)".to_owned()
    } else {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        // The line in the message counts from the document's start.
        let reason = reason
            .split_once(" at line ")
            .map_or(reason, |(reason, _)| reason);
        // The key is not repeated: it may be a line of a private key with wrong indentation.
        let reason = if reason.starts_with("duplicate mapping key") {
            "a key stands in one map twice"
        } else {
            reason
        };
        format!("not YAML: {reason}")
    };
    NotYaml {
        number,
        line: line - 1 + error.location().map_or(1, |location| location.line()),
        message,
        is_template,
    }
}

/// Returns whether `text` contains placeholders in the notation of Helm and many other tools.
pub fn is_template(text: &str) -> bool {
    text.split_once("{{")
        .is_some_and(|(_, rest)| rest.contains("}}"))
}

impl Document {
    /// Returns the document as JSON.
    pub fn to_json(&self) -> Value {
        self.tree.to_json()
    }

    /// Returns the documents in a Kubernetes `List`, or the document itself.
    pub fn flatten(self) -> Vec<Self> {
        let is_list = matches!(self.tree.get("kind"), Some(Tree { node: Node::Leaf(Value::String(kind)), .. }) if kind.ends_with("List"));
        let items = match self.tree.get("items") {
            Some(Tree {
                node: Node::List(items),
                ..
            }) if is_list => items.clone(),
            _ => return vec![self],
        };
        let (number, line, is_one_line) = (self.number, self.line, self.is_one_line);
        // Lines of the items also count from the document's start.
        items
            .into_iter()
            .flat_map(|tree| {
                Self {
                    number,
                    line,
                    is_one_line,
                    tree,
                }
                .flatten()
            })
            .collect()
    }

    /// Returns the value at `path` as a document of its own.
    pub fn at(&self, path: &FieldPath) -> Option<Self> {
        let tree = path
            .segments()
            .iter()
            .try_fold(&self.tree, |tree, segment| tree.inner(segment))?;
        Some(Self {
            number: self.number,
            line: self.line,
            is_one_line: self.is_one_line,
            tree: tree.clone(),
        })
    }

    /// Returns the line in the file, counted from 1, where the object itself begins.
    pub fn first_line(&self) -> u64 {
        self.line_in_file(&self.tree)
    }

    fn line_in_file(&self, tree: &Tree) -> u64 {
        if self.is_one_line {
            self.line
        } else {
            self.line - 1 + tree.line
        }
    }

    /// Returns the line in the file, counted from 1, of the value at `path`, or of its nearest
    /// existing parent.
    pub fn line_of(&self, path: &FieldPath) -> u64 {
        let mut tree = &self.tree;
        for segment in path.segments() {
            match tree.inner(segment) {
                Some(next) => tree = next,
                None => break,
            }
        }
        self.line_in_file(tree)
    }
}

impl Tree {
    fn inner(&self, segment: &Segment) -> Option<&Self> {
        match (segment, &self.node) {
            (Segment::Field(name), _) => self.get(name),
            (Segment::Key(name), _) => self.get(name),
            (Segment::Index(index), Node::List(list)) => list.get(*index),
            (Segment::Index(_), _) => None,
        }
    }

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
mod tests;
