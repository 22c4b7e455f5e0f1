use super::labelled::{self, config_map_data};
use super::*;
use crate::ca::bundle::merge;
use crate::ca::common_roots::RestoredExtra;
use crate::ca::evaluation::contributions;
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_file_that_is_no_bundle_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let roots = Roots {
        public: PublicRoots::File(file.clone()),
        extra: vec![],
    };
    let why = |roots: &Roots| roots.read().unwrap_err().to_string();
    assert!(why(&roots).starts_with("cannot read"), "{}", why(&roots));
    fs::write(&file, "nothing").unwrap();
    assert!(why(&roots).contains("is no CA bundle"), "{}", why(&roots));
    fs::write(&file, merge(&mozilla()[..2]).text).unwrap();
    assert_eq!(roots.read().unwrap().public.len(), 2);
    let extra = Roots {
        public: PublicRoots::None,
        extra: vec![file],
    };
    let common_roots = extra.read().unwrap();
    assert_eq!(
        (
            common_roots.public.len(),
            common_roots.bundle().bundle.count
        ),
        (0, 2)
    );
}

#[test]
fn each_key_of_a_labelled_object_is_an_owner_and_a_broken_one_adds_nothing() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let beside_a_key = format!("{}{key}", merge(&mozilla()[1..2]).text);
    let map: ConfigMap = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "corp"},
        "data": {"a": merge(&mozilla()[..1]).text, "b": "broken", "c": beside_a_key},
    }))
    .unwrap();
    let extra = labelled::read("ConfigMap", &map.metadata.clone(), config_map_data(map));
    let found: Vec<_> = extra
        .contributions
        .iter()
        .map(|(owner, contribution)| {
            (
                owner.to_string(),
                contribution.certificates.len(),
                contribution.is_complete,
            )
        })
        .collect();
    let wanted = [
        ("ConfigMap corp key a".to_owned(), 1, true),
        ("ConfigMap corp key b".to_owned(), 0, false),
        ("ConfigMap corp key c".to_owned(), 0, false),
    ];
    assert_eq!(found, wanted);
    assert!(extra.restored.is_empty() && !extra.has_unknown);
}

#[test]
fn what_velero_restored_is_named_and_adds_nothing() {
    let map: ConfigMap = serde_json::from_value(serde_json::json!({
        "metadata": {
            "name": "corp", "namespace": "us", "uid": "u",
            "labels": {"velero.io/restore-name": "r"},
        },
        "data": {"a": merge(&mozilla()[..1]).text, "b": "broken"},
    }))
    .unwrap();
    let extra = labelled::read("ConfigMap", &map.metadata.clone(), config_map_data(map));
    let restored = RestoredExtra {
        kind: "ConfigMap".to_owned(),
        namespace: "us".to_owned(),
        name: "corp".to_owned(),
        uid: "u".to_owned(),
        restore: "r".to_owned(),
    };
    assert_eq!(extra.restored, [restored].into());
    // What was good before Velero overwrote the object stays.
    let owners: Vec<_> = extra
        .contributions
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(owners, ["ConfigMap corp key a", "ConfigMap corp key b"]);
    assert!(
        extra
            .contributions
            .values()
            .all(|one| *one == Contribution::default())
    );

    // It is one issue, which names the object and how to take it.
    let roots = CommonRoots {
        extra,
        ..CommonRoots::default()
    };
    let mut issues = BTreeSet::new();
    contributions(&BTreeMap::new(), &roots, &mut issues);
    let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
    let [issue] = &issues[..] else {
        panic!("{issues:?}")
    };
    let command = "`kubectl -n us label configmap corp velero.io/restore-name-`";
    for part in ["ConfigMap corp", "Restore r", command] {
        assert!(issue.contains(part), "{issue}");
    }
}

#[test]
fn says_which_roots_are_public() {
    assert_eq!("mozilla".parse(), Ok(PublicRoots::Mozilla));
    assert_eq!("none".parse(), Ok(PublicRoots::None));
    assert_eq!("/x".parse(), Ok(PublicRoots::File("/x".into())));
    assert!("".parse::<PublicRoots>().is_err());
}
