//! Tests with the inputs that people really store.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD as PLAIN;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};

use super::*;

fn certificate(name: &str) -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (
        params
            .self_signed(&key)
            .unwrap()
            .pem()
            .replace("\r\n", "\n"),
        key.serialize_pem(),
    )
}

/// Returns the number of certificates, and the kind, block and line of each fault.
fn seen(bytes: impl AsRef<[u8]>) -> (usize, Vec<(Kind, Option<usize>, usize)>) {
    let contents = read(bytes.as_ref());
    let faults = contents
        .faults
        .iter()
        .map(|fault| (fault.kind, fault.block, fault.line));
    (contents.certificates.len(), faults.collect())
}

fn good(bytes: impl AsRef<[u8]>, count: usize) {
    assert_eq!(seen(bytes), (count, vec![]));
}

fn bad(bytes: impl AsRef<[u8]>, count: usize, kind: Kind, block: Option<usize>) {
    let (found, faults) = seen(bytes);
    let kinds: Vec<_> = faults
        .iter()
        .map(|(kind, block, _)| (*kind, *block))
        .collect();
    assert_eq!((found, kinds), (count, vec![(kind, block)]));
}

#[test]
fn takes_every_bundle_that_go_takes_whole() {
    let (a, _) = certificate("a");
    let (b, _) = certificate("b");
    good(&a, 1);
    good(format!("{a}{b}"), 2);
    good(format!("{a}{b}").replace('\n', "\r\n"), 2);
    good(
        format!("Subject: a\n====\n{a}\n\n# the next one\n{b}\nthe end - really"),
        2,
    );
    good(a.replace('\n', " \t\n"), 1);
    good(a.trim_end(), 1);
    let (begin, rest) = a.split_once('\n').unwrap();
    let (body, end) = rest.rsplit_once("\n-----END").unwrap();
    good(
        format!("{begin}\n{}\n-----END{end}", body.replace('\n', "")),
        1,
    );
    good(
        format!(
            "{begin}\n\n  {}\n\n-----END{end}",
            body.replace('\n', "\n\t")
        ),
        1,
    );
    good(format!("\u{feff}text\n{a}"), 1);
}

#[test]
fn names_the_block_and_line_of_every_block_that_go_would_drop() {
    let (a, _) = certificate("a");
    let (b, _) = certificate("b");
    let lines = a.lines().count();
    bad(format!("{}{b}", a.trim_end()), 0, Kind::Glued, Some(2));
    bad(format!("\u{feff}{a}{b}"), 1, Kind::ByteOrderMark, Some(1));
    bad(
        a.replace('\n', "\n  ")
            .replacen("-----BEGIN", "  -----BEGIN", 1),
        0,
        Kind::Indented,
        Some(1),
    );
    bad(
        a.replace("-----END", " -----END"),
        0,
        Kind::Indented,
        Some(1),
    );
    bad(a.replace('\n', " "), 0, Kind::OneLine, Some(1));
    bad(a.replace('\n', "\\n"), 0, Kind::LiteralNewlines, Some(1));
    bad(a.replace('\n', "\r"), 0, Kind::CarriageReturns, Some(1));
    bad(format!("ca: {a}{b}"), 1, Kind::TextBefore, Some(1));
    assert_eq!(
        seen(format!("{a}{}", &b[..200])),
        (1, vec![(Kind::Truncated, Some(2), lines + 1)])
    );
    bad(
        format!("{}{b}", &a[..200]).replace("-----BEGIN", "\n-----BEGIN"),
        1,
        Kind::Truncated,
        Some(1),
    );
    bad(format!("{}{b}", &a[60..]), 1, Kind::OrphanEnd, None);
    bad(
        a.replacen("-----\n", "----\n", 1),
        0,
        Kind::BrokenBegin,
        Some(1),
    );
    bad(
        a.replace("-----END CERTIFICATE", "-----END X509"),
        0,
        Kind::EndMismatch,
        Some(1),
    );
    bad(format!("{}\r", a.trim_end()), 0, Kind::EndMismatch, Some(1));
    bad(
        a.replacen('\n', "\nProc-Type: 4\n\n", 1),
        0,
        Kind::Headers,
        Some(1),
    );
    bad(a.replace("MI", "M!"), 0, Kind::NotBase64, Some(1));
    bad(
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        0,
        Kind::EmptyBlock,
        Some(1),
    );
}

