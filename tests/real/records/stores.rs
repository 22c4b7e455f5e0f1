//! The ways in which a location can be set up, and what is wrong in a bucket.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use velero_trust::bucket::{
    BucketSettings, ClusterSecrets, Credentials, CredentialsError, NoIdentity, Store,
};
use velero_trust::digest::Sha256;
use velero_trust::integrity::public_key::PublicKey;
use velero_trust::integrity::verification::verify;
use velero_trust::kubernetes::crds::{BackupRecord, BackupRecordStatus, TrustedKey};
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::azurite::Azurite;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::fake_gcs::FakeGcs;
use velero_trust_testing::minio::{ACCESS_KEY, REGION, SECRET_KEY};
use velero_trust_testing::wait::{self, PATIENCE};
use velero_trust_testing::{installer, scratch};

use super::{BUCKET, Extra, NAMESPACE, Scene, tarball};
use crate::bucket::{limited_to, send_to};
use crate::shared::binary;
use crate::{azure, gcs};

/// The rights that docs/records.md lists, for the location with the prefix `least`, and of these
/// those without which records are only in the cluster.
fn rights(puts: bool) -> Value {
    let all = format!("arn:aws:s3:::{BUCKET}");
    let files = format!("{all}/least/backups/*");
    let ours = format!("{files}/velero-trust.*.dsse.json");
    let mut statements = vec![
        json!({"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [all]}),
        json!({"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [files]}),
    ];
    if puts {
        let actions = ["s3:PutObject", "s3:DeleteObject"];
        statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": [ours]}));
    }
    Value::Array(statements)
}

/// The other clouds, as far as there are emulators.
struct Clouds {
    azurite: Azurite,
    fake_gcs: FakeGcs,
}

impl Clouds {
    fn start(scene: &Scene) -> Result<Self> {
        let authority = &scene.minio.authority;
        let azurite = Azurite::start(authority)?;
        azure::make_container(&azurite, authority, BUCKET)?;
        let fake_gcs = FakeGcs::start(authority, &[BUCKET])?;
        Ok(Self { azurite, fake_gcs })
    }

    /// Returns the changes to a location of MinIO that make one of a container or bucket of them.
    fn locations(&self) -> [(&'static str, Value, Option<&'static str>); 2] {
        let change = |location: &Value, key: &str| {
            let mut change = location["spec"].clone();
            change["credential"] = json!({"name": "clouds", "key": key});
            for setting in ["region", "s3ForcePathStyle", "s3Url"] {
                change["config"][setting] = Value::Null;
            }
            change
        };
        let azure = self.azurite.location(NAMESPACE, "any", BUCKET);
        let gcs = self.fake_gcs.location(NAMESPACE, "any", BUCKET);
        [
            ("azure", change(&azure, "azure"), None),
            ("gcs", change(&gcs, "gcs"), None),
        ]
    }
}

/// The locations, with the reason why the envelope is not in the bucket.
fn locations() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let prefix = |prefix: &str| json!({"prefix": prefix});
    vec![
        ("plain", json!({}), None),
        (
            "prefix",
            json!({"objectStorage": prefix("/team a/x/")}),
            None,
        ),
        (
            "installed",
            json!({"credential": null, "objectStorage": prefix("installed")}),
            None,
        ),
        (
            "customer-key",
            json!({
                "objectStorage": prefix("ssec"),
                "config": {"customerKeyEncryptionSecret": "ssec/key"},
            }),
            None,
        ),
        (
            "locked",
            json!({"objectStorage": {"bucket": "locked"}}),
            None,
        ),
        (
            "read-only",
            json!({"accessMode": "ReadOnly", "objectStorage": prefix("read-only")}),
            Some("the location is ReadOnly"),
        ),
        (
            "least",
            json!({
                "credential": {"name": "rights", "key": "least"},
                "objectStorage": prefix("least"),
            }),
            None,
        ),
        (
            "no-put",
            json!({
                "credential": {"name": "rights", "key": "no-put"},
                "objectStorage": prefix("least"),
            }),
            Some("s3:PutObject"),
        ),
        (
            "role",
            json!({
                "credential": {"name": "rights", "key": "role"},
                "objectStorage": prefix("role"),
            }),
            None,
        ),
    ]
}

/// A file of credentials with a role, which MinIO gives keys for.
fn role() -> String {
    format!(
        "[default]\nrole_arn = arn:aws:iam::1:role/backups\nsource_profile = base\n\
         [base]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
}

pub(super) fn stores() -> Result<()> {
    let scene = Scene::start()?;
    set_up(&scene)?;
    let clouds = Clouds::start(&scene)?;
    let locations = || locations().into_iter().chain(clouds.locations());
    let arguments = ["--probe=loopback"];
    let sts = ("AWS_ENDPOINT_URL_STS", scene.minio.url.as_str());
    let mut replica = scene.servers.replica_where(sts, &arguments)?;
    let result = (|| {
        for (name, change, _) in locations() {
            scene.location(name, &change)?;
            let store = open(&scene, &change)?;
            scene.back_up(&store, name, &[name.to_owned()], &[])?;
        }
        for (name, change, reason) in locations() {
            is_recorded(&scene, name, &change, reason).with_context(|| name.to_owned())?;
        }
        what_is_under_our_name_stays(&scene)?;
        what_cannot_be_read_is_read_later(&scene)?;
        what_is_no_backup_is_not_signed(&scene)
    })();
    result.with_context(|| replica.log())?;
    replica.signal("KILL")?;
    replica.ended(PATIENCE)?;
    // As after the deletion of our namespace.
    let secret = ["delete", "secret", "velero-trust-signing-key", "-n"];
    let secret = [&secret[..], &[installer::NAMESPACE]].concat();
    scene.servers.kubectl.ok(&secret)?;
    let replica = scene
        .servers
        .replica(&[&arguments[..], &["--key-type=ed25519"]].concat())?;
    a_new_key_leaves_what_the_old_one_signed(&scene).with_context(|| replica.log())
}

fn set_up(scene: &Scene) -> Result<()> {
    let kubectl = &scene.servers.kubectl;
    let secret = |name: &str, data: Value| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": NAMESPACE, "name": name}, "data": data,
        });
        kubectl.apply(&secret.to_string()).map(drop)
    };
    let [least, no_put] = [true, false].map(|puts| limited_to(&scene.minio, &rights(puts)));
    let (least, no_put) = (ByteString(least?), ByteString(no_put?));
    let assumed = ByteString(role().into_bytes());
    secret(
        "rights",
        json!({"least": least, "no-put": no_put, "role": assumed}),
    )?;
    secret("ssec", json!({"key": ByteString(vec![b'k'; 32])}))?;
    let key = ByteString(azure::credentials());
    secret(
        "clouds",
        json!({"azure": key, "gcs": ByteString(gcs::credentials()?)}),
    )?;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "namespace": NAMESPACE, "name": "velero",
            "labels": {"component": "velero"},
        },
        "spec": {
            "selector": {"matchLabels": {"deploy": "velero"}},
            "template": {
                "metadata": {"labels": {"component": "velero", "deploy": "velero"}},
                "spec": {
                    "containers": [{
                        "name": "velero", "image": "velero/velero:v1.18.3",
                        "command": ["/velero"], "args": ["server"],
                        "env": [{
                            "name": "AWS_SHARED_CREDENTIALS_FILE",
                            "value": "/credentials/cloud",
                        }],
                        "volumeMounts": [{"name": "cloud", "mountPath": "/credentials"}],
                    }],
                    "volumes": [{"name": "cloud", "secret": {"secretName": "cloud"}}],
                },
            },
        },
    });
    kubectl.apply(&deployment.to_string())?;
    let lock = [("x-amz-bucket-object-lock-enabled", "true")];
    let made = send_to(&scene.minio, "s3", "PUT", "locked", &lock, "")?;
    ensure!(made.status == 200, "{}", made.body);
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    let set = send_to(&scene.minio, "s3", "PUT", "locked?object-lock=", &[], rule)?;
    ensure!(set.status == 200, "{}", set.body);
    Ok(())
}

