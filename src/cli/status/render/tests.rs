use super::*;
use crate::ca::bundle_issue::BundleIssue;
use crate::cli::snapshot::{NotRecorded, NotRecordedState, Others};
use crate::cli::status::model::{
    Backups, Bundle, BundleState, CoverageEntry, Enforced, LiveProbe, Location, Namespace,
    NotRecordedBackups, Pods, Records, SigningKey,
};
use crate::cli::status::problems;
use crate::decision::Severity;
use crate::injection::coverage::State;
use crate::kubernetes::published_activation::{ActivationReport, ServingCaReport};
use crate::kubernetes::report::{self, EndpointState};

/// 2026-11-22T12:00:00Z
const NOW: i64 = 1_795_348_800;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn leading() -> Leader {
    Leader {
        state: LeaderState::Leading,
        holder: Some("velero-trust-6f7c9d-abcde".to_owned()),
        renewed: Some(at("2026-11-22T11:59:58Z")),
        message: None,
    }
}

fn published() -> Bundle {
    Bundle {
        state: BundleState::Published,
        hash: Some("sha256:1a2b3c4d5e6f7a8b9c0d".to_owned()),
        certificates: Some(120),
        origins: Some("public=118 locations=2".to_owned()),
        earliest_expiry: Some(at("2026-12-21T00:00:00Z")),
        last_added: Some(at("2026-11-22T10:00:00Z")),
        held: None,
        ..Bundle::default()
    }
}

fn certificate(subject: &str, not_after: &str) -> report::Certificate {
    report::Certificate {
        subject: subject.to_owned(),
        fingerprint: "ab12".to_owned(),
        not_after: not_after.to_owned(),
    }
}

fn finding(rule: &str, severity: Severity) -> report::Finding {
    report::Finding {
        rule: rule.to_owned(),
        severity,
        path: "spec.objectStorage.caCertRef".to_owned(),
        message: "something is wrong".to_owned(),
        fix: "fix it".to_owned(),
    }
}

fn location() -> Location {
    Location {
        name: "default".to_owned(),
        phase: Some("Available".to_owned()),
        report: Some(report::Location {
            sources: vec!["Secret store-ca key ca.crt".to_owned()],
            certificates: vec![certificate("CN=store", "2027-01-01T00:00:00Z")],
            endpoints: vec![report::Endpoint {
                url: "https://minio:9000".to_owned(),
                state: EndpointState::Trusted,
                issuer: Some("CN=store".to_owned()),
                probed_at: Some("2026-11-22T11:59:20Z".to_owned()),
                ..report::Endpoint::default()
            }],
            ..report::Location::default()
        }),
    }
}

fn pod(name: &str, state: State, message: &str) -> CoverageEntry {
    CoverageEntry {
        name: name.to_owned(),
        kind: Some("server"),
        workload: Some("deployment/velero".to_owned()),
        state,
        message: message.to_owned(),
    }
}

fn healthy() -> Namespace {
    Namespace {
        name: "velero".to_owned(),
        velero: Some("v1.18.2".to_owned()),
        bundle: published(),
        locations: vec![location()],
        pods: Pods {
            wanted: 1,
            current: 1,
            opted_out: 0,
            items: vec![pod("velero-1", State::Current, "")],
        },
        ..Namespace::default()
    }
}

/// Returns backups of which some are not restorable, and some not recorded.
fn backups() -> Backups {
    Backups {
        restores: Some("enforce"),
        total: Some(10),
        restorable: Some(3),
        reasons: [
            ("failed".to_owned(), 2),
            ("backup without a checksum [VT101]".to_owned(), 5),
        ]
        .into(),
        enforced: Some(Enforced {
            refused: 6,
            reasons: [
                ("malformed checksum [VT102]".to_owned(), 1),
                ("backup without a checksum [VT101]".to_owned(), 5),
            ]
            .into(),
        }),
        recorded: Some(5),
        levels: [("observed".to_owned(), 4), ("late".to_owned(), 1)].into(),
        imported: [("cluster-a".to_owned(), 2)].into(),
        not_recorded: vec![
            not_recorded(NotRecordedState::NothingToRecord, Some("Failed"), 2, None),
            not_recorded(
                NotRecordedState::Unobserved,
                Some("Synced"),
                1,
                Some("other"),
            ),
            not_recorded(
                NotRecordedState::Unreadable,
                Some("AccessDenied"),
                1,
                Some("no right"),
            ),
            not_recorded(NotRecordedState::NoRecord, None, 1, None),
        ],
        message: None,
    }
}

