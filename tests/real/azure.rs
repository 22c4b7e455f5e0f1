//! A container of Azurite over TLS: listed, read, written, and refused.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use libtest_mimic::Trial;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde_json::{Value, json};
use velero_trust::bucket::{
    BucketSettings, Credentials, CredentialsError, NoIdentity, Reach, Store, Timing, Trust,
};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::azurite::{ACCOUNT, Azurite, KEY};
use velero_trust_testing::https;
use velero_trust_testing::pki::Authority;

use crate::bucket::{Secrets, block_on, refused};
use crate::shared::alone;

const CONTAINER: &str = "backups";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("azure::files_are_listed_read_written_and_deleted", files),
        alone("azure::what_is_wrong_is_told", wrong),
    ]
}

/// Returns a file of credentials, with a comment and a variable that nothing reads.
pub(crate) fn credentials() -> Vec<u8> {
    format!("# of a test\nAZURE_RESOURCE_GROUP=none\nKEY=\"{KEY}\"\n").into_bytes()
}

/// Sends a request that the key of the account signs. `path` is encoded already.
fn send(
    azurite: &Azurite,
    authority: &Authority,
    method: &str,
    path: &str,
    body: &str,
) -> Result<https::Response> {
    let url = format!("{}/{path}", azurite.url);
    let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
    *request.method_mut() = method.parse()?;
    *request.uri_mut() = url.parse()?;
    let headers = request.headers_mut();
    headers.insert("x-ms-blob-type", "BlockBlob".parse()?);
    headers.insert("content-length", body.len().into());
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY)?);
    AzureAuthorizer::new(&key, ACCOUNT).try_authorize(&mut request)?;
    request.headers_mut().remove("content-length");
    let pairs = request.headers().iter();
    let pairs = pairs.map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let response = https::send(method, &url, &authority.pem(), &pairs, body)?;
    ensure!(
        response.status < 300,
        "{method} {path}: {} {}",
        response.head,
        response.body
    );
    Ok(response)
}

/// Makes a container.
pub(crate) fn make_container(azurite: &Azurite, authority: &Authority, name: &str) -> Result<()> {
    send(
        azurite,
        authority,
        "PUT",
        &format!("{name}?restype=container"),
        "",
    )
    .map(drop)
}

struct Scene {
    azurite: Azurite,
    authority: Authority,
    secrets: Secrets,
}

impl Scene {
    fn start() -> Result<Self> {
        let authority = Authority::new("velero-trust test: CA of Azurite")?;
        let azurite = Azurite::start(&authority)?;
        make_container(&azurite, &authority, CONTAINER)?;
        let other = format!("KEY={}\n", "b3RoZXIta2V5");
        let secrets = Secrets(
            [
                ("cloud/cloud", credentials()),
                ("other/key", other.into_bytes()),
            ]
            .into(),
        );
        Ok(Self {
            azurite,
            authority,
            secrets,
        })
    }

    async fn open(&self, change: &Value) -> Result<Store> {
        let mut location = self.azurite.location("velero", "default", CONTAINER);
        json_patch::merge(&mut location["spec"], change);
        let settings = BucketSettings::read("velero", &Bsl::from_json(&location.to_string()))?;
        let identity = NoIdentity(CredentialsError::NoKeys);
        let credentials = Credentials::read(&settings, &self.secrets, &identity).await?;
        let reach = Reach {
            trust: Trust::bundle("velero", &self.authority.pem()),
            denied: DeniedAddresses::default().allowing_loopback(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        };
        Ok(Store::open(settings, credentials, reach).await?)
    }
}

fn files() -> Result<()> {
    let scene = Scene::start()?;
    let result = block_on(async {
        let prefix = json!({"objectStorage": {"prefix": "//team a/ü/"}});
        let store = scene.open(&prefix).await?;
        ensure!(store.list("b").await?.artifacts.is_empty());
        // More than one page, and a file of more than one piece.
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        store.put("b", "b.tar.gz", large.clone()).await?;
        let puts = (0..260).map(|number| {
            let store = store.clone();
            async move {
                let file = format!("file-{number:03}");
                store.put("b", &file, file.clone().into_bytes()).await
            }
        });
        let puts = stream::iter(puts).buffer_unordered(8);
        puts.try_collect::<Vec<_>>().await?;
        store.put("b2", "other", b"x".to_vec()).await?;
        for odd in ["a%2Bb%20c", "%E2%80%AE"] {
            let path = format!("{CONTAINER}/team%20a/%C3%BC/backups/b/{odd}");
            send(&scene.azurite, &scene.authority, "PUT", &path, "odd")?;
        }
        let listing = store.list("b").await?;
        let names: Vec<_> = listing
            .artifacts
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        ensure!(
            names.is_sorted() && names.len() == 263,
            "{} {names:?}",
            names.len()
        );
        let clock = listing.store_time.context("Azurite tells no time")?;
        for artifact in &listing.artifacts {
            let age = clock.as_second() - artifact.last_modified.as_second();
            ensure!(
                (-1..120).contains(&age) && !artifact.etag.is_empty(),
                "{artifact:?}"
            );
        }
        let tarball = listing.get("b.tar.gz").context("no tarball")?;
        let read = store.read("b", tarball).await?.bytes(3_000_000).await?;
        ensure!(read == large);
        for odd in ["a+b c", "\u{202e}"] {
            let artifact = listing
                .get(odd)
                .with_context(|| format!("{odd:?} {names:?}"))?;
            ensure!(store.read("b", artifact).await?.bytes(10).await? == b"odd");
        }
        // A file that changes after the list.
        store.put("b", "file-000", b"another size".to_vec()).await?;
        let file = listing.get("file-000").context("not listed")?;
        refused(
            store.read("b", file).await,
            "WrongSize",
            "storageAccountURI",
        )?;
        ensure!(store.list("b").await?.digest("b") != listing.digest("b"));

        let file = "velero-trust.0123456789abcdef.dsse.json";
        ensure!(!store.exists("b", file).await?);
        store.put("b", file, b"{}".to_vec()).await?;
        ensure!(store.exists("b", file).await?);
        store.delete("b", file).await?;
        ensure!(!store.exists("b", file).await?);
        store.delete("b", file).await?;

        let rights = store.rights().await;
        ensure!(
            (&rights.list, &rights.get, &rights.put) == (&Ok(()), &Ok(()), &Ok(())),
            "{rights:?}"
        );
        let content = store.content().await.context("no content")?;
        ensure!(content.is_whole && content.backups == 2, "{content:?}");
        ensure!(!store.settings().is_verified_aws());
        Ok(())
    });
    result.with_context(|| scene.azurite.tail())
}

fn wrong() -> Result<()> {
    let scene = Scene::start()?;
    block_on(async {
        let list = async |change: Value| anyhow::Ok(scene.open(&change).await?.list("b").await);
        list(json!({})).await??;
        let other = json!({"credential": {"name": "other", "key": "key"}});
        // Azure itself answers `AuthenticationFailed`.
        refused(list(other).await?, "AccessDenied", "AuthorizationFailure")?;
        let nowhere = json!({"objectStorage": {"bucket": "nowhere"}});
        refused(
            list(nowhere).await?,
            "NoBucket",
            "spec.objectStorage.bucket",
        )?;
        let absent = scene
            .open(&json!({"objectStorage": {"bucket": "nowhere"}}))
            .await?;
        refused(absent.exists("b", "f").await, "NoBucket", "no such bucket")?;
        refused(
            absent.put("b", "f", b"x".to_vec()).await,
            "NoBucket",
            "could not be written",
        )?;
        Ok(())
    })
}
