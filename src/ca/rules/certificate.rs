//! Rules about the certificates of a bundle: validity dates, and whether they are usable as CAs.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::ca_source::CaSource;
use super::finding_limiter::FindingLimiter;
use crate::ca::certificate::Certificate;
use crate::decision::{Code, Hint, Rule, Severity};

pub(super) static RULES: [&Rule; 8] = [
    &ALL_EXPIRED,
    &EXPIRED,
    &NOT_YET_VALID,
    &EXPIRES_SOON,
    &LEAF,
    &DUPLICATE,
    &WEAK,
    &NO_ROOT,
];

static ALL_EXPIRED: Rule = Rule {
    id: "VT017",
    title: "every certificate has expired",
    about: "No server can be verified with this bundle any more.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    covers_expiry: true,
    ..Rule::DEFAULT
};

static EXPIRED: Rule = Rule {
    id: "VT020",
    title: "one expired certificate among several",
    about: "An expired certificate verifies nothing. Remove it.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    depends_on_date: true,
    ..Rule::DEFAULT
};

static NOT_YET_VALID: Rule = Rule {
    id: "VT021",
    title: "certificate that is not valid yet",
    about: "Until its validity begins, nothing that it issued is trusted. Check the clock of the \
            machine that issued it as well.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    depends_on_date: true,
    ..Rule::DEFAULT
};

static EXPIRES_SOON: Rule = Rule {
    id: "VT022",
    title: "certificate that expires within 30 days",
    about: "Add its successor before that day; a bundle may contain both.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    depends_on_date: true,
    ..Rule::DEFAULT
};

static LEAF: Rule = Rule {
    id: "VT023",
    title: "leaf certificate instead of a CA",
    about: "Its basicConstraints or keyUsage do not allow it to issue certificates. It works only \
            until the server's certificate is renewed. Name the CA that issued it instead.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ShowServerCertificates,
    ..Rule::DEFAULT
};

static DUPLICATE: Rule = Rule {
    id: "VT024",
    title: "same certificate twice",
    about: "A duplicate is harmless, but it shows that two overlapping bundles were concatenated.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    ..Rule::DEFAULT
};

static WEAK: Rule = Rule {
    id: "VT025",
    title: "weak certificate",
    about: "It is signed with SHA-1 or MD5, or has an RSA key of less than 2048 bits. TLS \
            libraries refuse more of these with each release. The signature of a root does not \
            count: nobody verifies it.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ListCertificates,
    ..Rule::DEFAULT
};

static NO_ROOT: Rule = Rule {
    id: "VT026",
    title: "intermediate without its root",
    about: "Go stops at an intermediate that is in the pool; other programs need the root as well.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::ShowServerCertificates,
    ..Rule::DEFAULT
};

/// Time before the expiry of a certificate at which the warning begins, in seconds.
const EXPIRY_WARNING_SECONDS: i64 = 30 * 86_400;

/// Minimum RSA key size that TLS libraries still accept, in bits.
const MIN_RSA_BITS: u32 = 2048;

/// Checks the certificates of one bundle. `now` is in seconds since 1970.
pub(super) fn check(
    source: &CaSource<'_>,
    certificates: &[Certificate],
    now: i64,
    limiter: &mut FindingLimiter<'_, '_>,
) {
    let is_expired = |certificate: &Certificate| certificate.not_after < now;
    let are_all_expired = !certificates.is_empty() && certificates.iter().all(is_expired);
    if are_all_expired {
        let last_expiry = certificates
            .iter()
            .map(|certificate| certificate.not_after)
            .max();
        let message = || match certificates {
            [only] => format!(
                "{} expired on {}",
                display_name(only),
                format_date(only.not_after)
            ),
            all => format!(
                "all {} certificates have expired, the last on {}",
                all.len(),
                format_date(last_expiry.unwrap_or_default())
            ),
        };
        limiter.find(&ALL_EXPIRED, (), || {
            let fix = format!("get the present CA; {}", source.replace_instruction());
            source.finding(&ALL_EXPIRED, "", message(), fix)
        });
    }
    let subjects: HashSet<_> = certificates.iter().map(Certificate::subject_der).collect();
    let mut counts: HashMap<_, usize> = HashMap::new();
    for certificate in certificates {
        *counts.entry(certificate.fingerprint()).or_default() += 1;
    }
    for certificate in certificates {
        let mut find = |rule, message: &dyn Fn() -> String, fix: &str| {
            limiter.find(rule, certificate.fingerprint(), || {
                let message = format!("{} {}", display_name(certificate), message());
                let detail = format!("certificate {}", certificate.fingerprint());
                source.finding(rule, detail, message, fix)
            });
        };
        // A certificate that occurs several times is checked once.
        match counts.remove(&certificate.fingerprint()) {
            None => continue,
            Some(1) => {}
            Some(count) => {
                let message = || format!("is there {count} times");
                find(&DUPLICATE, &message, "keep one of them");
            }
        }
        if is_expired(certificate) {
            if !are_all_expired {
                let message = || format!("expired on {}", format_date(certificate.not_after));
                find(&EXPIRED, &message, "take it out");
            }
        } else if certificate.not_before > now {
            let message = || {
                let date = format_date(certificate.not_before);
                format!("is not valid before {date}")
            };
            find(
                &NOT_YET_VALID,
                &message,
                "keep the CA that is valid now beside it",
            );
        } else if certificate.not_after - now <= EXPIRY_WARNING_SECONDS {
            let message = || {
                let date = format_date(certificate.not_after);
                let days = (certificate.not_after - now) / 86_400;
                format!("expires on {date}, in {days} days")
            };
            find(&EXPIRES_SOON, &message, "put its successor beside it");
        }
        if !certificate.is_ca {
            // A CA that nobody has cannot be put in.
            let (message, fix) = if certificate.is_self_issued() {
                (
                    "is no CA certificate, and signed itself",
                    "let a CA issue the server's certificate, and put that CA in",
                )
            } else {
                ("is no CA certificate", "put in the CA that issued it")
            };
            find(&LEAF, &|| message.to_owned(), fix);
        } else if !certificate.is_self_issued() && !subjects.contains(certificate.issuer_der()) {
            let message = || format!("lacks its root, {}", certificate.issuer());
            find(&NO_ROOT, &message, "put the root beside it");
        }
        // Nobody verifies the signature of a root: it is trusted because it is in the bundle.
        let weak_digest = certificate.weak_digest;
        if let Some(digest) = weak_digest.filter(|_| !certificate.is_self_issued()) {
            find(
                &WEAK,
                &|| format!("is signed with {digest}"),
                "have it issued again with SHA-256",
            );
        }
        if let Some(bits) = certificate.rsa_bits.filter(|bits| *bits < MIN_RSA_BITS) {
            let message = || format!("has an RSA key of {bits} bits");
            find(
                &WEAK,
                &message,
                "have it issued again with at least 2048 bits",
            );
        }
    }
}

/// Returns the name of a certificate in messages: its subject and the start of its fingerprint.
fn display_name(certificate: &Certificate) -> String {
    format!(
        "{} ({:.16})",
        certificate.subject(),
        certificate.fingerprint()
    )
}

/// Formats a time, in seconds since 1970, as a date such as `2026-07-28`.
pub fn format_date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| "an impossible day".to_owned(),
        |time| time.date().to_string(),
    )
}
