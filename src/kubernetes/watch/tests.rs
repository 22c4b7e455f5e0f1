use std::sync::{Arc, Mutex};

use futures::{FutureExt as _, stream};
use kube::core::Status;
use kube::runtime::watcher::{Error, Event};
use tokio::time::{Instant, timeout};

use super::projection::Projected;
use super::source::{Pause, QUIET_PERIOD, is_new_failure};
use super::*;

fn status(code: u16) -> Status {
    Status {
        code,
        ..Status::default()
    }
}

fn list_failed(code: u16) -> Error {
    Error::InitialListFailed(kube::Error::Api(Box::new(status(code))))
}

fn key(name: &str) -> Key {
    Key::new("velero", name)
}

fn entry(name: &str) -> Event<Projected<u8>> {
    Event::InitApply((key(name), Some(1)))
}

/// A watch that returns these events, a list for each start. After its events it stays silent.
fn watch(starts: Vec<Vec<Result<Event<Projected<u8>>, Error>>>) -> Watch<u8> {
    let starts = Mutex::new(starts.into_iter());
    let start = move || {
        let events = starts.lock().unwrap().next().unwrap_or_default();
        stream::iter(events).chain(stream::pending()).boxed()
    };
    Watch::from_events("things", Box::new(start))
}

/// Ends the pause after a failure, which takes seconds.
fn end_pause(watch: &mut Watch<u8>) {
    let Pause { restart, .. } = watch.source.pause.take().expect("it does not pause");
    if restart {
        watch.source.events = (watch.source.start)();
    }
}

async fn next(watch: &mut Watch<u8>) -> Change {
    let change = timeout(Duration::from_secs(20), watch.changed()).await;
    change.expect("nothing changes")
}

#[tokio::test]
async fn a_refused_list_keeps_what_was_known_and_a_new_list_makes_it_current() {
    let first = vec![
        Ok(Event::Init),
        Ok(entry("a")),
        Ok(Event::InitDone),
        Err(list_failed(403)),
    ];
    let second = vec![Err(list_failed(403))];
    let third = vec![Ok(Event::Init), Ok(entry("a")), Ok(Event::InitDone)];
    let mut watch = watch(vec![first, second, third]);
    assert_eq!(watch.last_known(), None);
    assert_eq!(next(&mut watch).await, Change::List([key("a")].into()));
    assert_eq!(next(&mut watch).await, Change::Refused);
    assert_eq!(watch.current(), None);
    assert!(watch.last_known().unwrap().contains_key(&key("a")));
    // It is refused again, which is no change, and then allowed.
    end_pause(&mut watch);
    assert_eq!(watch.changed().now_or_never(), None);
    end_pause(&mut watch);
    assert_eq!(next(&mut watch).await, Change::List(BTreeSet::new()));
    assert!(watch.current().is_some());
}

#[tokio::test]
async fn where_only_the_watch_is_refused_lists_replace_it() {
    let refused = || {
        Err(Error::WatchStartFailed(kube::Error::Api(Box::new(status(
            403,
        )))))
    };
    let first = vec![Ok(Event::Init), Ok(Event::InitDone), refused()];
    let second = vec![
        Ok(Event::Init),
        Ok(entry("a")),
        Ok(Event::InitDone),
        refused(),
    ];
    let mut watch = watch(vec![first, second]);
    assert_eq!(next(&mut watch).await, Change::List(BTreeSet::new()));
    assert_eq!(watch.changed().now_or_never(), None);
    end_pause(&mut watch);
    assert_eq!(next(&mut watch).await, Change::List([key("a")].into()));
    assert!(watch.current().is_some());
}

#[tokio::test]
async fn another_failure_changes_nothing_and_pauses_ever_longer_but_not_too_long() {
    let failures = (0..10).map(|_| Err(list_failed(500))).collect();
    let mut watch = watch(vec![failures]);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let before = Instant::now();
        assert_eq!(watch.changed().now_or_never(), None);
        let pause = watch.source.pause.expect("it does not pause");
        assert!(!pause.restart);
        pauses.push(pause.until - before);
        end_pause(&mut watch);
    }
    assert!(pauses[0] < Duration::from_secs(2), "{pauses:?}");
    assert_eq!(pauses[9].as_secs(), MAX_BACKOFF.as_secs(), "{pauses:?}");
    assert_eq!(watch.last_known(), None);
}

#[tokio::test]
async fn what_a_replica_waits_for_pauses_no_longer_than_it_says() {
    let failures = (0..10).map(|_| Err(list_failed(500))).collect();
    let most = Duration::from_secs(1);
    let mut watch = watch(vec![failures]).with_max_backoff(most);
    for _ in 0..10 {
        assert_eq!(watch.changed().now_or_never(), None);
        let pause = watch.source.pause.expect("it does not pause");
        assert!(pause.until <= Instant::now() + most);
        end_pause(&mut watch);
    }
}

