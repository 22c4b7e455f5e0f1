//! The CustomResourceDefinitions in `manifests/crds`, which are generated from the types.

use velero_trust::kubernetes::crds;

use crate::readme::UPDATE;

const HEADER: &str = "# Generated from src/kubernetes/crds; `make docs` writes it.\n";

#[test]
fn docs_the_definitions_are_those_of_the_types() {
    for definition in crds::all() {
        let plural = &definition.spec.names.plural;
        let path = format!("manifests/crds/{plural}.yaml");
        let yaml = serde_saphyr::to_string(&definition).unwrap();
        let wanted = format!("{HEADER}{yaml}");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text == wanted,
                "{path} is not what the types say; `make docs` writes it"
            );
        }
    }
}
