//! Puts diagnostics together that have one cause, so that it is told once.

use super::diagnostic::{CheckSubject, Diagnostic, Level};

/// Most permissions that the line about unread objects names.
const MAX_RIGHTS: usize = 12;

/// Returns the diagnostics, with one for all permissions that the user lacks, one for all checks that
/// were skipped for one reason, and one for all problems that differ in their subject only.
pub(super) fn group(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut grouped = Vec::<Diagnostic>::new();
    let mut skipped = Vec::<(String, Vec<&'static str>)>::new();
    let (mut rights, mut unread) = (Vec::new(), Vec::new());
    for diagnostic in diagnostics {
        if diagnostic.level == Level::Skipped {
            // The reason alone: what is not checked becomes the subject.
            let because = diagnostic.message;
            match skipped.iter_mut().find(|(other, _)| *other == because) {
                Some((_, checks)) => checks.push(diagnostic.check),
                None => skipped.push((because, vec![diagnostic.check])),
            }
        } else if let Some(right) = forbidden(&diagnostic) {
            rights.push(right);
            unread.push(diagnostic.check);
        } else if let Some(same) = grouped
            .iter_mut()
            .find(|other| is_alike(other, &diagnostic))
        {
            same.subject = format!("{}; {}", same.subject, diagnostic.subject);
        } else {
            grouped.push(diagnostic);
        }
    }
    if !rights.is_empty() {
        let missing = listed(&distinct(rights), MAX_RIGHTS);
        let because = format!("you may not {missing}");
        let subject = CheckSubject::new("access", distinct(unread).join(", "));
        grouped.push(subject.unread(
            format!("not checked, because {because}"),
            "ask for these rights, or let an administrator of the cluster run it",
        ));
    }
    let skipped = skipped.into_iter().map(|(because, checks)| {
        let subject = CheckSubject::new("skipped", distinct(checks).join(", "));
        subject.skipped(&format!("not checked, because {because}"))
    });
    grouped.extend(skipped);
    grouped
}

/// Whether two problems differ in their subject only.
fn is_alike(one: &Diagnostic, other: &Diagnostic) -> bool {
    matches!(one.level, Level::Warn | Level::Fail)
        && (one.level, one.check, &one.message, &one.fix)
            == (other.level, other.check, &other.message, &other.fix)
}

/// Returns the elements without repetitions, in their order.
fn distinct<T: PartialEq>(elements: Vec<T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for element in elements {
        if !distinct.contains(&element) {
            distinct.push(element);
        }
    }
    distinct
}

/// Returns the first `max` texts, and how many more there are.
pub(super) fn listed(texts: &[String], max: usize) -> String {
    let first = texts.get(..max).unwrap_or(texts).join(", ");
    match texts.len().saturating_sub(max) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Returns the permission that a diagnostic says the user lacks, such as `list pods in namespace a`.
fn forbidden(diagnostic: &Diagnostic) -> Option<String> {
    (diagnostic.level == Level::Unknown)
        .then(|| right(&diagnostic.message))
        .flatten()
}

/// Parses what the API server answers to a request that RBAC does not allow
/// (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`, `forbiddenMessage`).
fn right(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("\" cannot ")?;
    if let Some((verb, rest)) = rest.split_once(" path \"") {
        let (path, _) = rest.split_once('"')?;
        return Some(format!("{verb} {path}"));
    }
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once("\" in API group \"")?;
    let (group, rest) = rest.split_once('"')?;
    let group = if group.is_empty() {
        String::new()
    } else {
        format!(".{group}")
    };
    let scope = match rest.strip_prefix(" in the namespace \"") {
        Some(rest) => format!(" in namespace {}", rest.split_once('"')?.0),
        None => String::new(),
    };
    Some(format!("{verb} {resource}{group}{scope}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" \
                        at the cluster scope";

    #[test]
    fn what_the_user_may_not_do_is_one_line() {
        let deployment = "deployments.apps \"velero-trust\" is forbidden: User \"u\" cannot get \
                          resource \"deployments\" in API group \"apps\" in the namespace \"guards\": \
                          RBAC: role not found";
        let version = "forbidden: User \"u\" cannot get path \"/version\"";
        let unknown = |check, message: &str| CheckSubject::new(check, "s").unknown(message);
        let [one, other] = &group(vec![
            unknown("coverage", PODS),
            unknown("bundle", PODS),
            unknown("server", deployment),
            unknown("kubernetes", version),
            unknown("image", "no tag"),
            unknown("coverage", PODS),
        ])[..] else {
            panic!("not two");
        };
        assert_eq!(one.message, "no tag");
        assert_eq!((other.level, other.check), (Level::Unknown, "access"));
        assert_eq!(other.subject, "coverage, bundle, server, kubernetes");
        assert_eq!(
            other.message,
            "not checked, because you may not list pods, get deployments.apps in namespace guards, get \
             /version"
        );
        let many = (0..20).map(|index| {
            let message = PODS.replace("\"pods\"", &format!("\"pods{index}\""));
            unknown("coverage", &message)
        });
        let many = group(many.collect());
        assert!(
            many[0].message.ends_with("list pods11 and 8 more"),
            "{many:?}"
        );
    }

    #[test]
    fn what_one_cause_keeps_from_being_checked_is_one_line() {
        let skipped = |check, why| CheckSubject::new(check, check).skipped(why);
        let fail = |subject| CheckSubject::new("webhooks", subject).fail("has no rules", "run it");
        let grouped = group(vec![
            skipped("bundle", "a is absent"),
            fail("x"),
            skipped("coverage", "b is absent"),
            skipped("rights", "a is absent"),
            fail("y"),
            skipped("bundle", "a is absent"),
            CheckSubject::new("webhooks", "z").fail("has no rules", "run that"),
        ]);
        let texts = grouped.iter().map(|one| (&*one.subject, &*one.message));
        let expected = [
            ("x; y", "has no rules"),
            ("z", "has no rules"),
            ("bundle, rights", "not checked, because a is absent"),
            ("coverage", "not checked, because b is absent"),
        ];
        assert_eq!(texts.collect::<Vec<_>>(), expected);
    }
}
