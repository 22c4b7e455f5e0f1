//! Parsing of an AdmissionReview.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reviewed_object::describe;
use crate::decision::User;
use crate::velero::naming::is_name;
use crate::velero::text::{Text, or_empty, shown};

/// The only supported version of the AdmissionReview.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// Maximum size in bytes of what an answer may repeat of its request: the longest names that
/// Kubernetes has are DNS subdomains of 253.
const MAX_NAME_BYTES: usize = 253;

/// The request of an AdmissionReview. Its objects are not parsed yet.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The id of this review. The answer must repeat it.
    pub uid: &'a str,
    /// The API group of the resource; empty for the core group.
    pub group: &'a str,
    /// The resource, in lower-case plural.
    pub resource: &'a str,
    /// The subresource; empty for none.
    pub subresource: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The object's name; empty if it is still to be generated.
    pub name: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The operation.
    pub operation: Operation,
    /// The name of the user who sent the request to the API server.
    pub username: &'a str,
    /// The user, for a question about its rights.
    pub user: UserRef<'a>,
    /// Whether the request is a dry run, so nothing will be stored.
    pub dry_run: bool,
    /// The new object, as JSON; `None` on DELETE.
    pub object: Option<&'a str>,
    /// The stored object, as JSON; `None` on CREATE.
    pub old_object: Option<&'a str>,
}

/// The user who sent a request to the API server, as its authenticators tell it.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserRef<'a>(Option<&'a UserInfo<'a>>);

impl UserRef<'_> {
    /// Returns the user with no borrow.
    pub fn to_owned(self) -> User {
        let Some(info) = self.0 else {
            return User::default();
        };
        let owned = |texts: &[Text<'_>]| texts.iter().map(|text| text.to_string()).collect();
        User {
            name: or_empty(info.username.as_ref()).to_owned(),
            uid: or_empty(info.uid.as_ref()).to_owned(),
            groups: info.groups.as_deref().map(owned).unwrap_or_default(),
            extra: info
                .extra
                .iter()
                .flatten()
                .map(|(key, values)| {
                    (
                        key.to_string(),
                        owned(values.as_deref().unwrap_or_default()),
                    )
                })
                .collect(),
        }
    }
}

/// The operation on the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `CONNECT`
    Connect,
    /// `CREATE`
    Create,
    /// `DELETE`
    Delete,
    /// `UPDATE`
    Update,
    /// An operation that this version does not know.
    Unknown,
}

impl Operation {
    /// Returns the API server's name of the operation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
            Self::Unknown => "unknown",
        }
    }
}

/// A review that cannot be answered. Each variant is an HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReview {
    /// An empty body.
    #[error("the body is empty; an AdmissionReview of {API_VERSION} is expected")]
    Empty,
    /// Not JSON, or not the structure of a review.
    #[error("the body is not an AdmissionReview: {0}")]
    Malformed(String),
    /// No `request`.
    #[error("the AdmissionReview has no `request`")]
    NoRequest,
    /// No `request.uid`.
    #[error("the AdmissionReview has no `request.uid`, so it cannot be answered")]
    NoUid,
    /// A field that is longer than Kubernetes' own names are.
    #[error("`request.{0}` has more than {MAX_NAME_BYTES} bytes")]
    TooLong(&'static str),
    /// Another version of the review.
    #[error("the AdmissionReview is of `{0}`; only {API_VERSION} is spoken here")]
    Version(String),
}

/// A decoded AdmissionReview, from which the [`Request`] borrows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    request: Option<WireRequest<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireRequest<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Kind<'a>>,
    #[serde(borrow)]
    resource: Option<Resource<'a>>,
    #[serde(borrow)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Option<Text<'a>>,
    #[serde(borrow)]
    user_info: Option<UserInfo<'a>>,
    dry_run: Option<bool>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource<'a> {
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    resource: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UserInfo<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    groups: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    extra: Option<BTreeMap<Text<'a>, Option<Vec<Text<'a>>>>>,
}

impl WireRequest<'_> {
    /// Returns a field that is too long to be repeated in an answer.
    fn too_long(&self) -> Option<&'static str> {
        let kind = self.kind.as_ref();
        let resource = self.resource.as_ref();
        let fields = [
            ("uid", self.uid.as_ref()),
            ("kind", kind.and_then(|kind| kind.kind.as_ref())),
            (
                "resource",
                resource.and_then(|resource| resource.group.as_ref()),
            ),
            ("name", self.name.as_ref()),
        ];
        let mut too_long = fields
            .into_iter()
            .filter(|(_, text)| or_empty(*text).len() > MAX_NAME_BYTES);
        too_long.next().map(|(field, _)| field)
    }
}