/// Opens the bucket of a location with all rights.
fn open(scene: &Scene, change: &Value) -> Result<Store> {
    let mut location = scene.minio.location(NAMESPACE, "any", BUCKET);
    json_patch::merge(&mut location["spec"], change);
    if change.get("provider").is_none() {
        location["spec"]["credential"] = json!({"name": "cloud", "key": "cloud"});
    }
    let settings = BucketSettings::read(NAMESPACE, &Bsl::from_json(&location.to_string()))?;
    let secrets = ClusterSecrets::new(scene.servers.client.clone(), NAMESPACE);
    let opened = async {
        let identity = NoIdentity(CredentialsError::NoKeys);
        let credentials = Credentials::read(&settings, &secrets, &identity).await?;
        anyhow::Ok(Store::open(settings.clone(), credentials, scene.reach()).await?)
    };
    scene.servers.runtime.block_on(opened)
}

pub(super) fn until_state(
    scene: &Scene,
    name: &str,
    state: &str,
    reason: Option<&str>,
) -> Result<BackupRecordStatus> {
    wait::poll(&format!("{name} to be {state}"), 2 * PATIENCE, || {
        let records = scene.records()?;
        let record = records.get(name).context("no record")?;
        ensure!(record.len() == 1, "{} records", record.len());
        let status = record[0].status.clone().context("no status")?;
        ensure!(status.state.as_str() == state, "{status:?}");
        ensure!(
            reason.is_none() || status.reason.as_deref() == reason,
            "{status:?}"
        );
        Ok(status)
    })
}

