use serde_json::json;

use super::*;

fn parse(text: &str, namespace: Option<&str>) -> Values {
    read(&serde_saphyr::from_str(text).unwrap(), namespace)
}

#[test]
fn an_element_becomes_the_object_that_the_chart_makes_of_it() {
    let text = "\
configuration:
  backupStorageLocation:
  - name:
    provider: aws
    bucket: 7
    caCert: Zm9v
    accessMode: ReadWrite
    credential: {name: cloud, key: }
    annotations: {a: 1}
    config: {region: minio, s3ForcePathStyle: true, empty: }
";
    let values = parse(text, None);
    let [entry] = &values.entries[..] else {
        panic!("{values:?}")
    };
    assert_eq!(
        entry.path.to_string(),
        "configuration.backupStorageLocation[0]"
    );
    assert_eq!(
        entry.object,
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": "default", "namespace": "velero", "annotations": {"a": "1"}},
            "spec": {
                "provider": "aws",
                "accessMode": "ReadWrite",
                "objectStorage": {"bucket": "7", "caCert": "Zm9v"},
                "credential": {"name": "cloud"},
                "config": {"region": "minio", "s3ForcePathStyle": "true"},
            },
        })
    );
}

#[test]
fn values_are_found_wherever_a_chart_gets_them_from() {
    let list = "configuration: {backupStorageLocation: [{name: a}]}";
    let found = |text: &str| {
        let values = parse(text, Some("given"));
        let entries = values.entries.into_iter();
        let entries = entries.map(|entry| format!("{} {}", entry.path, entry.key));
        entries.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        found(list),
        "configuration.backupStorageLocation[0] given/a"
    );
    assert_eq!(
        found(&format!("other: 1\nmy-velero: {{{list}}}")),
        "my-velero.configuration.backupStorageLocation[0] given/a"
    );
    assert_eq!(
        found(&format!(
            "kind: HelmRelease\nmetadata: {{namespace: flux}}\nspec: {{values: {{{list}}}}}"
        )),
        "spec.values.configuration.backupStorageLocation[0] flux/a"
    );
    assert_eq!(
        found(&format!(
            "kind: Application\nspec: {{destination: {{namespace: argo}}, \
             sources: [{{helm: {{valuesObject: {{velero: {{{list}}}}}}}}}]}}"
        )),
        "spec.sources[0].helm.valuesObject.velero.configuration.backupStorageLocation[0] argo/a"
    );
    assert_eq!(found(&format!("kind: Deployment\nspec: {{{list}}}")), "");
}

#[test]
fn what_the_chart_does_not_do_is_noted() {
    let notes = |text: &str| {
        let values = parse(text, None);
        let notes = values.notes.into_iter();
        notes.map(|(path, _)| path.to_string()).collect::<Vec<_>>()
    };
    let map = "configuration: {backupStorageLocation: {bucket: a}}";
    assert_eq!(notes(map), ["configuration.backupStorageLocation"]);
    let off = "backupsEnabled: false\nconfiguration: {backupStorageLocation: [{bucket: a}]}";
    assert_eq!(notes(off), ["backupsEnabled"]);
    for misplaced in [
        "configuration: {backupStorageLocations: [{bucket: a}]}",
        "backupStorageLocation: [{bucket: a}]",
        "Configuration: {backupStorageLocation: [{bucket: a}]}",
    ] {
        assert!(!notes(misplaced).is_empty(), "{misplaced}");
        assert_eq!(parse(misplaced, None).entries, [], "{misplaced}");
    }
}

#[test]
fn what_the_chart_drops_is_told_with_the_right_name() {
    let text = "configuration: {backupStorageLocation: [{caCertRef: {name: a, key: b}, cacert: x, \
                caBundle: x, spec: {}, buckets: a, other: 1, labels: {}}]}";
    let [entry] = &parse(text, None).entries[..] else {
        panic!()
    };
    let mut fixes: Vec<_> = entry
        .dropped
        .iter()
        .map(|(path, fix)| {
            let path = path.to_string();
            let (_, name) = path.rsplit_once('.').unwrap();
            format!("{name}: {fix}")
        })
        .collect();
    fixes.sort_by_key(|fix| fix.contains("remove it"));
    assert_eq!(
        fixes[..5],
        [
            "buckets: write `bucket`",
            "caBundle: write `caCert`",
            "caCertRef: name the CA in annotations: `velero-trust.io/ca-secret: <secret>/<key>`",
            "cacert: write `caCert`",
            "spec: write the fields in it directly into this element",
        ]
    );
    assert!(fixes[5].starts_with("labels: remove it"), "{fixes:?}");
    assert!(fixes[6].starts_with("other: remove it"), "{fixes:?}");
    assert_eq!(fixes.len(), 7);
}