/// Returns three namespaces that together have every kind of problem.
fn troubled() -> Vec<Namespace> {
    let report = report::Location {
        sources: vec!["spec.objectStorage.caCert".to_owned()],
        findings: vec![
            finding("VT034", Severity::Warn),
            finding("VT013", Severity::Deny),
        ],
        certificates: vec![
            certificate("CN=old", "2026-01-01T00:00:00Z"),
            certificate("CN=new", "2036-01-01T00:00:00Z"),
        ],
        endpoints: vec![report::Endpoint {
            url: "https://minio:9000".to_owned(),
            state: EndpointState::Untrusted,
            message: "issued by CN=other".to_owned(),
            fix: "name that CA".to_owned(),
            probed_at: Some("2026-11-22T11:55:00Z".to_owned()),
            ..report::Endpoint::default()
        }],
        ..report::Location::default()
    };
    let mut bad = healthy();
    bad.locations.push(Location {
        name: "second".to_owned(),
        phase: None,
        report: Some(report),
    });
    bad.retained = vec![report::RetainedCa {
        certificate: certificate("CN=former", "2036-01-01T00:00:00Z"),
        until: "2026-11-27T10:00:00Z".to_owned(),
    }];
    let reason = "full".to_owned();
    bad.issues = vec![BundleIssue::WriteFailed { reason }.into()];
    bad.bundle.held = Some("default does not verify".to_owned());
    bad.bundle.earliest_expiry = Some(at("2026-11-01T00:00:00Z"));
    bad.pods = Pods {
        wanted: 4,
        current: 1,
        opted_out: 1,
        items: vec![
            pod("velero-1", State::Current, ""),
            pod("velero-2", State::Uninjected, "made before"),
            pod("velero-3", State::Stale, "began before"),
            pod(
                "velero-4",
                State::Conflicting,
                "AWS_CA_BUNDLE is set [VT201]",
            ),
            pod("velero-5", State::OptedOut, "velero-trust.io/inject=false"),
        ],
    };
    let conflict = pod(
        "deployment/velero",
        State::Conflicting,
        "AWS_CA_BUNDLE is set [VT201]",
    );
    bad.templates = vec![CoverageEntry {
        workload: None,
        ..conflict
    }];

    bad.backups = Some(backups());
    let blind = Namespace {
        name: "blind".to_owned(),
        backups: Some(Backups {
            message: Some("backups.velero.io is forbidden".to_owned()),
            ..Backups::default()
        }),
        bundle: Bundle {
            state: BundleState::Foreign,
            ..Bundle::default()
        },
        locations: vec![Location {
            report: None,
            ..location()
        }],
        no_report: Some("ConfigMap velero-trust/velero-trust-report.blind is not there".to_owned()),
        ..Namespace::default()
    };
    let empty = Namespace {
        name: "vleero".to_owned(),
        backups: Some(Backups {
            restores: Some("off"),
            total: Some(0),
            restorable: Some(0),
            ..Backups::default()
        }),
        ..Namespace::default()
    };
    vec![blind, bad, empty]
}

fn not_recorded(
    state: NotRecordedState,
    reason: Option<&str>,
    count: usize,
    message: Option<&str>,
) -> NotRecordedBackups {
    NotRecordedBackups {
        why: NotRecorded {
            state,
            reason: reason.map(str::to_owned),
        },
        backups: Others {
            count,
            checksum_by_hand: usize::from(state == NotRecordedState::NoRecord),
            message: message.map(str::to_owned),
        },
    }
}

/// Returns the text of a status whose records are so.
fn with_records(records: Records) -> String {
    let mut status = status_of(leading(), vec![healthy()]);
    status.records = Some(records);
    problems::find_problems(&mut status, now());
    text(&status, now(), 120)
}

