//! Rules about the form of a bundle: each block must be a certificate that Go accepts.

use super::ca_source::CaSource;
use super::finding_limiter::FindingLimiter;
use crate::ca::pem::{self, Contents, Fault, Kind};
use crate::ca::references::{CaReference, CaTarget};
use crate::decision::{Code, Hint, Report, Rule, Severity};

pub(super) static RULES: [&Rule; 7] = [
    &NO_CERTIFICATE,
    &PRIVATE_KEY,
    &OTHER_BLOCK,
    &BROKEN_BLOCK,
    &NOT_PARSED,
    &HEADERS,
    &TOO_LARGE,
];

static NO_CERTIFICATE: Rule = Rule {
    id: "VT010",
    title: "no certificate found",
    about: "The bundle holds something else: binary DER, base64 of base64, UTF-16, another file, \
            or nothing. Go finds no certificate in it, and Velero goes on without any CA.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

static PRIVATE_KEY: Rule = Rule {
    id: "VT011",
    title: "private key in a CA bundle",
    about: "A CA bundle is copied into every Pod and into backups. Remove the key, and consider it \
            leaked. velero-trust never repeats any part of it.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    hint: Hint::ReplacePrivateKey,
    ..Rule::DEFAULT
};

static OTHER_BLOCK: Rule = Rule {
    id: "VT012",
    title: "block that is not a CERTIFICATE",
    about: "Go silently skips TRUSTED CERTIFICATE, X509 CERTIFICATE, PKCS7, certificate requests \
            and all other blocks, so the CA in them is not trusted.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

static BROKEN_BLOCK: Rule = Rule {
    id: "VT013",
    title: "broken block that Go would drop in silence",
    about: "A block is truncated, glued to its neighbour, indented, or preceded by a byte order \
            mark or by text on its own line, its BEGIN or END line is damaged, or a certificate \
            stands beside the blocks in another encoding: bare base64, DER, PKCS#7, hexadecimal \
            digits. Go silently drops it. Plain text between blocks is allowed, and so are comments.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

static NOT_PARSED: Rule = Rule {
    id: "VT014",
    title: "certificate that does not parse",
    about: "Go silently drops a certificate that it cannot parse. The rule follows Go's \
            crypto/x509.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

static HEADERS: Rule = Rule {
    id: "VT015",
    title: "PEM headers in a block",
    about: "Go skips blocks with headers such as `Proc-Type: …` or `Bag Attributes: …` between \
            BEGIN and the base64. Before BEGIN they are harmless.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

static TOO_LARGE: Rule = Rule {
    id: "VT016",
    title: "bundle of more than 1 MiB",
    about: "Neither a Secret nor a ConfigMap can hold it, so it cannot reach a Pod. velero-trust \
            reads no further.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::ExtractCertificates,
    ..Rule::DEFAULT
};

/// Checks the form of a bundle.
pub(super) fn check(
    source: &CaSource<'_>,
    contents: &Contents,
    limiter: &mut FindingLimiter<'_, '_>,
) {
    let has_certificate = !contents.certificates.is_empty();
    for fault in &contents.faults {
        let rule = rule_of(fault.kind, has_certificate);
        // The identity of a block does not depend on its position. Otherwise the removal of a
        // block from an old bundle would make the blocks after it look new.
        limiter.find(rule, fault.identity, || {
            let detail = match fault.identity {
                Some(identity) => format!("block {identity:.16}"),
                None => String::new(),
            };
            source.finding(rule, detail, fault_message(fault), fix(source, fault.kind))
        });
    }
}

/// Returns the message of a fault, such as `block 2 (line 30) is cut off: …`.
fn fault_message(fault: &Fault) -> String {
    let Fault {
        kind, block, line, ..
    } = fault;
    match (block, kind) {
        (Some(block), _) => format!("block {block} (line {line}) {kind}"),
        (None, Kind::OrphanEnd) => format!("line {line} {kind}"),
        (None, Kind::Nothing | Kind::Unread) => format!("the bundle {kind}"),
        (None, _) => format!("what begins at line {line} {kind}"),
    }
}

/// Returns the rule of a fault. Beside a certificate, what is in another encoding is lost in
/// silence; alone, it means that there is no CA at all.
const fn rule_of(kind: Kind, has_certificate: bool) -> &'static Rule {
    match kind {
        Kind::PrivateKey => &PRIVATE_KEY,
        Kind::Bare
        | Kind::Base64OfPem
        | Kind::Binary
        | Kind::Der
        | Kind::Hex
        | Kind::LooseBase64
        | Kind::Nothing
        | Kind::Pkcs7
        | Kind::Utf16
            if !has_certificate =>
        {
            &NO_CERTIFICATE
        }
        Kind::NotACertificate(_) => &OTHER_BLOCK,
        Kind::Headers => &HEADERS,
        Kind::EmptyBlock | Kind::NotBase64 | Kind::NotCertificate(_) => &NOT_PARSED,
        Kind::Bare
        | Kind::Base64OfPem
        | Kind::Binary
        | Kind::BrokenBegin
        | Kind::ByteOrderMark
        | Kind::CarriageReturns
        | Kind::DamagedBegin(_)
        | Kind::DamagedEnd(_)
        | Kind::Der
        | Kind::EndMismatch
        | Kind::Glued
        | Kind::Hex
        | Kind::Indented
        | Kind::LiteralNewlines
        | Kind::LooseBase64
        | Kind::Nothing
        | Kind::OneLine
        | Kind::OrphanEnd
        | Kind::Pkcs7
        | Kind::TextBefore
        | Kind::Truncated
        | Kind::Unread
        | Kind::Utf16 => &BROKEN_BLOCK,
    }
}

fn fix(source: &CaSource<'_>, kind: Kind) -> String {
    let instruction = match kind {
        Kind::PrivateKey => {
            "take the key out and consider it leaked; a bundle holds certificates only"
        }
        Kind::Der => "make PEM of it with `openssl x509 -inform der -in ca.der -out ca.pem`",
        Kind::Base64OfPem => "decode it with `base64 -d <ca.b64 >ca.pem`",
        Kind::Bare | Kind::LooseBase64 => {
            "put `-----BEGIN CERTIFICATE-----` and `-----END CERTIFICATE-----` around it"
        }
        Kind::Hex => {
            "make PEM of it with `xxd -r -p ca.hex | openssl x509 -inform der -out ca.pem`"
        }
        Kind::Pkcs7 => "make PEM of it with `openssl pkcs7 -print_certs -in ca.p7b -out ca.pem`",
        Kind::DamagedBegin(_) => "write the line as `-----BEGIN CERTIFICATE-----`",
        Kind::DamagedEnd(_) => "write the line as `-----END CERTIFICATE-----`",
        Kind::Utf16 => "convert it with `iconv -f utf-16 -t ascii ca.txt >ca.pem`",
        Kind::Binary | Kind::Nothing => "it has to be PEM text",
        Kind::NotACertificate(_) | Kind::Unread => {
            "keep only CERTIFICATE blocks, as `openssl x509 -in in.pem -out ca.pem` writes them"
        }
        Kind::Headers => "remove the lines between BEGIN and the base64",
        Kind::EmptyBlock | Kind::NotBase64 => "get the certificate again from where it was issued",
        Kind::NotCertificate(_) => "take the certificate out, or have it issued anew",
        Kind::Glued => "join PEM files with a newline between them",
        Kind::ByteOrderMark => "save the file as UTF-8 without a byte order mark",
        Kind::CarriageReturns | Kind::LiteralNewlines | Kind::OneLine => {
            "keep the newlines; in YAML, `|` does"
        }
        Kind::BrokenBegin
        | Kind::EndMismatch
        | Kind::Indented
        | Kind::OrphanEnd
        | Kind::TextBefore
        | Kind::Truncated => "BEGIN and END stand alone, at the very beginning of their lines",
    };
    format!("{instruction}; then {}", source.replace_instruction())
}

/// Reports a field that should contain base64 and does not.
pub(super) fn not_base64(source: &CaSource<'_>, reference: &CaReference<'_>, report: &mut Report) {
    let text = match reference.target {
        CaTarget::Base64(text) => text,
        _ => "",
    };
    let message = if text.contains("-----BEGIN") {
        "the field holds PEM itself, and has to hold the base64 of it"
    } else {
        "the field is not base64"
    };
    report.add_finding(source.finding(&NO_CERTIFICATE, "", message, source.replace_instruction()));
    check_private_key(source, text.as_bytes(), report);
}

/// Reports a bundle that is too large to be parsed.
pub(super) fn too_large(source: &CaSource<'_>, bytes: &[u8], report: &mut Report) {
    let message = format!(
        "the bundle has {} KiB, and 1024 are the most",
        bytes.len() / 1024
    );
    let fix = format!(
        "keep only the CAs that the store needs; {}",
        source.replace_instruction()
    );
    report.add_finding(source.finding(&TOO_LARGE, "", message, fix));
    check_private_key(source, bytes, report);
}

fn check_private_key(source: &CaSource<'_>, bytes: &[u8], report: &mut Report) {
    if pem::has_private_key(bytes) {
        let fix = fix(source, Kind::PrivateKey);
        report.add_finding(source.finding(&PRIVATE_KEY, "", "there is a private key in it", fix));
    }
}
