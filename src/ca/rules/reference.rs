//! Rules about references to Secrets: the Secret and the key must exist.

use super::Location;
use super::ca_source::CaSource;
use crate::ca::references::{self, CaTarget, InvalidReference};
use crate::decision::{
    Code, Facts, FieldPath, Finding, Hint, Known, Report, Rule, Sealed, SecretKeyRef, Severity,
    Stop,
};
use crate::velero::text::{or_empty, shown};

pub(super) static RULES: [&Rule; 7] = [
    &NO_SECRET,
    &NO_KEY,
    &EMPTY,
    &INVALID_REFERENCE,
    &BOTH_SET,
    &OTHER_NAMESPACE,
    &NO_CREDENTIAL,
];

static NO_SECRET: Rule = Rule {
    id: "VT001",
    title: "CA Secret does not exist",
    about: "The BSL names a Secret that is not in its namespace; Velero would mark the BSL \
            Unavailable. Create the Secret first. On a dry run this is a warning, because GitOps \
            tools dry-run the BSL before they create the Secret.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::CreateSecretOrWarn,
    ..Rule::DEFAULT
};

static NO_KEY: Rule = Rule {
    id: "VT002",
    title: "CA Secret lacks the key",
    about: "The Secret exists but has no such key; Velero would mark the BSL Unavailable. On a dry \
            run this is a warning.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::CreateSecret,
    ..Rule::DEFAULT
};

static EMPTY: Rule = Rule {
    id: "VT003",
    title: "CA key is empty",
    about: "The key exists but its value is empty. Velero would go on without any CA and report \
            nothing.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::CreateSecret,
    ..Rule::DEFAULT
};

static INVALID_REFERENCE: Rule = Rule {
    id: "VT004",
    title: "malformed reference to a CA Secret",
    about: "A reference names a Secret and a key in it: `name` and `key`, or `<secret>/<key>` in \
            an annotation.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::NameSecret,
    ..Rule::DEFAULT
};

static BOTH_SET: Rule = Rule {
    id: "VT005",
    title: "caCert and caCertRef both set",
    about: "Velero refuses a BSL that sets both. Keep caCertRef.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::NameSecret,
    ..Rule::DEFAULT
};

static OTHER_NAMESPACE: Rule = Rule {
    id: "VT006",
    title: "reference into another namespace",
    about: "Velero reads Secrets only in the BSL's own namespace, and so does velero-trust. \
            Otherwise anyone who may write a BSL could read Secrets in every namespace.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::NameSecret,
    ..Rule::DEFAULT
};

static NO_CREDENTIAL: Rule = Rule {
    id: "VT038",
    title: "credential Secret is not there",
    about: "`spec.credential` names a Secret or a key that does not exist. It may be created \
            later, so this rule never denies a request.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::CreateCredential,
    ..Rule::DEFAULT
};

/// Checks whether both `caCert` and `caCertRef` are set.
pub(super) fn check_both(location: &Location<'_>, report: &mut Report) {
    let storage = location.bsl.spec.object_storage.as_ref();
    let has_reference = storage.is_some_and(|storage| storage.ca_cert_ref.is_some());
    if has_reference && references::inline_ca_cert(storage).is_some() {
        report.add_finding(Finding::new(
            &BOTH_SET,
            FieldPath::of(&["spec", "objectStorage"]),
            "",
            "caCert and caCertRef are both set, and Velero refuses that",
            "remove caCert",
        ));
    }
}

/// Returns the finding for a reference that is malformed or points into another namespace.
pub(super) fn invalid_reference(source: &CaSource<'_>, error: InvalidReference) -> Finding {
    let namespace = source.namespace;
    let (rule, fix) = match error {
        InvalidReference::OtherNamespace => (
            &OTHER_NAMESPACE,
            format!(
                "create the Secret in {namespace}, where the BSL is, and name it without a namespace"
            ),
        ),
        _ => (
            &INVALID_REFERENCE,
            format!(
                "name a Secret of namespace {namespace} and a key in it, such as `minio-ca` and `ca.crt`"
            ),
        ),
    };
    // The error is part of the finding's identity: a different error is a different problem.
    source.finding(rule, error, format!("the reference {error}"), fix)
}

