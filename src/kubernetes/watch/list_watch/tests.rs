use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures::{StreamExt as _, stream};
use http::{Response, StatusCode};
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body as HttpBody;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{BoxError, service_fn};

use super::*;

type Events = stream::BoxStream<'static, Result<Event<Projected<u64>>, Error>>;

/// Timing with which a silent connection is given up soon.
const SOON: Timing = Timing {
    watch_seconds: 0,
    jitter_seconds: 0,
    grace: Duration::from_millis(1500),
    answer: Duration::from_millis(300),
};

/// What the server does with a request.
enum Answer {
    /// These pieces of a body, and its end.
    Whole(Vec<String>),
    /// These pieces, and then silence.
    Silent(Vec<String>),
    /// A status.
    Status(u16),
    /// Not even the head of an answer.
    Nothing,
}

/// The body of an answer, which ends or goes silent after its pieces.
struct Pieces {
    pieces: VecDeque<String>,
    ends: bool,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The queries that were received.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that gives these answers one after the other, and after them nothing.
fn events(timing: Timing, answers: Vec<Answer>) -> (Events, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = service_fn(move |request: http::Request<HttpBody>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        log.lock().unwrap().push(query);
        let answer = answers.lock().unwrap().next().unwrap_or(Answer::Nothing);
        async move {
            let (code, pieces, ends) = match answer {
                Answer::Whole(pieces) => (200, pieces, true),
                Answer::Silent(pieces) => (200, pieces, false),
                Answer::Status(code) => {
                    let status = json!({"kind": "Status", "status": "Failure", "code": code});
                    (code, vec![status.to_string()], true)
                }
                Answer::Nothing => std::future::pending().await,
            };
            let pieces = pieces.into();
            let mut response = Response::new(Pieces { pieces, ends });
            *response.status_mut() = StatusCode::from_u16(code)?;
            Ok::<_, BoxError>(response)
        }
    });
    let client = Client::new(service, "default");
    let api = Api::<ConfigMap>::all(client);
    let config = Config::default().labels("a=b");
    let project = |text: &str| serde_json::from_str::<Value>(text).ok()?["data"].as_u64();
    let watch = ListWatch::new(api, &config, timing, Arc::new(project));
    (watch.events().boxed(), seen)
}

fn object(name: &str, version: u64, data: u64) -> Value {
    let version = version.to_string();
    json!({"metadata": {"name": name, "resourceVersion": version}, "data": data})
}

fn page(items: &[Value], version: &str, token: &str) -> Answer {
    let metadata = json!({"resourceVersion": version, "continue": token});
    let text = json!({"items": items, "metadata": metadata}).to_string();
    let (head, tail) = text.split_at(text.len() / 2);
    Answer::Whole(vec![head.to_owned(), tail.to_owned()])
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// The next `count` events, as text.
async fn next(events: &mut Events, count: usize) -> Vec<String> {
    let show = |event: Result<Event<Projected<u64>>, Error>| match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::InitApply((key, value))) => format!("list {} {value:?}", key.name),
        Ok(Event::Apply((key, value))) => format!("apply {} {value:?}", key.name),
        Ok(Event::Delete((key, _))) => format!("delete {}", key.name),
        Err(error) => format!("error {error}"),
    };
    let next = events.take(count).map(show).collect();
    timeout(Duration::from_secs(20), next)
        .await
        .expect("no event comes")
}

fn versions(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let watches = seen.iter().filter(|query| query.contains("watch=true"));
    let version = |query: &String| {
        let version = query.split("resourceVersion=").nth(1).unwrap_or_default();
        version.split('&').next().unwrap_or_default().to_owned()
    };
    watches.map(version).collect()
}

#[tokio::test]
async fn a_list_comes_in_pages_and_the_watch_goes_on_from_its_version() {
    let watch = [
        line("ADDED", &object("c", 6, 3)),
        line("MODIFIED", &object("a", 7, 4)),
        line("DELETED", &object("b", 8, 2)),
    ]
    .concat();
    // The pieces end in the middle of a line.
    let (head, tail) = watch.split_at(30);
    let (mut events, seen) = events(
        Timing::DEFAULT,
        vec![
            page(&[object("a", 1, 1)], "4", "token"),
            page(
                &[object("b", 2, 2), json!({"metadata": {"name": "x"}})],
                "5",
                "",
            ),
            Answer::Silent(vec![head.to_owned(), tail.to_owned()]),
        ],
    );
    assert_eq!(
        next(&mut events, 8).await,
        [
            "init",
            "list a Some(1)",
            "list b Some(2)",
            "list x None",
            "done",
            "apply c Some(3)",
            "apply a Some(4)",
            "delete b"
        ]
    );
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].contains("limit=50") && !seen[0].contains("continue="),
        "{seen:?}"
    );
    assert!(seen[1].contains("continue=token"), "{seen:?}");
    assert!(seen[2].contains("resourceVersion=5"), "{seen:?}");
    assert!(
        seen.iter()
            .all(|query| query.contains("labelSelector=a%3Db")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_watch_that_goes_silent_is_given_up_and_goes_on_without_a_list() {
    let bookmark = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "9"}});
    let (mut events, seen) = events(
        SOON,
        vec![
            page(&[], "5", ""),
            Answer::Silent(vec![line("ADDED", &object("a", 6, 1))]),
            Answer::Silent(vec![line("BOOKMARK", &bookmark)]),
            Answer::Silent(vec![line("ADDED", &object("b", 10, 2))]),
        ],
    );
    let wanted = ["init", "done", "apply a Some(1)", "apply b Some(2)"];
    assert_eq!(next(&mut events, 4).await, wanted);
    assert_eq!(versions(&seen), ["5", "6", "9"]);
}

