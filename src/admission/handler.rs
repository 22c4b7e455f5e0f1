//! A handler: what is reviewed at one path, and how its object is read.

use super::answer::Answer;
use super::request::{Operation, Request};
use super::subject::{Mode, Subject, Unreadable};
use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::velero::text::shown;

/// One path of the webhook.
#[derive(Debug)]
pub struct Handler {
    /// The URL path.
    pub path: &'static str,
    /// The API group of what is reviewed; empty for the core group.
    pub group: &'static str,
    /// The resource, in lower-case plural.
    pub resource: &'static str,
    /// The operations that are reviewed; others are allowed.
    pub operations: &'static [Operation],
    /// Whether the answer may change the object.
    pub mode: Mode,
    /// Reads the object.
    pub read: for<'a> fn(&'a Request<'a>) -> Result<Box<dyn Subject + 'a>, Unreadable>,
}

/// What is said of an object that is not what its kind promises.
pub static UNREADABLE: Rule = Rule {
    id: "VT000",
    title: "object cannot be read",
    about: "A field that we read has another type than Velero's own schema gives it.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
};

/// A request that was opened by its handler.
pub enum Opened<'a> {
    /// There is something to decide.
    Subject(Box<dyn Subject + 'a>),
    /// The object cannot be read, and that is all there is to say.
    Unreadable(Report),
    /// It is of a kind or an operation that is not ours; it is allowed and counted.
    Foreign(Answer),
}

impl Handler {
    /// Reads the object of `request`.
    pub fn open<'a>(&self, request: &'a Request<'a>) -> Opened<'a> {
        let ours = request.group == self.group
            && request.resource == self.resource
            && request.subresource.is_empty()
            && self.operations.contains(&request.operation);
        if !ours {
            return Opened::Foreign(Answer::allow(request));
        }
        match (self.read)(request) {
            Ok(subject) => Opened::Subject(subject),
            Err(unreadable) => Opened::Unreadable(self.unreadable(request, &unreadable)),
        }
    }

    fn unreadable(&self, request: &Request<'_>, unreadable: &Unreadable) -> Report {
        let message = format!("the {} cannot be read: {unreadable}", shown(request.kind));
        let finding = Finding::new(
            &UNREADABLE,
            FieldPath::default().field("object"),
            "",
            message,
            "give the field the type that the CRD describes",
        );
        let finding = if self.mode == Mode::Mutate {
            finding.softened()
        } else {
            finding
        };
        Report {
            findings: vec![finding],
            ..Report::default()
        }
    }
}
