//! Buckets of a real MinIO over TLS: listed, read, written, and refused.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use libtest_mimic::Trial;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde_json::{Value, json};
use velero_trust::bucket::credentials::identity::Services;
use velero_trust::bucket::{
    BucketSettings, ClusterSecrets, Credentials, CredentialsError, Error, NoIdentity, OwnIdentity,
    Provider, Reach, RolesOnly, SecretKey, SecretSource, Store, Timing, Trust,
};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::cluster::{self, Cluster};
use velero_trust_testing::forward_proxy::ForwardProxy;
use velero_trust_testing::https;
use velero_trust_testing::minio::{self, ACCESS_KEY, Minio, REGION, SECRET_KEY};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::store_proxy::StoreProxy;

use crate::shared::{Shared, alone};

const BUCKET: &str = "backups";

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        alone("bucket::files_are_listed_read_written_and_deleted", files),
        alone("bucket::what_is_wrong_is_told", wrong),
        alone("bucket::files_with_a_customers_key_are_read", customer_key),
        alone("bucket::a_bucket_with_object_lock_is_written", locked),
        alone(
            "bucket::a_store_behind_a_proxy_is_read_and_written",
            proxied,
        ),
        alone("bucket::a_role_is_assumed_at_a_real_service", role),
        alone(
            "bucket::the_policy_of_the_page_is_enough_and_no_more",
            policy,
        ),
        alone("bucket::rights_are_tried_without_a_trace", rights),
        shared.trial(
            "bucket::the_credentials_of_the_installation_are_read",
            installed,
        ),
    ]
}

