use super::*;
use crate::ca::bundle::mozilla;
use crate::ca::evaluation::{dropped_certificates, truncation_issues};

const WEEK: i64 = 7 * 24 * 3600;

/// Returns a moment at which both clocks agree.
fn at(seconds: i64) -> Moment {
    Moment {
        wall: seconds,
        steady: seconds.unsigned_abs(),
    }
}

fn contribution(certificates: &[Certificate], is_complete: bool) -> Contribution {
    let certificates = certificates.to_vec();
    Contribution {
        certificates,
        is_complete,
    }
}

fn location(name: &str) -> Owner {
    Owner::Location(name.to_owned())
}

fn contributions<const N: usize>(of: [(&str, Contribution); N]) -> Contributions {
    of.map(|(name, contribution)| (location(name), contribution))
        .into()
}

/// Returns certificates that are not public roots.
fn own() -> Vec<Certificate> {
    let make = |name: &str| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der().to_vec()).unwrap()
    };
    ["a.test", "b.test", "c.test"].map(make).to_vec()
}

/// Returns which of `of` are in the bundle.
fn holds(merged: &MergedBundle, of: &[Certificate]) -> Vec<bool> {
    let text = &merged.bundle.text;
    of.iter()
        .map(|one| text.contains(&pem_block(one)))
        .collect()
}

fn learnt<const N: usize>(of: [(&str, Contribution); N]) -> Memory {
    let mut memory = Memory::default();
    memory.learn(&contributions(of), at(0), WEEK);
    memory
}

#[test]
fn what_is_whole_is_all_there_is() {
    let own = own();
    let now = contributions([
        ("a", contribution(&own[..1], true)),
        ("b", contribution(&[], true)),
    ]);
    let merged = merge_contributions(&now, &Memory::default(), mozilla());
    assert_eq!(holds(&merged, &own), [true, false, false]);
    let origins = [(Origin::Location, 1), (Origin::Public, mozilla().len())];
    assert_eq!(merged.origins, origins.into());
    assert_eq!(merged.bundle.count, 1 + mozilla().len());
}

#[test]
fn a_location_that_is_not_whole_adds_what_is_remembered_of_it() {
    let own = own();
    let now = contributions([("a", contribution(&own[..1], false))]);
    let mut memory = learnt([("a", contribution(&own[1..2], true))]);
    assert!(!memory.lacks(&now));
    for _ in 0..100 {
        memory.learn(&now, at(WEEK * 2), WEEK);
        let merged = merge_contributions(&now, &memory, &[]);
        assert_eq!(holds(&merged, &own), [true, true, false]);
    }
    // A location that was removed and added again under the same name has nothing remembered.
    memory.learn(&Contributions::new(), at(0), WEEK);
    assert!(memory.lacks(&now));
}

#[test]
fn the_good_part_of_what_is_not_whole_is_remembered_too() {
    let own = own();
    // First a good CA in front of a broken block, then no answer from the API server.
    let mut memory = learnt([("a", contribution(&own[..1], false))]);
    let now = contributions([("a", contribution(&[], false))]);
    for _ in 0..3 {
        memory.learn(&now, at(WEEK * 2), WEEK);
        assert_eq!(
            holds(&merge_contributions(&now, &memory, &[]), &own),
            [true, false, false]
        );
    }
}

/// Returns certificates as large as those with RSA keys of 2048 bits or more, about 1500 bytes of
/// PEM.
fn large(count: usize) -> Vec<Certificate> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let make = |number: usize| {
        let names = (0..9).map(|part| format!("{}-{number}-{part}.test", "x".repeat(60)));
        let params = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der().to_vec()).unwrap()
    };
    (0..count).map(make).collect()
}

