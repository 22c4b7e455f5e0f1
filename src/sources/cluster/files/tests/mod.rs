mod reuse;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::{BoxError, service_fn};

use super::*;
use crate::digest::Sha256;
use crate::names;

/// What the store answers.
#[derive(Clone, Copy)]
enum Store {
    /// A list with one file.
    List,
    /// A status and its code.
    Refuse(u16, &'static str),
    /// Nothing, ever.
    Silence,
    /// One byte of an answer after the other.
    Drip,
}

type Objects = Arc<Mutex<BTreeMap<&'static str, Value>>>;

/// A cluster with one location, whose store is on loopback.
struct Scene {
    files: BackupFiles,
    /// The objects of the API server, by name.
    objects: Objects,
    /// The paths that the API server was asked for, with `#metadata` if for no more than that.
    asked: Arc<Mutex<Vec<String>>>,
    /// The heads of the requests to the store, and how many connections they took.
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// Connections that the client closed.
    closed: Arc<AtomicUsize>,
    /// Requests to the store.
    listed: Arc<AtomicUsize>,
}

impl Scene {
    async fn start(store: Store, spec: &Value) -> Self {
        Self::start_with(store, spec, Patience::default()).await
    }

    async fn start_with(store: Store, spec: &Value, patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listed = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let heads = Arc::clone(&requests);
        let closed = Arc::new(AtomicUsize::new(0));
        let counts = [&listed, &connections, &closed].map(Arc::clone);
        tokio::spawn(serve(listener, store, heads, counts));
        let mut location = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {"namespace": "velero", "name": "default"},
            "spec": {
                "provider": "aws",
                "objectStorage": {"bucket": "bucket", "prefix": "p"},
                "credential": {"name": "cloud", "key": "cloud"},
                "config": {"region": "r", "s3ForcePathStyle": "true", "s3Url": url},
            },
        });
        json_patch::merge(&mut location["spec"], spec);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let denied = DeniedAddresses::in_cluster(None).allowing_loopback();
        let bundle = json!({
            "metadata": {"uid": "u", "resourceVersion": "1"},
            "data": {"ca-bundle.crt": "# none\n"},
        });
        let objects = [
            ("default", location),
            ("cloud", keys("a")),
            (names::BUNDLE, bundle),
        ];
        let objects = Arc::new(Mutex::new(BTreeMap::from(objects)));
        let client = api_server(Arc::clone(&objects), Arc::clone(&asked));
        Self {
            files: BackupFiles::with_patience(
                client,
                denied,
                Proxies::default(),
                ListingTrust::Auto,
                patience,
            ),
            objects,
            asked,
            requests,
            connections,
            closed,
            listed,
        }
    }

    async fn list(&self, location: &str) -> Result<Option<ListedFiles>, LookupError> {
        let deadline = Instant::now() + Duration::from_secs(4);
        let backup = Key::new("velero", "b");
        self.files.list(&backup, location, deadline).await
    }

    async fn error(&self) -> LookupError {
        self.list("default").await.unwrap_err()
    }

    /// Returns how often the API server was asked for a location.
    fn reads(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        let is_location = |path: &&String| path.contains("/backupstoragelocations/");
        asked.iter().filter(is_location).count()
    }
}

/// Returns a Secret with these credentials.
fn keys(id: &str) -> Value {
    let file = format!("[default]\naws_access_key_id={id}\naws_secret_access_key=b\n");
    json!({"data": {"cloud": STANDARD.encode(file)}})
}

fn api_server(objects: Objects, asked: Arc<Mutex<Vec<String>>>) -> Client {
    let server = service_fn(move |request: Request<Body>| {
        let mut path = request.uri().path().to_owned();
        let accept = request.headers().get(http::header::ACCEPT);
        let is_metadata = accept.is_some_and(|accept| {
            let accept = accept.to_str().unwrap();
            accept.contains("PartialObjectMetadata")
        });
        let name = path.rsplit_once('/').unwrap().1;
        let (code, mut body) = match objects.lock().unwrap().get(name) {
            Some(object) => (200, object.clone()),
            None => (
                404,
                json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": ""}),
            ),
        };
        if is_metadata && code == 200 {
            body = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": body["metadata"],
            });
            path.push_str("#metadata");
        }
        asked.lock().unwrap().push(path);
        async move {
            let response = Response::builder().status(code);
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, BoxError>(response.body(body).unwrap())
        }
    });
    Client::new(server, "default")
}

