use super::*;
use crate::ca::common_roots::CommonRoots;

#[test]
fn the_config_map_tells_what_is_in_it_and_is_kept_by_everybody() {
    let merged = CommonRoots::default().bundle();
    let status = BundleStatus {
        last_added: Some(1_700_000_000),
        hold: Some("why"),
    };
    let map = config_map("velero", &merged, status);
    let annotations = map.metadata.annotations.clone().unwrap();
    let count = merged.certificates.len();
    for (key, value) in [
        (names::bundle::COUNT, count.to_string()),
        (names::bundle::ORIGINS, format!("public={count}")),
        (names::bundle::LAST_ADDED, "2023-11-14T22:13:20Z".to_owned()),
        (names::bundle::HOLD, "why".to_owned()),
        ("argocd.argoproj.io/sync-options", "Prune=false".to_owned()),
        ("kustomize.toolkit.fluxcd.io/prune", "disabled".to_owned()),
    ] {
        assert_eq!(annotations.get(key), Some(&value), "{key}");
    }
    // Unlike the other objects of velero-trust: a restored Velero Pod must find it.
    let labels = map.metadata.labels.clone().unwrap();
    assert!(!labels.contains_key("velero.io/exclude-from-backup"));

    let released = config_map("velero", &merged, BundleStatus::default());
    assert!(is_same(&map, &map) && !is_same(&map, &released));
    assert!(!is_same(&released, &map));
}

#[test]
fn a_label_that_was_taken_off_and_what_was_put_beside_are_differences() {
    let wanted = config_map(
        "velero",
        &CommonRoots::default().bundle(),
        BundleStatus::default(),
    );
    let mut live = wanted.clone();
    live.metadata.labels = None;
    assert!(!is_same(&live, &wanted));

    let mut live = wanted.clone();
    let labels = live.metadata.labels.get_or_insert_default();
    labels.insert("velero.io/restore-name".to_owned(), "r".to_owned());
    assert!(is_same(&live, &wanted));
    let data = live.data.get_or_insert_default();
    data.insert("more".to_owned(), String::new());
    assert!(!is_same(&live, &wanted));
    let patch = cleanup_patch(&live, &wanted).unwrap();
    assert_eq!(patch["data"], json!({"more": null}));
}

#[test]
fn a_hold_that_another_manager_wrote_is_taken_off() {
    let hold = BundleStatus {
        hold: Some("why"),
        ..BundleStatus::default()
    };
    let merged = CommonRoots::default().bundle();
    let live = config_map("velero", &merged, hold);
    let wanted = config_map("velero", &merged, BundleStatus::default());
    let patch = cleanup_patch(&live, &wanted).unwrap();
    let metadata = patch.get("metadata").unwrap();
    assert_eq!(
        metadata.get("annotations"),
        Some(&json!({names::bundle::HOLD: null}))
    );
    assert_eq!(cleanup_patch(&live, &live), None);
}

#[test]
fn only_what_a_publisher_wrote_is_published() {
    let managed_by = |managers: &[&str]| {
        let fields = managers.iter().map(|manager| json!({"manager": manager}));
        let fields: Vec<_> = fields.collect();
        serde_json::from_value::<ObjectMeta>(json!({"managedFields": fields})).unwrap()
    };
    for (managers, ours, published) in [
        (&[][..], false, false),
        (&["kubectl"], false, false),
        (&["velero-trust-bootstrap"], true, false),
        (&["velero-trust-bootstrap", "velero-trust"], true, true),
    ] {
        let metadata = managed_by(managers);
        let actual = (is_ours(&metadata), is_published(&metadata));
        assert_eq!(actual, (ours, published), "{managers:?}");
    }
}