#[tokio::test]
async fn a_new_list_with_the_same_entries_is_no_change() {
    let list = || [Ok(Event::Init), Ok(entry("a")), Ok(Event::InitDone)];
    let mut watch = watch(vec![list().into_iter().chain(list()).collect()]);
    assert_eq!(next(&mut watch).await, Change::List([key("a")].into()));
    assert_eq!(watch.changed().now_or_never(), None);
}

#[tokio::test]
async fn only_a_list_makes_refused_entries_current() {
    let first = vec![Ok(Event::Init), Ok(Event::InitDone), Err(list_failed(403))];
    let second = vec![Ok(Event::Apply((key("a"), Some(1))))];
    let mut watch = watch(vec![first, second]);
    assert_eq!(next(&mut watch).await, Change::List(BTreeSet::new()));
    assert_eq!(next(&mut watch).await, Change::Refused);
    end_pause(&mut watch);
    assert_eq!(next(&mut watch).await, Change::Entry(key("a")));
    assert_eq!(watch.current(), None);
}

#[tokio::test]
async fn all_who_share_a_watch_are_told_what_an_entry_was_and_is() {
    let apply = |value| Ok(Event::Apply((key("a"), value)));
    let list = vec![Ok(Event::Init), Ok(entry("a")), Ok(Event::InitDone)];
    let then = vec![apply(Some(1)), apply(Some(2)), Err(list_failed(403))];
    let (mut one, work) = watch(vec![list.into_iter().chain(then).collect()]).share();
    let mut other = one.subscribe();
    assert_eq!(one.entries().last_known(), None);
    assert_eq!(work.now_or_never(), None);
    for shared in [&mut one, &mut other] {
        assert_eq!(shared.changed().now_or_never(), Some(SharedChange::Any));
        let changed = |before, now| Some(SharedChange::Entry { before, now });
        assert_eq!(shared.changed().now_or_never(), changed(Some(1), Some(2)));
        assert_eq!(shared.changed().now_or_never(), None);
        assert_eq!(
            shared.entries().last_known().unwrap().get(&key("a")),
            Some(&2)
        );
    }
}

#[tokio::test]
async fn who_is_far_behind_in_a_shared_watch_is_told_that_anything_may_have_changed() {
    let list = [Ok(Event::Init), Ok(Event::InitDone)];
    let changes = (0..=255).map(|value| Ok(Event::Apply((key("a"), Some(value)))));
    let (mut shared, work) = watch(vec![list.into_iter().chain(changes).collect()]).share();
    assert_eq!(work.now_or_never(), None);
    // As many wait as may, after one that was left out.
    assert_eq!(shared.changed().await, SharedChange::Any);
    for value in 0_u8..=255 {
        let before = value.checked_sub(1);
        let now = Some(value);
        assert_eq!(shared.changed().await, SharedChange::Entry { before, now });
    }
    assert_eq!(shared.changed().now_or_never(), None);
}

#[tokio::test]
async fn an_event_starts_the_backoff_over() {
    let changed = || Ok(Event::Apply((key("a"), Some(1))));
    let starts = (0..10).flat_map(|_| [Err(list_failed(500)), changed()]);
    let list = vec![Ok(Event::Init), Ok(Event::InitDone)];
    let mut watch = watch(vec![list.into_iter().chain(starts).collect()]);
    assert_eq!(next(&mut watch).await, Change::List(BTreeSet::new()));
    for _ in 0..10 {
        let before = Instant::now();
        watch.changed().now_or_never();
        let pause = watch.source.pause.expect("it does not pause").until - before;
        assert!(pause < Duration::from_secs(2), "{pause:?}");
        end_pause(&mut watch);
        watch.changed().now_or_never();
    }
}

/// What `watch` logs until it waits.
fn logged(watch: &mut Watch<u8>) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        while watch.changed().now_or_never().is_some() {}
    });
    std::fs::read_to_string(log.path()).unwrap()
}

#[tokio::test]
async fn a_refusal_is_logged_at_once_and_a_lasting_failure_once() {
    let mut watch = watch(vec![vec![
        Err(list_failed(500)),
        Err(list_failed(500)),
        Err(list_failed(403)),
    ]]);
    assert!(logged(&mut watch).contains("answered 500"));
    end_pause(&mut watch);
    assert_eq!(logged(&mut watch), "");
    end_pause(&mut watch);
    assert!(logged(&mut watch).contains("cannot watch things"));
}

#[test]
fn a_lasting_failure_is_new_once() {
    let start = Instant::now();
    assert!(is_new_failure(None, start));
    assert!(!is_new_failure(Some(start), start + 2 * MAX_BACKOFF));
    assert!(is_new_failure(Some(start), start + 2 * QUIET_PERIOD));
}
