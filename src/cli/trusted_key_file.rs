//! Files with public keys: PEM, or TrustedKeys in YAML as `velero-trust keys export` writes them. Nothing of a file
//! is in an error: it may be the private key.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use serde_json::Value;

use crate::integrity::public_key::{PublicKey, PublicKeyError};
use crate::kubernetes::crds::{TrustedKey, TrustedKeySpec};
use crate::sources::yaml::{NotYaml, documents};
use crate::velero::text::shown;

/// The API group of TrustedKeys with what separates the version, and their `apiVersion`.
const GROUP: &str = "velero-trust.io/";
const API_VERSION: &str = "velero-trust.io/v1alpha1";

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A public key, and what its TrustedKey says of it.
#[derive(Clone, Debug)]
pub(super) struct FileKey {
    /// The key.
    pub(super) key: PublicKey,
    /// The TrustedKey. Of PEM it has no name, and the key counts for everything.
    pub(super) trusted: TrustedKey,
}

/// Why a file has no public key that can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFileError {
    /// Its PEM cannot be used.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// It is neither PEM nor YAML.
    #[error(transparent)]
    Yaml(#[from] NotYaml),
    /// Another object of Kubernetes.
    #[error("document {document} is a {}, not a TrustedKey", shown(.kind))]
    OtherKind { document: usize, kind: String },
    /// A field is of another kind than this version knows.
    #[error("document {document} is no TrustedKey that this version can read: {why}")]
    Unreadable { document: usize, why: String },
    /// Fields that this version does not know. One of them may say for what the key counts.
    #[error(
        "document {document} is a TrustedKey with {}, which this version does not know; correct the name, or use a newer \
         version", shown(.field)
    )]
    UnknownField { document: usize, field: String },
    /// A version of the kind that is not known.
    #[error("document {document} is a TrustedKey of {}, and this version knows {API_VERSION}", shown(.version))]
    OtherVersion { document: usize, version: String },
    /// The key of a TrustedKey cannot be used.
    #[error("the key of the TrustedKey {}: {error}", shown(.name))]
    InTrustedKey { name: String, error: PublicKeyError },
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
}

/// What becomes of objects that are no TrustedKeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They are an error: the file was named for its key.
    Refuse,
    /// They are left out.
    Skip,
}

/// Reads the file at `path`; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<FileKey>> {
    read_with(path, Others::Refuse)
}

fn read_with(path: &Path, others: Others) -> anyhow::Result<Vec<FileKey>> {
    let shown = path.display();
    let text = text(path).with_context(|| format!("cannot read {shown}"))?;
    parse(&text, others).with_context(|| format!("{shown} is no key that can be used"))
}

/// How the names of files with keys end.
const ENDINGS: [&str; 5] = ["yaml", "yml", "json", "pem", "pub"];

/// Reads the keys of all files in the directory at `path`, in the order of their names. Other objects beside them
/// are left out.
pub(super) fn read_directory(path: &Path) -> anyhow::Result<Vec<(PathBuf, FileKey)>> {
    let shown = path.display();
    let cannot = || format!("cannot read {shown}");
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let mut keys = Vec::new();
    for file in files {
        let found = read_with(&file, Others::Skip)?;
        keys.extend(found.into_iter().map(|key| (file.clone(), key)));
    }
    anyhow::ensure!(
        !keys.is_empty(),
        "{shown} has no TrustedKey, and no key in PEM, in a file whose name ends in .{}",
        ENDINGS.join(", .")
    );
    Ok(keys)
}

