//! Tests that no golden case covers: limits, and the equality of locations.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, PKCS_ED25519};
use serde::Deserialize as _;
use serde_json::Value;

use super::*;
use crate::decision::{Fact, Lookup, Outcome, Policy, Secret, SecretKeyRef, Severity};

const BY_REFERENCE: &str = r#"{"metadata":{"namespace":"velero"},"spec":{"provider":"aws",
    "objectStorage":{"bucket":"b","caCertRef":{"name":"ca","key":"ca.crt"}}}}"#;

fn bsl(json: &str) -> Bsl<'_> {
    serde_json::from_str(json).unwrap()
}

fn judged(json: &str, bundle: &str) -> Report {
    let bsl = bsl(json);
    let location = Location {
        namespace: "velero",
        dry_run: false,
        bsl: &bsl,
        old: None,
        now: 1_785_240_000,
    };
    let mut facts = Facts::default();
    let secret = Secret {
        data: [("ca.crt".to_owned(), bundle.as_bytes().to_vec())].into(),
    };
    let lookup = Lookup::Secret(SecretKeyRef::new("velero", "ca", "ca.crt"));
    facts.insert(lookup, Outcome::Found(Fact::Secret(secret.into())));
    judge(&location, &facts)
}

/// Returns the number of findings of each rule.
fn counts(report: &Report) -> HashMap<&'static str, usize> {
    let mut counts = HashMap::new();
    for finding in &report.findings {
        *counts.entry(finding.rule.id).or_default() += 1;
    }
    counts
}

#[test]
fn two_thousand_leaves_have_twenty_findings_and_one_that_counts_the_rest() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let ca = Issuer::new(CertificateParams::default(), &key);
    let bundle: String = (0..2_000)
        .map(|number| {
            let mut params = CertificateParams::default();
            let name = &mut params.distinguished_name;
            name.push(DnType::CommonName, format!("leaf {number}"));
            params.signed_by(&key, &ca).unwrap().pem()
        })
        .collect();
    let report = judged(BY_REFERENCE, &bundle);
    assert_eq!(counts(&report), HashMap::from([("VT023", 21)]));
    let last = report.findings.last().unwrap();
    assert_eq!(last.message, "and 1980 more of the same kind");
}