#[test]
fn a_memory_retains_as_much_as_a_bundle_holds() {
    let many = large(900);
    let (old, new) = many.split_at(300);
    let mut memory = learnt([("a", contribution(old, true))]);
    memory.learn(
        &contributions([("a", contribution(new, true))]),
        at(1),
        WEEK,
    );
    let none = contributions([("a", contribution(&[], true))]);
    memory.learn(&none, at(2), WEEK);

    let text = memory.to_text().len();
    assert!(text <= MAX_CONFIG_MAP_BYTES, "{text} bytes");
    // Public roots come first.
    let merged = merge_contributions(&none, &memory, mozilla());
    let pem = merged.bundle.text.len();
    assert!(pem > MAX_CONFIG_MAP_BYTES * 9 / 10, "{pem} bytes");
    let retained = memory.retained().count();
    assert_eq!(merged.origins[&Origin::Public], mozilla().len());
    assert!(merged.origins[&Origin::Retained] < retained);
    assert_eq!(
        merged.left_out.keys().collect::<Vec<_>>(),
        [&Origin::Retained]
    );
    // The oldest are left out first. Some were forgotten, which is reported once.
    assert!(holds(&merged, new).iter().all(|held| *held));
    assert_eq!(memory.take_forgotten(), many.len() - retained);
    memory.learn(&none, at(3), WEEK);
    assert_eq!(memory.take_forgotten(), 0);
}

#[test]
fn what_is_retained_makes_no_memory_too_large_to_be_written() {
    let many = large(900);
    let (named, gone) = many.split_at(450);
    let mut memory = learnt([("a", contribution(gone, true))]);
    let now = contributions([("a", contribution(named, true))]);
    memory.learn(&now, at(1), WEEK);
    let text = memory.to_text().len();
    let most = MAX_CONFIG_MAP_BYTES - memory::RESERVED_HOLD_BYTES;
    assert!(text <= most, "{text} bytes");
    assert!(text > most * 99 / 100, "{text} bytes");
    assert_eq!(
        memory.retained().count(),
        gone.len() - memory.take_forgotten()
    );
    // Holds have reserved room.
    memory.holds = (0..100)
        .map(|number| (format!("location-{number}"), Hold::Held("x".repeat(250))))
        .collect();
    assert!(memory.to_text().len() <= MAX_CONFIG_MAP_BYTES);
}

#[test]
fn what_is_forgotten_is_told_once_however_late() {
    let many = large(900);
    let mut memory = learnt([("a", contribution(&many[..600], true))]);
    memory.learn(
        &contributions([("a", contribution(&many[600..], true))]),
        at(1),
        WEEK,
    );
    let none = contributions([("a", contribution(&[], true))]);
    for second in 2..5 {
        memory.learn(&none, at(second), WEEK);
    }
    let count = many.len() - memory.retained().count();
    let told = dropped_certificates(&mut memory, "velero").map(|told| told.to_string());
    let expected = format!(
        "no room in ConfigMap velero-trust-memory.velero, which remembers CAs: {count} \
         certificates that nobody names any more are forgotten before their retention is over"
    );
    assert_eq!(told, Some(expected));
    assert_eq!(dropped_certificates(&mut memory, "velero"), None);
}

#[test]
fn what_is_retained_and_has_no_room_is_told_as_long_as_it_has_none() {
    let many = large(900);
    let (gone, named) = many.split_at(100);
    let mut memory = learnt([("a", contribution(gone, true))]);
    let mut none = contributions([("a", contribution(&[], true))]);
    memory.learn(&none, at(1), WEEK);
    assert_eq!(merge_contributions(&none, &memory, &[]).left_out, [].into());
    none.insert(location("b"), contribution(named, true));
    for _ in 0..3 {
        let merged = merge_contributions(&none, &memory, &[]);
        let told: Vec<_> = truncation_issues(&merged)
            .map(|told| told.to_string())
            .collect();
        let expected = "no room in ConfigMap velero-trust-ca: 100 certificates are left out, that \
                        nobody names any more";
        assert!(told.contains(&expected.to_owned()), "{told:?}");
    }
}

#[test]
fn a_retention_without_end_can_be_written_down() {
    let own = own();
    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    memory.learn(&Contributions::new(), at(1_700_000_000), i64::MAX);
    let text = memory.to_text();
    assert_eq!(Memory::from_text(&text).unwrap().to_text(), text);
}

