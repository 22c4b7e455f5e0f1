use super::*;

/// Runs `schedule` for `seconds` with probes that take two seconds each, and calls `each` every
/// second. Returns which endpoint was probed when.
fn run<K: Ord + Clone>(
    schedule: &mut Schedule<K>,
    seconds: u64,
    each: impl FnMut(&mut Schedule<K>, u64, Instant),
) -> Vec<(u64, K)> {
    run_with(schedule, seconds, |_| 2, each)
}

/// As [`run`], with probes that take as many seconds as `duration` says.
fn run_with<K: Ord + Clone>(
    schedule: &mut Schedule<K>,
    seconds: u64,
    duration: impl Fn(&K) -> u64,
    mut each: impl FnMut(&mut Schedule<K>, u64, Instant),
) -> Vec<(u64, K)> {
    let start = Instant::now();
    let mut probes = Vec::new();
    let mut running: Vec<(u64, K)> = Vec::new();
    for second in 0..seconds {
        let now = start + Duration::from_secs(second);
        for (_, endpoint) in running.extract_if(.., |(until, _)| *until <= second) {
            schedule.done(&endpoint);
        }
        each(schedule, second, now);
        while let Next::Probe(endpoint) = schedule.next(now) {
            running.push((second + duration(&endpoint), endpoint.clone()));
            assert!(running.len() <= schedule.limits.max_concurrent);
            probes.push((second, endpoint));
        }
    }
    probes
}

fn once<K: Ord + Clone>(wanted: Vec<K>) -> impl FnMut(&mut Schedule<K>, u64, Instant) {
    move |schedule, second, now| {
        if second == 0 {
            schedule.set_wanted("velero", wanted.clone(), now);
        }
    }
}

#[test]
fn every_endpoint_has_its_turn_within_the_rates() {
    let mut schedule = Schedule::new(RateLimits::default());
    let probes = run(&mut schedule, 1800, once((0..300).collect()));
    for endpoint in 0..300 {
        let times: Vec<_> = probes
            .iter()
            .filter(|(_, probed)| *probed == endpoint)
            .map(|(second, _)| *second)
            .collect();
        assert_eq!(times.len(), 3, "{times:?}");
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            gaps.clone().all(|gap| (600..660).contains(&gap)),
            "{times:?}"
        );
    }
    for minute in 0..1740 {
        let within = probes
            .iter()
            .filter(|(second, _)| (minute..minute + 60).contains(second));
        assert!(within.count() <= 60);
    }
}

#[test]
fn five_hundred_that_are_the_same_are_one() {
    let mut schedule = Schedule::new(RateLimits::default());
    let probes = run(&mut schedule, 600, once(vec!["minio"; 500]));
    assert_eq!(probes, [(0, "minio")]);
}

#[test]
fn a_change_is_seen_soon_and_no_flapping_is_seen_often() {
    let mut schedule = Schedule::new(RateLimits::default());
    let probes = run(&mut schedule, 300, |schedule, second, now| match second {
        0 => schedule.set_wanted("velero", ["a", "b"], now),
        100 => schedule.expedite(&"a", now),
        200..250 => schedule.expedite(&"b", now),
        _ => {}
    });
    let of = |endpoint| {
        let probes = probes.iter().filter(move |(_, probed)| *probed == endpoint);
        probes.map(|(second, _)| *second).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), [0, 100]);
    // The last change came at 249.
    assert_eq!(
        of("b"),
        [0, 200, 205, 210, 215, 220, 225, 230, 235, 240, 245, 250]
    );
}

#[test]
fn one_that_comes_and_goes_is_not_looked_at_more_often() {
    let mut schedule = Schedule::new(RateLimits::default());
    let probes = run(&mut schedule, 20, |schedule, second, now| {
        schedule.set_wanted("velero", (second % 2 == 0).then_some("a"), now);
    });
    assert_eq!(
        probes.iter().map(|probe| probe.0).collect::<Vec<_>>(),
        [0, 6, 12, 18]
    );
    let now = Instant::now() + Duration::from_hours(1);
    schedule.done(&"a");
    schedule.set_wanted("velero", [], now);
    assert!(schedule.endpoints.is_empty());
    assert_eq!(schedule.next(now), Next::Idle);
}

