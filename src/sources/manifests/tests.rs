use super::*;
use crate::decision::{Lookup, Outcome, SecretKeyRef};

fn manifests(files: &[(&str, &str)]) -> Manifests {
    let mut manifests = Manifests::default();
    for (file, text) in files {
        manifests.add(Path::new(file), text, None, false);
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
        match manifests.seen_from(Path::new(file)).look_up(&lookup) {
            Outcome::Found(Fact::Secret(secret)) => {
                String::from_utf8(secret.data["ca.crt"].clone()).unwrap()
            }
            Outcome::Found(Fact::Sealed(sealed)) => sealed.by.to_owned(),
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
fn a_location_that_is_still_a_template_is_not_judged() {
    let text = "apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata: {name: a}\n\
                spec: {objectStorage: {bucket: '{{ .Values.bucket }}'}}\n";
    let manifests = manifests(&[("a.yaml", text)]);
    assert_eq!(manifests.locations.len(), 0);
    assert_eq!(manifests.notes.len(), 1);
}