#[test]
fn a_ca_that_is_named_no_more_stays_for_the_retention() {
    let own = own();
    let mut memory = learnt([
        ("a", contribution(&own[..2], true)),
        ("b", contribution(&own[2..], true)),
    ]);
    // One CA is removed from a location, and the other location is deleted.
    let now = contributions([("a", contribution(&own[1..2], true))]);
    memory.learn(&now, at(100), WEEK);
    let merged = merge_contributions(&now, &memory, &[]);
    assert_eq!(holds(&merged, &own), [true; 3]);
    let origins = [(Origin::Location, 1), (Origin::Retained, 2)];
    assert_eq!(merged.origins, origins.into());
    // Learning the same again does not prolong the retention.
    memory.learn(&now, at(100 + WEEK - 1), WEEK);
    assert_eq!(
        holds(&merge_contributions(&now, &memory, &[]), &own),
        [true; 3]
    );
    for late in [0, 200] {
        memory.learn(&now, at(100 + WEEK + late), WEEK);
        assert_eq!(
            holds(&merge_contributions(&now, &memory, &[]), &own),
            [true; 3]
        );
    }
    memory.learn(&now, at(100 + WEEK + 300), WEEK);
    assert_eq!(
        holds(&merge_contributions(&now, &memory, &[]), &own),
        [false, true, false]
    );
}

#[test]
fn a_ca_that_is_named_again_is_retained_no_more() {
    let own = own();
    let with = contributions([("a", contribution(&own[..1], true))]);
    let without = contributions([("a", contribution(&[], true))]);
    let mut memory = Memory::default();
    memory.learn(&with, at(0), WEEK);
    memory.learn(&without, at(1), WEEK);
    memory.learn(&with, at(2), WEEK);
    assert_eq!(memory.retained().count(), 0);
    // A CA that another location names is not retained either, even if that location is incomplete.
    let moved = contributions([
        ("a", contribution(&[], true)),
        ("b", contribution(&own[..1], false)),
    ]);
    memory.learn(&moved, at(3), WEEK);
    assert_eq!(memory.retained().count(), 0);
}

#[test]
fn without_retention_it_goes_at_once() {
    let own = own();
    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    memory.learn(&contributions([("a", contribution(&[], true))]), at(5), 0);
    assert_eq!(memory.retained().count(), 0);
}

#[test]
fn a_shorter_retention_counts_for_what_has_left_already() {
    let own = own();
    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    let now = contributions([("a", contribution(&[], true))]);
    memory.learn(&now, at(10), WEEK);
    memory.learn(&now, at(20), 60);
    assert_eq!(memory.retained().count(), 1);
    // A longer retention does not bring back time that has passed.
    memory.learn(&now, at(69), WEEK);
    assert_eq!(memory.retained().count(), 1);
    for (second, retained) in [(70, 1), (70 + 240, 0)] {
        memory.learn(&now, at(second), WEEK);
        assert_eq!(memory.retained().count(), retained, "{second}");
    }

    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    memory.learn(&now, at(0), WEEK);
    // This does not depend on the clock.
    memory.learn(&now, at(-1), 0);
    assert_eq!(memory.retained().count(), 0);
}

#[test]
fn a_clock_that_goes_back_ends_no_retention_early() {
    let own = own();
    let none = contributions([("a", contribution(&[], true))]);
    let day = 24 * 3600;
    let start = 100 * WEEK;
    let left = |at_leaving: i64, later: &[i64]| {
        let mut memory = Memory::default();
        let with = contributions([("a", contribution(&own[..1], true))]);
        memory.learn(&with, at(start), WEEK);
        let wall = at_leaving;
        let steady = start.unsigned_abs();
        memory.learn(&none, Moment { wall, steady }, WEEK);
        for wall in later {
            let steady = start.unsigned_abs() + 1000;
            memory.learn(
                &none,
                Moment {
                    wall: *wall,
                    steady,
                },
                WEEK,
            );
        }
        memory.learn(&none, at(start + WEEK - day), WEEK);
        let early = memory.retained().count();
        memory.learn(&none, at(start + WEEK + day), WEEK);
        memory.learn(&none, at(start + WEEK + 2 * day), WEEK);
        (early, memory.retained().count())
    };
    // The clock is a week behind when the CA is removed, afterwards, and repeatedly.
    assert_eq!(left(start - WEEK, &[]), (1, 0));
    assert_eq!(left(start, &[start - WEEK]), (1, 0));
    assert_eq!(
        left(start, &[start - WEEK, start, start - 2 * WEEK]),
        (1, 0)
    );
}

