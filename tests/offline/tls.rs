//! Valid and invalid handshakes, and certificates that change while they are served.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use velero_trust::serving::Timeouts;
use velero_trust::serving::certificates::Files;

use crate::authority::{Authority, Issued, valid};
use crate::client::{Client, PATIENCE};
use crate::rig::{Plan, RESTORES, Rig, assert_allowed, good, validated};

/// Certificates that are swapped under load.
const SWAPS: usize = 1_000;

const POLL: Duration = Duration::from_millis(5);

#[tokio::test]
async fn only_http_1_1_is_spoken() {
    let rig = Rig::start(Plan::default()).await;
    let both = Client::tls_with(rig.address, &rig.roots, &[b"h2", b"http/1.1"]).await;
    assert_eq!(both.unwrap().alpn.as_deref(), Some(b"http/1.1".as_slice()));
    assert!(
        Client::tls_with(rig.address, &rig.roots, &[b"h2"])
            .await
            .is_err()
    );
    assert!(Client::tls_with(rig.address, &rig.roots, &[]).await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_is_none_or_stays_half_ends_and_hinders_nobody() {
    let timeouts = Timeouts {
        handshake: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let rig = Rig::start(Plan {
        timeouts,
        ..Plan::default()
    })
    .await;
    let mut silent = Client::plain(rig.address).await.unwrap();
    let mut half = Client::plain(rig.address).await.unwrap();
    // The first bytes of a ClientHello that announces 512 bytes.
    half.write(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    rig.assert_well().await;
    silent.assert_closed().await;
    half.assert_closed().await;
    rig.metric("velero_trust_handshake_failures_total 2").await;
    let mut plain = Client::plain(rig.address).await.unwrap();
    plain.write(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    rig.metric("velero_trust_handshake_failures_total 3").await;
    let stranger = Authority::new();
    assert!(Client::tls(rig.address, &stranger.roots()).await.is_err());
    rig.metric("velero_trust_handshake_failures_total 4").await;
    rig.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_reaches_new_connections_and_costs_no_request() {
    let rig = Arc::new(Rig::start(Plan::default()).await);
    let mut old = rig.client().await;
    assert_eq!(old.certificate, Some(rig.first.der.clone()));
    let done = Arc::new(AtomicBool::new(false));
    let load: Vec<JoinHandle<u32>> = (0..4)
        .map(|_| {
            let (rig, done) = (Arc::clone(&rig), Arc::clone(&done));
            tokio::spawn(async move {
                let mut answered = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut client = rig.client().await;
                    for _ in 0..3 {
                        let answer = client.review(RESTORES, &good("u")).await.unwrap();
                        assert_allowed(&answer, "u");
                        answered += 1;
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..SWAPS {
        let next = rig.authority.issue();
        rig.sender.as_ref().unwrap().publish(&validated(&next));
        assert_eq!(rig.client().await.certificate, Some(next.der));
    }
    done.store(true, Ordering::Relaxed);
    for load in load {
        assert!(load.await.unwrap() > 100);
    }
    assert_allowed(&old.review(RESTORES, &good("u")).await.unwrap(), "u");
}

/// Starts to follow the files in `folder`, until the returned value is dropped.
fn follow(rig: &mut Rig, folder: &Path) -> Following {
    follow_files(
        rig,
        Files::new(folder.join("tls.crt"), folder.join("tls.key")),
    )
}

/// Starts to follow `files`, until the returned value is dropped.
pub(crate) fn follow_files(rig: &mut Rig, files: Files) -> Following {
    let first = files.load().unwrap();
    let sender = rig.sender.take().unwrap();
    Following(tokio::spawn(files.follow(first, sender, POLL)))
}

pub(crate) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sees(rig: &Rig, issued: &Issued) {
    let seen = async {
        while rig.client().await.certificate.as_ref() != Some(&issued.der) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("the certificate is never served");
}

/// Waits until the follower has failed again.
pub(crate) async fn fails_again(rig: &Rig) {
    let before = rig.metrics.tls_reload_failures.get();
    crate::rig::until(|| rig.metrics.tls_reload_failures.get() > before + 1).await;
}

#[tokio::test]
async fn a_bad_pair_after_a_good_one_keeps_the_good_one() {
    let mut rig = Rig::start(Plan::default()).await;
    let folder = TempDir::new().unwrap();
    let (one, two) = (rig.authority.issue(), rig.authority.issue());
    one.write(folder.path());
    let _following = follow(&mut rig, folder.path());
    sees(&rig, &one).await;
    assert_eq!(rig.metrics.tls_reload_failures.get(), 0);

    let expired = rig
        .authority
        .issue_with(|params| valid(params, -7200, -3600));
    let mismatch = Issued {
        key: two.key.clone(),
        ..one.clone()
    };
    let cut = Issued {
        certificate: two.certificate[..200].to_owned(),
        ..two.clone()
    };
    for bad in [expired, mismatch, cut] {
        bad.write(folder.path());
        fails_again(&rig).await;
        assert_eq!(rig.client().await.certificate, Some(one.der.clone()));
    }
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    fails_again(&rig).await;
    rig.assert_well().await;

    two.write(folder.path());
    sees(&rig, &two).await;
}

#[tokio::test]
async fn a_kubelets_swap_of_links_is_seen_and_never_mixes_two_pairs() {
    let mut rig = Rig::start(Plan::default()).await;
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let swap = |generation: &str, issued: &Issued| {
        std::fs::create_dir(root.join(generation)).unwrap();
        issued.write(&root.join(generation));
        std::os::unix::fs::symlink(generation, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let one = rig.authority.issue();
    swap("..1", &one);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), root.join(name)).unwrap();
    }
    let _following = follow(&mut rig, root);
    sees(&rig, &one).await;
    for generation in ["..2", "..3", "..4", "..5"] {
        let next = rig.authority.issue();
        swap(generation, &next);
        sees(&rig, &next).await;
    }
    assert_eq!(rig.metrics.tls_reload_failures.get(), 0);
}

#[tokio::test]
async fn the_expiry_of_the_served_certificate_is_a_metric() {
    let rig = Rig::start(Plan::default()).await;
    let first = rig.metrics.certificate_expiry.get();
    let longer = rig
        .authority
        .issue_with(|params| valid(params, -3600, 172_800));
    rig.sender.as_ref().unwrap().publish(&validated(&longer));
    let gained = rig.metrics.certificate_expiry.get() - first;
    assert!((86_300..86_500).contains(&gained), "{gained}");
}

/// Errors at the start name the file and the fix in one sentence.
#[test]
fn files_that_may_not_be_served_are_refused_with_a_sentence_that_names_them() {
    let authority = Authority::new();
    let good = authority.issue();
    let other = authority.issue();
    let with = |change: fn(&mut rcgen::CertificateParams)| authority.issue_with(change);
    let certificate = |text: &str| Issued {
        certificate: text.to_owned(),
        ..good.clone()
    };
    let key = |text: &str| Issued {
        key: text.to_owned(),
        ..good.clone()
    };
    for (issued, file, message) in [
        (
            key(&other.key),
            "tls.key",
            "does not belong to the certificate",
        ),
        (
            with(|params| valid(params, -7200, -3600)),
            "tls.crt",
            "expired",
        ),
        (
            with(|params| valid(params, 3600, 7200)),
            "tls.crt",
            "not valid before",
        ),
        (
            with(|params| params.subject_alt_names.clear()),
            "tls.crt",
            "names no host",
        ),
        (
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "tls.crt",
            "not for servers",
        ),
        (certificate(""), "tls.crt", "it is empty"),
        (
            certificate("text"),
            "tls.crt",
            "no PEM block of type CERTIFICATE",
        ),
        (certificate(&good.key), "tls.crt", "swapped"),
        (
            certificate(&good.certificate[..200]),
            "tls.crt",
            "a PEM block is broken",
        ),
        (
            certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "tls.crt",
            "cannot be parsed",
        ),
        (key(""), "tls.key", "it is empty"),
        (key("text"), "tls.key", "no PEM block with a private key"),
        (key(&good.certificate), "tls.key", "swapped"),
        (
            key(
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ),
            "tls.key",
            "encrypted",
        ),
        (
            key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "tls.key",
            "cannot be used",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        issued.write(folder.path());
        let path = |name| folder.path().join(name);
        let error = Files::new(path("tls.crt"), path("tls.key"))
            .load()
            .unwrap_err();
        let said = error.to_string();
        assert!(said.contains(message), "{message}: {said}");
        assert!(said.contains(path(file).to_str().unwrap()), "{said}");
        assert!(said.contains("; "), "says what to do: {said}");
        assert!(!said.contains(&good.key[40..80]), "{said}");
    }
}

#[test]
fn a_file_that_is_absent_or_unreadable_is_named() {
    let folder = TempDir::new().unwrap();
    let good = Authority::new().issue();
    let path = |name| folder.path().join(name);
    let load = || {
        Files::new(path("tls.crt"), path("tls.key"))
            .load()
            .unwrap_err()
            .to_string()
    };
    assert!(load().contains("tls.crt` cannot be read"), "{}", load());
    good.write(folder.path());
    std::fs::remove_file(path("tls.key")).unwrap();
    assert!(load().contains("tls.key` cannot be read"), "{}", load());
    std::fs::create_dir(path("tls.key")).unwrap();
    assert!(load().contains("tls.key` cannot be read"), "{}", load());
}
