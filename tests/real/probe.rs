//! What a real store presents, and how it is judged.

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use std::time::{Duration, SystemTime};
use velero_trust::ca::certificate::Certificate;
use velero_trust::ca::endpoint::judge::judge;
use velero_trust::ca::endpoint::{self, DeniedAddresses, Target};
use velero_trust::controllers::probe::{ProbeLimits, fetch_certificates};
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::minio::Minio;
use velero_trust_testing::pki::Authority;

/// Time limit that is long enough on a machine that is busy with other trials.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("probe::sees_what_minio_presents", || {
        Ok(sees()?)
    })]
}

fn sees() -> Result<()> {
    let minio = Minio::start(&["backups"])?;
    let location = minio.location("velero", "default", "backups").to_string();
    let bsl: Bsl<'_> = serde_json::from_str(&location)?;
    let endpoints: Vec<_> = endpoint::read_endpoints("velero", &bsl)
        .into_iter()
        .flatten()
        .collect();
    let [found] = endpoints.as_slice() else {
        anyhow::bail!("not one endpoint: {endpoints:?}");
    };
    ensure!(found.url == minio.url && found.verified_by_velero);

    let ours = Certificate::parse(minio.authority.der())?;
    let other = Certificate::parse(Authority::new("another CA")?.der())?;
    let elsewhere = Target {
        host: "minio.example".to_owned(),
        ..found.target.clone()
    };
    for (target, roots, said) in [
        (&found.target, vec![ours.clone()], None),
        (
            &found.target,
            vec![other],
            Some("CA does not match the endpoint: issuer CN=velero-trust test: CA of MinIO"),
        ),
        (
            &elsewhere,
            vec![ours],
            Some("does not name `minio.example`, only localhost, 127.0.0.1"),
        ),
    ] {
        let observation = judge(&presented(target)?, &target.host, &roots, now()?);
        let texts: Vec<_> = observation
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        ensure!(
            texts.len() == usize::from(said.is_some())
                && said.is_none_or(|said| texts[0].contains(said)),
            "{target:?}: {texts:?}"
        );
    }
    // The store only got handshakes, and it still works.
    minio.check_live(&minio.authority.pem())
}

fn presented(target: &Target) -> Result<Vec<Vec<u8>>> {
    let limits = ProbeLimits {
        deadline: PATIENCE,
        ..ProbeLimits::default()
    };
    let denied = DeniedAddresses::default().allowing_loopback();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(fetch_certificates(target, &denied, limits));
    found.context("MinIO does not show its certificates")
}

fn now() -> Result<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())?)
}
