//! What to write or to run about a finding, with the names filled in: more than the short fix that
//! every finding has.

use crate::ca::references::{self, CaTarget, SecretKeyRef};
use crate::decision::{Finding, Key};
use crate::names::CA_SECRET_ANNOTATION;
use crate::sources::manifests::Located;
use crate::velero::bsl::Bsl;
use crate::velero::text::{or_empty, shown};

/// Writes the certificates of a file, and nothing else that is in it, to another.
const CLEAN: &str =
    "openssl crl2pkcs7 -nocrl -certfile ca.pem | openssl pkcs7 -print_certs -out clean.pem";

/// Lists what a bundle holds.
const LIST: &str = "openssl crl2pkcs7 -nocrl -certfile ca.pem | openssl pkcs7 -print_certs -text -noout \
                    | grep -E 'Subject:|Not (Before|After)'";

/// The hint for a finding, some lines; none for a rule whose short fix says it all.
pub(super) fn of(location: &Located, finding: &Finding) -> Option<String> {
    let json = location.object.to_string();
    // An object that cannot be read has a hint as well.
    let bsl: Bsl<'_> = serde_json::from_str(&json).unwrap_or_default();
    let hint = Hint {
        location,
        bsl: &bsl,
        reference: reference(&location.key, &bsl, finding),
    };
    Some(match finding.rule.id {
        "VT000" => "kubectl explain backupstoragelocation.spec --recursive".to_owned(),
        "VT001" => format!(
            "{}\n# or, if something else makes the Secret: velero-trust lint --rule VT001=warn",
            hint.secret()
        ),
        "VT002" | "VT003" => hint.secret(),
        "VT004" | "VT005" | "VT006" | "VT037" => hint.name_it(),
        "VT010" | "VT012" | "VT013" | "VT014" | "VT015" | "VT016" => {
            format!("# take the certificates and nothing else:\n{CLEAN}")
        }
        "VT011" => format!(
            "# whoever could read this has the key: replace it and what it signed\n\
             # take the certificates and nothing else:\n{CLEAN}"
        ),
        "VT017" | "VT020" | "VT021" | "VT022" | "VT024" | "VT025" => {
            format!("# see which it is:\n{LIST}")
        }
        "VT023" | "VT026" => hint.presented()?,
        "VT030" => format!("# remove insecureSkipTLSVerify, and\n{}", hint.name_it()),
        "VT032" => hint.https()?,
        "VT034" | "VT039" => format!(
            "# with the CA, as PEM text, in ca.pem:\n{}\n{}",
            hint.make("ca.pem"),
            hint.name_it()
        ),
        "VT038" => format!(
            "# with the credentials in credentials-velero:\n{}",
            hint.make("credentials-velero")
        ),
        _ => return None,
    })
}

struct Hint<'h> {
    location: &'h Located,
    bsl: &'h Bsl<'h>,
    /// The key of the Secret that the finding is about, or else one that may be.
    reference: SecretKeyRef,
}

impl Hint<'_> {
    /// A manifest of the Secret.
    fn secret(&self) -> String {
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

    /// The command that writes a manifest of the Secret with what is in `file`.
    fn make(&self, file: &str) -> String {
        let SecretKeyRef { secret, key } = &self.reference;
        let Key { namespace, name } = secret;
        format!(
            "kubectl create secret generic {name} --namespace={} --from-file={key}={file} \
             --dry-run=client --output=yaml > {name}.yaml",
            shown(namespace)
        )
    }

    /// How the location names the Secret.
    fn name_it(&self) -> String {
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

    /// The command that shows the certificates of the store.
    fn presented(&self) -> Option<String> {
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

    fn https(&self) -> Option<String> {
        let url = self.bsl.config("s3Url")?.strip_prefix("http://")?;
        let url = shown(url);
        Some(if self.location.is_values() {
            format!("config:\n  s3Url: https://{url}")
        } else {
            format!("spec:\n  config:\n    s3Url: https://{url}")
        })
    }
}

/// Whether a text is a host, and perhaps a port, that a shell takes as it stands.
fn is_authority(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

/// The key of a Secret that the finding is about, or, where it is about none, a good one.
fn reference(own: &Key, bsl: &Bsl<'_>, finding: &Finding) -> SecretKeyRef {
    let followed = |target: CaTarget<'_>| match target {
        CaTarget::Secret(reference) => Some(reference),
        _ => None,
    };
    if finding.rule.id == "VT038" {
        let credential = bsl.spec.credential.as_ref();
        let part = |of: fn(&_) -> &Option<_>| or_empty(credential.and_then(|it| of(it).as_ref()));
        let (name, key) = (part(|it| &it.name), part(|it| &it.key));
        let target = references::secret_target(&own.namespace, name, key);
        return followed(target).unwrap_or_else(|| suggested(own, "cloud-credentials", "cloud"));
    }
    let mut references = references::ca_references(&own.namespace, bsl);
    // Its own place first, then any other that has a name.
    references.sort_by_key(|source| source.path != finding.path);
    let mut named = references.into_iter().map(|source| followed(source.target));
    named
        .find_map(|reference| reference)
        .unwrap_or_else(|| suggested(own, "velero-ca", "ca.crt"))
}

fn suggested(own: &Key, name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef {
        secret: Key::new(own.namespace.as_str(), name),
        key: key.to_owned(),
    }
}
