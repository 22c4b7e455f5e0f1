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
