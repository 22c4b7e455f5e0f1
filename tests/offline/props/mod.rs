//! Properties that hold for any Pod and any bytes.

mod arbitrary;
mod reviews;

use proptest::prelude::*;
use serde_json::Value;
use velero_trust::decision::{Bundle, Fact, Facts, Lookup, Outcome, Report};
use velero_trust::injection;
use velero_trust::velero::pod::Pod;

use self::arbitrary::pod;

fn facts() -> Facts {
    let mut facts = Facts::default();
    let bundle = Outcome::Found(Fact::Bundle(Bundle::default()));
    facts.insert(Lookup::Bundle("velero".into()), bundle);
    facts
}

fn decide(pod: &Value) -> Report {
    let text = pod.to_string();
    let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
    injection::decide("velero", &pod, &facts())
}

/// Whether everything in `before` is at the same place in `after`. A list may have grown at its
/// end, and `null` may have become a list.
fn is_kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, Value::Null | Value::Array(_)) => true,
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .all(|(key, value)| after.get(key).is_some_and(|after| is_kept(value, after))),
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before
                    .iter()
                    .zip(after)
                    .all(|(before, after)| is_kept(before, after))
        }
        _ => before == after,
    }
}

/// Whether no two elements of a list have the same `key`.
fn are_distinct(list: &Value, key: &str) -> bool {
    let elements = list.as_array().into_iter().flatten();
    let mut keys: Vec<_> = elements
        .filter_map(|element| element[key].as_str())
        .collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_patch_applies_to_any_pod_only_adds_and_is_complete(before in pod()) {
        let report = decide(&before);
        prop_assert!(report.needs.is_empty() && report.unknowns.is_empty());
        let mut after = before.clone();
        json_patch::patch(&mut after, &report.patch).unwrap();
        prop_assert!(is_kept(&before, &after), "{before}\n{after}");

        let again = decide(&after);
        prop_assert_eq!(&again.patch, &vec![], "{} {}", before, after);
        prop_assert_eq!(again.findings.len(), report.findings.len());

        prop_assert!(are_distinct(&after["spec"]["volumes"], "name"), "{after}");
        for list in ["containers", "initContainers"] {
            let before = before["spec"][list].as_array().into_iter().flatten();
            let containers = after["spec"][list].as_array().into_iter().flatten();
            prop_assert_eq!(before.count(), containers.clone().count());
            for container in containers {
                prop_assert!(are_distinct(&container["env"], "name"), "{container}");
                prop_assert!(are_distinct(&container["volumeMounts"], "mountPath"), "{container}");
            }
        }
    }

    #[test]
    fn a_variable_of_ours_never_points_where_no_bundle_is(before in pod()) {
        let patch = decide(&before).patch;
        let mut after = before.clone();
        json_patch::patch(&mut after, &patch).unwrap();
        for list in ["containers", "initContainers"] {
            let olds = before["spec"][list].as_array().into_iter().flatten();
            let news = after["spec"][list].as_array().into_iter().flatten();
            for (old, new) in olds.zip(news) {
                if old["env"] != new["env"] {
                    let mut mounts = new["volumeMounts"].as_array().unwrap().iter();
                    prop_assert!(mounts.any(|mount| mount["name"] == "velero-trust-ca"
                        && mount["mountPath"].as_str().unwrap().trim_end_matches('/') == "/certs"
                        && mount.get("subPath").is_none()), "{new}");
                    let mut volumes = after["spec"]["volumes"].as_array().unwrap().iter();
                    prop_assert!(volumes.any(|volume| volume["name"] == "velero-trust-ca"
                        && volume["configMap"]["name"] == "velero-trust-ca"), "{after}");
                }
            }
        }
    }
}