#[test]
fn without_the_kinds_or_a_copy_of_the_key_records_need_somebody() {
    let key = |exported| {
        Some(SigningKey {
            trusted_key: "velero-trust-ab12".to_owned(),
            exported,
            wanted_type: None,
            lost: Vec::new(),
            secret_gone: None,
        })
    };
    let good = with_records(Records {
        installed: Some(true),
        signing_key: key(true),
        message: None,
        ..Records::default()
    });
    assert!(good.ends_with("Nothing needs a person.\n"), "{good}");
    let absent = with_records(Records {
        installed: Some(false),
        message: Some("not installed".to_owned()),
        signing_key: None,
        ..Records::default()
    });
    let problem = "NEEDS A PERSON\nnot installed\n    -> kubectl apply -k manifests/crds\n";
    assert!(absent.ends_with(problem), "{absent}");
    let kept = with_records(Records {
        installed: Some(true),
        signing_key: key(false),
        message: None,
        ..Records::default()
    });
    let command = "\n    -> velero-trust keys export --private velero-trust-signing-key.pem\n";
    assert!(kept.contains("it was never exported"), "{kept}");
    assert!(kept.ends_with(command), "{kept}");
    let lost = with_records(Records {
        installed: Some(true),
        signing_key: key(false).map(|key| SigningKey {
            lost: vec!["velero-trust-cd34".to_owned()],
            secret_gone: None,
            ..key
        }),
        message: None,
        ..Records::default()
    });
    let told = "the key velero-trust-cd34 was lost, and a new key signs since; nobody has a copy";
    assert!(lost.contains(told), "{lost}");
    assert!(lost.ends_with(command), "{lost}");
    let unknown = with_records(Records {
        message: Some("forbidden".to_owned()),
        ..Records::default()
    });
    assert!(
        unknown.contains("\nRECORDS  unknown (forbidden)\n"),
        "{unknown}"
    );
    assert!(unknown.ends_with("Nothing needs a person.\n"), "{unknown}");
}

fn status_of(leader: Leader, namespaces: Vec<Namespace>) -> StatusReport {
    let mut status = StatusReport {
        leader,
        namespaces,
        ..StatusReport::default()
    };
    problems::find_problems(&mut status, now());
    status
}

/// Returns the text of a status with a serving certificate in this state, which expires at `until`.
fn with_certificate(state: ServingCertificateState, until: &str) -> String {
    let mut status = status_of(leading(), vec![healthy()]);
    status.serving_certificate = Some(ServingCertificateStatus {
        state,
        not_after: (!until.is_empty()).then(|| at(until)),
        message: Some("renew it".to_owned()),
    });
    problems::find_problems(&mut status, now());
    text(&status, now(), 120)
}

#[test]
fn the_serving_ca_has_a_line_with_the_step_of_its_rotation() {
    let line = |ca: ServingCaReport| {
        let mut status = status_of(leading(), vec![healthy()]);
        status.activation = Some(ActivationReport {
            by_leader: true,
            serving_ca: Some(ca),
            ..ActivationReport::default()
        });
        let text = text(&status, now(), 120);
        let line = text.lines().find(|line| line.starts_with("SERVING CA "));
        line.unwrap().to_owned()
    };
    assert_eq!(
        line(ServingCaReport::default()),
        "SERVING CA there is none yet"
    );
    let ca = ServingCaReport {
        not_after: Some(at("2027-11-22T12:00:00Z")),
        ..ServingCaReport::default()
    };
    let over = line(ServingCaReport {
        not_after: Some(at("2026-11-12T12:00:00Z")),
        ..ca
    });
    assert_eq!(over, "SERVING CA expired 2026-11-12");
    let expires = "SERVING CA expires 2027-11-22 (365d)";
    assert_eq!(line(ca.clone()), expires);
    let next = line(ServingCaReport {
        has_next: true,
        ..ca
    });
    assert_eq!(
        next,
        format!("{expires}; the next one signs once every webhook has trusted it for 2 minutes")
    );
    let previous = |until: &str| {
        line(ServingCaReport {
            previous_until: Some(at(until)),
            ..ca.clone()
        })
    };
    assert_eq!(
        previous("2026-11-24T12:00:00Z"),
        format!("{expires}; the one before is trusted until 2026-11-24 (2d)")
    );
    assert_eq!(previous("2026-11-22T12:00:00Z"), expires);
}

