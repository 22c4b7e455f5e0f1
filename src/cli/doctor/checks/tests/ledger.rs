use super::*;
use crate::bucket::{Action, Content, ErrorKind, Rights};
use crate::cli::doctor::buckets::BucketAccess;
use crate::cli::doctor::ledger::{KeySecret, LedgerKinds, LedgerSnapshot};
use crate::digest::Sha256;
use crate::integrity::public_key::Algorithm;
use crate::kubernetes::crds::TrustedKey;
use crate::signing_key::SigningKey;

/// Returns records with all that they need.
pub(super) fn healthy() -> LedgerSnapshot {
    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let trusted = json!({
        "metadata": {
            "name": "velero-trust-ab12",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
            "annotations": {"velero-trust.io/exported-at": "2026-01-02T00:00:00Z"},
        },
        "spec": {"publicKey": key.public_pem()},
    });
    LedgerSnapshot {
        kinds: Ok(LedgerKinds::Current),
        secret: Ok(KeySecret::Key(key.public().id())),
        trusted_keys: Ok(vec![serde_json::from_value(trusted).unwrap()]),
    }
}

pub(super) fn may_all() -> BucketAccess {
    let rights = Rights {
        list: Ok(()),
        get: Ok(()),
        put: Ok(()),
    };
    BucketAccess::Tried {
        rights: Box::new(rights),
        content: None,
        role: None,
    }
}

fn keys(cluster: &mut ClusterSnapshot) -> &mut Vec<TrustedKey> {
    cluster.ledger.trusted_keys.as_mut().unwrap()
}

#[test]
fn the_kinds_and_the_key_of_the_records() {
    use Level::{Fail, Unknown, Warn};
    let apply = "kubectl apply -k manifests/crds";
    exactly(
        Fail,
        "records",
        &["no backup is recorded", apply],
        |cluster| {
            cluster.ledger.kinds = Ok(LedgerKinds::Absent);
            cluster.ledger.secret = Ok(KeySecret::Absent);
            cluster.ledger.trusted_keys = Err("not installed".to_owned());
        },
    );
    exactly(
        Fail,
        "records",
        &["not those of this version", apply],
        |cluster| {
            cluster.ledger.kinds = Ok(LedgerKinds::Different);
        },
    );
    exactly(Warn, "records", &["it is gone", "restart"], |cluster| {
        cluster.ledger.secret = Ok(KeySecret::Absent);
    });
    exactly(Warn, "records", &["has not yet", "logs"], |cluster| {
        cluster.ledger.secret = Ok(KeySecret::Absent);
        cluster.ledger.trusted_keys = Ok(Vec::new());
    });
    exactly(
        Fail,
        "records",
        &["no backup can be signed: why", "delete secret"],
        |cluster| {
            cluster.ledger.secret = Ok(KeySecret::Unusable("why".to_owned()));
        },
    );
    exactly(
        Fail,
        "records",
        &["no TrustedKey", "rollout restart"],
        |cluster| {
            cluster.ledger.secret = Ok(KeySecret::Key(Sha256::of(b"other")));
        },
    );
    let export = "velero-trust keys export --private";
    exactly(Fail, "records", &["never exported", export], |cluster| {
        keys(cluster)[0].metadata.annotations = None;
    });
    let other = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let add = |cluster: &mut ClusterSnapshot, pem: &str, scope: &Value| {
        let key = json!({"metadata": {"name": "b"}, "spec": {"publicKey": pem, "scope": scope}});
        keys(cluster).push(serde_json::from_value(key).unwrap());
    };
    exactly(
        Fail,
        "records",
        &["has a private key", "keys rotate"],
        |cluster| {
            add(cluster, &other.to_pem(), &json!({}));
        },
    );
    exactly(
        Warn,
        "records",
        &["b, velero-trust-ab12 have the same key"],
        |cluster| {
            let pem = keys(cluster)[0].spec.public_key.clone();
            add(cluster, &pem, &json!({}));
        },
    );
    exactly(
        Warn,
        "records",
        &["has nowhere, which no BackupStorageLocation is"],
        |cluster| {
            add(
                cluster,
                &other.public_pem(),
                &json!({"locations": ["nowhere"]}),
            );
        },
    );
    exactly(Unknown, "records", &["no right"], |cluster| {
        cluster.ledger.secret = Err("no right".to_owned());
    });
}

#[test]
fn what_the_credentials_may_do_in_a_bucket() {
    use Level::{Fail, Unknown, Warn};
    let refused = |action| {
        let code = "AccessDenied".to_owned();
        let kind = ErrorKind::AccessDenied { code };
        kind.during(action)
    };
    let list = || Action::List {
        backup: "b".to_owned(),
    };
    let (backup, file) = ("b".to_owned(), "f".to_owned());
    let tried = |cluster: &mut ClusterSnapshot, rights: Rights| {
        first(cluster).buckets[0].1 = BucketAccess::Tried {
            rights: Box::new(rights),
            content: None,
            role: None,
        };
    };
    let all = || Rights {
        list: Ok(()),
        get: Ok(()),
        put: Ok(()),
    };
    exactly(
        Fail,
        "bucket",
        &["cannot be recorded", "s3:ListBucket"],
        |cluster| {
            tried(
                cluster,
                Rights {
                    list: Err(refused(list())),
                    ..all()
                },
            );
        },
    );
    let read = Action::Read {
        backup: backup.clone(),
        file: file.clone(),
    };
    exactly(
        Fail,
        "bucket",
        &["cannot be recorded", "s3:GetObject"],
        |cluster| {
            tried(
                cluster,
                Rights {
                    get: Err(refused(read)),
                    ..all()
                },
            );
        },
    );
    let put = Action::Put { backup, file };
    exactly(
        Warn,
        "bucket",
        &["in the records only", "s3:PutObject"],
        |cluster| {
            tried(
                cluster,
                Rights {
                    put: Err(refused(put)),
                    ..all()
                },
            );
        },
    );
    // What this machine cannot reach is no fault of the cluster.
    exactly(Unknown, "bucket", &["did not answer in time"], |cluster| {
        let late = ErrorKind::Late.during(list());
        tried(
            cluster,
            Rights {
                list: Err(late),
                ..all()
            },
        );
    });
    exactly(Warn, "bucket", &["cannot be recorded: gcp"], |cluster| {
        first(cluster).buckets[0].1 = BucketAccess::Unusable("gcp".to_owned());
    });
    exactly(Unknown, "bucket", &["no right"], |cluster| {
        first(cluster).buckets[0].1 = BucketAccess::Unknown("no right".to_owned());
    });
}

#[test]
fn a_password_that_everybody_knows_is_told() {
    exactly(
        Level::Warn,
        "repository",
        &["default", "velero-repo-credentials"],
        |cluster| {
            first(cluster).has_default_password = Ok(true);
        },
    );
}

#[test]
fn how_much_is_read_is_told_beforehand() {
    let told = |bytes, is_whole| {
        let mut cluster = super::healthy();
        if let BucketAccess::Tried { content, .. } = &mut first(&mut cluster).buckets[0].1 {
            *content = Some(Content {
                backups: 300,
                bytes,
                is_whole,
            });
        }
        let all = run_all(&cluster);
        let bucket = all.iter().find(|one| one.check == "bucket").unwrap();
        assert_eq!(bucket.level, Level::Ok, "{bucket:?}");
        bucket.message.clone()
    };
    let all = "its 300 backups hold 1200.1 GB, and each is read once";
    assert!(told(1_200_000_000_001, true).contains(all));
    let some = "its at least 300 backups hold at least 1 MB";
    assert!(told(1, false).contains(some));
}
