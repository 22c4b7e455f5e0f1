//! `docs/SECURITY.md` lists exactly the rights that the manifests grant.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use velero_trust::names;
use velero_trust_testing::installer;

/// A resource, its only name if restricted to one, the verbs, and where they are granted.
type Right = (String, String, String, &'static str);

const SCOPES: [&str; 3] = [
    "cluster",
    "own namespace",
    "only the namespaces where you bind it",
];

fn scope(role: &Value) -> &'static str {
    let [cluster, own, bound] = SCOPES;
    match role["kind"].as_str() {
        Some("Role") => own,
        _ if role["metadata"]["name"] == names::SECRET_READER_ROLE => bound,
        _ => cluster,
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let texts = list.as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap())
}

fn granted() -> BTreeSet<Right> {
    let text = fs::read_to_string(installer::manifests().join("rbac.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(|object| !object["rules"].is_null()) {
        for rule in role["rules"].as_array().unwrap() {
            let name = texts(&rule["resourceNames"]).collect::<Vec<_>>().join(", ");
            let verbs = texts(&rule["verbs"]).collect::<Vec<_>>().join(", ");
            for resource in texts(&rule["resources"]) {
                let resource = resource.to_owned();
                rights.insert((resource, name.clone(), verbs.clone(), scope(role)));
            }
        }
    }
    rights
}

fn documented() -> BTreeSet<Right> {
    let page = fs::read_to_string("docs/SECURITY.md").unwrap();
    let mut rights = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let found = cells.get(2).map(|cell| cell.trim_matches('*'));
        let Some(scope) = SCOPES.into_iter().find(|scope| found == Some(*scope)) else {
            continue;
        };
        let (resources, verbs) = cells[1].split_once(": ").unwrap();
        let (resources, name) = resources.split_once(" named ").unwrap_or((resources, ""));
        for resource in resources.split(", ") {
            let resource = resource.to_lowercase();
            let name = name.trim_matches('`').to_owned();
            rights.insert((resource, name, verbs.to_owned(), scope));
        }
    }
    rights
}

#[test]
fn every_right_is_documented_and_no_other() {
    let granted = granted();
    assert!(granted.len() > 10, "{granted:?}");
    assert_eq!(documented(), granted);
}