/// Reads a text of at most [`MAX_BYTES`]. Bytes that are no text are part of no key.
pub(super) fn text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
    } else {
        let file = fs::File::open(path)?;
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the keys in `text`; at least one, unless others are skipped.
pub(super) fn parse(text: &str, others: Others) -> Result<Vec<FileKey>, KeyFileError> {
    // Before anything else looks at it.
    if text.contains("PRIVATE KEY-----") {
        return Err(PublicKeyError::Private.into());
    }
    let is_of_a_key = ["PUBLIC KEY", "TrustedKey"].map(|word| text.contains(word));
    if others == Others::Skip && !is_of_a_key.contains(&true) {
        return Ok(Vec::new());
    }
    if text.trim().is_empty() {
        return Err(KeyFileError::Empty);
    }
    if !text.contains("apiVersion") {
        let key = PublicKey::from_pem(text)?;
        let spec = TrustedKeySpec {
            public_key: block(text).ok_or(PublicKeyError::Pem)?,
            algorithm: Some(key.algorithm().to_string()),
            ..TrustedKeySpec::default()
        };
        let metadata = ObjectMeta::default();
        let trusted = TrustedKey { metadata, spec };
        return Ok(vec![FileKey { key, trusted }]);
    }
    let mut keys = Vec::new();
    for document in documents(text) {
        for object in document?.flatten() {
            match trusted_key(object.number, object.to_json()) {
                Err(KeyFileError::OtherKind { .. }) if others == Others::Skip => {}
                key => keys.push(key?),
            }
        }
    }
    if keys.is_empty() && others == Others::Refuse {
        return Err(KeyFileError::Empty);
    }
    Ok(keys)
}

fn trusted_key(document: usize, json: Value) -> Result<FileKey, KeyFileError> {
    let field = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (field("kind"), field("apiVersion"));
    if kind != "TrustedKey" || !version.starts_with(GROUP) {
        let kind = if kind.is_empty() { "text" } else { kind };
        return Err(KeyFileError::OtherKind {
            document,
            kind: kind.to_owned(),
        });
    }
    if version != API_VERSION {
        return Err(KeyFileError::OtherVersion {
            document,
            version: version.to_owned(),
        });
    }
    let mut unknown = None;
    let mut note = |path: serde_ignored::Path<'_>| {
        let path = path.to_string();
        let is_of_all_kinds = ["apiVersion", "kind"].contains(&&*path);
        if !is_of_all_kinds && !path.starts_with("metadata.") {
            unknown.get_or_insert(path);
        }
    };
    let trusted = serde_ignored::deserialize::<_, _, TrustedKey>(json, &mut note);
    let mut trusted = trusted.map_err(|error| KeyFileError::Unreadable {
        document,
        why: error.to_string(),
    })?;
    if let Some(field) = unknown {
        return Err(KeyFileError::UnknownField { document, field });
    }
    let wrong = |error| KeyFileError::InTrustedKey {
        name: trusted.name_any(),
        error,
    };
    let key = PublicKey::from_pem(&trusted.spec.public_key).map_err(wrong)?;
    let block = block(&trusted.spec.public_key);
    trusted.spec.public_key = block.ok_or_else(|| KeyFileError::InTrustedKey {
        name: trusted.name_any(),
        error: PublicKeyError::Pem,
    })?;
    Ok(FileKey { key, trusted })
}