/// Fails unless the Backup is recorded, and its envelope is in the bucket or the record says why not.
fn is_recorded(scene: &Scene, name: &str, change: &Value, reason: Option<&str>) -> Result<()> {
    let status = until_state(scene, name, "Recorded", None)?;
    let checksum = format!("sha256:{}", Sha256::of(&tarball(name)));
    ensure!(status.checksum == Some(checksum), "{status:?}");
    let message = status.message.clone().unwrap_or_default();
    ensure!(message.contains(reason.unwrap_or_default()), "{message}");
    let store = open(scene, change)?;
    let listing = scene.servers.runtime.block_on(store.list(name))?;
    let envelopes = listing.artifacts.iter();
    let envelopes = envelopes.filter(|file| file.name.starts_with("velero-trust."));
    ensure!(
        envelopes.count() == usize::from(reason.is_none()),
        "{listing:?} {message}"
    );
    ensure!(status.envelope_in_bucket == reason.is_none(), "{status:?}");
    Ok(())
}

/// A large file and a foreign one have the name of our envelope.
fn what_is_under_our_name_stays(scene: &Scene) -> Result<()> {
    let store = scene.store()?;
    let listing = scene.servers.runtime.block_on(store.list("plain"))?;
    let ours = listing
        .artifacts
        .iter()
        .find(|file| file.name.starts_with("velero-trust."));
    let ours = ours.context("no envelope")?.name.clone();
    let contents = [
        ("huge", vec![b' '; 50 << 20]),
        ("foreign", br#"{"a": 1}"#.to_vec()),
    ];
    for (name, content) in contents {
        let size = content.len() as u64;
        let extra: Extra = vec![(ours.clone(), content)];
        scene.back_up(&store, "plain", &[name.to_owned()], &extra)?;
        let status = until_state(scene, name, "Recorded", None)?;
        let message = status.message.unwrap_or_default();
        ensure!(message.contains("somebody else's file"), "{message}");
        let listing = scene.servers.runtime.block_on(store.list(name))?;
        let left = listing.get(&ours).context("it is gone")?;
        ensure!(left.size == size, "{left:?}");
    }
    Ok(())
}

fn what_cannot_be_read_is_read_later(scene: &Scene) -> Result<()> {
    let store = scene.store()?;
    let nowhere = json!({"objectStorage": {"bucket": "nowhere"}});
    scene.location("wrong", &nowhere)?;
    let empty = json!({"objectStorage": {"prefix": "elsewhere"}});
    scene.location("moved", &empty)?;
    for (name, reason) in [("wrong", "NoBucket"), ("moved", "NoFiles")] {
        scene.back_up(&store, name, &[name.to_owned()], &[])?;
        until_state(scene, name, "Unreadable", Some(reason))?;
    }
    for name in ["wrong", "moved"] {
        scene.location(
            name,
            &json!({"objectStorage": {"bucket": BUCKET, "prefix": null}}),
        )?;
    }
    for name in ["wrong", "moved"] {
        let status = until_state(scene, name, "Recorded", None)?;
        ensure!(status.envelope_in_bucket, "{status:?}");
    }
    Ok(())
}

fn what_is_no_backup_is_not_signed(scene: &Scene) -> Result<()> {
    let store = scene.store()?;
    let many: Extra = (0..40)
        .map(|at| (format!("file-{at}"), b"x".to_vec()))
        .collect();
    let odd: Extra = vec![("a\u{202e}b".to_owned(), b"x".to_vec())];
    let twice = br#"{"kind": "Backup", "kind": "Backup"}"#.to_vec();
    let twice: Extra = vec![("velero-backup.json".to_owned(), twice)];
    for (name, extra, reason) in [
        ("many", many, "FilesIncomplete"),
        ("odd", odd, "FilesIncomplete"),
        ("twice", twice, "DocumentUnreadable"),
    ] {
        scene.back_up(&store, "plain", &[name.to_owned()], &extra)?;
        let status = until_state(scene, name, "Unobserved", Some(reason))?;
        let message = status.message.unwrap_or_default();
        ensure!(
            !message.contains('\u{202e}') && status.envelope.is_none(),
            "{message}"
        );
    }
    Ok(())
}

/// The commands take keys of both types.
fn is_verified_with_its_type_of_key(scene: &Scene, keys: &[TrustedKey]) -> Result<()> {
    let ours = Cli::new(binary().to_owned(), Some(scene.servers.kubeconfig()))?;
    let listed = ours.ok(&["keys", "list", "--output=wide"])?;
    let folder = scratch::folder("keys")?;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, scene.minio.authority.pem())?;
    let verifier = Cli::new(binary().to_owned(), None)?.with_environment(&[
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL", &scene.minio.url),
        (
            "AWS_CA_BUNDLE",
            ca.to_str().context("a path that is no text")?,
        ),
    ]);
    for (backup, algorithm) in [("plain", "ECDSA-P256"), ("later", "Ed25519")] {
        let is_so = |key: &&TrustedKey| key.spec.algorithm.as_deref() == Some(algorithm);
        let key = keys.iter().find(is_so).context(algorithm)?;
        let name = key.metadata.name.as_deref().context("a key without name")?;
        ensure!(
            listed
                .lines()
                .any(|line| line.starts_with(name) && line.contains(algorithm))
        );
        let file = folder.path().join(algorithm);
        let file = file.to_str().context("a path that is no text")?;
        ours.ok(&["keys", "export", name, "--out", file])?;
        let url = format!("s3://{BUCKET}/backups/{backup}");
        verifier.ok(&["verify", &url, "--key", file])?;
    }
    Ok(())
}