/// The chart's own values.yaml has these.
#[test]
fn what_the_chart_renders_as_nothing_is_no_field() {
    let text = "configuration: {backupStorageLocation: [{provider: aws, bucket: b, \
                credential: {name: , key: }, config: {}, backupSyncPeriod: 1m, default: 'true'}]}";
    let [entry] = &parse(text, None).entries[..] else {
        panic!()
    };
    assert_eq!(entry.dropped, []);
    assert_eq!(
        entry.object["spec"],
        json!({"provider": "aws", "objectStorage": {"bucket": "b"}, "backupSyncPeriod": "1m",
            "default": true})
    );
}

#[test]
fn values_are_found_in_every_usual_wrapping() {
    let list = "configuration: {backupStorageLocation: [{name: a}]}";
    let text = |path: &str, wrapping: &str| {
        let values = parse(wrapping, Some("given"));
        let found = values.texts.iter().map(|(path, _, namespace)| {
            format!("{path} {}", namespace.as_deref().unwrap_or_default())
        });
        assert_eq!(found.collect::<Vec<_>>(), [path], "{wrapping}");
    };
    let block = format!("\"\\n{list}\\n\"");
    text(
        "spec.source.helm.values argo",
        &format!(
            "kind: Application\nspec: {{destination: {{namespace: argo}}, \
             source: {{helm: {{values: {block}}}}}}}"
        ),
    );
    text(
        "spec.valuesContent k3s",
        &format!(
            "kind: HelmChart\nmetadata: {{namespace: kube-system}}\n\
             spec: {{targetNamespace: k3s, valuesContent: {block}}}"
        ),
    );
    text(
        "data.values.yaml given",
        &format!("kind: ConfigMap\nmetadata: {{namespace: flux}}\ndata: {{values.yaml: {block}}}"),
    );
    let entry = |want: &str, wrapping: &str| {
        let entries = parse(wrapping, Some("given")).entries.into_iter();
        let found = entries.map(|entry| format!("{} {}", entry.path, entry.key));
        assert_eq!(found.collect::<Vec<_>>(), [want], "{wrapping}");
    };
    let path = "configuration.backupStorageLocation[0]";
    entry(
        &format!("spec.template.spec.source.helm.valuesObject.{path} argo/a"),
        &format!(
            "kind: ApplicationSet\nspec: {{template: {{spec: {{destination: {{namespace: argo}}, \
             source: {{helm: {{valuesObject: {{{list}}}}}}}}}}}}}"
        ),
    );
    entry(
        &format!("helm.values.{path} fleet/a"),
        &format!("defaultNamespace: fleet\nhelm: {{values: {{{list}}}}}"),
    );
    entry(
        &format!("releases[0].values[0].{path} file/a"),
        &format!("releases: [{{namespace: file, values: [{{{list}}}]}}]"),
    );
    entry(
        &format!("platform.backup.velero.{path} given/a"),
        &format!("platform: {{backup: {{velero: {{{list}}}}}}}"),
    );
}

#[test]
fn the_chart_makes_a_secret_with_credentials_unless_one_exists() {
    let of = |credentials: Value| {
        let document = json!({ "credentials": credentials });
        let made = read(&document, Some("velero")).credentials;
        made.into_iter()
            .map(|(key, _)| key.to_string())
            .collect::<Vec<_>>()
    };
    let contents = json!({"cloud": "x"});
    assert_eq!(
        of(json!({ "secretContents": contents, "name": "cloud" })),
        ["velero/cloud"]
    );
    assert_eq!(of(json!({ "secretContents": contents })), ["velero/velero"]);
    assert_eq!(
        of(json!({ "secretContents": contents, "existingSecret": "x" })),
        [""; 0]
    );
    assert_eq!(
        of(json!({ "secretContents": contents, "useSecret": false })),
        [""; 0]
    );
    assert_eq!(of(json!({ "name": "cloud" })), [""; 0]);
}