#[test]
fn the_serving_certificate_has_a_line_and_needs_somebody_when_it_expires() {
    use ServingCertificateState::{Expired, ExpiresSoon, Unknown, Valid};
    let valid = with_certificate(Valid, "2027-11-22T12:00:00Z");
    let line = "\nSERVING CERTIFICATE expires 2027-11-22 (365d)\n";
    assert!(valid.contains(line), "{valid}");
    assert!(valid.ends_with("Nothing needs a person.\n"), "{valid}");
    for (state, until, line, problem) in [
        (
            ExpiresSoon,
            "2026-12-12T12:00:00Z",
            "expires 2026-12-12 (20d)",
            "expires at 2026-12-12T12:00:00Z\n    -> renew it",
        ),
        (
            Expired,
            "2026-11-12T12:00:00Z",
            "expired 2026-11-12",
            "expired at 2026-11-12T12:00:00Z\n    -> renew it",
        ),
    ] {
        let text = with_certificate(state, until);
        let line = format!("\nSERVING CERTIFICATE {line}\n");
        assert!(text.contains(&line), "{text}");
        let problem = format!("\nNEEDS A PERSON\nthe serving certificate {problem}\n");
        assert!(text.contains(&problem), "{text}");
    }
    let unknown = with_certificate(Unknown, "");
    let line = "\nSERVING CERTIFICATE unknown (renew it)\n";
    assert!(unknown.contains(line), "{unknown}");
    assert!(unknown.ends_with("Nothing needs a person.\n"), "{unknown}");
}

#[test]
fn a_healthy_namespace_needs_nobody() {
    let status = status_of(leading(), vec![healthy()]);
    assert!(status.clean, "{status:?}");
    assert_eq!(
        text(&status, now(), usize::MAX),
        include_str!("golden/healthy.txt")
    );
}

#[test]
fn everything_that_is_wrong_is_shown() {
    let stale = Leader {
        state: LeaderState::Stale,
        renewed: Some(at("2026-11-22T09:00:00Z")),
        ..leading()
    };
    let status = status_of(stale, troubled());
    assert!(!status.clean);
    assert_eq!(
        text(&status, now(), usize::MAX),
        include_str!("golden/troubled.txt")
    );
}

#[test]
fn the_shape_of_the_json_stays() {
    let mut namespaces = troubled();
    namespaces.remove(0);
    namespaces.remove(1);
    let status = status_of(leading(), namespaces);
    let json = serde_json::to_string_pretty(&status).unwrap();
    assert_eq!(json + "\n", include_str!("golden/status.json"));
}

#[test]
fn a_leader_that_does_not_probe_on_request_needs_attention() {
    let live = |is_done| LiveProbe {
        requested: now(),
        seconds: 30,
        is_asked: true,
        is_done,
    };
    assert!(problems_after(|namespace| namespace.live = Some(live(true))).is_empty());
    let problems = problems_after(|namespace| namespace.live = Some(live(false)));
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!(problem.starts_with("the leader did not probe the endpoints within 30 s"));
}

