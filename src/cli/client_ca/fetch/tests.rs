use super::*;
use crate::ca::bundle::mozilla;
use crate::decision::{Fact, Outcome, Secret};
use serde_json::{Value, json};

/// Returns the CA of a location for which every look-up of a Secret has this `outcome`.
fn ca_of(bsl: &Value, outcome: &Outcome) -> Result<Ca, String> {
    let text = bsl.to_string();
    let bsl: Bsl<'_> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut facts = Facts::default();
    for need in required_lookups("velero", &bsl) {
        facts.insert(need, outcome.clone());
    }
    let location = Location {
        namespace: "velero",
        dry_run: false,
        bsl: &bsl,
        old: None,
        now: 1_800_000_000,
    };
    location_ca(&location, "BackupStorageLocation velero/b", &facts)
        .map_err(|error| format!("{error:#}"))
}

fn named() -> Value {
    json!({
        "metadata": {"annotations": {"velero-trust.io/ca-secret": "ca/root.pem"}},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b"}},
    })
}

fn holding(text: &str) -> Outcome {
    let data = [("root.pem".to_owned(), text.as_bytes().to_vec())].into();
    Outcome::Found(Fact::Secret(Secret { data }.into()))
}

#[test]
fn the_annotation_and_the_inline_ca_are_both_in_it() {
    let [first, second] = [0, 1].map(|root| merge(&mozilla()[root..=root]).text);
    let mut bsl = named();
    bsl["spec"]["config"] = json!({"caCert": second});
    let ca = ca_of(&bsl, &holding(&first)).unwrap();
    assert_eq!((ca.count, ca.warnings), (2, vec![]));
    assert_eq!(ca.pem, merge(&mozilla()[..2]).text);
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_rules() {
    let said = ca_of(&named(), &Outcome::Absent).unwrap_err();
    assert!(
        said.contains("Secret velero/ca does not exist") && said.contains("[VT001]"),
        "{said}"
    );
    let said = ca_of(&named(), &holding("nonsense")).unwrap_err();
    assert!(said.contains("[VT010]"), "{said}");
    let other = Outcome::Found(Fact::Secret(Secret::default().into()));
    let said = ca_of(&named(), &other).unwrap_err();
    assert!(said.contains("[VT002]"), "{said}");
    let said = ca_of(&json!({"spec": {"provider": "aws"}}), &other).unwrap_err();
    assert!(said.contains("velero/b names no CA"), "{said}");
}

#[test]
fn good_certificates_beside_a_broken_block_are_given_with_a_warning() {
    let good = merge(&mozilla()[..1]).text;
    let text = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let ca = ca_of(&named(), &holding(&text)).unwrap();
    assert_eq!(ca.pem, good);
    assert_eq!(ca.warnings.len(), 1, "{:?}", ca.warnings);
    assert!(ca.warnings[0].contains("[VT014]"), "{:?}", ca.warnings);
}

#[test]
fn a_secret_that_may_not_be_read_points_to_the_bundle() {
    let reason = LookupError {
        kind: LookupErrorKind::Forbidden,
        message: "grant it to velero-trust".to_owned(),
    };
    let said = ca_of(&named(), &Outcome::Unavailable(reason)).unwrap_err();
    assert!(
        said.starts_with("you have no right to read Secret velero/ca;")
            && said.contains("leave --bsl out"),
        "{said}"
    );
}
