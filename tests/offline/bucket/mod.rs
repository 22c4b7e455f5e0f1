//! Stores that are slow, broken or hostile, over HTTP on loopback. What a good store does is shown
//! with MinIO, in `tests/real/bucket.rs`.

mod clouds;
mod environment;
mod identity;
mod proxy;
mod role;
mod server;
mod sigv4;
mod tls;

use std::time::{Duration, Instant};

use object_store::aws::AwsCredential;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use velero_trust::bucket::{
    BucketSettings, Credentials, Error, ErrorKind, Reach, Store, Timing, Trust,
};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::DialError;
use velero_trust::dial::Proxies;
use velero_trust::velero::bsl::Bsl;

use server::{Act, Server, answer, error, list};

/// Waits that are short enough for a test.
const TIMING: Timing = Timing {
    connect: Duration::from_secs(5),
    head: Duration::from_millis(400),
    piece: Duration::from_millis(400),
    pauses: [Duration::from_millis(5), Duration::from_millis(5)],
};

fn reach() -> Reach {
    Reach {
        trust: Trust::Roots {
            roots: [].into(),
            namespace: "velero".to_owned(),
        },
        denied: DeniedAddresses::default().allowing_loopback(),
        proxies: Proxies::default(),
        timing: TIMING,
    }
}

fn settings(url: &str, more: &Value) -> BucketSettings {
    let mut config = json!({"region": "r1", "s3Url": url});
    json_patch::merge(&mut config, more);
    let spec = json!({"provider": "aws", "objectStorage": {"bucket": "bkt"}, "config": config});
    let text = json!({"spec": spec}).to_string();
    BucketSettings::read("velero", &Bsl::from_json(&text)).unwrap()
}

fn credentials() -> Credentials {
    let keys = AwsCredential {
        key_id: "key".to_owned(),
        secret_key: "top-secret".to_owned(),
        token: Some("token".to_owned()),
    };
    Credentials::fixed(keys).unwrap()
}

async fn open_at(url: &str, more: &Value) -> Store {
    let store = Store::open(settings(url, more), credentials(), reach()).await;
    store.unwrap()
}

async fn open(server: &Server) -> Store {
    open_at(&format!("http://127.0.0.1:{}", server.port), &json!({})).await
}

/// Lists `backups/b/` of a store that does `acts`, which must fail.
async fn fails_to_list(acts: impl IntoIterator<Item = Act>) -> (Error, Server) {
    let server = Server::start(acts).await;
    let error = open(&server).await.list("b").await.unwrap_err();
    (error, server)
}

/// Reads the file `f` of 10 bytes from a store that answers with `act`.
async fn read_from(act: Act) -> Result<Vec<u8>, Error> {
    let server = Server::start([Act::Send(list(&[("f", 10)])), act]).await;
    let store = open(&server).await;
    let listing = store.list("b").await.unwrap();
    let reading = store.read("b", listing.get("f").unwrap()).await?;
    reading.bytes(100).await
}