#[test]
fn thousands_of_broken_blocks_and_unknown_keys_are_bounded_too() {
    let report = judged(
        BY_REFERENCE,
        &"-----BEGIN CERTIFICATE-----\n".repeat(30_000),
    );
    assert_eq!(counts(&report), HashMap::from([("VT013", 21)]));

    let keys: Vec<_> = (0..128)
        .map(|number| format!(r#""k{number}":"v""#))
        .collect();
    let json = format!(
        r#"{{"spec":{{"provider":"aws","config":{{{}}}}}}}"#,
        keys.join(",")
    );
    assert_eq!(counts(&judged(&json, "")), HashMap::from([("VT036", 21)]));
}

/// Returns the report for an update from `old` to `new`, both inline bundles.
fn changed(old: &str, new: &str) -> Report {
    let inline = |bundle: &str| {
        let base64 = STANDARD.encode(bundle);
        format!(r#"{{"spec":{{"provider":"aws","objectStorage":{{"caCert":"{base64}"}}}}}}"#)
    };
    let (old, new) = (inline(old), inline(new));
    let (old, new) = (bsl(&old), bsl(&new));
    let location = |bsl, old| Location {
        namespace: "velero",
        dry_run: false,
        bsl,
        old,
        now: 1_785_240_000,
    };
    judge_change(
        &location(&new, Some(&old)),
        &location(&old, None),
        &Facts::default(),
        |_| true,
    )
}

#[test]
fn what_was_wrong_before_is_forgiven_however_much_there_is_and_hides_nothing_new() {
    let broken = |from: usize, to: usize| -> String {
        let block = |number| format!("-----BEGIN CERTIFICATE-----\nblock {number}\n");
        (from..to).map(block).collect()
    };
    let denied = |report: &Report| {
        let findings = report.findings.iter();
        findings
            .filter(|finding| Policy::default().severity(finding) == Severity::Deny)
            .map(|finding| finding.subject.clone())
            .collect::<Vec<_>>()
    };
    let better = changed(&broken(0, 60), &broken(8, 60));
    assert_eq!(counts(&better)["VT013"], 21);
    assert_eq!(denied(&better), [""; 0]);
    let other = changed(&broken(0, 60), &broken(8, 62));
    assert_eq!(denied(&other).len(), 2);
    let many = changed(&broken(0, 60), &broken(0, 90));
    assert_eq!(denied(&many).len(), 21);
    assert_eq!(denied(&many)[20], "more");
}

#[test]
fn a_users_text_is_short_and_in_one_line_when_it_is_repeated() {
    let json = format!(
        r#"{{"spec":{{"provider":"aws","config":{{"a\nb{}":"v"}}}}}}"#,
        "x".repeat(500)
    );
    let report = judged(&json, "");
    let path = report.findings[0].path.to_string();
    assert!(
        path.starts_with(r"spec.config[a\nbxxx") && path.chars().count() < 80,
        "{path}"
    );
}

#[test]
fn a_location_without_a_ca_needs_no_look_up() {
    let json = r#"{"spec":{"provider":"aws","objectStorage":{"bucket":"b"}}}"#;
    let bsl = bsl(json);
    let location = Location {
        namespace: "velero",
        dry_run: false,
        bsl: &bsl,
        old: None,
        now: 0,
    };
    assert_eq!(judge(&location, &Facts::default()), Report::default());
}

#[test]
fn the_updates_that_are_checked_are_those_of_the_table() {
    let rows = include_str!("../../../tests/updates/backupstoragelocations.yaml");
    let rows: Vec<Value> = serde_saphyr::from_str(rows).unwrap();
    assert!(rows.len() > 10);
    for row in rows {
        let [new, old] = ["new", "old"].map(|name| Bsl::deserialize(&row[name]).unwrap());
        let is_checked = !is_same_location(&new, &old);
        assert_eq!(is_checked, row["checked"] == true, "{row}");
    }
}

#[test]
fn ids_are_unique_well_formed_and_the_fixed_ones_are_those_that_leak_or_are_useless() {
    let ids: Vec<_> = all().map(|rule| rule.id).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert!(ids.iter().all(|id| id.len() == 5 && id.starts_with("VT0")));
    let mut fixed: Vec<_> = all()
        .filter(|rule| rule.fixed)
        .map(|rule| rule.id)
        .collect();
    fixed.sort_unstable();
    assert_eq!(fixed, ["VT010", "VT011", "VT013", "VT014"]);
}

#[test]
fn an_update_needs_no_more_look_ups_than_a_creation() {
    let naming = |name: &str| {
        format!(
            r#"{{"metadata":{{"annotations":{{"velero-trust.io/ca-secret":"{name}-a/k"}}}},"spec":{{
                "provider":"aws","credential":{{"name":"{name}-b","key":"k"}},
                "config":{{"secretRef":"{name}-c/k"}},
                "objectStorage":{{"caCertRef":{{"name":"{name}-d","key":"k"}}}}}}}}"#
        )
    };
    let (new, old) = (naming("new"), naming("old"));
    let (new, old) = (bsl(&new), bsl(&old));
    let location = |bsl| Location {
        namespace: "velero",
        dry_run: false,
        bsl,
        old: None,
        now: 0,
    };
    let needs = |report: Report| report.needs;
    let creation = needs(judge(&location(&new), &Facts::default()));
    let update = judge_change(&location(&new), &location(&old), &Facts::default(), |_| {
        true
    });
    assert_eq!(needs(update), creation);
    assert_eq!(creation.len(), 4);
}

#[test]
fn a_bundle_is_read_once_however_often_it_is_named() {
    let mut bundles = Bundles::default();
    let [first, again] = [0, 1].map(|_| std::ptr::from_ref(bundles.read(b"-----END\n")));
    assert_eq!((first, bundles.0.len()), (again, 1));
    assert_eq!(bundles.read(b"-----END \n").faults.len(), 1);
    assert_eq!(bundles.0.len(), 2);
}