/// Returns the finding for a Secret that does not exist.
pub(super) fn no_secret(location: &Location<'_>, source: &CaSource<'_>) -> Finding {
    absent(
        location,
        source,
        &NO_SECRET,
        |SecretKeyRef { secret, .. }| format!("Secret {secret} does not exist"),
    )
}

/// Returns the finding for a Secret that lacks the key.
pub(super) fn no_key(location: &Location<'_>, source: &CaSource<'_>) -> Finding {
    absent(location, source, &NO_KEY, |SecretKeyRef { secret, key }| {
        format!("Secret {secret} has no key {key}")
    })
}

fn absent(
    location: &Location<'_>,
    source: &CaSource<'_>,
    rule: &'static Rule,
    message: impl Fn(&SecretKeyRef) -> String,
) -> Finding {
    let message = source.reference.map(message).unwrap_or_default();
    let fix = match source.reference {
        Some(reference) if rule == &NO_SECRET => {
            format!("create it first: `{}`", source.create_command(reference))
        }
        _ => source.replace_instruction(),
    };
    if location.dry_run {
        // Flux and `kubectl apply --dry-run=server` send the location before the Secret is stored.
        let message = format!("{message} yet, and without it the real write will be refused");
        source.finding(rule, "", message, fix).softened()
    } else {
        source.finding(rule, "", message, fix)
    }
}

/// Reports a Secret whose content cannot be read here. A missing key only warns, because the
/// controller that creates the Secret may add keys.
pub(super) fn check_sealed(source: &CaSource<'_>, sealed: &Sealed, report: &mut Report) {
    let Some(SecretKeyRef { secret, key }) = source.reference else {
        return;
    };
    let by = &sealed.by;
    if sealed.lacks(key) {
        let message = format!("Secret {secret} is {by} here, and has no key {key}");
        let fix = format!("add the key {key}, or name a key that it has");
        report.add_finding(source.finding(&NO_KEY, "", message, fix).softened());
    } else {
        let message = format!("Secret {secret} is {by} here, so the CA in it was not checked");
        report.note(source.path.clone(), message);
    }
}

/// Returns the finding for a key without content.
pub(super) fn empty_key(source: &CaSource<'_>) -> Finding {
    let message = match source.reference {
        Some(SecretKeyRef { secret, key }) => format!("key {key} of Secret {secret} is empty"),
        None => "the bundle is empty".to_owned(),
    };
    source.finding(&EMPTY, "", message, source.replace_instruction())
}

/// Checks the Secret with the credentials.
pub(super) fn check_credential(
    location: &Location<'_>,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(credential) = &location.bsl.spec.credential else {
        return Ok(());
    };
    let name = or_empty(credential.name.as_ref());
    let key = or_empty(credential.key.as_ref());
    let message = match references::secret_target(location.namespace, name, key) {
        CaTarget::Secret(reference) => match has_key(facts, &reference)? {
            None => format!("Secret {} does not exist", reference.secret),
            Some(false) => format!("Secret {} has no key {}", reference.secret, reference.key),
            Some(true) => return Ok(()),
        },
        CaTarget::Invalid(error) => format!("the reference {error}"),
        CaTarget::Base64(_) | CaTarget::Pem(_) => return Ok(()),
    };
    report.add_finding(Finding::new(
        &NO_CREDENTIAL,
        FieldPath::of(&["spec", "credential"]),
        format!("{}/{}", shown(name), shown(key)),
        message,
        "Velero cannot reach the store until it is there",
    ));
    Ok(())
}

/// Returns whether the Secret has the key; `None` if the Secret does not exist.
fn has_key(facts: &Facts, reference: &SecretKeyRef) -> Known<bool> {
    if let Some(sealed) = facts.sealed(reference) {
        return Ok(Some(!sealed.lacks(&reference.key)));
    }
    let found = facts.secret(reference)?;
    Ok(found.map(|found| found.data.contains_key(&reference.key)))
}
