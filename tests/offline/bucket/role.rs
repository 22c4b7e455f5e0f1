//! Roles that a file of credentials names, at a Security Token Service that answers as AWS documents it, or
//! does what a test says.

use std::fs;

use futures::future::join_all;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use velero_trust::bucket::{Credentials, CredentialsError, Error, OwnIdentity, Store};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;

use super::environment::{Installed, own};
use super::identity::token_file;
use super::server::{Act, Server, answer, list};
use super::sigv4::verify;
use super::{header, reach, settings};

const ROLE: &str = "arn:aws:iam::1:role/r";

/// Opens a bucket, whose BSL names no region, at `url` with a file of credentials.
async fn open_at<V: Fn(&str) -> Option<String>>(
    url: &str,
    file: &str,
    identity: &OwnIdentity<V>,
) -> Result<Store, CredentialsError> {
    let settings = settings(url, &json!({}));
    let credentials = Credentials::read(&settings, &Installed(Some(file)), identity).await?;
    let store = Store::open(settings, credentials, reach()).await;
    Ok(store.unwrap())
}

async fn open(
    file: &str,
    port: u16,
    variables: &[(&'static str, &str)],
) -> Result<Store, CredentialsError> {
    let url = format!("http://127.0.0.1:{port}");
    open_at(&url, file, &own(variables)).await
}

/// A profile with a role that is assumed with keys, and these settings.
fn profile(more: &str) -> String {
    format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = base\n{more}\n\
         [base]\naws_access_key_id = base\naws_secret_access_key = top-secret\n"
    )
}

/// Gives keys that end after some seconds, by `action`.
fn given(action: &str, key: &str, seconds: i64) -> Act {
    let end = Timestamp::now() + SignedDuration::from_secs(seconds);
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{key}-secret</SecretAccessKey>\
         <SessionToken>{key}-token</SessionToken><Expiration>{end}</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    );
    Act::Send(answer(200, "", &body))
}

fn keys(key: &str) -> Act {
    given("AssumeRole", key, 900)
}

fn refusal(status: u16, code: &str) -> Act {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>top-secret is not allowed</Message></Error></ErrorResponse>"
    );
    Act::Send(answer(status, "", &body))
}

/// A store, and a service that does `acts`.
struct Scene {
    sts: Server,
    store: Server,
    url: String,
}

