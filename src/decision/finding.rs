//! A finding: one problem, where it is, and what to do about it.

use std::borrow::Cow;
use std::fmt;

use super::rule::{Rule, Severity};

/// One problem that a rule found in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that speaks.
    pub rule: &'static Rule,
    /// Where in the object.
    pub path: FieldPath,
    /// What it speaks of beyond the path, such as `Secret velero/ca key ca.crt` or `certificate 2`;
    /// part of the finding's identity when the old and the new object are compared.
    pub subject: String,
    /// What is wrong. Never a Secret's content.
    pub message: String,
    /// What to do.
    pub fix: String,
    /// The finding is never more severe than this, whatever the policy says.
    pub ceiling: Severity,
}

impl Finding {
    /// A finding of `rule` at `path`.
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

    /// The same finding, which from now on warns at the most.
    #[must_use]
    pub fn softened(mut self) -> Self {
        self.ceiling = self.ceiling.min(Severity::Warn);
        self
    }
}

/// `path: what is wrong; what to do [VT000]`
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

/// The way to a field, as segments, so that lint can find its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A field, printed as `.name`.
    Field(Cow<'static, str>),
    /// An element of a list, printed as `[3]`.
    Index(usize),
    /// A key of a map that would not read well as a field, printed as `[key]`.
    Key(String),
}

impl FieldPath {
    /// The path to fields nested in each other, outermost first.
    pub fn of(fields: &[&'static str]) -> Self {
        Self(
            fields
                .iter()
                .map(|field| Segment::Field(Cow::Borrowed(field)))
                .collect(),
        )
    }

    /// The path to an annotation.
    pub fn annotation(key: impl Into<String>) -> Self {
        Self::of(&["metadata", "annotations"]).key(key)
    }

    /// This path and a field below it.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Segment::Field(name.into()));
        self
    }

    /// This path and an element of the list there.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// This path and a key of the map there.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.push(Segment::Key(key.into()));
        self
    }

    /// This path and further steps.
    #[must_use]
    pub fn then(mut self, segments: &[Segment]) -> Self {
        self.0.extend_from_slice(segments);
        self
    }

    /// The steps, outermost first.
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
