//! Stores behind a proxy. That a real one is read through it is shown with MinIO, in
//! `tests/real/bucket.rs`.

use serde_json::json;
use tokio::net::TcpListener;
use velero_trust::bucket::{Error, Reach, Store};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;

use super::server::{Act, Server, answer, error, list};
use super::{credentials, header, reach, settings};

/// Nobody resolves this name, so that only a proxy gets there.
const HOST: &str = "store.invalid:9000";

/// Returns the proxies of an environment with one at `port` for both schemes.
fn proxies(port: u16, no_proxy: &str) -> Proxies {
    Proxies::read(|name| match name {
        "HTTP_PROXY" | "https_proxy" => Some(format!("http://jane:p%40ss@127.0.0.1:{port}")),
        "NO_PROXY" => Some(no_proxy.to_owned()),
        _ => None,
    })
}

async fn open(url: &str, proxies: Proxies) -> Store {
    let reach = Reach { proxies, ..reach() };
    let path_style = json!({"s3ForcePathStyle": "true"});
    let store = Store::open(settings(url, &path_style), credentials(), reach).await;
    store.unwrap()
}

/// Lists a backup of the store at `url`, through a proxy at `port`. It must fail, and must not show the
/// password.
async fn fails(url: &str, port: u16) -> Error {
    let store = open(url, proxies(port, "")).await;
    let failure = store.list("b").await.unwrap_err();
    let text = format!("{failure} {failure:?} {:?}", failure.fix());
    assert!(!text.contains("p@ss") && !text.contains("amFu"), "{text}");
    assert!(!text.contains("jane"), "{text}");
    failure
}

#[tokio::test]
async fn requests_for_http_name_the_store_in_full() {
    let proxy = Server::start([Act::Send(list(&[("f", 1)])), Act::Send(list(&[("f", 1)]))]).await;
    let store = open(&format!("http://{HOST}"), proxies(proxy.port, "")).await;
    for _ in 0..2 {
        assert!(store.list("b").await.unwrap().contains("f"));
    }
    let asked = proxy.asked();
    assert_eq!(asked.len(), 2);
    for request in &asked {
        let start = format!("GET http://{HOST}/bkt?");
        assert!(request.starts_with(&start), "{request}");
        assert_eq!(header(request, "host"), Some(HOST));
        // jane:p@ss
        let credentials = header(request, "proxy-authorization");
        assert_eq!(credentials, Some("Basic amFuZTpwQHNz"));
        let signed = header(request, "authorization").unwrap();
        assert!(!signed.contains("proxy"), "{signed}");
    }
}

