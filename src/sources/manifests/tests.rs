use super::*;
use crate::decision::{Fact, Lookup, Outcome, SecretKeyRef};

fn manifests(files: &[(&str, &str)]) -> Manifests {
    let mut manifests = Manifests::default();
    for (file, text) in files {
        manifests.add(Path::new(file), text, Namespace::Default(None), false);
    }
    manifests
}

fn secret(data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: ca, namespace: velero}}\n\
         stringData: {{ca.crt: {data}}}\n"
    )
}

#[test]
fn of_several_secrets_the_nearest_counts() {
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\n\
                  metadata: {name: ca, namespace: velero}\nspec: {encryptedData: {ca.crt: Ag}}\n";
    let manifests = manifests(&[
        ("base/ca.yaml", &secret("base")),
        ("clusters/a/ca.yaml", &secret("a")),
        ("clusters/b/ca.yaml", &secret("b")),
        ("clusters/c/sealed.yaml", sealed),
    ]);
    let found = |file: &str| {
        let lookup = Lookup::Secret(SecretKeyRef::new("velero", "ca", "ca.crt"));
        let view = FileView {
            manifests: &manifests,
            file: Path::new(file),
            any_namespace: false,
        };
        match view.look_up(&lookup) {
            Outcome::Found(Fact::Secret(secret)) => {
                String::from_utf8(secret.data["ca.crt"].clone()).unwrap()
            }
            Outcome::Found(Fact::Sealed(sealed)) => sealed.by.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found("clusters/a/bsl.yaml"), "a");
    assert_eq!(found("clusters/b/bsl.yaml"), "b");
    assert_eq!(found("clusters/b/ca.yaml"), "b");
    assert_eq!(found("clusters/c/bsl.yaml"), "a SealedSecret");
    assert_eq!(found("clusters/d/bsl.yaml"), "a");
    assert_eq!(found("bsl.yaml"), "base");
}

#[test]
fn what_is_not_of_interest_stops_nothing() {
    let manifests = manifests(&[
        ("broken.json", "{\"a\": ["),
        ("templates/a.yaml", "a: {{ .Values.a }}\n"),
        (
            "templates/bsl.yaml",
            "kind: BackupStorageLocation\nmetadata: {{ .Values.a }}\n",
        ),
        ("kustomization.yaml", "resources: [a.yaml]\n"),
        ("service.yaml", "apiVersion: v1\nkind: Service\n"),
    ]);
    let notes: Vec<_> = manifests
        .notes
        .iter()
        .map(|note| note.file.to_str().unwrap())
        .collect();
    assert_eq!(
        notes,
        ["broken.json", "templates/bsl.yaml", "kustomization.yaml"]
    );
    assert_eq!((manifests.templates, manifests.left_out), (1, 1));
    assert_eq!(manifests.errors, []);
}

#[test]
fn a_location_is_judged_except_for_its_placeholders() {
    let text = |namespace: &str| {
        format!(
            "apiVersion: velero.io/v1\nkind: BackupStorageLocation\n\
             metadata: {{name: a, namespace: '{namespace}'}}\n\
             spec: {{objectStorage: {{bucket: '{{{{ .Values.bucket }}}}'}}}}\n"
        )
    };
    let judged = manifests(&[("a.yaml", &text("velero"))]);
    let [location] = &judged.locations[..] else {
        panic!()
    };
    let [(path, by)] = &location.placeholders()[..] else {
        panic!()
    };
    let path = path.to_string();
    assert_eq!((&*path, *by), ("spec.objectStorage.bucket", "a template"));
    let not_judged = manifests(&[("a.yaml", &text("${NS}"))]);
    assert_eq!(not_judged.locations.len(), 0);
    assert_eq!(not_judged.notes.len(), 1);
}

const VALUES: &str = "configuration:\n  backupStorageLocation:\n  - {name: a, bucket: b}\n";

#[test]
fn what_makes_a_secret_may_hold_values_too() {
    let application = format!(
        "apiVersion: example.test/v1\nkind: Application\nmetadata: {{name: x}}\n\
         spec:\n  destination: {{name: in-cluster}}\n  helm:\n    values:\n      {}",
        VALUES.trim_end().replace('\n', "\n      ")
    );
    let manifests = manifests(&[("a.yaml", &application)]);
    assert_eq!(manifests.locations.len(), 1);
    assert!(manifests.secrets.contains_key("in-cluster"));
}

#[test]
fn values_in_the_data_of_a_secret_are_read_and_stand_in_its_line() {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(VALUES);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: values, namespace: flux}}\ndata:\n  \
         values.yaml: {data}\n"
    );
    let manifests = manifests(&[("a.yaml", &secret)]);
    let [location] = &manifests.locations[..] else {
        panic!()
    };
    // The release that reads it may be in any namespace.
    assert_eq!(
        (location.first_line(), location.names_namespace),
        (5, false)
    );
}

#[test]
fn of_two_secrets_in_one_file_the_last_counts_as_in_a_cluster() {
    let text = format!("{}---\n{}", secret("first"), secret("last"));
    let manifests = manifests(&[("a.yaml", &text)]);
    assert_eq!(manifests.secrets["ca"].len(), 1);
    let notes: Vec<_> = manifests
        .notes
        .iter()
        .map(|note| note.message.as_str())
        .collect();
    assert_eq!(
        notes,
        ["Secret velero/ca stands in line 1 too; a cluster keeps the last one"]
    );
}

/// One document is shared by all of its locations.
#[test]
fn two_thousand_locations_in_one_document_are_read_in_one_walk() {
    let entries = "  - {name: a, bucket: b}\n".repeat(2_000);
    let text = format!("configuration:\n  backupStorageLocation:\n{entries}");
    let manifests = manifests(&[("a.yaml", &text)]);
    let (first, last) = (&manifests.locations[0], &manifests.locations[1999]);
    assert_eq!((first.first_line(), last.first_line()), (3, 2002));
    assert!(std::ptr::eq(first.document(), last.document()));
}