impl<'a> Envelope<'a> {
    /// Decodes `body`.
    pub fn decode(body: &'a [u8]) -> Result<Self, BadReview> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(BadReview::Empty);
        }
        serde_json::from_slice(body).map_err(|error| BadReview::Malformed(describe(&error)))
    }

    /// Returns the request.
    pub fn request(&self) -> Result<Request<'_>, BadReview> {
        let version = or_empty(self.api_version.as_ref());
        if version.is_empty() {
            return Err(BadReview::Malformed("it has no `apiVersion`".to_owned()));
        }
        if version != API_VERSION || or_empty(self.kind.as_ref()) != "AdmissionReview" {
            let kind = or_empty(self.kind.as_ref());
            return Err(BadReview::Version(shown(
                format!("{version} {kind}").trim(),
            )));
        }
        let wire = self.request.as_ref().ok_or(BadReview::NoRequest)?;
        let uid = or_empty(wire.uid.as_ref());
        if uid.is_empty() {
            return Err(BadReview::NoUid);
        }
        if let Some(field) = wire.too_long() {
            return Err(BadReview::TooLong(field));
        }
        let namespace = or_empty(wire.namespace.as_ref());
        if !namespace.is_empty() && !is_name(namespace) {
            let why = "no namespace can be called like its `request.namespace`";
            return Err(BadReview::Malformed(why.to_owned()));
        }
        let resource = wire.resource.as_ref();
        let kind = wire.kind.as_ref();
        let user = wire.user_info.as_ref();
        Ok(Request {
            uid,
            group: or_empty(resource.and_then(|resource| resource.group.as_ref())),
            resource: or_empty(resource.and_then(|resource| resource.resource.as_ref())),
            subresource: or_empty(wire.sub_resource.as_ref()),
            kind: or_empty(kind.and_then(|kind| kind.kind.as_ref())),
            name: or_empty(wire.name.as_ref()),
            namespace,
            operation: match or_empty(wire.operation.as_ref()) {
                "CONNECT" => Operation::Connect,
                "CREATE" => Operation::Create,
                "DELETE" => Operation::Delete,
                "UPDATE" => Operation::Update,
                _ => Operation::Unknown,
            },
            username: or_empty(user.and_then(|user| user.username.as_ref())),
            user: UserRef(user),
            dry_run: wire.dry_run.unwrap_or(false),
            object: wire.object.map(RawValue::get),
            old_object: wire.old_object.map(RawValue::get),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: &str, namespace: &str) -> String {
        let review = serde_json::json!({
            "apiVersion": version,
            "kind": "AdmissionReview",
            "request": {"uid": "1", "namespace": namespace},
        });
        let body = serde_json::to_vec(&review).unwrap();
        let bad = Envelope::decode(&body).unwrap().request().err();
        bad.map_or_else(String::new, |bad| bad.to_string())
    }

    #[test]
    fn what_an_answer_repeats_is_as_short_as_a_name() {
        for field in ["/uid", "/name", "/kind/kind", "/resource/group"] {
            for (length, is_refused) in [(253, false), (254, true)] {
                let mut review = serde_json::json!({
                    "apiVersion": API_VERSION, "kind": "AdmissionReview",
                    "request": {"uid": "1", "name": "", "kind": {"kind": ""}, "resource": {"group": ""}},
                });
                let path = format!("/request{field}");
                *review.pointer_mut(&path).unwrap() = "x".repeat(length).into();
                let body = serde_json::to_vec(&review).unwrap();
                let bad = Envelope::decode(&body).unwrap().request().err();
                let said = bad.map(|bad| bad.to_string()).unwrap_or_default();
                assert_eq!(
                    said.ends_with("more than 253 bytes"),
                    is_refused,
                    "{field} {said}"
                );
            }
        }
    }

    #[test]
    fn a_namespace_that_cannot_be_is_refused_and_no_refusal_repeats_much() {
        assert_eq!(refused(API_VERSION, "velero"), "");
        assert_eq!(refused(API_VERSION, ""), "");
        for namespace in ["../kube-system", "a?b", "a\nb", &"x".repeat(300)] {
            assert!(refused(API_VERSION, namespace).contains("`request.namespace`"));
        }
        let said = refused(&"v\n".repeat(1 << 16), "velero");
        assert!(said.len() < 200 && !said.contains('\n'), "{said}");
    }
}
