//! Asks the API server what a user may do.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::decision::Fact;
use crate::decision::{Key, LookupError, LookupErrorKind, Outcome, User, Verb};

/// Whether `user` has `verb` on `backup`, or on all Backups of its namespace if its name is empty. The
/// review stores nothing.
pub(super) async fn review(
    client: &Client,
    user: &User,
    verb: Verb,
    backup: &Key,
) -> kube::Result<Outcome> {
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let review = SubjectAccessReview {
        spec: spec(user, verb, backup),
        ..SubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(outcome(answer.status.unwrap_or_default()))
}

fn spec(user: &User, verb: Verb, backup: &Key) -> SubjectAccessReviewSpec {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: some(&user.uid),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.iter().cloned().collect()),
        resource_attributes: Some(ResourceAttributes {
            namespace: some(&backup.namespace),
            group: Some("velero.io".to_owned()),
            resource: Some("backups".to_owned()),
            name: some(&backup.name),
            verb: Some(verb.as_str().to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

/// An authorizer that cannot be asked leaves open what it would have said.
fn outcome(status: SubjectAccessReviewStatus) -> Outcome {
    let is_denied = status.denied == Some(true);
    match status.evaluation_error.filter(|error| !error.is_empty()) {
        Some(error) if !status.allowed && !is_denied => Outcome::Unavailable(LookupError {
            kind: LookupErrorKind::Unreachable,
            message: format!("the API server cannot tell: {error}"),
        }),
        _ => Outcome::Found(Fact::Access(status.allowed && !is_denied)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_whole_user_is_asked_about() {
        let user = User {
            name: "jane".into(),
            uid: "u1".into(),
            groups: vec!["admins".into(), "system:authenticated".into()],
            extra: vec![("example.com/scope".into(), vec!["a".into(), "b".into()])],
        };
        let key = Key::new("velero", "nightly");
        let asked = serde_json::to_value(spec(&user, Verb::RestoreTampered, &key)).unwrap();
        assert_eq!(
            asked,
            json!({
                "user": "jane", "uid": "u1", "groups": ["admins", "system:authenticated"],
                "extra": {"example.com/scope": ["a", "b"]},
                "resourceAttributes": {
                    "group": "velero.io", "resource": "backups", "namespace": "velero",
                    "name": "nightly", "verb": "restore-tampered",
                },
            })
        );
        let all = Key::new("velero", "");
        let asked = spec(&User::default(), Verb::RestoreUnverified, &all);
        assert_eq!(asked.uid, None);
        let attributes = asked.resource_attributes.unwrap();
        assert_eq!(attributes.name, None);
        assert_eq!(attributes.verb.as_deref(), Some("restore-unverified"));
    }

    #[test]
    fn an_authorizer_that_fails_denies_nothing() {
        let answer = |allowed, denied, error: &str| {
            let status = SubjectAccessReviewStatus {
                allowed,
                denied,
                evaluation_error: Some(error.to_owned()),
                reason: None,
            };
            match outcome(status) {
                Outcome::Found(Fact::Access(is_allowed)) => Ok(is_allowed),
                Outcome::Unavailable(error) => Err(error.message),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(answer(true, None, ""), Ok(true));
        assert_eq!(answer(true, Some(true), ""), Ok(false));
        assert_eq!(answer(false, None, ""), Ok(false));
        assert_eq!(answer(true, None, "late"), Ok(true));
        assert_eq!(answer(false, Some(true), "late"), Ok(false));
        let unknown = "the API server cannot tell: late".to_owned();
        assert_eq!(answer(false, None, "late"), Err(unknown));
    }
}