impl Scene {
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let sts = Server::start(acts).await;
        let url = format!("http://127.0.0.1:{}", sts.port);
        let lists = (0..20).map(|_| Act::Send(list(&[])));
        let store = Server::start(lists).await;
        Self { sts, store, url }
    }

    async fn open(&self, file: &str) -> Store {
        let variables = [("AWS_ENDPOINT_URL_STS", self.url.as_str())];
        open(file, self.store.port, &variables).await.unwrap()
    }

    /// Lists a backup, which must fail because there are no keys.
    async fn fails(&self) -> Error {
        let store = self.open(&profile("")).await;
        let failure = store.list("b").await.unwrap_err();
        let text = format!("{failure} {failure:?} {:?}", failure.fix());
        assert!(!text.contains("top-secret"), "{text}");
        assert_eq!(failure.reason(), "NoCredentials");
        assert!(self.store.asked().is_empty());
        failure
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_of_the_source_profile() {
    let scene = Scene::start([keys("assumed")]).await;
    let more = "external_id = a:b/c=d\nrole_session_name = s@x\nduration_seconds = 1800";
    let store = scene.open(&profile(more)).await;
    store.list("b").await.unwrap();
    store.list("b").await.unwrap();
    let asked = scene.sts.asked();
    // The keys are kept.
    assert_eq!(asked.len(), 1);
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST / HTTP/1.1"), "{head}");
    let form = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=1800\
        &RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=s%40x&ExternalId=a%3Ab%2Fc%3Dd";
    assert_eq!(body, form);
    let kind = header(&asked[0], "content-type");
    assert_eq!(kind, Some("application/x-www-form-urlencoded"));
    assert_eq!(verify(&asked[0], "top-secret", "r1", "sts"), "base");
    let asked = scene.store.asked();
    assert_eq!(asked.len(), 2);
    for request in asked {
        let signed = header(&request, "authorization").unwrap();
        assert!(signed.contains("Credential=assumed/"), "{signed}");
        let token = header(&request, "x-amz-security-token");
        assert_eq!(token, Some("assumed-token"));
        assert!(!request.contains("secret"), "{request}");
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_another_one() {
    let scene = Scene::start([keys("first"), keys("second")]).await;
    let file = format!(
        "[default]\nrole_arn = {ROLE}2\nsource_profile = middle\n{}",
        profile("").replace("[default]", "[middle]")
    );
    scene.open(&file).await.list("b").await.unwrap();
    let asked = scene.sts.asked();
    assert_eq!(asked.len(), 2);
    let form = "DurationSeconds=900&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&\
        RoleSessionName=velero-trust";
    assert!(asked[0].ends_with(form), "{}", asked[0]);
    assert_eq!(verify(&asked[0], "top-secret", "r1", "sts"), "base");
    assert!(asked[1].contains("role%2Fr2&"), "{}", asked[1]);
    assert_eq!(verify(&asked[1], "first-secret", "r1", "sts"), "first");
    let token = header(&asked[1], "x-amz-security-token");
    assert_eq!(token, Some("first-token"));
    let signed = scene.store.asked().remove(0);
    assert!(signed.contains("Credential=second/"), "{signed}");
}

#[tokio::test]
async fn what_the_service_answers_is_told() {
    let busy = || refusal(503, "ServiceUnavailable");
    let throttling = || refusal(400, "Throttling");
    let html = Act::Send(answer(200, "", "<html>"));
    let elsewhere = answer(302, "Location: http://127.0.0.1:1/\r\n", "");
    for (acts, expected, may_pass) in [
        (
            vec![refusal(403, "AccessDenied")],
            "(AccessDenied); allow it in the role's trust policy",
            false,
        ),
        (
            vec![refusal(403, "ExpiredToken")],
            "(ExpiredToken); what assumes it has expired",
            false,
        ),
        (
            vec![refusal(403, "InvalidClientTokenId")],
            "correct the aws_access_key_id",
            false,
        ),
        (
            vec![refusal(403, "SignatureDoesNotMatch")],
            "correct the aws_secret_access_key",
            false,
        ),
        (
            vec![refusal(403, "RegionDisabledException")],
            "activate STS",
            false,
        ),
        (
            vec![refusal(400, "ValidationError")],
            "duration_seconds",
            false,
        ),
        (
            vec![refusal(400, "Other")],
            "(Other); look the code up",
            false,
        ),
        (vec![refusal(403, "top-secret")], "(403)", false),
        (
            vec![throttling(), throttling(), throttling()],
            "it answers 400 Throttling",
            true,
        ),
        (
            vec![busy(), busy(), busy()],
            "it answers 503 ServiceUnavailable",
            true,
        ),
        (vec![Act::Send(elsewhere)], "it answers 302", true),
        (vec![html], "its answer is not that of an STS", true),
        (
            vec![Act::Send(answer(200, "", ""))],
            "its answer is not that of an STS",
            true,
        ),
        (
            vec![given("AssumeRole", "k", -60)],
            "have expired already; set the clock",
            true,
        ),
        (
            vec![given("AssumeRole", "ü", 900)],
            "aws_access_key_id",
            false,
        ),
        (
            vec![Act::SendAndHang(String::new())],
            "it did not answer in time",
            true,
        ),
        (
            vec![Act::SendAndClose("SSH-2.0\r\n".to_owned())],
            "it is no HTTP",
            true,
        ),
        (
            vec![Act::SendForever(
                "HTTP/1.1 200 OK\r\n\r\n<AssumeRoleResponse>".to_owned(),
            )],
            "it is too long",
            true,
        ),
    ] {
        let count = acts.len();
        let scene = Scene::start(acts).await;
        let failure = scene.fails().await;
        let text = failure.to_string();
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(failure.may_pass(), may_pass, "{text}");
        assert_eq!(scene.sts.asked().len(), count, "{text}");
    }
}

#[tokio::test]
async fn a_busy_service_is_asked_three_times() {
    let acts = [
        refusal(500, "InternalFailure"),
        refusal(400, "Throttling"),
        keys("k"),
    ];
    let scene = Scene::start(acts).await;
    scene.open(&profile("")).await.list("b").await.unwrap();
    assert_eq!(scene.sts.asked().len(), 3);
}

/// A second request would hang.
#[tokio::test]
async fn many_that_want_keys_ask_once() {
    for act in [keys("k"), refusal(403, "AccessDenied")] {
        let is_given = matches!(&act, Act::Send(text) if text.contains("AccessKeyId"));
        let scene = Scene::start([act]).await;
        let store = scene.open(&profile("")).await;
        let lists = join_all((0..10).map(|_| store.list("b"))).await;
        for list in lists {
            match list {
                Ok(_) => assert!(is_given),
                Err(error) => assert!(error.to_string().contains("(AccessDenied)"), "{error}"),
            }
        }
        assert_eq!(scene.sts.asked().len(), 1);
    }
}

/// The path in the file is one of Velero's Pod. Nothing there is read but our own token.
#[tokio::test]
async fn only_our_own_token_is_read() {
    let (folder, token) = token_file();
    let other = folder.path().join("other");
    fs::write(&other, "top-secret").unwrap();
    let other = other.to_str().unwrap();
    let scene = Scene::start([given("AssumeRoleWithWebIdentity", "web", 900)]).await;
    let variables = [
        ("AWS_ENDPOINT_URL_STS", scene.url.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/own"),
    ];
    let file =
        |path: &str| format!("[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {path}\n");
    let port = scene.store.port;
    let around = format!("{}/../{}", folder.path().display(), "token");
    let account = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    for (path, variables) in [
        (other, &variables[..]),
        (account, &variables),
        (&around, &variables),
        (&token, &variables[..1]),
    ] {
        let error = open(&file(path), port, variables).await.unwrap_err();
        let text = error.to_string();
        let expected =
            "`web_identity_token_file` in line 3 of the credentials is a file in Velero's Pod";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("docs/identities.md") && !text.contains(path),
            "{text}"
        );
    }
    assert!(scene.sts.asked().is_empty());
    let store = open(&file(&token), port, &variables).await.unwrap();
    store.list("b").await.unwrap();
    let asked = scene.sts.asked().remove(0);
    let (_, body) = asked.split_once("\r\n\r\n").unwrap();
    // The role is that of the file.
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&DurationSeconds=900\
        &RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=velero-trust\
        &WebIdentityToken=pod-token";
    assert_eq!(body, form);
    assert_eq!(header(&asked, "authorization"), None);
    let signed = scene.store.asked().remove(0);
    assert!(signed.contains("Credential=web/"), "{signed}");
}

/// A role of the file can also be assumed by what our own ServiceAccount is in the cloud.
#[tokio::test]
async fn a_role_is_assumed_with_our_own_identity() {
    let own = r#"{"AccessKeyId": "pod", "SecretAccessKey": "pod-secret", "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z"}"#;
    let agent = Server::start([Act::Send(answer(200, "", own))]).await;
    let scene = Scene::start([keys("assumed")]).await;
    let (_folder, token) = token_file();
    let agent_url = format!("http://127.0.0.1:{}/v1/credentials", agent.port);
    let variables = [
        ("AWS_ENDPOINT_URL_STS", scene.url.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent_url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ];
    let file = format!("[default]\nrole_arn = {ROLE}\ncredential_source = EcsContainer\n");
    let store = open(&file, scene.store.port, &variables).await.unwrap();
    store.list("b").await.unwrap();
    let asked = scene.sts.asked().remove(0);
    assert_eq!(verify(&asked, "pod-secret", "r1", "sts"), "pod");
    assert_eq!(header(&asked, "x-amz-security-token"), Some("t"));
    let signed = scene.store.asked().remove(0);
    assert!(signed.contains("Credential=assumed/"), "{signed}");
}

/// Whoever writes a Secret chooses neither the host of the service nor an address that is denied.
#[tokio::test]
async fn a_secret_chooses_no_host() {
    let scene = Scene::start([]).await;
    let file = profile(&format!("endpoint_url = {}", scene.url));
    let error = open(&file, scene.store.port, &[]).await.unwrap_err();
    let expected = "the credentials say with `endpoint_url` in line 4 where their role is assumed";
    assert!(error.to_string().starts_with(expected), "{error}");
    let mut own = own(&[("AWS_ENDPOINT_URL_STS", scene.url.as_str())]);
    own.services.denied = DeniedAddresses::default();
    let store = open_at(&scene.url, &profile(""), &own).await.unwrap();
    let failure = store.list("b").await.unwrap_err().to_string();
    assert!(
        failure.contains("which is this machine itself"),
        "{failure}"
    );
    assert!(scene.sts.asked().is_empty());
}

/// Nobody resolves the name of the service, so that only a proxy gets there.
#[tokio::test]
async fn the_service_is_reached_through_the_proxy() {
    let proxy = Server::start([keys("k")]).await;
    let store = Server::start([Act::Send(list(&[]))]).await;
    let mut own = own(&[("AWS_ENDPOINT_URL_STS", "http://sts.invalid/")]);
    own.services.proxies = Proxies::read(|name| {
        let url = format!("http://127.0.0.1:{}", proxy.port);
        (name == "HTTP_PROXY").then_some(url)
    });
    let url = format!("http://127.0.0.1:{}", store.port);
    let store = open_at(&url, &profile(""), &own).await.unwrap();
    store.list("b").await.unwrap();
    let asked = proxy.asked().remove(0);
    assert!(
        asked.starts_with("POST http://sts.invalid/ HTTP/1.1"),
        "{asked}"
    );
}