#[test]
fn watches_end_within_45_seconds_and_not_all_together() {
    assert_eq!(Timing::DEFAULT.longest_watch(), Duration::from_secs(45));
    let all: std::collections::BTreeSet<_> =
        (0..200).map(|_| Timing::DEFAULT.next_watch()).collect();
    assert!(
        all.first() >= Some(&30) && all.last() <= Some(&40),
        "{all:?}"
    );
    assert!(all.len() > 5, "{all:?}");
}

#[tokio::test]
async fn the_api_server_is_asked_to_end_a_watch_in_time() {
    let (mut events, seen) = events(Timing::DEFAULT, vec![page(&[], "5", "")]);
    assert_eq!(next(&mut events, 2).await, ["init", "done"]);
    // The watch is asked for, and not answered.
    let _ = timeout(Duration::from_millis(200), events.next()).await;
    let seen = seen.lock().unwrap();
    let seconds = seen[1].split("timeoutSeconds=").nth(1).unwrap();
    let seconds: u32 = seconds.split('&').next().unwrap().parse().unwrap();
    assert!((30..=40).contains(&seconds), "{seen:?}");
    assert!(seen[1].contains("allowWatchBookmarks=true"), "{seen:?}");
}

#[tokio::test]
async fn what_is_not_answered_fails_and_begins_again() {
    let half = Answer::Silent(vec![r#"{"items":[{"metadata":{"name":"a"}},"#.to_owned()]);
    let (mut events, _) = events(
        SOON,
        vec![
            Answer::Nothing,
            half,
            Answer::Status(500),
            page(&[], "5", ""),
            Answer::Nothing,
            Answer::Status(403),
            Answer::Whole(vec![line("ADDED", &object("a", 6, 1))]),
            Answer::Silent(vec![line("ADDED", &object("b", 7, 1))]),
        ],
    );
    let late = "Error reading events stream: no answer within 0 s";
    let seen = next(&mut events, 13).await;
    assert_eq!(
        seen[1],
        format!("error failed to perform initial object list: {late}")
    );
    assert_eq!(seen[2..4], ["init", "list a None"]);
    assert_eq!(
        seen[4],
        format!("error failed to perform initial object list: {late}")
    );
    assert!(seen[6].starts_with("error failed to perform initial object list: ApiError"));
    assert_eq!(seen[7..9], ["init", "done"]);
    assert_eq!(
        seen[9],
        format!("error failed to start watching object: {late}")
    );
    assert!(seen[10].starts_with("error failed to start watching object: ApiError"));
    assert_eq!(seen[11], "apply a Some(1)");
    // It ended at once, which must not be repeated without a pause.
    assert!(seen[12].contains("ended as soon as it began"), "{seen:?}");
}

#[tokio::test]
async fn a_version_that_is_too_old_needs_a_new_list_and_another_error_does_not() {
    let status = |code: u16| line("ERROR", &json!({"kind": "Status", "code": code}));
    let (mut events, seen) = events(
        Timing::DEFAULT,
        vec![
            page(&[], "5", ""),
            Answer::Silent(vec![status(500)]),
            Answer::Silent(vec![status(410)]),
            page(&[], "8", ""),
            Answer::Silent(vec!["{\"type\":\"ADDED\",\"object\":5}\n".to_owned()]),
            page(&[], "9", ""),
        ],
    );
    let seen_events = next(&mut events, 9).await;
    assert!(
        seen_events[2].contains("error returned by apiserver"),
        "{seen_events:?}"
    );
    assert!(
        seen_events[3].contains("error returned by apiserver"),
        "{seen_events:?}"
    );
    assert_eq!(seen_events[4..6], ["init", "done"]);
    assert!(
        seen_events[6].contains("watch stream failed"),
        "{seen_events:?}"
    );
    assert_eq!(seen_events[7..9], ["init", "done"]);
    assert_eq!(versions(&seen), ["5", "5", "8"]);
}

#[tokio::test]
async fn a_watch_that_is_refused_as_too_old_needs_a_new_list_too() {
    let (mut events, seen) = events(
        Timing::DEFAULT,
        vec![
            page(&[], "5", ""),
            Answer::Status(410),
            page(&[], "9", ""),
            Answer::Silent(Vec::new()),
        ],
    );
    let seen_events = next(&mut events, 5).await;
    assert_eq!(seen_events[..2], ["init", "done"]);
    assert!(seen_events[2].starts_with("error "), "{seen_events:?}");
    assert_eq!(seen_events[3..], ["init", "done"]);
    assert_eq!(versions(&seen), ["5"]);
}

#[tokio::test]
async fn a_list_that_is_cut_off_or_has_no_version_is_none() {
    let (mut events, _) = events(
        Timing::DEFAULT,
        vec![
            Answer::Whole(vec![r#"{"items":[{"metadata":{"name":"a"}},"#.to_owned()]),
            Answer::Whole(vec![r#"{"metadata":{},"items":[]}"#.to_owned()]),
            Answer::Whole(vec!["[]".to_owned()]),
        ],
    );
    let seen = next(&mut events, 7).await;
    assert_eq!(seen[..2], ["init", "list a None"]);
    assert!(seen[2].contains("initial object list"), "{seen:?}");
    assert_eq!(seen[3], "init");
    assert!(seen[4].contains("no metadata.resourceVersion"), "{seen:?}");
    assert!(seen[6].contains("no metadata.resourceVersion"), "{seen:?}");
}