#[test]
fn each_trouble_alone_needs_attention_and_each_wish_does_not() {
    type Change = fn(&mut Namespace);
    let problems: [(&str, Change); 7] = [
        ("held", |namespace| {
            namespace.bundle.held = Some("x".to_owned());
        }),
        ("no report", |namespace| {
            namespace.no_report = Some("x".to_owned());
        }),
        ("issue", |namespace| {
            namespace.issues.push(BundleIssue::Timeout.into());
        }),
        ("foreign", |namespace| {
            namespace.bundle.state = BundleState::Foreign;
        }),
        ("uncovered", |namespace| {
            namespace.pods.items.push(pod("p", State::Stale, "x"));
        }),
        ("conflict", |namespace| {
            namespace.templates.push(pod("t", State::Conflicting, "x"));
        }),
        ("denial", |namespace| {
            report(namespace)
                .findings
                .push(finding("VT017", Severity::Deny));
        }),
    ];
    for (name, change) in problems {
        let mut namespace = healthy();
        change(&mut namespace);
        assert!(!status_of(leading(), vec![namespace]).clean, "{name}");
    }
    let harmless: [(&str, Change); 3] = [
        ("warning", |namespace| {
            report(namespace)
                .findings
                .push(finding("VT034", Severity::Warn));
        }),
        ("opted out", |namespace| {
            namespace.pods.items.push(pod("p", State::OptedOut, "x"));
        }),
        ("template", |namespace| {
            namespace.templates.push(pod("t", State::OptedOut, "x"));
        }),
    ];
    for (name, change) in harmless {
        let mut namespace = healthy();
        change(&mut namespace);
        assert!(status_of(leading(), vec![namespace]).clean, "{name}");
    }
    assert!(
        !status_of(Leader::default(), vec![healthy()]).clean,
        "no leader"
    );
    assert!(!status_of(leading(), Vec::new()).clean, "no namespace");
}

fn report(namespace: &mut Namespace) -> &mut report::Location {
    namespace.locations[0].report.as_mut().unwrap()
}

/// Returns the problems of a healthy namespace after `change`.
fn problems_after(change: impl FnOnce(&mut Namespace)) -> Vec<String> {
    let mut namespace = healthy();
    change(&mut namespace);
    let mut status = status_of(leading(), vec![namespace]);
    status.namespaces.remove(0).problems
}

#[test]
fn what_enforce_would_refuse_is_told_before_it_is_chosen() {
    let told = |restores, enforced: Enforced, total| {
        let namespace = Namespace {
            backups: Some(Backups {
                restores,
                enforced: Some(enforced),
                total: Some(total),
                restorable: Some(total),
                ..Backups::default()
            }),
            ..healthy()
        };
        let status = status_of(leading(), vec![namespace]);
        let text = text(&status, now(), 120);
        let line = text.lines().find(|line| line.contains("would refuse"));
        line.map(str::to_owned)
    };
    let refused = || Enforced {
        refused: 6,
        reasons: backups().enforced.unwrap().reasons,
    };
    let expected = "velero: enforce would refuse 6 of 10 backups: \
                    5: backup without a checksum [VT101], 1: malformed checksum [VT102]";
    for restores in [Some("warn"), Some("off")] {
        let line = told(restores, refused(), 10);
        assert_eq!(line.as_deref(), Some(expected));
    }
    let none = told(Some("warn"), Enforced::default(), 10);
    let expected = "velero: enforce would refuse 0 of 10 backups";
    assert_eq!(none.as_deref(), Some(expected));
    assert_eq!(told(Some("enforce"), refused(), 10), None);
    assert_eq!(told(Some("off"), Enforced::default(), 0), None);
}

#[test]
fn velero_in_kube_system_is_told_that_it_gets_nothing() {
    let problems = problems_after(|namespace| namespace.is_excluded = true);
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!(problem.starts_with("velero-trust changes no Pod of kube-system"));
    assert!(problem.contains("\ninstall Velero in a namespace of its own"));
}

#[test]
fn one_fault_is_told_once_and_what_becomes_of_the_good() {
    let left_out = |path: &str| BundleIssue::LeftOut {
        location: "default".to_owned(),
        path: path.to_owned(),
    };
    let path = "spec.objectStorage.caCertRef";
    let problems = problems_after(|namespace| {
        namespace.issues = vec![left_out(path).into()];
        report(namespace).findings = vec![finding("VT001", Severity::Deny)];
    });
    let expected = "BackupStorageLocation default: spec.objectStorage.caCertRef: something is wrong; \
                if it was good before, its CAs stay in the bundle [VT001]\nfix it";
    assert_eq!(problems, [expected]);
    // The issue is kept if no finding is about the same field.
    let problems = problems_after(|namespace| {
        namespace.issues = vec![left_out("spec.config.caCert").into()];
        report(namespace).findings = vec![finding("VT001", Severity::Deny)];
    });
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].contains("its CAs stay in the bundle") && !problems[1].contains("its CAs stay")
    );

    let problems = problems_after(|namespace| {
        report(namespace).findings = vec![finding("VT017", Severity::Deny)];
        report(namespace).certificates[0].not_after = "2026-01-01T00:00:00Z".to_owned();
    });
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problems = problems_after(|namespace| {
        namespace.bundle = Bundle::default();
        namespace.issues = vec![BundleIssue::Empty.into()];
    });
    assert_eq!(problems, [BundleIssue::Empty.to_string()]);
    let problems = problems_after(|namespace| {
        namespace.bundle.state = BundleState::Foreign;
        namespace.issues = vec![BundleIssue::NotOwned.into()];
    });
    assert_eq!(problems, [BundleIssue::NotOwned.to_string()]);
}

