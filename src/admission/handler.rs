//! A handler: the resource that is reviewed at one path, and the function that reads it.

use super::answer::{Answer, failure};
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Code, FieldPath, Finding, Hint, Report, Rule, Severity};
use crate::velero::text::shown;

/// The handler of one path of the webhook.
#[derive(Debug)]
pub struct Handler {
    /// The URL path.
    pub path: &'static str,
    /// The API group of the resource; empty for the core group.
    pub group: &'static str,
    /// The resource, in lower-case plural.
    pub resource: &'static str,
    /// The subresources that are reviewed; empty for the object itself.
    pub subresources: &'static [&'static str],
    /// The kind of the resource.
    pub kind: &'static str,
    /// What is reviewed, for people, in plural.
    pub plural: &'static str,
    /// What the reviewed objects do, for people, when they are not reviewed.
    pub unjudged: &'static str,
    /// The operations that are reviewed; all others are allowed.
    pub operations: &'static [Operation],
    /// Whether the answer may change the object.
    pub mode: Mode,
    /// Maximum size of a review, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of memory that a review needs at most for each byte of its body, the body included.
    pub memory_per_byte: usize,
    /// Reads the object.
    pub read: for<'a> fn(&'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable>,
}

/// The rule for an object that does not match its kind's schema.
pub static UNREADABLE: Rule = Rule {
    id: "VT000",
    title: "object cannot be read",
    about: "A field that velero-trust reads has another type than in Velero's own schema.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    hint: Hint::ExplainSchema,
    ..Rule::DEFAULT
};

/// The result of reading a request.
pub enum Opened<'a> {
    /// An object to decide on.
    ReviewedObject(Box<dyn ReviewedObject + 'a>),
    /// An object that cannot be read; the report contains the only finding.
    Unreadable(Report),
    /// A resource or an operation that the handler does not review, which is allowed; or an object that
    /// cannot be read where that is an error.
    NotReviewed(Answer),
}

/// Bytes of memory that a review needs apart from its body: the answer, above all.
const FIXED_MEMORY_BYTES: usize = 64 << 10;

impl Handler {
    /// Returns the name of the webhook: that of the resource, unless another one has that.
    pub const fn name(&self) -> &'static str {
        match self.mode {
            Mode::Gate => "restore-gate",
            Mode::Mutate | Mode::Validate => self.resource,
        }
    }

    /// Returns the resource with its subresources, as a rule of a webhook names them.
    pub fn resources(&self) -> Vec<String> {
        let names = self
            .subresources
            .iter()
            .map(|subresource| match *subresource {
                "" => self.resource.to_owned(),
                subresource => format!("{}/{subresource}", self.resource),
            });
        names.collect()
    }

    /// Returns the bytes of memory that the review of a body of `bytes` needs at most, from the
    /// first byte until the answer is written.
    pub const fn memory(&self, bytes: usize) -> usize {
        FIXED_MEMORY_BYTES + self.memory_per_byte * bytes
    }

    /// Reads the object of `request`.
    pub fn open<'a>(&self, request: &'a Request<'a>) -> Opened<'a> {
        let ours = request.group == self.group
            && request.resource == self.resource
            && self.subresources.contains(&request.subresource)
            && self.operations.contains(&request.operation);
        if !ours {
            return Opened::NotReviewed(Answer::allow(request));
        }
        match (self.read)(request) {
            Ok(subject) => Opened::ReviewedObject(subject),
            Err(unreadable) if self.mode == Mode::Gate => {
                let why = format!("the {} cannot be read: {unreadable}", shown(request.kind));
                Opened::NotReviewed(failure(500, why))
            }
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