#[test]
fn a_clock_that_is_ahead_for_a_moment_takes_nothing_away() {
    let own = own();
    let none = contributions([("a", contribution(&[], true))]);
    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    memory.learn(&none, at(0), WEEK);
    // The clock is wrong for a few minutes, then right again; twice.
    for wrong in [1000, 50_000] {
        for second in 0..200 {
            let steady = wrong + second;
            let wall = 1000 * WEEK;
            memory.learn(&none, Moment { wall, steady }, WEEK);
            assert_eq!(memory.retained().count(), 1);
        }
        memory.learn(&none, at(i64::try_from(wrong).unwrap() + 300), WEEK);
        assert_eq!(memory.retained().count(), 1);
    }
    // The same after a restart.
    let mut memory = Memory::from_text(&memory.to_text()).unwrap();
    memory.learn(&none, at(1000 * WEEK), WEEK);
    assert_eq!(memory.retained().count(), 1);
}

#[test]
fn a_clock_that_was_ahead_prolongs_no_retention_for_ever() {
    let own = own();
    let none = contributions([("a", contribution(&[], true))]);
    let ahead = |steady: u64, wall: i64| Moment { wall, steady };
    let with = contributions([("a", contribution(&own[..1], true))]);
    let mut memory = Memory::default();
    memory.learn(&with, ahead(0, 1000 * WEEK), WEEK);
    // The clock is right again from the moment when the CA is removed.
    memory.learn(&none, at(10), WEEK);
    memory.learn(&none, at(10 + WEEK), WEEK);
    assert_eq!(memory.retained().count(), 1);
    memory.learn(&none, at(10 + WEEK + 300), WEEK);
    assert_eq!(memory.retained().count(), 0);
}