fn a_new_key_leaves_what_the_old_one_signed(scene: &Scene) -> Result<()> {
    let store = scene.store()?;
    scene.back_up(&store, "plain", &["later".to_owned()], &[])?;
    let later = until_state(scene, "later", "Recorded", None)?;
    let list = ListParams::default();
    let keys = Api::<TrustedKey>::all(scene.servers.client.clone());
    let keys = scene.servers.runtime.block_on(keys.list(&list))?;
    ensure!(keys.items.len() == 2, "{} keys", keys.items.len());
    is_verified_with_its_type_of_key(scene, &keys.items)?;
    let pems = keys
        .iter()
        .map(|key| PublicKey::from_pem(&key.spec.public_key));
    let pems = pems.collect::<Result<Vec<_>, _>>()?;
    let pems: Vec<_> = pems.iter().collect();
    let signer = |record: &BackupRecordStatus, name: &str| {
        let envelope = record.envelope.as_deref().unwrap_or_default();
        anyhow::Ok(verify(envelope.as_bytes(), &pems, Some(name), &[])?.key)
    };
    let plain = until_state(scene, "plain", "Recorded", None)?;
    ensure!(signer(&plain, "plain")? != signer(&later, "later")?);
    // The first judgement stays after a restart.
    let records = Api::<BackupRecord>::all(scene.servers.client.clone());
    let records = scene.servers.runtime.block_on(records.list(&list))?;
    let states = records.iter().filter_map(|record| record.status.as_ref());
    let unobserved = states.filter(|status| status.state.as_str() == "Unobserved");
    ensure!(unobserved.count() == 3);
    Ok(())
}
