//! Renders the hint of a rule with the names of a location filled in.

use crate::ca::references::{self, CaTarget};
use crate::decision::{Finding, Hint, Key, SecretKeyRef};
use crate::names::CA_SECRET_ANNOTATION;
use crate::sources::manifests::Located;
use crate::velero::bsl::Bsl;
use crate::velero::text::{or_empty, shown};

/// Writes only the certificates of a file to another file.
const EXTRACT_COMMAND: &str =
    "openssl crl2pkcs7 -nocrl -certfile ca.pem | openssl pkcs7 -print_certs -out clean.pem";

/// Lists the certificates of a bundle.
const LIST_COMMAND: &str = "openssl crl2pkcs7 -nocrl -certfile ca.pem | openssl pkcs7 -print_certs -text -noout \
                    | grep -E 'Subject:|Not (Before|After)'";

/// Returns the hint for a finding, in one or more lines; `None` if its rule has none, or if the
/// location lacks what the hint needs.
pub(super) fn render(location: &Located, finding: &Finding) -> Option<String> {
    // Lenient, so that an object that cannot be read also gets a hint.
    let bsl = Bsl::from_value(&location.object);
    let names = Names {
        location,
        bsl: &bsl,
        reference: reference(&location.key, &bsl, finding),
    };
    Some(match finding.rule.hint {
        Hint::None => return None,
        Hint::ExplainSchema => "kubectl explain backupstoragelocation.spec --recursive".to_owned(),
        Hint::CreateSecret => names.secret_manifest(),
        Hint::CreateSecretOrWarn => format!(
            "{}\n# or, if something else makes the Secret: velero-trust lint --rule {}=warn",
            names.secret_manifest(),
            finding.rule.id
        ),
        Hint::NameSecret => names.reference_fields(),
        Hint::VerifyAndNameSecret => {
            format!(
                "# remove insecureSkipTLSVerify, and\n{}",
                names.reference_fields()
            )
        }
        Hint::MoveToSecret => format!(
            "# with the CA, as PEM text, in ca.pem:\n{}\n{}",
            names.create_command("ca.pem"),
            names.reference_fields()
        ),
        Hint::CreateCredential => format!(
            "# with the credentials in credentials-velero:\n{}",
            names.create_command("credentials-velero")
        ),
        Hint::ExtractCertificates => {
            format!("# take the certificates and nothing else:\n{EXTRACT_COMMAND}")
        }
        Hint::ReplacePrivateKey => format!(
            "# whoever could read this has the key: replace it and what it signed\n\
             # take the certificates and nothing else:\n{EXTRACT_COMMAND}"
        ),
        Hint::ListCertificates => format!("# see which it is:\n{LIST_COMMAND}"),
        Hint::ShowServerCertificates => names.show_certificates_command()?,
        Hint::UseHttps => names.https_field()?,
    })
}

/// The names to fill into a hint.
struct Names<'h> {
    location: &'h Located,
    bsl: &'h Bsl<'h>,
    /// The key of the Secret that the finding is about; otherwise a suggestion.
    reference: SecretKeyRef,
}

impl Names<'_> {
    /// Returns a manifest of the Secret.
    fn secret_manifest(&self) -> String {
        let SecretKeyRef { secret, key } = &self.reference;
        format!(
            "# a CA certificate is public and may stand in Git as it is\n\
             apiVersion: v1\n\
             kind: Secret\n\
             metadata:\n  name: {}\n  namespace: {}\n\
             stringData:\n  {key}: |\n    \
             -----BEGIN CERTIFICATE-----\n    \
             ...\n    \
             -----END CERTIFICATE-----",
            secret.name,
            shown(&secret.namespace)
        )
    }

    /// Returns the command that writes a manifest of the Secret with the content of `file`.
    fn create_command(&self, file: &str) -> String {
        let SecretKeyRef { secret, key } = &self.reference;
        let Key { namespace, name } = secret;
        format!(
            "kubectl create secret generic {name} --namespace={} --from-file={key}={file} \
             --dry-run=client --output=yaml > {name}.yaml",
            shown(namespace)
        )
    }

    /// Returns the fields that name the Secret.
    fn reference_fields(&self) -> String {
        let SecretKeyRef { secret, key } = &self.reference;
        let name = &secret.name;
        if self.location.is_values() {
            return format!(
                "# name the CA; the chart has no caCertRef\n\
                 configuration:\n  backupStorageLocation:\n  - name: {}\n    \
                 annotations:\n      {CA_SECRET_ANNOTATION}: {name}/{key}",
                shown(&self.location.key.name)
            );
        }
        format!(
            "# name the CA, since Velero 1.18\n\
             spec:\n  objectStorage:\n    caCertRef:\n      name: {name}\n      key: {key}\n\
             # or before 1.18\n\
             metadata:\n  annotations:\n    {CA_SECRET_ANNOTATION}: {name}/{key}"
        )
    }

    /// Returns the command that shows the certificates that the store presents; `None` if the
    /// location names no `https://` URL that is safe in a shell.
    fn show_certificates_command(&self) -> Option<String> {
        let url = self.bsl.config("s3Url")?.strip_prefix("https://")?;
        let authority = url.split(['/', '?', '#']).next().unwrap_or(url);
        if !is_authority(authority) {
            return None;
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = if has_port { "" } else { ":443" };
        Some(format!(
            "# what the store presents; its CA is the issuer (i:) of the last\n\
             openssl s_client -connect {authority}{port} -showcerts < /dev/null"
        ))
    }

    /// Returns the URL with `https://`; `None` if it is not an `http://` URL.
    fn https_field(&self) -> Option<String> {
        let url = self.bsl.config("s3Url")?.strip_prefix("http://")?;
        let url = shown(url);
        Some(if self.location.is_values() {
            format!("config:\n  s3Url: https://{url}")
        } else {
            format!("spec:\n  config:\n    s3Url: https://{url}")
        })
    }
}

