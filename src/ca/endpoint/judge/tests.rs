use std::slice::from_ref;

use super::*;
use crate::ca::hold::EndpointVerdict;
use crate::ca::pem;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    date_time_ymd,
};

const HOST: &str = "minio.velero.svc";

/// 2026-07-01. All certificates here are valid then unless a test says otherwise.
const NOW: i64 = 1_782_864_000;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = params("store");
    params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn root(params: CertificateParams) -> Ca {
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(params: CertificateParams, issuer: &Ca) -> Ca {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn leaf(params: &CertificateParams, issuer: &Ca) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, issuer).unwrap().der().to_vec()
}

fn der(ca: &Ca) -> Vec<u8> {
    ca.der().to_vec()
}

/// Returns the problems of `presented` for [`HOST`] with `roots` as the bundle.
fn said(presented: &[Vec<u8>], roots: &[Vec<u8>]) -> Vec<String> {
    let roots: Vec<_> = roots
        .iter()
        .map(|root| Certificate::parse(root.clone()).unwrap())
        .collect();
    let observation = judge(presented, HOST, &roots, NOW);
    assert_eq!(observation.is_trusted(), observation.problems.is_empty());
    // A wrong name or date does not hold a namespace: no other roots would help.
    let is_about_roots = |problem: &Problem| {
        matches!(
            problem,
            Problem::Untrusted { .. } | Problem::Undecided { .. } | Problem::Unreadable { .. }
        )
    };
    assert_eq!(
        observation.verdict() != EndpointVerdict::Trusted,
        observation.problems.iter().any(is_about_roots)
    );
    observation
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

const TRUSTED: [&str; 0] = [];

#[test]
fn a_chain_that_leads_into_the_bundle_is_trusted() {
    let root = root(ca_params("Root"));
    let issuing = intermediate(ca_params("Issuing"), &root);
    let direct = leaf(&leaf_params(&[HOST]), &root);
    let below = leaf(&leaf_params(&[HOST]), &issuing);
    assert_eq!(said(&[direct], &[der(&root)]), TRUSTED);
    assert_eq!(
        said(&[below.clone(), der(&issuing)], &[der(&root)]),
        TRUSTED
    );
    // In any order, with unrelated certificates, and with the root itself.
    let other = self::root(ca_params("Other"));
    let jumble = [below.clone(), der(&root), der(&other), der(&issuing)];
    assert_eq!(said(&jumble, &[der(&other), der(&root)]), TRUSTED);
    // Go stops at any certificate of the bundle, even an intermediate.
    assert_eq!(said(&[below], &[der(&issuing)]), TRUSTED);
}

#[test]
fn a_ca_that_does_not_match_is_named_with_what_was_presented() {
    let root = root(ca_params("Root"));
    let issuing = intermediate(ca_params("Issuing"), &root);
    let other = self::root(ca_params("Other"));
    let below = leaf(&leaf_params(&[HOST]), &issuing);
    assert_eq!(
        said(&[below.clone(), der(&issuing)], &[der(&other)]),
        [
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store <- CN=Issuing; the bundle has no CA of that name"
        ]
    );
    // A server that does not present its intermediate.
    assert_eq!(
        said(&[below], &[der(&root)]),
        [
            "CA does not match the endpoint: issuer CN=Issuing, presented chain CN=store; the bundle has no CA of that name"
        ]
    );
    let again = self::root(ca_params("Root"));
    let direct = leaf(&leaf_params(&[HOST]), &root);
    assert_eq!(
        said(&[direct], &[der(&again)]),
        [
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store; the bundle's CA of that name has another key"
        ]
    );
    assert_eq!(
        said(&[leaf(&leaf_params(&[HOST]), &root)], &[]),
        [
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store; the bundle has no CA of that name"
        ]
    );
}

#[test]
fn a_self_signed_certificate_in_the_bundle_is_trusted_as_go_does() {
    for is_ca in [
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
    ] {
        let mut params = leaf_params(&[HOST]);
        params.is_ca = is_ca;
        let own = der(&root(params.clone()));
        assert_eq!(said(from_ref(&own), from_ref(&own)), TRUSTED);
        let another = der(&root(params));
        let said = said(&[own], &[another]);
        assert_eq!(said.len(), 1, "{said:?}");
    }
    // The same holds for a leaf of a CA that is itself in the bundle.
    let ca = root(ca_params("Root"));
    let leaf = leaf(&leaf_params(&[HOST]), &ca);
    assert_eq!(said(from_ref(&leaf), from_ref(&leaf)), TRUSTED);
}

#[test]
fn a_certificate_in_the_bundle_still_needs_its_name_its_dates_and_its_use() {
    let mut params = leaf_params(&["other.example"]);
    params.not_after = date_time_ymd(2026, 6, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = der(&root(params));
    assert_eq!(
        said(from_ref(&own), from_ref(&own)),
        [
            "the server's certificate expired on 2026-06-01",
            "the server's certificate does not name `minio.velero.svc`, only other.example",
            "CA does not match the endpoint: issuer CN=store, presented chain CN=store; the server's certificate is not for servers (extendedKeyUsage lacks serverAuth)",
        ]
    );
}

#[test]
fn a_ca_as_server_certificate_is_trusted_below_a_ca_of_the_bundle() {
    let root = root(ca_params("Root"));
    let mut params = leaf_params(&[HOST]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let direct = leaf(&params, &root);
    assert_eq!(said(from_ref(&direct), &[der(&root)]), TRUSTED);
    let again = self::root(ca_params("Root"));
    assert_eq!(said(&[direct], &[der(&again)]).len(), 1);

    let issuing = intermediate(ca_params("Issuing"), &root);
    let below = [leaf(&params, &issuing), der(&issuing)];
    let roots = [Certificate::parse(der(&root)).unwrap()];
    let observation = judge(&below, HOST, &roots, NOW);
    assert!(matches!(observation.verdict(), EndpointVerdict::Unknown(_)));
    assert_eq!(
        observation.problems[0].to_string(),
        "cannot tell whether the CA matches the endpoint: the server's certificate is itself a CA (basicConstraints CA:TRUE)"
    );
}

#[test]
fn a_name_that_does_not_match_is_told_with_those_there_are() {
    let root = root(ca_params("Root"));
    let mismatch = |names: &[&str]| {
        said(&[leaf(&leaf_params(names), &root)], &[der(&root)])
            .pop()
            .unwrap_or_default()
    };
    assert_eq!(mismatch(&["*.velero.svc"]), "");
    assert_eq!(
        mismatch(&["minio", "10.0.0.1"]),
        "the server's certificate does not name `minio.velero.svc`, only minio, 10.0.0.1"
    );
    assert_eq!(
        mismatch(&["a", "b", "c", "d", "e", "f", "g"]),
        "the server's certificate does not name `minio.velero.svc`, only a, b, c, d, e and 2 more"
    );
    assert_eq!(
        mismatch(&["a\n\u{7f}.svc"]),
        "the server's certificate does not name `minio.velero.svc`, only a\\n\\u{7f}.svc"
    );
    // The common name is `minio.velero.svc`, and Go ignores it.
    let mut params = leaf_params(&[]);
    params.distinguished_name.push(DnType::CommonName, HOST);
    assert_eq!(
        said(&[leaf(&params, &root)], &[der(&root)]),
        [
            "the server's certificate does not name `minio.velero.svc`: it has no subjectAltName, and a common name counts for nothing"
        ]
    );
}

#[test]
fn dates_of_the_server_and_of_its_cas_are_told_apart() {
    let root = root(ca_params("Root"));
    let mut params = leaf_params(&[HOST]);
    params.not_after = date_time_ymd(2026, 6, 30);
    assert_eq!(
        said(&[leaf(&params, &root)], &[der(&root)]),
        ["the server's certificate expired on 2026-06-30"]
    );
    // The CA is judged nevertheless.
    assert_eq!(said(&[leaf(&params, &root)], &[]).len(), 2);
    let mut params = leaf_params(&[HOST]);
    params.not_before = date_time_ymd(2027, 1, 1);
    assert_eq!(
        said(&[leaf(&params, &root)], &[der(&root)]),
        ["the server's certificate is not valid before 2027-01-01"]
    );

    let mut old = ca_params("Old Root");
    old.not_after = date_time_ymd(2026, 6, 30);
    let old = self::root(old);
    assert_eq!(
        said(&[leaf(&leaf_params(&[HOST]), &old)], &[der(&old)]),
        [
            "CA does not match the endpoint: issuer CN=Old Root, presented chain CN=store; CN=Old Root, in the bundle, is valid from 2026-01-01 to 2026-06-30 only"
        ]
    );
    let mut late = ca_params("Late Issuing");
    late.not_before = date_time_ymd(2027, 1, 1);
    let late = intermediate(late, &root);
    assert_eq!(
        said(
            &[leaf(&leaf_params(&[HOST]), &late), der(&late)],
            &[der(&root)]
        ),
        [
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store <- CN=Late Issuing; CN=Late Issuing, which the server presents, is valid from 2027-01-01 to 2028-01-01 only"
        ]
    );
}

#[test]
fn a_ca_that_may_not_vouch_does_not() {
    let why = |root: &Ca, chain: &[Vec<u8>]| {
        let said = said(chain, &[der(root)]);
        let (_, why) = said[0].rsplit_once("; ").unwrap();
        why.to_owned()
    };
    let plain = leaf_params(&[HOST]);

    let not_ca = root(params("No CA"));
    assert_eq!(
        why(&not_ca, &[leaf(&plain, &not_ca)]),
        "the bundle's certificate of that name is no CA"
    );
    let mut usage = ca_params("Root");
    usage.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usage = root(usage);
    assert_eq!(
        why(&usage, &[leaf(&plain, &usage)]),
        "the bundle's certificate of that name is no CA"
    );

    let mut short = ca_params("Short Root");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = root(short);
    assert_eq!(said(&[leaf(&plain, &short)], &[der(&short)]), TRUSTED);
    let issuing = intermediate(ca_params("Issuing"), &short);
    assert_eq!(
        why(&short, &[leaf(&plain, &issuing), der(&issuing)]),
        "a CA on the way may not vouch for so long a chain (pathLenConstraint)"
    );

    let mut clients = ca_params("Client Root");
    clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let clients = root(clients);
    assert_eq!(
        why(&clients, &[leaf(&plain, &clients)]),
        "a certificate on the way is not for servers (extendedKeyUsage lacks serverAuth)"
    );

    let mut constrained = ca_params("Constrained Root");
    constrained.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let constrained = root(constrained);
    assert_eq!(
        why(&constrained, &[leaf(&plain, &constrained)]),
        "a CA on the way may not vouch for this name"
    );

    let good = root(ca_params("Root"));
    let not_ca = intermediate(params("No CA"), &good);
    assert_eq!(
        why(&good, &[leaf(&plain, &not_ca), der(&not_ca)]),
        "a certificate on the way to its CA is no CA itself"
    );
}

#[test]
fn a_critical_extension_that_go_does_not_know_spoils_a_certificate() {
    let with_critical = |mut params: CertificateParams| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        params
    };
    let own = der(&root(with_critical(leaf_params(&[HOST]))));
    assert_eq!(
        said(from_ref(&own), from_ref(&own)),
        [
            "CA does not match the endpoint: issuer CN=store, presented chain CN=store; the server's certificate has a critical extension that Velero does not know"
        ]
    );
    let strange = root(with_critical(ca_params("Root")));
    let below = leaf(&leaf_params(&[HOST]), &strange);
    assert_eq!(
        said(from_ref(&below), &[der(&strange)]),
        [
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store; the bundle's CA of that name has a critical extension that Velero does not know"
        ]
    );
    let plain = root(ca_params("Root"));
    let below = leaf(&leaf_params(&[HOST]), &plain);
    assert_eq!(said(&[below], &[der(&strange), der(&plain)]), TRUSTED);
}

#[test]
fn any_usage_is_good_for_servers() {
    let root = root(ca_params("Root"));
    for usages in [vec![], vec![ExtendedKeyUsagePurpose::Any]] {
        let mut params = leaf_params(&[HOST]);
        params.extended_key_usages = usages;
        assert_eq!(said(&[leaf(&params, &root)], &[der(&root)]), TRUSTED);
    }
}

#[test]
fn keys_and_digests_are_weak_where_go_says_so() {
    let said = |text: &str| {
        let both = pem::read(text.as_bytes()).certificates;
        let presented: Vec<_> = both.iter().map(Certificate::der).collect();
        judge(&presented[..1], HOST, &both[1..], both[0].not_before)
            .problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    macro_rules! chain {
        ($name:literal) => {
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/cases/certificates/chain-",
                $name
            ))
        };
    }
    assert_eq!(said(chain!("rsa-1024.pem")), "");
    assert_eq!(
        said(chain!("sha1.pem")),
        "CA does not match the endpoint: issuer CN=sha1 CA, presented chain CN=sha1; CN=sha1 is signed with SHA-1, which Velero refuses"
    );
    // Go accepts these, and our crypto library does not support them.
    for text in [chain!("p224.pem"), chain!("rsa-1024-sha384.pem")] {
        let said = said(text);
        assert!(said.starts_with("cannot tell"), "{said}");
    }
}

#[test]
fn what_does_not_parse_ends_the_matter() {
    let root = root(ca_params("Root"));
    let good = leaf(&leaf_params(&[HOST]), &root);
    assert_eq!(
        said(&[good, vec![1, 2, 3]], &[]),
        [
            "presented certificate 2 does not parse (it is not DER of a certificate), and Velero gives up at that"
        ]
    );
    assert_eq!(
        said(&[], &[]),
        ["cannot tell whether the CA matches the endpoint: the server presented no certificate"]
    );
}

#[test]
fn the_end_of_the_servers_certificate_is_announced() {
    let root = root(ca_params("Root"));
    let soon = |from: (i32, u8, u8), to: (i32, u8, u8)| {
        let mut params = leaf_params(&[HOST]);
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let roots = [Certificate::parse(der(&root)).unwrap()];
        let soon = judge(&[leaf(&params, &root)], HOST, &roots, NOW).expires_soon;
        soon.map(|soon| (soon.to_string(), soon.is_urgent))
    };
    assert_eq!(soon((2026, 1, 1), (2026, 8, 2)), None);
    let says = |days, date, is_urgent| {
        let text = format!("the server's certificate expires on {date}, in {days} days");
        Some((text, is_urgent))
    };
    assert_eq!(
        soon((2026, 1, 1), (2026, 7, 31)),
        says(30, "2026-07-31", false)
    );
    assert_eq!(
        soon((2026, 1, 1), (2026, 7, 15)),
        says(14, "2026-07-15", true)
    );
    // 90 days, renewed after 60; a week, renewed every other day.
    assert_eq!(soon((2026, 5, 1), (2026, 7, 30)), None);
    assert_eq!(soon((2026, 6, 28), (2026, 7, 5)), None);
    // An expired certificate is not announced, but reported as expired.
    assert_eq!(soon((2026, 1, 1), (2026, 6, 30)), None);
}

#[test]
fn every_problem_has_a_fix_that_names_the_place() {
    let root = root(ca_params("Root"));
    let roots: [Certificate; 0] = [];
    let observation = judge(&[leaf(&leaf_params(&["minio"]), &root)], HOST, &roots, NOW);
    assert_eq!(
        observation.verdict(),
        EndpointVerdict::Untrusted(
            "CA does not match the endpoint: issuer CN=Root, presented chain CN=store; the bundle has no CA of that name"
                .to_owned()
        )
    );
    let fixes: Vec<_> = observation
        .problems
        .iter()
        .map(|one| one.fix("backups"))
        .collect();
    assert_eq!(
        fixes,
        [
            "have it issued again with `minio.velero.svc` in its subjectAltName, or write one of its names into the BSL",
            "name CN=Root on the BSL: `kubectl -n backups create secret generic velero-ca --from-file=ca.crt=ca.pem`, then spec.objectStorage.caCertRef with name velero-ca and key ca.crt or, before Velero 1.18, the annotation `velero-trust.io/ca-secret: velero-ca/ca.crt`. If that is an intermediate, the server should present it, and its root is the CA to name",
        ]
    );
}

#[test]
fn the_issuer_is_that_of_the_top_of_the_presented_chain() {
    let root = root(ca_params("Root"));
    let issuing = intermediate(ca_params("Issuing"), &root);
    let below = leaf(&leaf_params(&[HOST]), &issuing);
    let issuer = |presented: &[Vec<u8>]| judge(presented, HOST, &[], NOW).issuer;
    assert_eq!(issuer(from_ref(&below)).as_deref(), Some("CN=Issuing"));
    let chain = [below.clone(), der(&issuing)];
    assert_eq!(issuer(&chain).as_deref(), Some("CN=Root"));
    let whole = [below.clone(), der(&root), der(&issuing)];
    assert_eq!(issuer(&whole).as_deref(), Some("CN=Root"));
    assert_eq!(issuer(&[]), None);
    assert_eq!(issuer(&[below, b"no certificate".to_vec()]), None);
}
