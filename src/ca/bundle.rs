//! The CA bundle as text: one PEM text with all certificates that a namespace's Velero trusts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::certificate::{Certificate, Fingerprint};
use super::pem;
use super::references::{self, Content, MAX_BUNDLE_BYTES};
use crate::decision::{Facts, FieldPath, Report};
use crate::velero::bsl::Bsl;

/// A CA bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The PEM text. Equal sets of certificates have equal texts.
    pub text: String,
    /// Hash of the text, `sha256:<hex>`.
    pub hash: String,
    /// Number of certificates.
    pub count: usize,
    /// Time when the first certificate expires, seconds since 1970; `None` if the bundle is empty.
    pub earliest_expiry: Option<i64>,
}

/// The certificates that a BSL adds to the merged bundle of its namespace.
#[derive(Clone, Debug, Default)]
pub struct ResolvedCa {
    /// All certificates that parse, from all CA references of the BSL. Validity dates are ignored,
    /// because Go checks them itself.
    pub certificates: Vec<Certificate>,
    /// The CA references with something that does not get into the bundle, as far as known.
    pub left_out: Vec<FieldPath>,
    /// The certificates that only denied CA references name: they do not get into the bundle.
    denied: BTreeSet<Fingerprint>,
    /// The CA references that were read, in the order of `certificates`, each with the number of its
    /// certificates.
    references: Vec<(FieldPath, usize)>,
    /// The look-ups that are needed to complete the list, and those that failed. Contains no
    /// findings.
    pub report: Report,
}

impl ResolvedCa {
    /// Keeps the certificates of the CA references in `denied` out of the bundle, unless another
    /// reference of the BSL names them too. A bundle that a rule denies is not half good: what else
    /// is in it may be as wrong as the fault, such as a CA whose key lies beside it.
    pub fn deny<'p>(&mut self, denied: impl IntoIterator<Item = &'p FieldPath>) {
        let denied: Vec<_> = denied.into_iter().collect();
        let mut rest = self.certificates.iter().map(Certificate::fingerprint);
        let mut good = BTreeSet::new();
        for (path, count) in &self.references {
            let named = rest.by_ref().take(*count);
            if !denied.contains(&path) {
                good.extend(named);
                continue;
            }
            self.denied.extend(named);
            if !self.left_out.contains(path) {
                self.left_out.push(path.clone());
            }
        }
        self.denied
            .retain(|fingerprint| !good.contains(fingerprint));
    }

    /// Returns the certificates that get into the bundle.
    pub fn admitted(&self) -> impl Iterator<Item = &Certificate> {
        let all = self.certificates.iter();
        all.filter(|certificate| !self.denied.contains(&certificate.fingerprint()))
    }
}

static MOZILLA: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter_map(|der| Certificate::parse(der.as_ref()).ok())
        .collect()
});

/// Returns the public roots that are compiled in: those that Mozilla trusts for TLS servers.
pub fn mozilla() -> &'static [Certificate] {
    &MOZILLA
}

/// Merges certificates into a bundle: each once, sorted by the SHA-256 of its DER. The text is
/// written from the parsed certificates, never copied from the input.
pub fn merge<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Bundle {
    let sorted: BTreeMap<Fingerprint, &Certificate> = certificates
        .into_iter()
        .map(|certificate| (certificate.fingerprint(), certificate))
        .collect();
    // Allocated once with the exact size: a string that grows by doubling may take twice the
    // memory.
    let blocks: Vec<_> = sorted
        .values()
        .map(|certificate| pem_block(certificate))
        .collect();
    let text = blocks.concat();
    Bundle {
        hash: hash(&text),
        count: sorted.len(),
        earliest_expiry: sorted
            .values()
            .map(|certificate| certificate.not_after)
            .min(),
        text,
    }
}

/// Returns the hash of a bundle's text, in the form of the annotation on its ConfigMap.
pub fn hash(text: &str) -> String {
    format!("sha256:{}", Fingerprint::of(text.as_bytes()))
}

