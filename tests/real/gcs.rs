//! A bucket of fake-gcs-server over TLS: listed, read, written, and refused. It takes every token, so that
//! what Google does with a wrong one is shown without it, in `src/bucket/protocol/gcs/answer.rs`.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use libtest_mimic::Trial;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use velero_trust::bucket::{
    BucketSettings, Credentials, CredentialsError, NoIdentity, Reach, Store, Timing, Trust,
};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::fake_gcs::FakeGcs;
use velero_trust_testing::pki::Authority;

use crate::bucket::{Secrets, block_on, refused};
use crate::shared::alone;

const BUCKET: &str = "backups";

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "gcs::files_are_listed_read_written_and_deleted",
        files,
    )]
}

/// Returns the key of a service account, as Google writes it.
pub(crate) fn credentials() -> Result<Vec<u8>> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let file = json!({
        "type": "service_account",
        "client_email": "velero@test.iam.gserviceaccount.com",
        "private_key": key.serialize_pem(),
        "private_key_id": "0123",
        "token_uri": "https://127.0.0.1:1/nobody-asks-here",
    });
    Ok(file.to_string().into_bytes())
}

fn files() -> Result<()> {
    let authority = Authority::new("velero-trust test: CA of fake-gcs-server")?;
    let server = FakeGcs::start(&authority, &[BUCKET])?;
    let secrets = Secrets([("cloud/cloud", credentials()?)].into());
    let open = async |change: &Value| {
        let mut location = server.location("velero", "default", BUCKET);
        json_patch::merge(&mut location["spec"], change);
        let settings = BucketSettings::read("velero", &Bsl::from_json(&location.to_string()))?;
        let identity = NoIdentity(CredentialsError::NoKeys);
        let credentials = Credentials::read(&settings, &secrets, &identity).await?;
        let reach = Reach {
            trust: Trust::bundle("velero", &authority.pem()),
            denied: DeniedAddresses::default().allowing_loopback(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        };
        anyhow::Ok(Store::open(settings, credentials, reach).await?)
    };
    let result = block_on(async {
        let prefix = json!({"objectStorage": {"prefix": "//team a/ü/"}});
        let store = open(&prefix).await?;
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
        store.put("b", "a+b c", b"odd".to_vec()).await?;

        let listing = store.list("b").await?;
        let names: Vec<_> = listing
            .artifacts
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        ensure!(
            names.is_sorted() && names.len() == 262,
            "{} {names:?}",
            names.len()
        );
        let clock = listing.store_time.context("the server tells no time")?;
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
        let odd = listing.get("a+b c").context("not listed")?;
        ensure!(store.read("b", odd).await?.bytes(10).await? == b"odd");
        // A file that changes after the list.
        store.put("b", "file-000", b"another size".to_vec()).await?;
        let file = listing.get("file-000").context("not listed")?;
        refused(store.read("b", file).await, "WrongSize", "storeEndpoint")?;
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
        ensure!(!store.settings().is_verified_aws());
        let nowhere = open(&json!({"objectStorage": {"bucket": "nowhere"}})).await?;
        refused(
            nowhere.list("b").await,
            "NoBucket",
            "spec.objectStorage.bucket",
        )
    });
    result.with_context(|| server.tail())
}