#[tokio::test]
async fn a_file_that_is_listed_is_read() {
    let file = answer(200, "ETag: e\r\n", "0123456789");
    assert_eq!(read_from(Act::Send(file)).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_store_that_lies_about_a_size_is_not_believed() {
    for sent in ["01234567890123456789", "0123"] {
        let lie = Act::Send(answer(200, "", sent));
        let error = read_from(lie).await.unwrap_err();
        let sent = sent.len() as u64;
        assert_eq!(error.kind, ErrorKind::Size { listed: 10, sent });
        assert!(error.may_pass());
    }
    let named = read_from(Act::Send(answer(200, "", ""))).await.unwrap_err();
    assert!(
        named
            .to_string()
            .starts_with("backups/b/f could not be read: the store listed 10"),
        "{named}"
    );
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_none() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123";
    let error = read_from(Act::SendAndClose(head.to_owned()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::CutOff);
    let error = read_from(Act::SendAndHang(head.to_owned()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooSlow);
    // Without a length, an early end would look like the end.
    let endless = "HTTP/1.1 200 OK\r\n\r\n0123456789".to_owned();
    let error = read_from(Act::SendAndClose(endless)).await.unwrap_err();
    assert_eq!(error.reason(), "MalformedAnswer", "{error}");
    assert!(error.may_pass());
}

#[tokio::test]
async fn a_fault_of_the_store_is_tried_three_times() {
    let busy = || Act::Send(error(503, "SlowDown"));
    let server = Server::start([busy(), busy(), Act::Send(list(&[("f", 1)]))]).await;
    let listing = open(&server).await.list("b").await.unwrap();
    assert!(listing.contains("f"));
    let (failure, server) = fails_to_list((0..9).map(|_| busy())).await;
    let code = "SlowDown".to_owned();
    assert_eq!(failure.kind, ErrorKind::Server { status: 503, code });
    assert_eq!(server.asked().len(), 3);
    let (failure, server) = fails_to_list((0..9).map(|_| Act::SendAndClose(String::new()))).await;
    assert_eq!(failure.kind, ErrorKind::CutOff);
    assert_eq!(server.asked().len(), 3);
    // What stays wrong is not asked again.
    let (failure, server) = fails_to_list([Act::Send(error(403, "AccessDenied"))]).await;
    assert_eq!(failure.reason(), "AccessDenied");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_a_store_refuses_has_a_reason_of_its_own() {
    for (status, code, reason) in [
        (403, "InvalidObjectState", "Archived"),
        (403, "RequestTimeTooSkewed", "ClockSkew"),
        (404, "NoSuchBucket", "NoBucket"),
        (404, "NoSuchKey", "NoFile"),
        (403, "InvalidAccessKeyId", "UnknownAccessKey"),
    ] {
        let answer = Act::Send(error(status, code));
        let failure = read_from(answer).await.unwrap_err();
        assert_eq!(failure.reason(), reason);
        assert!(!failure.may_pass());
        let said = format!("{failure} {failure:?} {:?}", failure.fix());
        assert!(!said.contains("top-secret"), "{said}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Server::start([Act::Send(list(&[("f", 1)]))]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: http://127.0.0.1:{}/\r\n", elsewhere.port);
        let redirect = answer(status, &location, "");
        let (failure, server) = fails_to_list([Act::Send(redirect.clone())]).await;
        assert_eq!(failure.kind, ErrorKind::Redirect { status });
        assert_eq!(server.asked().len(), 1);
        let failure = read_from(Act::Send(redirect)).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Redirect { status });
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_store_that_says_nothing_is_given_up() {
    let started = Instant::now();
    let (failure, server) = fails_to_list([]).await;
    assert_eq!(failure.kind, ErrorKind::Late);
    assert_eq!(server.asked().len(), 1);
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<List".to_owned();
    let (failure, _server) = fails_to_list([Act::SendAndHang(half)]).await;
    assert_eq!(failure.kind, ErrorKind::TooSlow);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_list_without_end_is_cut() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>",
        "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n",
        "HTTP/1.1 500 No\r\nContent-Length: 9000000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let acts = (0..3).map(|_| Act::SendForever(head.to_owned()));
        let (failure, server) = fails_to_list(acts).await;
        let is_told = matches!(
            failure.kind,
            ErrorKind::Malformed(_) | ErrorKind::Server { .. }
        );
        assert!(is_told, "{failure}");
        // What the sockets of both sides hold is sent, too.
        let sent = server.sent_forever();
        assert!(sent < 40 << 20, "{head}: {sent} bytes");
    }
}

#[tokio::test]
async fn what_is_no_s3_is_told_as_such() {
    let malformed = |failure: Error| assert_eq!(failure.reason(), "MalformedAnswer", "{failure}");
    malformed(
        fails_to_list([Act::Send(answer(200, "", "<html>"))])
            .await
            .0,
    );
    malformed(
        fails_to_list([Act::SendAndClose("SSH-2.0-OpenSSH_9.2\r\n".into())])
            .await
            .0,
    );
    let foreign = list(&[("f", 1)]).replace("backups/b/", "backups/c/");
    malformed(fails_to_list([Act::Send(foreign)]).await.0);
}

#[tokio::test]
async fn a_port_without_tls_or_without_a_server_is_told_as_such() {
    let plain = Server::start([]).await;
    let url = format!("https://127.0.0.1:{}", plain.port);
    // The server takes a handshake for a request that never ends, so that it has to be one with
    // another protocol.
    let greeting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = greeting.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = greeting.accept().await.unwrap();
            let text = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let list = async |url: &str| {
        let store = open_at(url, &json!({})).await;
        store.list("b").await.unwrap_err().kind
    };
    assert_eq!(
        list(&format!("https://127.0.0.1:{port}")).await,
        ErrorKind::NotTls
    );
    task.abort();
    assert_eq!(list(&url).await, ErrorKind::Late);
    drop(plain);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let kind = list(&format!("http://127.0.0.1:{port}")).await;
    assert!(
        matches!(kind, ErrorKind::Dial(DialError::Unreachable { .. })),
        "{kind}"
    );
}

#[tokio::test]
async fn an_address_that_the_probe_refuses_is_refused() {
    let server = Server::start([Act::Send(list(&[]))]).await;
    for url in [
        format!("http://127.0.0.1:{}", server.port),
        format!("http://localhost:{}", server.port),
        "http://169.254.169.254".to_owned(),
        "https://[::ffff:169.254.169.254]".to_owned(),
    ] {
        let denied = DeniedAddresses::in_cluster([]);
        let reach = Reach { denied, ..reach() };
        let settings = settings(&url, &json!({"s3ForcePathStyle": "true"}));
        let store = Store::open(settings, credentials(), reach).await.unwrap();
        let failure = store.list("b").await.unwrap_err();
        assert_eq!(failure.reason(), "AddressDenied", "{url}: {failure}");
        assert!(!failure.may_pass());
    }
    assert!(server.asked().is_empty());
}

/// Returns the value of a header of a request.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[tokio::test]
async fn an_upload_carries_what_the_bsl_says() {
    let put = async |more: Value| {
        let server = Server::start([Act::Send(answer(200, "ETag: e\r\n", ""))]).await;
        let url = format!("http://127.0.0.1:{}/base/", server.port);
        let store = open_at(&url, &more).await;
        store.put("b", "f.json", b"content".to_vec()).await.unwrap();
        server.asked().remove(0)
    };
    let usual = put(json!({})).await;
    assert!(
        usual.starts_with("PUT /base/bkt/backups/b/f.json HTTP/1.1\r\n"),
        "{usual}"
    );
    assert!(usual.ends_with("\r\n\r\ncontent"), "{usual}");
    assert_eq!(header(&usual, "x-amz-security-token"), Some("token"));
    let sha256 = "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=";
    assert_eq!(header(&usual, "x-amz-checksum-sha256"), Some(sha256));
    let signed = header(&usual, "authorization").unwrap();
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=key/"),
        "{signed}"
    );
    assert!(signed.contains("/r1/s3/aws4_request"), "{signed}");
    assert!(!usual.contains("top-secret"));

    let more = json!({"checksumAlgorithm": "", "tagging": "a=1&b=x%20y", "kmsKeyId": "k"});
    let other = put(more).await;
    assert_eq!(header(&other, "x-amz-checksum-sha256"), None);
    assert_eq!(header(&other, "x-amz-tagging"), Some("a=1&b=x+y"));
    assert_eq!(
        header(&other, "x-amz-server-side-encryption"),
        Some("aws:kms")
    );
    let key = header(&other, "x-amz-server-side-encryption-aws-kms-key-id");
    assert_eq!(key, Some("k"));
    let algorithm = put(json!({"serverSideEncryption": "AES256"})).await;
    assert_eq!(
        header(&algorithm, "x-amz-server-side-encryption"),
        Some("AES256")
    );
}

#[tokio::test]
async fn the_region_that_nobody_names_is_asked_for() {
    let wrong = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-1</Region></Error>";
    let acts = [
        Act::Send(answer(400, "", wrong)),
        Act::Send(list(&[("f", 1)])),
    ];
    let server = Server::start(acts).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let store = open_at(&url, &json!({"region": ""})).await;
    assert_eq!(store.region(), "eu-1");
    assert!(store.list("b").await.unwrap().contains("f"));
    let asked = server.asked();
    assert!(
        asked[0].contains("/us-east-1/s3/aws4_request"),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("/eu-1/s3/aws4_request"), "{}", asked[1]);

    // Whoever may not list the bucket learns it with the first list.
    let denied = || Act::Send(error(403, "AccessDenied"));
    let server = Server::start([denied(), denied()]).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let store = open_at(&url, &json!({"region": ""})).await;
    assert_eq!(store.region(), "us-east-1");
    let failure = store.list("b").await.unwrap_err();
    assert_eq!(failure.reason(), "AccessDenied");

    let server = Server::start([Act::Send(error(404, "NoSuchBucket"))]).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let unset = settings(&url, &json!({"region": ""}));
    let failure = Store::open(unset, credentials(), reach())
        .await
        .unwrap_err();
    let text = failure.to_string();
    assert!(
        text.starts_with("the bucket could not be opened: there is no such bucket"),
        "{text}"
    );
    // The region of the profile counts for a store that is not AWS.
    let server = Server::start([]).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let unset = settings(&url, &json!({"region": ""}));
    let Credentials::Aws(mut of_profile) = credentials() else {
        panic!("other credentials");
    };
    of_profile.region = Some("r2".to_owned());
    let store = Store::open(unset, of_profile.into(), reach()).await;
    let store = store.unwrap();
    assert_eq!(store.region(), "r2");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_folder_is_refused_before_any_request() {
    let server = Server::start([]).await;
    let store = open(&server).await;
    for backup in ["", "a/b", "..", "."] {
        assert_eq!(
            store.list(backup).await.unwrap_err().reason(),
            "OddFileName"
        );
        assert_eq!(
            store.exists(backup, "f").await.unwrap_err().reason(),
            "OddFileName"
        );
        assert_eq!(
            store.delete(backup, "f").await.unwrap_err().reason(),
            "OddFileName"
        );
    }
    for file in ["", "../x", "a//b", "a\tb", "a/"] {
        let put = store.put("b", file, Vec::new()).await;
        assert_eq!(put.unwrap_err().reason(), "OddFileName", "{file:?}");
        let deleted = store.delete("b", file).await;
        assert_eq!(deleted.unwrap_err().reason(), "OddFileName", "{file:?}");
    }
    assert!(server.asked().is_empty());
}