/// Secrets by `name/key`; the installation mounts `cloud/cloud`.
pub(crate) struct Secrets(pub(crate) BTreeMap<&'static str, Vec<u8>>);

impl SecretSource for Secrets {
    async fn value(&self, secret: &SecretKey) -> Result<Option<Vec<u8>>, CredentialsError> {
        let SecretKey { name, key } = secret;
        Ok(self.0.get(format!("{name}/{key}").as_str()).cloned())
    }

    async fn installed(&self, _provider: Provider) -> Result<Option<SecretKey>, CredentialsError> {
        let (name, key) = ("cloud".to_owned(), "cloud".to_owned());
        Ok(Some(SecretKey { name, key }))
    }
}

struct Scene {
    minio: Minio,
    secrets: Secrets,
}

impl Scene {
    fn start() -> Result<Self> {
        let minio = Minio::start(&[BUCKET])?;
        let file = std::fs::read(minio.credentials_file())?;
        let secrets = Secrets([("cloud/cloud", file)].into());
        Ok(Self { minio, secrets })
    }

    fn reach(&self) -> Reach {
        Reach {
            trust: Trust::bundle("velero", &self.minio.authority.pem()),
            denied: DeniedAddresses::default().allowing_loopback(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        }
    }

    /// Reads the settings of a location with `change` in its spec.
    fn settings(&self, change: &Value) -> Result<BucketSettings> {
        let mut location = self.minio.location("velero", "default", BUCKET);
        json_patch::merge(&mut location["spec"], change);
        let text = location.to_string();
        Ok(BucketSettings::read("velero", &Bsl::from_json(&text))?)
    }

    async fn open(&self, change: &Value) -> Result<Store> {
        Ok(self.try_open(change, self.reach()).await??)
    }

    async fn try_open(&self, change: &Value, reach: Reach) -> Result<Result<Store, Error>> {
        let settings = self.settings(change)?;
        let identity = RolesOnly(OwnIdentity {
            variable: |name: &str| (name == "AWS_ENDPOINT_URL_STS").then(|| self.minio.url.clone()),
            services: Services {
                trust: reach.trust.clone(),
                denied: reach.denied.clone(),
                proxies: reach.proxies.clone(),
                timing: reach.timing,
            },
        });
        let credentials = Credentials::read(&settings, &self.secrets, &identity).await?;
        Ok(Store::open(settings, credentials, reach).await)
    }

    /// Sends a signed request as the administrator. `path` is encoded already.
    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<https::Response> {
        send_to(&self.minio, "s3", method, path, headers, body)
    }

    fn send_well(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<https::Response> {
        let response = self.send(method, path, headers, body)?;
        ensure!(
            response.status < 300,
            "{method} {path}: {} {}",
            response.head,
            response.body
        );
        Ok(response)
    }
}

/// Sends a signed request as the administrator. `path` is encoded already.
pub(crate) fn send_to(
    minio: &Minio,
    service: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<https::Response> {
    let url = format!("{}/{path}", minio.url);
    let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
    *request.method_mut() = method.parse()?;
    *request.uri_mut() = url.parse()?;
    for (name, value) in headers {
        let name: http::HeaderName = name.parse()?;
        request.headers_mut().insert(name, value.parse()?);
    }
    let keys = AwsCredential {
        key_id: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        token: None,
    };
    let sha256 = digest(&SHA256, body.as_bytes());
    AwsAuthorizer::new(&keys, service, REGION)
        .try_authorize(&mut request, Some(sha256.as_ref()))?;
    let pairs = request.headers().iter();
    let pairs = pairs.map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    https::send(method, &url, &minio.authority.pem(), &pairs, body)
}

pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

/// Fails unless the result is an error with this reason, and a text that contains `said`.
pub(crate) fn refused<T>(result: Result<T, Error>, reason: &str, said: &str) -> Result<()> {
    let Err(error) = result else {
        anyhow::bail!("it is not refused, but should be: {reason}");
    };
    let text = format!("{error}; {}", error.fix().unwrap_or_default());
    ensure!(
        error.reason() == reason && text.contains(said),
        "{reason}, {said}: {} {text}",
        error.reason()
    );
    ensure!(!text.contains(SECRET_KEY), "{text}");
    Ok(())
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn files() -> Result<()> {
    let scene = Scene::start()?;
    block_on(async {
        let change = json!({
            "objectStorage": {"bucket": format!("/{BUCKET}/"), "prefix": "//team a/ü/"},
            "config": {"tagging": "a=1&b=x%20y"},
        });
        let store = scene.open(&change).await?;
        ensure!(store.list("b").await?.artifacts.is_empty());

        // More than one page, and a file of more than one piece.
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        store.put("b", "b.tar.gz", large.clone()).await?;
        let puts = (0..300).map(|number| {
            let store = store.clone();
            async move {
                let file = format!("file-{number:03}");
                let content = file.clone().into_bytes();
                store.put("b", &file, content).await
            }
        });
        stream::iter(puts)
            .buffer_unordered(8)
            .try_collect::<Vec<_>>()
            .await?;
        store.put("b2", "other", b"x".to_vec()).await?;
        // Keys that somebody else put there: markers, control characters, of which XML has no form
        // for one, and a mark of direction.
        let folder = format!("{BUCKET}/team%20a/%C3%BC/backups/b");
        for key in [
            "",
            "sub/",
            "a%09b",
            "a%01b",
            "a%0Ab",
            "%E2%80%AE",
            "a%2Bb%20c",
        ] {
            let body = if key.is_empty() || key.ends_with('/') {
                ""
            } else {
                "odd"
            };
            scene.send_well("PUT", &format!("{folder}/{key}"), &[], body)?;
        }

        let listing = store.list("b").await?;
        let names: Vec<_> = listing
            .artifacts
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        ensure!(names.is_sorted(), "{names:?}");
        ensure!(names.len() == 301 + 5, "{} {names:?}", names.len());
        for odd in ["a\tb", "a\u{1}b", "a\nb", "\u{202e}", "a+b c"] {
            ensure!(listing.contains(odd), "{odd:?}: {names:?}");
        }
        ensure!(!listing.contains("other"));
        let clock = listing.store_time.context("MinIO tells no time")?;
        for artifact in &listing.artifacts {
            let age = clock.as_second() - artifact.last_modified.as_second();
            ensure!((-1..120).contains(&age), "{artifact:?} {clock}");
        }

        let tarball = listing.get("b.tar.gz").context("no tarball")?;
        let mut read = 0;
        let reading = store.read("b", tarball).await?;
        let digest = reading.sha256(|bytes| read += bytes).await?;
        ensure!(digest.to_vec() == sha256(&large) && read == 3_000_000);
        let reading = store.read("b", tarball).await?;
        refused(reading.bytes(1_000).await, "WrongSize", "1000")?;
        // Such a name can be listed, but not requested by every client.
        for (name, is_read) in [("\u{202e}", true), ("a+b c", true), ("a\tb", false)] {
            let artifact = listing.get(name).context("not listed")?;
            let reading = store.read("b", artifact).await;
            if is_read {
                ensure!(reading?.bytes(10).await? == b"odd", "{name:?}");
            } else {
                refused(reading, "OddFileName", r"`a\tb` has a name")?;
            }
        }

        // A file that changes after the list.
        store.put("b", "file-000", b"another size".to_vec()).await?;
        let file = listing.get("file-000").context("not listed")?;
        refused(
            store.read("b", file).await,
            "WrongSize",
            "listed 8 bytes, and sends 12",
        )?;

        let file = "velero-trust.0123456789abcdef.dsse.json";
        ensure!(!store.exists("b", file).await?);
        store.put("b", file, b"{}".to_vec()).await?;
        ensure!(store.exists("b", file).await?);
        let tags = scene.send_well("GET", &format!("{folder}/{file}?tagging="), &[], "")?;
        ensure!(tags.body.contains("<Value>x y</Value>"), "{}", tags.body);
        store.delete("b", file).await?;
        ensure!(!store.exists("b", file).await?);
        store.delete("b", file).await?;
        Ok(())
    })
}

fn wrong() -> Result<()> {
    let scene = Scene::start()?;
    let file = |key: &str, secret: &str| {
        format!("[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n").into_bytes()
    };
    let mut scene = scene;
    let other = file(ACCESS_KEY, "another-secret");
    scene.secrets.0.insert("other/secret", other);
    scene
        .secrets
        .0
        .insert("other/key", file("NOBODY", SECRET_KEY));
    block_on(async {
        let list = async |change: Value| {
            let store = scene.open(&change).await?;
            anyhow::Ok(store.list("b").await)
        };
        list(json!({})).await??;
        let credential = |key: &str| json!({"credential": {"name": "other", "key": key}});
        refused(
            list(credential("secret")).await?,
            "WrongSecretKey",
            "correct the credentials",
        )?;
        refused(
            list(credential("key")).await?,
            "UnknownAccessKey",
            "InvalidAccessKeyId",
        )?;
        let bucket = json!({"objectStorage": {"bucket": "nowhere"}});
        refused(list(bucket).await?, "NoBucket", "no such bucket")?;
        let region = json!({"config": {"region": "eu-central-1"}});
        let said = format!("set spec.config.region to `{REGION}`");
        refused(list(region).await?, "WrongRegion", &said)?;
        // Nobody names the region.
        let store = scene.open(&json!({"config": {"region": null}})).await?;
        ensure!(store.region() == REGION && store.list("b").await?.artifacts.is_empty());

        let through = async |reach: Reach, change: Value| {
            let store = scene.try_open(&change, reach).await??;
            anyhow::Ok(store.list("b").await)
        };
        let another = Authority::new("another CA")?.pem();
        let untrusting = || Reach {
            trust: Trust::bundle("velero", &another),
            ..scene.reach()
        };
        let listed = through(untrusting(), json!({})).await?;
        refused(
            listed,
            "CertificateNotTrusted",
            "name CN=velero-trust test: CA of MinIO on the BSL",
        )?;
        let skip = json!({"config": {"insecureSkipTLSVerify": "true"}});
        through(untrusting(), skip).await??;
        let denied = Reach {
            denied: DeniedAddresses::in_cluster([]),
            proxies: Proxies::default(),
            ..scene.reach()
        };
        let listed = through(denied, json!({})).await?;
        refused(
            listed,
            "AddressDenied",
            "127.0.0.1, which is this machine itself",
        )?;
        let plain = json!({"config": {"s3Url": scene.minio.url.replace("https", "http")}});
        refused(list(plain).await?, "NoTls", "write https://")?;
        let exists = scene
            .open(&json!({"objectStorage": {"bucket": "nowhere"}}))
            .await?;
        refused(exists.exists("b", "f").await, "NoBucket", "no such bucket")?;
        refused(
            exists.put("b", "f", Vec::new()).await,
            "NoBucket",
            "no such bucket",
        )
    })
}

fn customer_key() -> Result<()> {
    let mut scene = Scene::start()?;
    scene.secrets.0.insert("sse/one", vec![1; 32]);
    scene.secrets.0.insert("sse/two", vec![2; 32]);
    block_on(async {
        let with =
            |key: &str| json!({"config": {"customerKeyEncryptionSecret": format!("sse/{key}")}});
        let store = scene.open(&with("one")).await?;
        store.put("b", "f", b"content".to_vec()).await?;
        ensure!(store.exists("b", "f").await?);
        let listing = store.list("b").await?;
        let artifact = listing.get("f").context("not listed")?;
        // Each piece of the stored file has a mark of its own, which the list does not count.
        let content = store.read("b", artifact).await?.bytes(100).await?;
        ensure!(content == b"content");
        let without = scene.open(&json!({})).await?;
        let read = without.read("b", artifact).await;
        refused(read, "CustomerKeyMissing", "customerKeyEncryptionSecret")?;
        let other = scene.open(&with("two")).await?;
        let read = other.read("b", artifact).await;
        refused(
            read,
            "AccessDenied",
            "another key than spec.config.customerKeyEncryptionSecret",
        )?;
        Ok(())
    })
}

fn locked() -> Result<()> {
    let scene = Scene::start()?;
    scene.send_well(
        "PUT",
        "locked",
        &[("x-amz-bucket-object-lock-enabled", "true")],
        "",
    )?;
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    scene.send_well("PUT", "locked?object-lock=", &[], rule)?;
    block_on(async {
        let store = scene
            .open(&json!({"objectStorage": {"bucket": "locked"}}))
            .await?;
        store.put("b", "f", b"1".to_vec()).await?;
        // A second version, of which the last one counts.
        store.put("b", "f", b"22".to_vec()).await?;
        let listing = store.list("b").await?;
        let artifact = listing.get("f").context("not listed")?;
        ensure!(
            listing.artifacts.len() == 1 && artifact.size == 2,
            "{listing:?}"
        );
        ensure!(store.read("b", artifact).await?.bytes(10).await? == b"22");
        // The version stays, and a mark hides it.
        store.delete("b", "f").await?;
        ensure!(!store.exists("b", "f").await? && store.list("b").await?.artifacts.is_empty());
        Ok(())
    })
}

/// Returns a file of credentials that may do what `statements` allow, for an hour.
fn limited(scene: &Scene, actions: &[&str]) -> Result<Vec<u8>> {
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]});
    limited_to(&scene.minio, &json!([statement]))
}

/// Returns a file of credentials that may do what the statements of a policy allow, for an hour.
pub(crate) fn limited_to(minio: &Minio, statements: &Value) -> Result<Vec<u8>> {
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    let encoded = policy
        .to_string()
        .bytes()
        .fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    let body = format!("Action=AssumeRole&Version=2011-06-15&Policy={encoded}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let response = send_to(minio, "sts", "POST", "", &form, &body)?;
    let value = |name: &str| {
        let (_, rest) = response.body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let key = value("AccessKeyId").with_context(|| response.body.clone())?;
    let secret = value("SecretAccessKey").context("no secret")?;
    let token = value("SessionToken").context("no token")?;
    let file = format!(
        "[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\naws_session_token={token}\n"
    );
    Ok(file.into_bytes())
}

fn rights() -> Result<()> {
    let mut scene = Scene::start()?;
    let lists = limited(&scene, &["s3:ListBucket"])?;
    let reads = limited(&scene, &["s3:ListBucket", "s3:GetObject"])?;
    let none = limited(&scene, &["s3:GetBucketLocation"])?;
    for (key, file) in [
        ("role/lists", lists),
        ("role/reads", reads),
        ("role/none", none),
    ] {
        scene.secrets.0.insert(key, file);
    }
    block_on(async {
        let as_role = |key: &str| json!({"credential": {"name": "role", "key": key}});
        let all = scene.open(&json!({})).await?;
        let rights = all.rights().await;
        ensure!(
            rights.list.is_ok() && rights.get.is_ok() && rights.put.is_ok(),
            "{rights:?}"
        );
        ensure!(all.list("velero-trust-doctor").await?.artifacts.is_empty());

        let reads = scene.open(&as_role("reads")).await?.rights().await;
        ensure!(reads.list.is_ok() && reads.get.is_ok(), "{reads:?}");
        refused(reads.put, "AccessDenied", "s3:PutObject")?;
        let lists = scene.open(&as_role("lists")).await?.rights().await;
        ensure!(lists.list.is_ok(), "{lists:?}");
        refused(lists.get, "AccessDenied", "s3:GetObject")?;
        let none = scene.open(&as_role("none")).await?;
        refused(none.rights().await.list, "AccessDenied", "s3:ListBucket")?;
        refused(
            none.list("b").await,
            "AccessDenied",
            "backups/b/ could not be listed",
        )
    })
}

/// MinIO is a Security Token Service, too. It verifies the signature, and gives keys with a token.
fn role() -> Result<()> {
    let mut scene = Scene::start()?;
    let file = |secret: &str| {
        format!(
            "[default]\nrole_arn = arn:aws:iam::1:role/backups\nsource_profile = base\n\
             external_id = e:x\n[base]\naws_access_key_id = {ACCESS_KEY}\n\
             aws_secret_access_key = {secret}\n"
        )
    };
    for (key, secret) in [("role/good", SECRET_KEY), ("role/bad", "another-secret")] {
        scene.secrets.0.insert(key, file(secret).into_bytes());
    }
    block_on(async {
        let with = |key: &str| json!({"credential": {"name": "role", "key": key}});
        let store = scene.open(&with("good")).await?;
        store.put("b", "f", b"content".to_vec()).await?;
        ensure!(store.list("b").await?.contains("f"));
        store.delete("b", "f").await?;
        let store = scene.open(&with("bad")).await?;
        let failure = store.list("b").await;
        // AWS says SignatureDoesNotMatch.
        refused(failure, "NoCredentials", "(AccessDenied)")
    })
}

/// docs/identities.md shows the policy.
fn policy() -> Result<()> {
    let mut scene = Scene::start()?;
    let page = include_str!("../../docs/identities.md");
    let (_, page) = page.split_once("```json\n").context("no policy")?;
    let (policy, _) = page.split_once("```").context("no end of the policy")?;
    let policy = policy.replace("BUCKET", BUCKET).replace("PREFIX/", "team/");
    let policy: Value = serde_json::from_str(&policy)?;
    let limited = limited_to(&scene.minio, &policy["Statement"])?;
    scene.secrets.0.insert("role/policy", limited);
    let location = |credential: Value| {
        let storage = json!({"bucket": BUCKET, "prefix": "team"});
        json!({"objectStorage": storage, "credential": credential})
    };
    let envelope = "velero-trust.0123456789abcdef.dsse.json";
    block_on(async {
        let all = scene.open(&location(Value::Null)).await?;
        all.put("b", "b.tar.gz", b"content".to_vec()).await?;
        let own = location(json!({"name": "role", "key": "policy"}));
        let store = scene.open(&own).await?;
        let rights = store.rights().await;
        ensure!(
            rights.list.is_ok() && rights.get.is_ok() && rights.put.is_ok(),
            "{rights:?}"
        );
        let listing = store.list("b").await?;
        let artifact = listing.get("b.tar.gz").context("it is not listed")?;
        let bytes = store.read("b", artifact).await?.bytes(100).await?;
        ensure!(bytes == b"content");
        store.put("b", envelope, b"{}".to_vec()).await?;
        ensure!(store.exists("b", envelope).await?);
        store.put("b", envelope, b"{} ".to_vec()).await?;
        store.delete("b", envelope).await?;
        ensure!(!store.exists("b", envelope).await?);
        let put = store.put("b", "b.tar.gz", Vec::new()).await;
        refused(put, "AccessDenied", "s3:PutObject")?;
        let delete = store.delete("b", "b.tar.gz").await;
        refused(delete, "AccessDenied", "s3:DeleteObject")?;
        let mut elsewhere = own.clone();
        elsewhere["objectStorage"]["prefix"] = json!("other");
        let other = scene.open(&elsewhere).await?;
        let read = other.exists("b", "b.tar.gz").await;
        refused(read, "AccessDenied", "s3:GetObject")?;
        let put = other.put("b", envelope, Vec::new()).await;
        refused(put, "AccessDenied", "s3:PutObject")
    })
}

/// Nobody resolves the host of the store: only the proxy reaches it.
fn proxied() -> Result<()> {
    let scene = Scene::start()?;
    let server = scene.minio.url.trim_start_matches("https://");
    let plain = StoreProxy::start(&scene.minio)?;
    let plain_server = plain.url.trim_start_matches("http://");
    for (scheme, server) in [("https", server), ("http", plain_server)] {
        let proxy = ForwardProxy::start(server)?;
        let url = format!("{scheme}://{}:9000", minio::NAME);
        let change = json!({"config": {"s3Url": url}});
        let through = |proxy_url: String| Reach {
            proxies: Proxies::read(|name| {
                ["HTTPS_PROXY", "HTTP_PROXY"]
                    .contains(&name)
                    .then(|| proxy_url.clone())
            }),
            ..scene.reach()
        };
        block_on(async {
            let store = scene.try_open(&change, through(proxy.url())).await??;
            store.put("b", "f", b"content".to_vec()).await?;
            let listing = store.list("b").await?;
            let artifact = listing.get("f").context("it is not listed")?;
            let bytes = store.read("b", artifact).await?.bytes(100).await?;
            ensure!(bytes == b"content");
            store.delete("b", "f").await?;
            let unknown = format!("http://john:secret@{}", proxy.address);
            let store = scene.try_open(&change, through(unknown)).await??;
            let failure = store.list("b").await.err().context("it takes everybody")?;
            let said = failure.with_fix();
            let expected = format!("the proxy {} wants another user", proxy.address);
            ensure!(
                said.contains(&expected) && !said.contains("secret"),
                "{said}"
            );
            anyhow::Ok(())
        })?;
        let asked = proxy.asked().remove(0);
        let expected = match scheme {
            "https" => format!("CONNECT {}:9000 HTTP/1.1", minio::NAME),
            _ => format!("PUT {url}/{BUCKET}/backups/b/f HTTP/1.1"),
        };
        ensure!(asked == expected, "{asked}");
    }
    Ok(())
}

/// The objects of `velero install` name the Secret, and the location names none.
fn installed(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("bucket")?;
    let secrets = ClusterSecrets::new(cluster.client(), &namespace);
    let minio = cluster.minio()?;
    let read = |change: Value| {
        let mut location = minio.location(&namespace, "default", cluster::BUCKET);
        json_patch::merge(&mut location["spec"], &change);
        let bsl = location.to_string();
        let settings = BucketSettings::read(&namespace, &Bsl::from_json(&bsl))?;
        let identity = NoIdentity(CredentialsError::NoKeys);
        let credentials = Credentials::read(&settings, &secrets, &identity);
        anyhow::Ok((cluster.block_on(credentials), settings))
    };
    // Without an installation, velero-trust's own identity is what is left.
    ensure!(read(json!({}))?.0.err() == Some(CredentialsError::NoKeys));
    cluster.install_velero(&namespace, &[])?;
    let (credentials, settings) = read(json!({}))?;
    let reach = Reach {
        trust: Trust::bundle(&namespace, &minio.authority.pem()),
        denied: DeniedAddresses::default().allowing_loopback(),
        proxies: Proxies::default(),
        timing: Timing::default(),
    };
    cluster.block_on(async {
        let store = Store::open(settings, credentials?, reach).await?;
        ensure!(store.list("no-such-backup").await?.artifacts.is_empty());
        anyhow::Ok(())
    })?;
    let absent = read(json!({"credential": {"name": "nothing", "key": "cloud"}}))?.0;
    let error = absent
        .err()
        .context("an absent Secret is read")?
        .to_string();
    ensure!(
        error.starts_with("key `cloud` of Secret `nothing` does not exist"),
        "{error}"
    );
    // An API server that refuses says nothing about what exists.
    let stranger = cluster.service_account(&namespace, "default")?;
    let secrets = ClusterSecrets::new(cluster.block_on(stranger.client())?, &namespace);
    let installed = cluster.block_on(secrets.installed(Provider::Aws));
    let error = installed
        .err()
        .context("a stranger may list Deployments")?
        .to_string();
    ensure!(
        error.contains("cannot be read from the API server"),
        "{error}"
    );
    Ok(())
}