#[tokio::test]
async fn no_proxy_and_this_machine_are_reached_directly() {
    let proxy = Server::start([]).await;
    let store = Server::start([Act::Send(list(&[("f", 1)]))]).await;
    let url = format!("http://127.0.0.1:{}", store.port);
    let direct = open(&url, proxies(proxy.port, "")).await;
    assert!(direct.list("b").await.unwrap().contains("f"));
    assert_eq!(header(&store.asked()[0], "proxy-authorization"), None);
    for scheme in ["http", "https"] {
        let exempt = open(
            &format!("{scheme}://{HOST}"),
            proxies(proxy.port, ".invalid"),
        )
        .await;
        let failure = exempt.list("b").await.unwrap_err();
        assert_eq!(failure.reason(), "Unreachable", "{failure}");
    }
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_proxy_is_told_with_its_host() {
    let times = |act: fn() -> Act| (0..3).map(|_| act()).collect::<Vec<_>>();
    let refuses = || Act::Send(answer(407, "Proxy-Authenticate: Basic\r\n", ""));
    let forbids = || Act::Send(answer(403, "", "<html>not allowed</html>"));
    let fails_behind = || Act::Send(answer(502, "", "<html>no route</html>"));
    let closes = || Act::SendAndClose(String::new());
    let garbage = || Act::SendAndClose("SSH-2.0-OpenSSH_9.2\r\n".to_owned());
    let wants = "wants another user and password (407)";
    let late = "did not answer in time";
    let cases: [(&str, Vec<Act>, &str, usize, bool); 8] = [
        ("http", times(refuses), wants, 1, false),
        ("https", times(refuses), wants, 1, false),
        (
            "http",
            times(fails_behind),
            "does not reach the store (502)",
            3,
            true,
        ),
        (
            "https",
            times(fails_behind),
            "does not reach the store (502)",
            3,
            true,
        ),
        (
            "https",
            times(forbids),
            "refuses the connection to the store (403)",
            1,
            false,
        ),
        (
            "https",
            times(closes),
            "closed the connection before it answered",
            3,
            true,
        ),
        (
            "https",
            times(garbage),
            "does not speak HTTP on this port",
            1,
            false,
        ),
        ("http", Vec::new(), late, 1, true),
    ];
    for (scheme, acts, expected, asked, may_pass) in cases {
        let proxy = Server::start(acts).await;
        let failure = fails(&format!("{scheme}://{HOST}"), proxy.port).await;
        let expected = format!("the proxy 127.0.0.1:{} {expected}", proxy.port);
        assert!(
            failure.to_string().ends_with(&expected),
            "{scheme}: {failure}"
        );
        assert_eq!(failure.reason(), "ProxyFailed");
        assert_eq!(failure.may_pass(), may_pass, "{failure}");
        assert_eq!(proxy.asked().len(), asked, "{failure}");
        if scheme == "https" {
            let request = &proxy.asked()[0];
            let start = format!("CONNECT {HOST} HTTP/1.1\r\n");
            assert!(request.starts_with(&start), "{request}");
            assert!(!request.contains("Authorization: AWS4"), "{request}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_open_a_tunnel_is_given_up() {
    let proxy = Server::start([]).await;
    let reach = Reach {
        proxies: proxies(proxy.port, ""),
        ..reach()
    };
    let mut reach = reach;
    reach.timing.connect = std::time::Duration::from_millis(200);
    let url = format!("https://{HOST}");
    let store = Store::open(settings(&url, &json!({})), credentials(), reach).await;
    let failure = store.unwrap().list("b").await.unwrap_err();
    let expected = format!("the proxy 127.0.0.1:{} did not answer in time", proxy.port);
    assert!(failure.to_string().ends_with(&expected), "{failure}");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let failure = fails(&url, port).await;
    let expected = format!("the proxy 127.0.0.1:{port} cannot be reached: no connection to");
    assert!(failure.to_string().contains(&expected), "{failure}");
}

/// What a store says about a request through a proxy is not taken for the proxy's.
#[tokio::test]
async fn an_error_of_the_store_behind_it_stays_one() {
    let busy = (0..3).map(|_| Act::Send(error(503, "SlowDown")));
    let proxy = Server::start(busy).await;
    let failure = fails(&format!("http://{HOST}"), proxy.port).await;
    assert_eq!(failure.reason(), "ServerError", "{failure}");
    let proxy = Server::start([Act::Send(error(403, "AccessDenied"))]).await;
    let failure = fails(&format!("http://{HOST}"), proxy.port).await;
    assert_eq!(failure.reason(), "AccessDenied", "{failure}");
}

#[tokio::test]
async fn a_proxy_of_another_protocol_is_told() {
    for url in ["socks5://proxy.invalid:1080", "https://proxy.invalid"] {
        let proxies = Proxies::read(|name| (name == "HTTPS_PROXY").then(|| url.to_owned()));
        let store = open(&format!("https://{HOST}"), proxies).await;
        let failure = store.list("b").await.unwrap_err();
        let text = failure.with_fix();
        assert!(text.contains("the proxy proxy.invalid:"), "{text}");
        assert!(text.contains("is not an http:// one"), "{text}");
    }
}

#[tokio::test]
async fn no_proxy_is_asked_for_an_address_that_is_denied() {
    let proxy = Server::start([]).await;
    let api_server = "10.96.0.1".parse().unwrap();
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "10.96.0.1",
        "2852039166",
        "0xa9fea9fe",
        "localhost.",
    ] {
        for scheme in ["http", "https"] {
            let reach = Reach {
                denied: DeniedAddresses::in_cluster([api_server]),
                proxies: proxies(proxy.port, ""),
                ..reach()
            };
            let url = format!("{scheme}://{host}");
            let path_style = json!({"s3ForcePathStyle": "true"});
            let store = Store::open(settings(&url, &path_style), credentials(), reach).await;
            let failure = store.unwrap().list("b").await.unwrap_err();
            assert_eq!(failure.reason(), "AddressDenied", "{url}: {failure}");
            assert!(!failure.may_pass());
        }
    }
    assert!(proxy.asked().is_empty());
}