#[test]
fn says_what_bytes_without_blocks_are() {
    let (a, key) = certificate("a");
    let body: String = a.lines().filter(|line| !line.starts_with('-')).collect();
    let der = PLAIN.decode(&body).unwrap();
    bad("", 0, Kind::Nothing, None);
    bad(" \n", 0, Kind::Nothing, None);
    bad("no certificate here", 0, Kind::Nothing, None);
    bad(&der, 0, Kind::Der, None);
    bad([0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], 0, Kind::Binary, None);
    bad(&body, 0, Kind::Bare, None);
    bad(PLAIN.encode(&a), 0, Kind::Base64OfPem, None);
    let utf16: Vec<u8> = a.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bad(&utf16, 0, Kind::Utf16, None);
    let utf16: Vec<u8> = a.encode_utf16().flat_map(u16::to_be_bytes).collect();
    bad(&utf16, 0, Kind::Utf16, None);
    bad(PLAIN.encode(key), 0, Kind::PrivateKey, None);
}

/// Returns a certificate and its key in every form that Go does not read, with the kind of fault
/// for the certificate. The key is a private key in each of them.
fn other_forms(a: &str, key: &str) -> Vec<(Kind, Vec<u8>, Vec<u8>)> {
    let body = |pem: &str| {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        lines.collect::<String>()
    };
    let der = |pem: &str| PLAIN.decode(body(pem)).unwrap();
    let hex = |pem: &str, separator: &str| {
        let octets = der(pem);
        let lines = octets.chunks(16).map(|line| {
            let octets: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            octets.join(separator)
        });
        lines.collect::<Vec<_>>().join("\n").into_bytes()
    };
    let dump = |pem: &str, program: &str| {
        let octets = der(pem);
        let lines = octets.chunks(16).enumerate().map(|(number, line)| {
            let of = |separator: &str, prefix: &str| {
                let octets = line.iter().map(|byte| format!("{prefix}{byte:02x}"));
                octets.collect::<Vec<_>>().join(separator)
            };
            let offset = number * 16;
            let shown = |byte: &u8| char::from(if byte.is_ascii_graphic() { *byte } else { b'.' });
            let text: String = line.iter().map(shown).collect();
            match program {
                "xxd" => {
                    let pairs = of("", "").into_bytes();
                    let pairs = pairs.chunks(4).map(|pair| String::from_utf8_lossy(pair));
                    let pairs = pairs.collect::<Vec<_>>().join(" ");
                    format!("{offset:08x}: {pairs}  {text}")
                }
                "xxd -i" => format!("  {},", of(", ", "0x")),
                "hexdump -C" => format!("{offset:08x}  {}  |{text}|", of(" ", "")),
                _ => format!("{offset:06x} {}", of(" ", "")),
            }
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        let end = if program == "od" { "\n0001234" } else { "" };
        format!("{lines}{end}").into_bytes()
    };
    let utf16 = |pem: &str| -> Vec<u8> { pem.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let quoted = |pem: &str| format!("ca: \"{}\",\n", body(pem)).into_bytes();
    let wrapped = |pem: &str| {
        let encoded = PLAIN.encode(pem).into_bytes();
        encoded.chunks(76).collect::<Vec<_>>().join(&b"\n"[..])
    };
    let marked = |dashes: &str, pem: &str| pem.replace("-----", dashes).into_bytes();
    let mut forms = vec![
        (Kind::Bare, body(a).into_bytes(), body(key).into_bytes()),
        (Kind::Bare, quoted(a), quoted(key)),
        (Kind::Base64OfPem, wrapped(a), wrapped(key)),
        (Kind::Der, der(a), der(key)),
        (Kind::Hex, hex(a, ""), hex(key, "")),
        (Kind::Hex, hex(a, ":"), hex(key, ":")),
        (Kind::Hex, dump(a, "xxd"), dump(key, "xxd")),
        (Kind::Hex, dump(a, "xxd -i"), dump(key, "xxd -i")),
        (Kind::Hex, dump(a, "hexdump -C"), dump(key, "hexdump -C")),
        (Kind::Hex, dump(a, "od"), dump(key, "od")),
        (Kind::Utf16, utf16(a), utf16(key)),
    ];
    for (damage, dashes) in [
        (Damage::DashCount, "----"),
        (Damage::OtherDashes, "—–"),
        (Damage::NoDashes, ""),
        (Damage::Blanks, " ----- "),
    ] {
        let kind = Kind::DamagedBegin(damage);
        forms.push((kind, marked(dashes, a), marked(dashes, key)));
    }
    let small = |pem: &str| {
        let lines = pem.lines().map(|line| match line.strip_prefix('-') {
            Some(_) => line.to_lowercase(),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n").into_bytes()
    };
    forms.push((
        Kind::DamagedBegin(Damage::SmallLetters),
        small(a),
        small(key),
    ));
    forms
}

#[test]
fn nothing_is_lost_beside_a_good_block() {
    let (good, _) = certificate("good");
    let (a, key) = certificate("a");
    for (kind, form, key_form) in other_forms(&a, &key) {
        for (form, kind) in [(form, kind), (key_form, Kind::PrivateKey)] {
            let shown = String::from_utf8_lossy(&form).into_owned();
            for bytes in [
                form.clone(),
                [good.as_bytes(), &form].concat(),
                [good.as_bytes(), b"\n\n# the old one\n", &form].concat(),
                [&form, &b"\n"[..], good.as_bytes()].concat(),
            ] {
                let contents = read(&bytes);
                let faults: Vec<_> = contents.faults.iter().map(|fault| fault.kind).collect();
                assert_eq!(faults, [kind], "{shown:?}");
                // A newline may be missing between it and the block.
                let is_binary = shown.contains('\0');
                let expected = usize::from(bytes.len() > form.len());
                assert!(
                    is_binary || contents.certificates.len() == expected,
                    "{shown}"
                );
                assert!(
                    kind != Kind::PrivateKey || has_private_key(&bytes),
                    "{shown}"
                );
            }
        }
    }
}

/// What tools write around blocks, and what people note beside them.
#[test]
fn text_and_comments_are_no_fault() {
    let (a, key) = certificate("a");
    let commented = |pem: &str, sign: &str| {
        let lines = pem.lines().map(|line| format!("{sign}{line}\n"));
        lines.collect::<String>()
    };
    let hash = "3f".repeat(32);
    for text in [
        commented(&a, "# "),
        commented(&a, "#"),
        commented(&a, "// "),
        "# CA with -----BEGIN CERTIFICATE-----?\n".to_owned(),
        "; no -----BEGIN PRIVATE KEY----- here\n".to_owned(),
        format!("SHA-256 fingerprint:\n{hash}\n{}\n", "AB:".repeat(31)),
        "BEGIN CERTIFICATE\n".to_owned(),
        "    Session-ID: 5D0F\n    0000 - 8b 15 00 a1 2b-7c 44   .....\n---\nDONE\n".to_owned(),
        format!("Modulus:\n    00:{}\n", "c1:".repeat(15)),
        format!("Modulus={}\n", "9A3F".repeat(128)),
        "It goes from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.\n".to_owned(),
    ] {
        good(format!("{text}{a}"), 1);
        good(format!("{a}{text}"), 1);
    }
    good([a.as_bytes(), b"\0\0\n"].concat(), 1);
    // A private key is one in a comment, too.
    for sign in ["#", "# ", "// "] {
        bad(
            format!("{a}{}", commented(&key, sign)),
            1,
            Kind::PrivateKey,
            None,
        );
    }
}

#[test]
fn containers_and_unknown_base64_are_no_text() {
    let (a, _) = certificate("a");
    let signed = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0";
    let mut signed = signed.to_vec();
    signed[1] = 0x70;
    signed.extend([0x55; 100]);
    let base64 = PLAIN.encode(&signed);
    bad(format!("{a}{base64}\n"), 1, Kind::Pkcs7, None);
    bad([a.as_bytes(), &signed].concat(), 1, Kind::Pkcs7, None);
    // A certificate that is cut off, without its lines.
    let body: String = a.lines().filter(|line| !line.starts_with('-')).collect();
    bad(format!("{a}{}\n", &body[..100]), 1, Kind::LooseBase64, None);
    let store = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
    bad([a.as_bytes(), &store].concat(), 1, Kind::Binary, None);
}

#[test]
fn a_private_key_is_found_in_what_tools_print_and_in_comments() {
    let (a, key) = certificate("a");
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let encrypted = "# -----BEGIN RSA PRIVATE KEY-----\n# Proc-Type: 4,ENCRYPTED\n\
                     # DEK-Info: AES-128-CBC,00\n#\n# QUJDQUJDQUJDQUJDQUJDQUJDQUJD\n";
    for text in [
        "privateExponent:".to_owned(),
        "ED25519 Private-Key:\npriv:\n    00:11:22\n".to_owned(),
        "Private-Key: (256 bit)".to_owned(),
        "PuTTY-User-Key-File-3: ssh-rsa".to_owned(),
        r#"{"kty": "EC", "crv": "P-256", "d": "x"}"#.to_owned(),
        encrypted.to_owned(),
        format!("# -----BEGIN PRIVATE KEY-----\n# {}\n", &body[..40]),
        format!("# key: {}", key.replace('\n', "\\n")),
        PLAIN.encode(PLAIN.encode(PLAIN.decode(&body).unwrap())),
    ] {
        let faults = read(format!("{a}{text}\n").as_bytes()).faults;
        let is_key = |fault: &Fault| fault.kind == Kind::PrivateKey;
        assert!(
            !faults.is_empty() && faults.iter().all(is_key),
            "{faults:?} {text}"
        );
    }
}

#[test]
fn a_damaged_end_line_is_told_and_text_before_a_lost_begin_line_is_not_told_twice() {
    let (a, _) = certificate("a");
    let (b, _) = certificate("b");
    let cut = a.replace("-----END CERTIFICATE-----", "---END CERTIFICATE---");
    bad(
        format!("{b}{cut}"),
        1,
        Kind::DamagedEnd(Damage::DashCount),
        Some(2),
    );
    let (_, tail) = a.split_once('\n').unwrap();
    bad(format!("{b}{tail}"), 1, Kind::OrphanEnd, None);
}

#[test]
fn a_label_other_than_certificate_is_named_if_it_is_well_known_and_never_repeated() {
    let (a, _) = certificate("a");
    for (label, name) in [
        (
            "TRUSTED CERTIFICATE",
            "a TRUSTED CERTIFICATE, which only OpenSSL reads",
        ),
        (
            "X509 CERTIFICATE",
            "an X509 CERTIFICATE, a label that Go does not read",
        ),
        ("CERTIFICATE REQUEST", "a certificate request"),
        ("HUNTER2", "a block of another kind"),
    ] {
        bad(
            a.replace("CERTIFICATE", label),
            0,
            Kind::NotACertificate(name),
            Some(1),
        );
    }
}

#[test]
fn finds_a_private_key_wherever_it_hides_and_repeats_nothing_of_it() {
    let (a, key) = certificate("a");
    let secret = key.lines().nth(1).unwrap();
    for (count, hidden) in [
        (0, key.clone()),
        (1, format!("{a}{key}")),
        (1, format!("{key}{a}")),
        (0, format!("{}{key}", a.trim_end())),
        (0, format!("{}{a}", key.trim_end())),
        (1, format!("{a}{}", key.replace('\n', " "))),
        (1, format!("{a}{}", key.replace('\n', "\\n"))),
        (
            1,
            format!("{a}{}", key.replace("-----BEGIN", "  -----BEGIN")),
        ),
        (1, format!("{a}{}", &key[..60])),
        (1, format!("{a}{}", &key[40..])),
        (
            1,
            format!("{a}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
        ),
    ] {
        let contents = read(hidden.as_bytes());
        assert_eq!(contents.certificates.len(), count, "{hidden}");
        let kinds: Vec<_> = contents.faults.iter().map(|fault| fault.kind).collect();
        assert!(kinds.contains(&Kind::PrivateKey), "{kinds:?} {hidden}");
        assert!(has_private_key(hidden.as_bytes()));
        let said = format!("{contents:?}");
        assert!(!said.contains(secret), "{said}");
        for fault in &contents.faults {
            assert!(fault.kind != Kind::PrivateKey || fault.identity.is_none());
        }
    }
    assert!(!has_private_key(a.as_bytes()));
    good(format!("the PRIVATE KEY is in the safe - ask Bob\n{a}"), 1);
}

#[test]
fn a_certificate_that_does_not_parse_says_which_part_of_it() {
    let name = |text: &[u8]| {
        let (a, _) = certificate("abcdefgh");
        let body: String = a.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = PLAIN.decode(body).unwrap();
        let at = der
            .windows(8)
            .position(|window| window == b"abcdefgh")
            .unwrap();
        der[at..at + text.len()].copy_from_slice(text);
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            PLAIN.encode(der)
        )
    };
    good(name("Zoë".as_bytes()), 1);
    let (count, faults) = seen(name(b"Zo\xeb"));
    assert_eq!(count, 0);
    assert_eq!(
        faults[0].0.to_string(),
        "does not parse: a name in it is malformed"
    );
}

#[test]
fn two_thousand_certificates_and_three_mebibytes_are_read_in_one_walk() {
    let (a, _) = certificate("a");
    good(a.repeat(2_000), 2_000);
    let long = format!("{a}{}", "-\n".repeat(1_500_000));
    good(&long, 1);
    let broken = "-----BEGIN CERTIFICATE-----\n".repeat(100_000);
    assert_eq!(seen(&broken).1.len(), MAX_BLOCKS + 1);
    let joined = "-----BEGIN CERTIFICATE-----".repeat(100_000);
    assert_eq!(seen(&joined).1.len(), 1);
}

#[test]
fn ever_so_many_lines_that_only_look_like_a_block_are_read_up_to_a_bound() {
    let text = "BEGIN CMS\n".repeat(9_000);
    let faults = read(text.as_bytes()).faults;
    let kinds: Vec<_> = faults
        .iter()
        .map(|fault| (fault.kind, fault.line))
        .collect();
    assert_eq!(kinds, [(Kind::Unread, 8194)]);
}

#[test]
fn a_bundle_of_ever_so_many_blocks_is_read_up_to_a_bound() {
    let kinds = |text: &str| {
        let faults = read(text.as_bytes()).faults;
        let last = faults.last().unwrap().clone();
        (faults.len(), last)
    };
    let ends = |count: usize| "-----END\n".repeat(count);
    let (count, last) = kinds(&ends(8192));
    assert_eq!((count, last.kind), (8192, Kind::OrphanEnd));
    let (count, last) = kinds(&ends(8193));
    assert_eq!((count, last.kind, last.line), (8193, Kind::Unread, 8193));
    // Any change of what is not read is another fault.
    let (count, other) = kinds(&ends(9000));
    assert_eq!((count, other.kind), (8193, Kind::Unread));
    assert!(last.identity.is_some() && last.identity != other.identity);
    // A block is read from its first line, or not at all.
    let (_, open) = kinds(&format!("{}-----BEGIN A\nx\n-----END A\n", ends(8191)));
    assert_eq!((open.kind, open.line), (Kind::BrokenBegin, 8192));
    // A private key is found wherever it is, and no digest tells of it.
    let text = format!("{}-----BEGIN PRIVATE KEY-----\nsecret\n", ends(8193));
    let faults = read(text.as_bytes()).faults;
    let ends = faults.get(8192..).unwrap();
    let kinds: Vec<_> = ends
        .iter()
        .map(|fault| (fault.kind, fault.identity))
        .collect();
    assert_eq!(kinds, [(Kind::Unread, None), (Kind::PrivateKey, None)]);
}
