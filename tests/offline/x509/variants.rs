//! Certificates made with rcgen.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, OtherNameValue,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, date_time_ymd,
};

fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    change(&mut params);
    params
}

pub(super) fn self_signed(params: &CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// Returns certificates that differ in one property each, and some with everything.
pub(super) fn variants() -> Vec<(String, Vec<u8>)> {
    let mut variants = Vec::new();
    let mut add = |name: String, params: &CertificateParams| {
        variants.push((name, self_signed(params)));
    };
    add("plain".to_owned(), &params(|_| {}));
    for is_ca in [
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::Ca(BasicConstraints::Constrained(0)),
        IsCa::Ca(BasicConstraints::Constrained(1)),
        IsCa::Ca(BasicConstraints::Constrained(255)),
    ] {
        let name = format!("{is_ca:?}");
        add(name, &params(|params| params.is_ca = is_ca));
    }
    for usages in [&USAGES[..], &[]] {
        add(
            format!("{usages:?}"),
            &params(|params| params.key_usages = usages.to_vec()),
        );
    }
    for usage in USAGES {
        add(
            format!("{usage:?}"),
            &params(|params| params.key_usages = vec![usage]),
        );
    }
    for purpose in purposes() {
        let name = format!("{purpose:?}");
        add(
            name,
            &params(|params| params.extended_key_usages = vec![purpose]),
        );
    }
    for name in alt_names() {
        let about = format!("{name:?}");
        add(
            about,
            &params(|params| params.subject_alt_names = vec![name]),
        );
    }
    for value in [
        DnValue::Utf8String("Zoë".to_owned()),
        DnValue::PrintableString("Acme".try_into().unwrap()),
        DnValue::Ia5String("a@b".try_into().unwrap()),
        DnValue::TeletexString("Acme".try_into().unwrap()),
        DnValue::BmpString("Zoë".try_into().unwrap()),
    ] {
        let name = format!("{value:?}");
        let push = |params: &mut CertificateParams| {
            params
                .distinguished_name
                .push(DnType::OrganizationName, value);
        };
        add(name, &params(push));
    }
    for (from, to) in [(1950, 2049), (1949, 2050), (1, 9999)] {
        let name = format!("valid from {from} to {to}");
        let set = |params: &mut CertificateParams| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 12, 31);
        };
        add(name, &params(set));
    }
    for (is_critical, oid, content) in [
        (true, &[1, 2, 3, 4][..], vec![5, 0]),
        // extKeyUsage without any purpose.
        (false, &[2, 5, 29, 37], vec![0x30, 0]),
    ] {
        let mut extension = CustomExtension::from_oid_content(oid, content);
        extension.set_criticality(is_critical);
        let name = format!("{extension:?}");
        add(
            name,
            &params(|params| params.custom_extensions.push(extension)),
        );
    }
    add("everything".to_owned(), &everything());
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = everything().self_signed(&key).unwrap().der().to_vec();
        variants.push((format!("{algorithm:?}"), der));
    }
    variants
}

const USAGES: [KeyUsagePurpose; 9] = [
    KeyUsagePurpose::DigitalSignature,
    KeyUsagePurpose::ContentCommitment,
    KeyUsagePurpose::KeyEncipherment,
    KeyUsagePurpose::DataEncipherment,
    KeyUsagePurpose::KeyAgreement,
    KeyUsagePurpose::KeyCertSign,
    KeyUsagePurpose::CrlSign,
    KeyUsagePurpose::EncipherOnly,
    KeyUsagePurpose::DecipherOnly,
];

fn purposes() -> Vec<ExtendedKeyUsagePurpose> {
    vec![
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::CodeSigning,
        ExtendedKeyUsagePurpose::EmailProtection,
        ExtendedKeyUsagePurpose::TimeStamping,
        ExtendedKeyUsagePurpose::OcspSigning,
        ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ]
}

fn alt_names() -> Vec<SanType> {
    vec![
        SanType::DnsName("minio.velero.svc".try_into().unwrap()),
        SanType::DnsName("*.velero.svc".try_into().unwrap()),
        SanType::DnsName("".try_into().unwrap()),
        SanType::IpAddress("10.0.0.1".parse().unwrap()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
        SanType::IpAddress("::ffff:10.0.0.1".parse().unwrap()),
        SanType::Rfc822Name("a@example.com".try_into().unwrap()),
        SanType::URI("spiffe://cluster.local/ns/a".try_into().unwrap()),
        SanType::OtherName((vec![1, 2, 3], OtherNameValue::Utf8String("a".to_owned()))),
    ]
}

pub(super) fn everything() -> CertificateParams {
    params(|params| {
        params.distinguished_name.push(DnType::CommonName, "store");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DecipherOnly];
        params.extended_key_usages = purposes();
        params.subject_alt_names = alt_names();
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        params.custom_extensions.push(unknown);
        params.use_authority_key_identifier_extension = true;
    })
}
