//! `--client-ca`: only clients with a certificate of one of these CAs may send reviews.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;
use velero_trust::serving::certificates::Files;

use crate::authority::{Authority, Issued, valid};
use crate::client::{Client, PATIENCE};
use crate::rig::{Plan, RESTORES, Rig, assert_allowed, good, until};
use crate::tls::{Following, fails_again, follow_files};

fn files(folder: &Path) -> Files {
    let path = |name: &str| folder.join(name);
    Files::new(path("tls.crt"), path("tls.key")).with_client_ca(Some(path("clients.crt")))
}

/// Starts a server that admits only the clients of `clients`.
async fn start(clients: &Authority) -> (Rig, TempDir, Following) {
    let mut rig = Rig::start(Plan::default()).await;
    let folder = TempDir::new().unwrap();
    rig.first.write(folder.path());
    fs::write(folder.path().join("clients.crt"), clients.pem()).unwrap();
    let before = rig
        .sender
        .as_ref()
        .map(|_| rig.metrics.handshake_failures.get());
    assert_eq!(before, Some(0));
    let following = follow_files(&mut rig, files(folder.path()));
    (rig, folder, following)
}

/// Sends a review as a client with this certificate, or with none. With TLS 1.3, a client learns
/// that it is refused only when it reads.
async fn review(rig: &Rig, identity: Option<&Issued>) -> io::Result<()> {
    let mut client = match identity {
        Some(identity) => Client::tls_as(identity, rig.address, &rig.roots).await?,
        None => Client::tls(rig.address, &rig.roots).await?,
    };
    assert_allowed(&client.review(RESTORES, &good("u")).await?, "u");
    Ok(())
}

/// Waits until reviews with this certificate are answered.
async fn is_admitted(rig: &Rig, identity: &Issued) {
    let admitted = async {
        while review(rig, Some(identity)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, admitted)
        .await
        .expect("it is never admitted");
}

/// Waits until nobody without a certificate is served.
async fn is_closed(rig: &Rig) {
    let closed = async {
        while review(rig, None).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("anybody is served");
}

#[tokio::test]
async fn only_a_client_with_a_certificate_of_the_ca_is_heard() {
    let clients = Authority::new();
    let (rig, _folder, _following) = start(&clients).await;
    is_closed(&rig).await;
    review(&rig, Some(&clients.issue_client())).await.unwrap();
    let server = clients.issue_with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let expired = clients.issue_with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid(params, -7200, -3600);
    });
    let before = rig.metrics.handshake_failures.get();
    for stranger in [server, expired, Authority::new().issue_client()] {
        assert!(review(&rig, Some(&stranger)).await.is_err());
    }
    assert!(review(&rig, None).await.is_err());
    until(|| rig.metrics.handshake_failures.get() == before + 4).await;
    // kubelet and Prometheus have no certificate.
    assert_eq!(rig.ops("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_bad_client_ca_after_a_good_one_keeps_the_good_one() {
    let (one, two) = (Authority::new(), Authority::new());
    let (rig, folder, _following) = start(&one).await;
    is_closed(&rig).await;
    let (of_one, of_two) = (one.issue_client(), two.issue_client());
    let file = folder.path().join("clients.crt");
    let cut = two.pem()[..200].to_owned();
    for bad in [String::new(), "text".to_owned(), cut, two.issue().key] {
        fs::write(&file, bad).unwrap();
        fails_again(&rig).await;
        review(&rig, Some(&of_one)).await.unwrap();
        assert!(review(&rig, None).await.is_err());
    }
    fs::remove_file(&file).unwrap();
    fails_again(&rig).await;
    review(&rig, Some(&of_one)).await.unwrap();
    assert!(review(&rig, None).await.is_err());

    fs::write(&file, two.pem()).unwrap();
    is_admitted(&rig, &of_two).await;
    assert!(review(&rig, Some(&of_one)).await.is_err());
    fs::write(&file, one.pem() + &two.pem()).unwrap();
    is_admitted(&rig, &of_one).await;
    review(&rig, Some(&of_two)).await.unwrap();
}

#[test]
fn a_client_ca_that_cannot_be_used_is_refused_with_a_sentence_that_names_it() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    authority.issue().write(folder.path());
    let load = || files(folder.path()).load().unwrap_err().to_string();
    assert!(load().contains("clients.crt` cannot be read"), "{}", load());
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, message) in [
        (String::new(), "it holds no certificate"),
        (authority.issue().key, "it holds no certificate"),
        (authority.pem()[..200].to_owned(), "a PEM block is broken"),
        (block.to_owned(), "cannot be parsed"),
    ] {
        fs::write(folder.path().join("clients.crt"), text).unwrap();
        let said = load();
        assert!(
            said.contains(message) && said.contains("clients.crt"),
            "{said}"
        );
        assert!(said.contains("; give a PEM file"), "{said}");
    }
}