#[test]
fn a_change_during_a_look_is_not_lost() {
    let mut schedule = Schedule::new(RateLimits::default());
    let now = Instant::now();
    schedule.set_wanted("velero", ["a"], now);
    assert_eq!(schedule.next(now), Next::Probe("a"));
    schedule.expedite(&"a", now + Duration::from_secs(1));
    assert_eq!(schedule.next(now), Next::Idle);
    schedule.done(&"a");
    let then = now + Duration::from_secs(5);
    assert_eq!(schedule.next(now), Next::WaitUntil(then));
    assert_eq!(schedule.next(then), Next::Probe("a"));
}

/// The seconds at which the endpoint of a namespace was probed beside others whose probes take
/// `seconds` each. It is wanted from second 30 on.
fn times_beside(
    others: &[(&'static str, std::ops::Range<u32>)],
    seconds: u64,
) -> (Vec<u64>, Vec<u64>) {
    let mut schedule = Schedule::new(RateLimits::default());
    let mine = 1_000_000;
    let duration = |endpoint: &u32| if *endpoint == mine { 0 } else { seconds };
    let probes = run_with(
        &mut schedule,
        700,
        duration,
        |schedule, second, now| match second {
            0 => {
                for (namespace, endpoints) in others {
                    schedule.set_wanted(namespace, endpoints.clone(), now);
                }
            }
            30 => schedule.set_wanted("mine", [mine], now),
            _ => {}
        },
    );
    let times = |is_mine: bool| {
        let probes = probes
            .iter()
            .filter(|(_, probed)| (*probed == mine) == is_mine);
        probes.map(|(second, _)| *second).collect()
    };
    (times(true), times(false))
}

#[test]
fn hanging_endpoints_of_one_namespace_delay_no_other() {
    let (mine, others) = times_beside(&[("hanging", 0..420)], 5);
    assert_eq!(mine, [30, 630]);
    // Those that hang have their turns: four every five seconds, and again after ten minutes.
    assert_eq!(others.len(), 420 + 4 * (700 - 600) / 5);
}

#[test]
fn refusing_endpoints_of_one_namespace_delay_no_other() {
    let (mine, others) = times_beside(&[("refusing", 0..420)], 0);
    assert_eq!(mine, [30, 630]);
    assert!(others.len() >= 420);
}

#[test]
fn two_namespaces_that_use_up_everything_delay_another_by_one_probe() {
    let (mine, _) = times_beside(&[("a", 0..420), ("b", 1000..1420)], 5);
    assert!((30..=35).contains(&mine[0]), "{mine:?}");
    assert!((630..=640).contains(&mine[1]), "{mine:?}");
    // Where all of them fail at once, it waits until the minute is over.
    let (mine, _) = times_beside(&[("a", 0..420), ("b", 1000..1420)], 0);
    assert!((30..=60).contains(&mine[0]), "{mine:?}");
}

#[test]
fn an_endpoint_that_two_namespaces_want_is_probed_in_the_turn_of_either() {
    let mut schedule = Schedule::new(RateLimits {
        namespace_concurrent: 1,
        ..RateLimits::default()
    });
    let now = Instant::now();
    schedule.set_wanted("a", ["hanging", "shared"], now);
    assert_eq!(schedule.next(now), Next::Probe("hanging"));
    assert_eq!(schedule.next(now), Next::Idle);
    schedule.set_wanted("b", ["shared"], now);
    assert_eq!(schedule.next(now), Next::Probe("shared"));
    schedule.done(&"shared");
    schedule.set_wanted("b", [], now);
    assert!(schedule.is_wanted(&"shared"));
    schedule.set_wanted("a", ["hanging"], now);
    assert!(!schedule.is_wanted(&"shared"));
}