#[test]
fn a_memory_of_before_since_was_kept_is_read() {
    let own = own();
    let mut memory = learnt([("a", contribution(&own[..1], true))]);
    memory.learn(&Contributions::new(), at(1_700_000_000), WEEK);
    let text = memory.to_text();
    let old = text.replace(r#""since":"2023-11-14T22:13:20Z","#, "");
    assert_ne!(old, text);
    let mut memory = Memory::from_text(&old).unwrap();
    for (second, retained) in [(WEEK - 1, 1), (WEEK, 1), (WEEK + 240, 0)] {
        memory.learn(&Contributions::new(), at(1_700_000_000 + second), WEEK);
        assert_eq!(memory.retained().count(), retained, "{second}");
    }
}

#[test]
fn what_was_given_at_installation_is_counted_apart() {
    let own = own();
    let mut now = contributions([("a", contribution(&own[..1], true))]);
    now.insert(
        Owner::Extra("file ca.pem".into()),
        contribution(&own[..2], true),
    );
    let merged = merge_contributions(&now, &Memory::default(), &[]);
    let origins = [(Origin::Location, 1), (Origin::Extra, 1)];
    assert_eq!(merged.origins, origins.into());
}

#[test]
fn what_is_retained_goes_first_then_public_roots() {
    let own = own();
    let public = &mozilla()[..3];
    let mut memory = learnt([("gone", contribution(&own[2..], true))]);
    let mut now = contributions([("a", contribution(&own[..1], true))]);
    now.insert(Owner::Extra("x".into()), contribution(&own[1..2], true));
    memory.learn(&now, at(0), WEEK);
    let all = || candidates(&now, &memory, public);
    let size = |of: &[Certificate]| merge(of).text.len();

    let merged = merge_within(all(), usize::MAX);
    assert_eq!((merged.bundle.count, merged.left_out.len()), (6, 0));
    let room = size(&own[..2]) + size(public);
    let merged = merge_within(all(), room);
    assert_eq!(merged.bundle.text.len(), room);
    assert_eq!(merged.left_out, [(Origin::Retained, 1)].into());
    let merged = merge_within(all(), size(&own[..2]) + size(&public[..1]));
    assert_eq!(holds(&merged, &own)[..2], [true; 2]);
    assert!(merged.left_out[&Origin::Public] > 0);
    let merged = merge_within(all(), size(&own[..1]));
    assert_eq!(holds(&merged, &own), [true, false, false]);
    let left_out = [
        (Origin::Extra, 1),
        (Origin::Public, 3),
        (Origin::Retained, 1),
    ];
    assert_eq!(merged.left_out, left_out.into());
}

#[test]
fn an_extra_ca_leaves_when_nothing_gives_it_and_stays_while_that_is_not_known() {
    let own = own();
    let mut memory = Memory::default();
    let a = || contributions([("a", contribution(&own[..1], true))]);
    let mut with = a();
    with.insert(Owner::Extra("x".into()), contribution(&own[1..2], true));
    with.insert(Owner::Extra("y".into()), contribution(&own[2..], true));
    memory.learn(&with, at(0), WEEK);

    // The labelled objects cannot be listed.
    let mut unknown = a();
    memory.recall_extra(&mut unknown);
    for _ in 0..2 {
        memory.learn(&unknown, at(1), WEEK);
        let merged = merge_contributions(&unknown, &memory, &[]);
        assert_eq!(holds(&merged, &own), [true; 3]);
    }

    // One of them was deleted, and another one overwritten with something else.
    let mut without = a();
    without.insert(Owner::Extra("y".into()), Contribution::default());
    memory.learn(&without, at(2), WEEK);
    let merged = merge_contributions(&without, &memory, &[]);
    assert_eq!(holds(&merged, &own), [true, false, true]);
    assert_eq!(memory.retained().count(), 0);
}

#[test]
fn a_memory_reads_back_as_it_was_written() {
    let own = own();
    let mut memory = learnt([
        ("a", contribution(&own[..2], true)),
        ("b", contribution(&[], true)),
    ]);
    let mut now = contributions([("a", contribution(&own[..1], true))]);
    now.insert(
        Owner::Extra("Secret x".into()),
        contribution(&own[2..], true),
    );
    memory.learn(&now, at(1_700_000_000), WEEK);
    memory.last_added = Some(1_700_000_000);
    memory.holds = [
        ("a".to_owned(), Hold::Held("why".to_owned())),
        ("b".to_owned(), Hold::Released),
    ]
    .into();
    let text = memory.to_text();
    assert_eq!(Memory::from_text(&text).unwrap().to_text(), text);
    let times = r#""since":"2023-11-14T22:13:20Z","until":"2023-11-21T22:13:20Z""#;
    assert!(text.contains(times), "{text}");
    assert_eq!(Memory::from_text(r#"{"version":1}"#), Ok(Memory::default()));
}

#[test]
fn a_memory_holds_each_certificate_once() {
    let own = own();
    let names: Vec<_> = (0..500)
        .map(|number| format!("location-{number}"))
        .collect();
    let of = names
        .iter()
        .map(|name| (location(name), contribution(&own, true)));
    let mut memory = Memory::default();
    memory.learn(&of.collect(), at(0), WEEK);
    let text = memory.to_text();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    assert_eq!(Memory::from_text(&text), Ok(memory));
}

#[test]
fn a_memory_that_is_not_ours_is_not_half_read() {
    let why = |text: &str| Memory::from_text(text).unwrap_err().to_string();
    assert_eq!(
        why(r#"{"version":2,"new":[]}"#),
        "it has version 2, and only version 1 is known"
    );
    for text in [
        "",
        "[]",
        r#"{"version":1,"certificates":["!"]}"#,
        r#"{"version":1,"certificates":["AAAA"]}"#,
        r#"{"version":1,"locations":{"a":[0]}}"#,
        r#"{"version":1,"retained":[{"certificate":0,"since":"","until":"soon"}]}"#,
    ] {
        assert!(why(text).starts_with("it is not what"), "{text}");
    }
}

#[test]
fn a_ca_that_nothing_names_any_more_is_no_newest_addition() {
    let own = own();
    let fingerprints = |of: &[Certificate]| of.iter().map(Certificate::fingerprint).collect();
    let named =
        |certificates: &[Certificate]| contributions([("a", contribution(certificates, true))]);
    let mut memory = Memory::default();
    assert!(memory.is_unpublished());
    memory.learn(&named(&own[..1]), at(10), WEEK);
    memory.record_addition(10, &BTreeSet::new());
    assert_eq!(memory.last_added(), Some(10));
    // A wrong CA, for some seconds.
    memory.learn(&named(&own[..2]), at(20), WEEK);
    memory.record_addition(20, &fingerprints(&own[1..2]));
    assert_eq!(memory.last_added(), Some(20));
    memory.learn(&named(&own[..1]), at(25), WEEK);
    assert_eq!(memory.last_added(), Some(10));
    let mut memory = Memory::from_text(&memory.to_text()).unwrap();
    assert_eq!(memory.last_added(), Some(10));
    // It is in the bundle all the time. Whoever names it again needs the processes that have it.
    memory.learn(&named(&own[..2]), at(30), WEEK);
    assert_eq!(memory.last_added(), Some(20));
    // Public roots are not in the memory, and count until others are selected.
    memory.record_addition(40, &fingerprints(&mozilla()[..1]));
    assert_eq!(memory.last_added(), Some(40));
    assert!(!memory.is_unpublished());
    // What left the memory leaves the additions, and their number is bounded.
    memory.learn(&named(&own[..1]), at(50), 0);
    assert!(memory.additions.is_empty(), "{:?}", memory.additions);
    for time in 100..200 {
        memory.record_addition(time, &fingerprints(&own[..1]));
    }
    assert!(memory.additions.len() < 50);
    assert_eq!(memory.last_added(), Some(199));
}

#[test]
fn a_retained_certificate_is_forgotten_and_a_named_one_is_not() {
    let own = own();
    let mut memory = learnt([("a", contribution(&own[..2], true))]);
    let now = contributions([("a", contribution(&own[1..2], true))]);
    memory.learn(&now, at(9), WEEK);
    let added = own[..1].iter().map(Certificate::fingerprint).collect();
    memory.record_addition(9, &added);
    let until: Vec<_> = memory.retained_until().collect();
    assert_eq!(until, [(&own[0], 9 + WEEK)]);
    let [wrong, named] = [own[0].fingerprint(), own[1].fingerprint()];
    assert!(!memory.forget(named));
    let owners: Vec<_> = memory.named_by(named).collect();
    assert_eq!(owners, [&location("a")]);
    assert_eq!(memory.named_by(wrong).count(), 0);
    assert!(memory.forget(wrong) && !memory.forget(wrong));
    assert_eq!(
        (memory.contains(wrong), memory.contains(named)),
        (false, true)
    );
    // It does not come back, and nothing of it is stored.
    assert_eq!(Memory::from_text(&memory.to_text()).unwrap(), {
        let mut stored = memory.clone();
        stored.latest_wall = 0;
        stored
    });
    memory.learn(&now, at(10), WEEK);
    let merged = merge_contributions(&now, &memory, &[]);
    assert_eq!(holds(&merged, &own), [false, true, false]);
    assert!(memory.additions.is_empty());
}

/// A memory that was edited is read again. Clocks that jump must not have more effect because of it.
#[test]
fn a_memory_that_is_read_again_keeps_what_only_the_process_knows() {
    let own = own();
    let mut before = learnt([("a", contribution(&own[..2], true))]);
    before.learn(&Contributions::new(), at(WEEK), WEEK);
    before.learn(&Contributions::new(), at(WEEK + 1), WEEK);
    let mut stored = Memory::from_text(&before.to_text()).unwrap();
    assert!(stored.forget(own[0].fingerprint()));
    stored.continue_from(&before);
    before.forget(own[0].fingerprint());
    assert_eq!(stored, before);
    assert!(
        stored
            .retained
            .values()
            .all(|entry| entry.first_seen.is_some())
    );
}