/// Replaces every text for people in the report of the controllers, and the reasons of the Pods.
fn reword(namespace: &mut Namespace) {
    for (number, issue) in namespace.issues.iter_mut().enumerate() {
        issue.message = format!("issue {number}");
    }
    let reports = namespace.locations.iter_mut();
    for report in reports.filter_map(|location| location.report.as_mut()) {
        for finding in &mut report.findings {
            (finding.message, finding.fix) = ("finding".to_owned(), "repair".to_owned());
        }
        for endpoint in &mut report.endpoints {
            (endpoint.message, endpoint.fix) = ("endpoint".to_owned(), "repair".to_owned());
        }
    }
    let pods = namespace.pods.items.iter_mut();
    for covered in pods.chain(&mut namespace.templates) {
        covered.message = "reason".to_owned();
    }
}

#[test]
fn other_words_change_nothing_that_is_decided() {
    let with = |mut namespace: Namespace, issues: &[BundleIssue]| {
        let issues = issues.iter().cloned().map(report::Issue::from);
        namespace.issues.extend(issues);
        namespace
    };
    let left_out = |path: &str| BundleIssue::LeftOut {
        location: "default".to_owned(),
        path: path.to_owned(),
    };
    let paths = ["spec.objectStorage.caCertRef", "spec.config.caCert"];
    let mut explained = with(healthy(), &paths.map(left_out));
    report(&mut explained).findings = vec![finding("VT001", Severity::Deny)];
    let mut expired = healthy();
    report(&mut expired).findings = vec![finding("VT017", Severity::Deny)];
    report(&mut expired).certificates[0].not_after = "2026-01-01T00:00:00Z".to_owned();
    let mut absent = healthy();
    absent.bundle = Bundle::default();
    let mut foreign = healthy();
    foreign.bundle.state = BundleState::Foreign;
    let namespaces = [
        healthy(),
        explained,
        expired,
        with(absent.clone(), &[BundleIssue::Empty]),
        with(absent, &[BundleIssue::Timeout]),
        with(foreign, &[BundleIssue::NotOwned]),
    ];
    let decided = |namespace: Namespace| {
        let status = status_of(leading(), vec![namespace]);
        (status.namespaces[0].problems.len(), status.clean)
    };
    for namespace in namespaces.into_iter().chain(troubled()) {
        let before = decided(namespace.clone());
        let mut reworded = namespace;
        reword(&mut reworded);
        // The issues go through JSON, as those of a report do.
        let json = serde_json::to_string(&reworded.issues).unwrap();
        reworded.issues = serde_json::from_str(&json).unwrap();
        assert_eq!(decided(reworded.clone()), before, "{reworded:?}");
    }
}

#[test]
fn a_location_that_velero_cannot_use_needs_attention() {
    let problems = problems_after(|namespace| {
        namespace.locations[0].phase = Some("Unavailable".to_owned());
    });
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!(
        problem.starts_with("BackupStorageLocation default: "),
        "{problem}"
    );
    assert!(problem.contains("Unavailable"), "{problem}");
    assert!(
        problem.contains("kubectl -n velero get backupstoragelocation default"),
        "{problem}"
    );
    // It does not need the report of the controllers.
    let without = problems_after(|namespace| {
        namespace.locations[0].phase = Some("Unavailable".to_owned());
        namespace.locations[0].report = None;
    });
    assert_eq!(without, problems);
}