/// Returns the PEM block of a public key, with nothing else that may be around it.
pub(super) fn block(text: &str) -> Option<String> {
    let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
    let (from, to) = text.find(begin).zip(text.find(end))?;
    let block = text.get(from..to + end.len())?;
    Some(format!("{block}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{KeyState, SignedLevel};
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn pem() -> String {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        key.public_pem()
    }

    fn manifest(pem: &str, spec: &str) -> String {
        let indented = pem.trim_end().replace('\n', "\n    ");
        format!(
            "apiVersion: velero-trust.io/v1alpha1\nkind: TrustedKey\nmetadata: {{name: b}}\nspec:\n  \
             publicKey: |\n    {indented}\n{spec}"
        )
    }

    fn why(text: &str) -> String {
        parse(text, Others::Refuse).unwrap_err().to_string()
    }

    #[test]
    fn pem_is_a_key_for_everything_and_noise_around_it_is_left_out() {
        let pem = pem();
        let keys = parse(
            &format!("of cluster b\u{1b}[2J\n{pem}end\n"),
            Others::Refuse,
        )
        .unwrap();
        let [FileKey { key, trusted }] = &keys[..] else {
            panic!()
        };
        assert_eq!(trusted.spec.public_key, pem);
        assert_eq!(key.id(), PublicKey::from_pem(&pem).unwrap().id());
        assert_eq!(trusted.metadata.name, None);
        assert!(trusted.spec.scope.is_everything());
        assert_eq!(trusted.spec.algorithm.as_deref(), Some("ECDSA-P256"));
    }

    #[test]
    fn yaml_has_keys_with_what_they_are_for() {
        let spec = "  state: VerifyOnly\n  validUntil: 2026-01-01T00:00:00Z\n  scope:\n    levels: [observed]\n";
        let one = manifest(&pem(), spec);
        let keys = parse(
            &format!("---\n{one}---\n{}", manifest(&pem(), "")),
            Others::Refuse,
        )
        .unwrap();
        assert_eq!(keys.len(), 2);
        let spec = &keys[0].trusted.spec;
        assert_eq!(spec.state, KeyState::VerifyOnly);
        assert_eq!(spec.scope.levels, [SignedLevel::Observed]);
        assert_eq!(
            spec.valid_until.as_ref().unwrap().0.to_string(),
            "2026-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_directory_has_the_keys_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let why = || format!("{:#}", read_directory(folder.path()).unwrap_err());
        write("notes.txt", "no key");
        write(
            "kustomization.yaml",
            "apiVersion: v1\nkind: Kustomization\n",
        );
        // What a repository has besides.
        write("values.yaml", "replicas: 2\n");
        write("chart.yaml", "{{ if .Values.x }}\n");
        write("package.json", "{}");
        write("empty.yaml", "");
        write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
        assert!(why().contains("has no TrustedKey, and no key in PEM"));
        write("b.yaml", &manifest(&pem(), ""));
        write("a.pub", &pem());
        let keys = read_directory(folder.path()).unwrap();
        let names = keys.iter().map(|(file, _)| file.file_name().unwrap());
        assert!(names.eq(["a.pub", "b.yaml"]));
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        write("c.pem", &key.to_pem());
        assert!(why().contains("c.pem is no key that can be used: it is a private key"));
    }

    #[test]
    fn what_is_no_key_is_told_and_a_private_key_never_repeated() {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let private = key.to_pem();
        let body: String = private.lines().skip(1).take(1).collect();
        for text in [private.clone(), manifest(&private, "")] {
            let why = why(&text);
            assert!(why.starts_with("it is a private key"), "{why}");
            assert!(!why.contains(&body), "{why}");
        }
        // Its markers were cut off.
        for text in [body.clone(), manifest(&body, "")] {
            let why = why(&text);
            assert!(why.contains("not a public key in PEM"), "{why}");
            assert!(!why.contains(&body), "{why}");
        }
        let cut = pem();
        let cut = cut.get(..100).unwrap();
        assert!(why(cut).contains("not a public key in PEM"));
        assert!(why(&pem().repeat(2)).contains("several keys"));
        assert_eq!(why(" \n"), "it is empty");
        assert!(why("apiVersion: [").contains("not YAML"));
        let secret = "apiVersion: v1\nkind: Secret\ndata: {key.pem: QUJD}\n";
        assert_eq!(why(secret), "document 1 is a Secret, not a TrustedKey");
        assert_eq!(parse(secret, Others::Skip).unwrap().len(), 0);
        for (spec, field) in [
            ("  scope: {backup: [x]}\n", "spec.scope.backup"),
            ("  scopes: {}\n", "spec.scopes"),
        ] {
            let why = why(&manifest(&pem(), spec));
            assert!(
                why.contains(&format!("a TrustedKey with {field}, ")),
                "{why}"
            );
        }
        let newer = manifest(&pem(), "").replace("v1alpha1", "v2");
        assert!(why(&newer).contains("a TrustedKey of velero-trust.io/v2, "));
        let state = why(&manifest(&pem(), "  state: Maybe\n"));
        assert!(state.contains("unknown variant `Maybe`"), "{state}");
    }
}
