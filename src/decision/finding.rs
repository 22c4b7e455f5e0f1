//! A finding: one problem in an object, its location and its fix.

use std::borrow::Cow;
use std::fmt;

use super::rule::{Rule, Severity};

/// One problem that a rule found in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that was broken.
    pub rule: &'static Rule,
    /// The field that breaks it.
    pub path: FieldPath,
    /// What the finding is about beyond the path, such as `Secret velero/ca key ca.crt` or
    /// `certificate 2`. Part of the finding's identity when the old and the new object are
    /// compared.
    pub subject: String,
    /// What is wrong. Never contains the content of a Secret.
    pub message: String,
    /// How to fix it.
    pub fix: String,
    /// Upper limit of the finding's severity, whatever the policy says.
    pub ceiling: Severity,
}

impl Finding {
    /// Returns a finding of `rule` at `path`.
    pub fn new(
        rule: &'static Rule,
        path: FieldPath,
        subject: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            path,
            subject: subject.into(),
            message: message.into(),
            fix: fix.into(),
            ceiling: Severity::Deny,
        }
    }

    /// Returns the same finding with its severity limited to [`Severity::Warn`].
    #[must_use]
    pub fn softened(mut self) -> Self {
        self.ceiling = self.ceiling.min(Severity::Warn);
        self
    }
}

/// Writes `path: message; fix [VT000]`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            path,
            message,
            fix,
            ..
        } = self;
        write!(f, "{path}: {message}; {fix} [{}]", rule.id)
    }
}

/// The path to a field, as segments, so that lint can find the field's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A field, printed as `.name`.
    Field(Cow<'static, str>),
    /// An element of a list, printed as `[3]`.
    Index(usize),
    /// A key of a map that does not read well as a field, printed as `[key]`.
    Key(String),
}

impl FieldPath {
    /// Returns the path to nested `fields`, outermost first.
    pub fn of(fields: &[&'static str]) -> Self {
        Self(
            fields
                .iter()
                .map(|field| Segment::Field(Cow::Borrowed(field)))
                .collect(),
        )
    }

    /// Returns the path to the annotation `key`.
    pub fn annotation(key: impl Into<String>) -> Self {
        Self::of(&["metadata", "annotations"]).key(key)
    }

    /// Appends a field.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Segment::Field(name.into()));
        self
    }

    /// Appends an index into a list.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// Appends a key of a map.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.push(Segment::Key(key.into()));
        self
    }

    /// Appends `segments`.
    #[must_use]
    pub fn then(mut self, segments: &[Segment]) -> Self {
        self.0.extend_from_slice(segments);
        self
    }

    /// Returns the segments, outermost first.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => write!(f, "{name}")?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}