async fn serve(
    listener: TcpListener,
    store: Store,
    heads: Arc<Mutex<Vec<String>>>,
    counts: [Arc<AtomicUsize>; 3],
) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let heads = Arc::clone(&heads);
        let [listed, connections, closed] = counts.clone();
        connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let mut head = [0; 8 << 10];
            loop {
                let read = stream.read(&mut head).await.unwrap_or_default();
                if read == 0 {
                    closed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                let head = String::from_utf8_lossy(&head[..read]);
                assert!(head.starts_with("GET /"), "no file is read: {head}");
                assert!(head.contains("prefix=p%2Fbackups%2Fb%2F"), "{head}");
                heads.lock().unwrap().push(head.into_owned());
                listed.fetch_add(1, Ordering::Relaxed);
                let (code, body) = match store {
                    Store::List => (200, LIST.to_owned()),
                    Store::Refuse(status, code) => {
                        (status, format!("<Error><Code>{code}</Code></Error>"))
                    }
                    Store::Silence => return std::future::pending().await,
                    Store::Drip => return drip(stream).await,
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {code} Any\r\nContent-Length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }
}

async fn drip(mut stream: TcpStream) {
    let head = b"HTTP/1.1 200 Any\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    while stream.write_all(b"<").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const LIST: &str = "<ListBucketResult><Contents><Key>p/backups/b/b.tar.gz</Key><Size>5</Size>\
    <ETag>e</ETag><LastModified>1970-01-01T00:00:01.5Z</LastModified></Contents></ListBucketResult>";

#[tokio::test]
async fn what_the_bucket_lists_is_digested_without_reading_a_file() {
    let scene = Scene::start(Store::List, &json!({})).await;
    let listed = scene.list("default").await.unwrap().unwrap();
    let location = scene.objects.lock().unwrap()["default"].to_string();
    let place = |location: &str| {
        let bsl = crate::velero::bsl::Bsl::from_json(location);
        BucketSettings::read("velero", &bsl).unwrap().place()
    };
    let lines = |place| format!("{place}\n[\"b.tar.gz\",5,\"e\",1500]\n");
    assert_eq!(
        listed.listing,
        Sha256::of(lines(place(&location)).as_bytes())
    );
    // Another server can list the same.
    let elsewhere = location.replace("http://127.0.0.1", "http://127.0.0.2");
    assert_ne!(place(&elsewhere), place(&location));
    let location = (listed.location.provider, listed.location.bucket);
    assert_eq!(location, ("aws".to_owned(), "bucket".to_owned()));
    assert_eq!(listed.location.prefix, "p");
    assert!(!listed.is_authentic);
    assert_eq!(scene.listed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_list_is_believed_as_the_option_says() {
    let mut scene = Scene::start(Store::List, &json!({})).await;
    for (trust, expected) in [(ListingTrust::Never, false), (ListingTrust::Always, true)] {
        scene.files.trust = trust;
        let listed = scene.list("default").await.unwrap().unwrap();
        assert_eq!(listed.is_authentic, expected, "{trust:?}");
    }
    let text = json!({"spec": {"provider": "aws", "objectStorage": {"bucket": "b"}}}).to_string();
    let settings = BucketSettings::read("velero", &crate::velero::bsl::Bsl::from_json(&text));
    let aws = settings.unwrap();
    let believed = [
        ListingTrust::Auto,
        ListingTrust::Never,
        ListingTrust::Always,
    ];
    let believed = believed.map(|trust| trust.is_authentic(&aws));
    assert_eq!(believed, [true, false, true]);
}

#[tokio::test]
async fn a_location_that_does_not_exist_is_absent() {
    let scene = Scene::start(Store::List, &json!({})).await;
    assert_eq!(scene.list("other").await, Ok(None));
    assert_eq!(scene.reads(), 1);
    // A name of none is not asked for: it is a part of a URL.
    for name in ["", "a/b", "..", "default?x"] {
        assert_eq!(scene.list(name).await, Ok(None), "{name}");
    }
    assert_eq!(scene.reads(), 1);
}

#[tokio::test]
async fn an_error_tells_what_is_wrong_and_of_which_kind() {
    let other = Scene::start(Store::List, &json!({"provider": "oss"})).await;
    let error = other.error().await;
    assert_eq!(error.kind, LookupErrorKind::Unsupported);
    assert!(
        error.message.contains("`oss` is not supported"),
        "{error:?}"
    );
    let file = json!({"config": {"credentialsFile": "/c"}});
    let error = Scene::start(Store::List, &file).await.error().await;
    assert_eq!(error.kind, LookupErrorKind::Unreachable, "{error:?}");
    for (status, code, kind, said) in [
        (
            403,
            "AccessDenied",
            LookupErrorKind::Forbidden,
            "s3:ListBucket",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            LookupErrorKind::Forbidden,
            "secret key",
        ),
        (
            404,
            "NoSuchBucket",
            LookupErrorKind::Unreachable,
            "no such bucket",
        ),
        (
            503,
            "SlowDown",
            LookupErrorKind::Unreachable,
            "too much to do",
        ),
    ] {
        let scene = Scene::start(Store::Refuse(status, code), &json!({})).await;
        let error = scene.error().await;
        assert_eq!(error.kind, kind, "{code}: {error:?}");
        assert!(error.message.contains(said), "{code}: {error:?}");
        // It answered, so that it is asked again.
        let before = scene.listed.load(Ordering::Relaxed);
        scene.error().await;
        assert!(scene.listed.load(Ordering::Relaxed) > before, "{code}");
    }
}

const SHORT: Duration = Duration::from_millis(100);

/// A store that does not answer, for which is waited a short time.
async fn silent(pause: Duration) -> Scene {
    let mut patience = Patience {
        fair: Duration::ZERO,
        pause,
        ..Patience::default()
    };
    patience.timing.head = SHORT;
    Scene::start_with(Store::Silence, &json!({}), patience).await
}

#[tokio::test]
async fn a_late_location_is_left_alone_for_a_while() {
    let scene = silent(Duration::from_secs(15)).await;
    let error = scene.error().await;
    assert_eq!(error.kind, LookupErrorKind::Timeout, "{error:?}");
    let said = "backups/b/ could not be listed: the store did not answer in time; ";
    assert!(error.message.starts_with(said), "{error:?}");
    let again = scene.error().await;
    assert_eq!(again.kind, LookupErrorKind::Timeout);
    let words = format!("it is left alone for 15 s, because {}", error.message);
    assert_eq!((again.message, scene.reads()), (words, 1));
    assert_eq!(scene.list("other").await, Ok(None), "others are not");
    assert_eq!(scene.reads(), 2);
}

#[tokio::test]
async fn after_its_pause_a_location_is_asked_again() {
    let scene = silent(Duration::ZERO).await;
    assert_eq!(scene.error().await, scene.error().await);
    assert_eq!(scene.reads(), 2);
}

/// However patient the client of the store is.
#[tokio::test]
async fn no_list_takes_longer_than_it_may() {
    const LONG: Duration = Duration::from_mins(1);
    for store in [Store::Silence, Store::Drip] {
        let mut patience = Patience {
            list: SHORT,
            fair: SHORT,
            ..Patience::default()
        };
        (patience.timing.head, patience.timing.piece) = (LONG, LONG);
        let scene = Scene::start_with(store, &json!({}), patience).await;
        let began = Instant::now();
        let error = scene.error().await;
        assert_eq!(error.kind, LookupErrorKind::Timeout, "{error:?}");
        assert!(began.elapsed() < LONG / 6, "{:?}", began.elapsed());
        let again = scene.error().await;
        assert!(again.message.ends_with(&error.message), "{again:?}");
        assert_eq!(scene.reads(), 1, "it is late");
    }
}

#[tokio::test]
async fn a_bucket_that_had_too_little_time_is_not_late() {
    let scene = Scene::start(Store::Silence, &json!({})).await;
    let backup = Key::new("velero", "b");
    for _ in 0..2 {
        let deadline = Instant::now() + SHORT;
        let listed = scene.files.list(&backup, "default", deadline).await;
        assert_eq!(listed.unwrap_err().kind, LookupErrorKind::Timeout);
    }
    assert_eq!(scene.reads(), 2);
}

/// Otherwise the error would not tell what was waited for.
#[test]
fn the_store_has_less_time_than_the_list() {
    let Patience { list, timing, .. } = Patience::default();
    let Timing {
        connect,
        head,
        piece,
        ..
    } = timing;
    assert!([connect, head, piece].iter().all(|time| *time < list));
}
