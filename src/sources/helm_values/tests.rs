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
    let reference = "configuration: {backupStorageLocation: [{caCertRef: {name: a, key: b}}]}";
    assert_eq!(
        notes(reference),
        ["configuration.backupStorageLocation[0].caCertRef"]
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