/// Returns the PEM block of `certificate`, preceded by a comment with its subject.
pub fn pem_block(certificate: &Certificate) -> String {
    // Two dashes are replaced, so that no subject can look like the begin or the end of a block.
    let subject = certificate.subject().replace("--", "__");
    let mut text = format!("# {subject}\n-----BEGIN CERTIFICATE-----\n");
    let base64 = STANDARD.encode(certificate.der());
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Returns what `bsl` in `namespace` adds to the merged bundle. Broken parts of its CA are left
/// out: admission refused them, or they broke later, and they must not affect the other
/// certificates.
pub fn resolve_ca(namespace: &str, bsl: &Bsl<'_>, facts: &Facts) -> ResolvedCa {
    let mut resolved = ResolvedCa::default();
    for reference in references::ca_references(namespace, bsl) {
        let result = reference.content(facts).map(|content| {
            let is_whole = match content {
                Content::Bytes(bytes) if bytes.len() <= MAX_BUNDLE_BYTES => {
                    let contents = pem::read(&bytes);
                    let count = contents.certificates.len();
                    resolved.references.push((reference.path.clone(), count));
                    resolved.certificates.extend(contents.certificates);
                    contents.faults.is_empty()
                }
                _ => false,
            };
            if !is_whole {
                resolved.left_out.push(reference.path.clone());
            }
        });
        resolved.report.record(result);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Fact, Lookup, Outcome, Secret, SecretKeyRef};
    use proptest::prelude::*;

    #[test]
    fn every_public_root_is_in_the_bundle() {
        let bundle = merge(mozilla());
        assert_eq!(bundle.count, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(bundle.count > 100);
        assert_eq!(
            bundle.text.matches("-----BEGIN CERTIFICATE-----\n").count(),
            bundle.count
        );
        assert_eq!(bundle.hash.len(), "sha256:".len() + 64);
        let first = mozilla().iter().map(|root| root.not_after).min();
        assert_eq!(bundle.earliest_expiry, first);
    }

    #[test]
    fn an_empty_bundle_has_no_expiry() {
        let bundle = merge([]);
        assert_eq!(
            (bundle.text.as_str(), bundle.count, bundle.earliest_expiry),
            ("", 0, None)
        );
    }

    #[test]
    fn a_subject_cannot_look_like_a_block() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = rcgen::CertificateParams::default();
        let name = "\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let evil = Certificate::parse(der).unwrap();
        let contents = pem::read(merge([&evil]).text.as_bytes());
        assert_eq!(
            (contents.certificates, contents.faults),
            (vec![evil], vec![])
        );
    }

    #[test]
    fn a_contribution_has_the_good_certificates_and_says_where_something_is_left_out() {
        let good = merge(&mozilla()[..2]).text;
        let bsl: Bsl<'_> = serde_json::from_str(
            r#"{"metadata":{"annotations":{"velero-trust.io/ca-secret":"b/k"}},
                "spec":{"objectStorage":{"caCertRef":{"name":"a","key":"k"}}}}"#,
        )
        .unwrap();
        let mut facts = Facts::default();
        let needs = resolve_ca("velero", &bsl, &facts).report.needs;
        assert_eq!(
            needs,
            ["a", "b"].map(|name| Lookup::Secret(SecretKeyRef::new("velero", name, "k")))
        );
        for (need, text) in needs
            .into_iter()
            .zip([good.clone(), format!("{good}-----BEGIN X")])
        {
            let secret = Secret {
                data: [("k".to_owned(), text.into_bytes())].into(),
            };
            facts.insert(need, Outcome::Found(Fact::Secret(secret.into())));
        }
        let resolved = resolve_ca("velero", &bsl, &facts);
        assert_eq!(resolved.report, Report::default());
        assert_eq!(resolved.certificates.len(), 4);
        let left_out: Vec<_> = resolved.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(
            left_out,
            ["metadata.annotations[velero-trust.io/ca-secret]"]
        );
    }

    proptest! {
        #[test]
        fn merging_is_free_of_order_idempotent_and_reads_back(
            picks in proptest::collection::vec(0..40_usize, 0..30),
            turn in 0..30_usize,
        ) {
            let chosen: Vec<_> = picks.iter().map(|pick| &mozilla()[*pick]).collect();
            let bundle = merge(chosen.iter().copied());

            let mut turned = chosen.clone();
            turned.reverse();
            turned.rotate_left(turn.min(chosen.len()));
            prop_assert_eq!(&merge(turned), &bundle);

            let contents = pem::read(bundle.text.as_bytes());
            prop_assert!(contents.faults.is_empty() || chosen.is_empty());
            prop_assert_eq!(contents.certificates.len(), bundle.count);
            prop_assert!(chosen.iter().all(|one| contents.certificates.contains(one)));
            prop_assert_eq!(&merge(&contents.certificates), &bundle);
            prop_assert_eq!(&merge(chosen.into_iter().chain(&contents.certificates)), &bundle);
        }
    }
}