/// Whether `text` is a host with an optional port that needs no quotes in a shell.
fn is_authority(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain)
}

/// Returns the key of the Secret that the finding is about, or a suggestion if it is about none.
fn reference(location: &Key, bsl: &Bsl<'_>, finding: &Finding) -> SecretKeyRef {
    let to_secret = |target: CaTarget<'_>| match target {
        CaTarget::Secret(reference) => Some(reference),
        _ => None,
    };
    if finding.rule.hint == Hint::CreateCredential {
        let credential = bsl.spec.credential.as_ref();
        let part = |field: fn(&_) -> &Option<_>| {
            or_empty(credential.and_then(|credential| field(credential).as_ref()))
        };
        let (name, key) = (
            part(|selector| &selector.name),
            part(|selector| &selector.key),
        );
        let target = references::secret_target(&location.namespace, name, key);
        return to_secret(target)
            .unwrap_or_else(|| suggested(location, "cloud-credentials", "cloud"));
    }
    let mut references = references::ca_references(&location.namespace, bsl);
    // The reference at the finding's path comes first, then any other that names a Secret.
    references.sort_by_key(|reference| reference.path != finding.path);
    let mut secrets = references
        .into_iter()
        .map(|reference| to_secret(reference.target));
    secrets
        .find_map(|reference| reference)
        .unwrap_or_else(|| suggested(location, "velero-ca", "ca.crt"))
}

fn suggested(location: &Key, name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef {
        secret: Key::new(location.namespace.as_str(), name),
        key: key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::admission::all_rules;
    use crate::ca::references::ca_cert_ref_path;
    use crate::sources::manifests::Manifests;

    fn located(manifest: &str) -> Located {
        let stdin = [PathBuf::from("-")];
        let mut manifests = Manifests::read(&stdin, manifest.as_bytes(), None);
        assert_eq!(manifests.locations.len(), 1, "{manifest}");
        manifests.locations.remove(0)
    }

    /// A location with this `s3Url`, as a manifest and as values of Velero's chart, and one that
    /// cannot be read.
    fn locations(url: &str) -> [Located; 3] {
        let manifest = |provider: &str| {
            format!(
                "apiVersion: velero.io/v1\nkind: BackupStorageLocation\n\
                 metadata: {{name: default, namespace: velero}}\n\
                 spec: {{provider: {provider}, config: {{s3Url: {url}}}, \
                 credential: {{name: c, key: k}}}}\n"
            )
        };
        let values = format!(
            "configuration:\n  backupStorageLocation:\n  - name: default\n    provider: aws\n    \
             config: {{s3Url: {url}}}\n"
        );
        [&manifest("aws"), &values, &manifest("[not, a, text]")].map(|text| located(text))
    }

    #[test]
    fn every_rule_with_a_hint_renders_one_and_no_other_does() {
        let https = locations("https://minio:9000");
        let http = locations("http://minio:9000");
        for rule in all_rules() {
            let finding = Finding::new(rule, ca_cert_ref_path(), "", "", "");
            let all = https.iter().chain(&http);
            let hints: Vec<_> = all.filter_map(|at| render(at, &finding)).collect();
            assert_eq!(
                hints.is_empty(),
                rule.hint == Hint::None,
                "{}: {hints:?}",
                rule.id
            );
            assert!(hints.iter().all(|hint| !hint.trim().is_empty()));
        }
    }
}
