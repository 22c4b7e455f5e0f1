//! The keys that are said to have signed a backup that came by sync, as its record tells them.

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};

use crate::cli::backup::{records_of, select_record};
use crate::cli::eprint_line;
use crate::digest::Sha256;
use crate::integrity::public_key::PublicKey;
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::BackupRecord;

use super::fingerprint::{self, FingerprintError};

/// Time between two looks for the record.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the record of a backup. Waits for at most `timeout` until Velero has synced the Backup, and the signed lists
/// beside it are read.
pub(super) async fn wait_for_record(
    client: &Client,
    name: &str,
    namespace: Option<&str>,
    timeout: Duration,
) -> anyhow::Result<BackupRecord> {
    let deadline = Instant::now() + timeout;
    let mut was_told = false;
    loop {
        let records = records_of(client, name).await;
        let records = records.map_err(|error| error.explain("records"))?;
        let is_wanted =
            |record: &&BackupRecord| namespace.is_none_or(|one| one == record.spec.namespace);
        let mut wanted = records.iter().filter(is_wanted);
        if !wanted.all(is_to_come) || Instant::now() >= deadline {
            return Ok(select_record(records, name, namespace)?.0);
        }
        if !std::mem::replace(&mut was_told, true) {
            eprint_line(&format!(
                "velero-trust: waiting until Velero has synced {name}, and the signed list beside it is read"
            ));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whether nobody has looked at the files of the backup yet.
fn is_to_come(record: &BackupRecord) -> bool {
    let status = record.status.as_ref();
    status.is_none_or(|status| status.state == RecordState::Pending)
}

/// Returns the key with the fingerprint `given` that signed the backup of `record`, in PEM.
pub(super) fn find(record: &BackupRecord, given: &str) -> Result<(PublicKey, String), String> {
    let backup = &record.spec.backup;
    let status = record.status.as_ref();
    let signers = status.map_or(&[][..], |status| &status.signers);
    if signers.is_empty() {
        return Err(without_signers(record));
    }
    let mut closest: Option<FingerprintError> = None;
    for signer in signers {
        let key = signer
            .public_key
            .as_deref()
            .and_then(|pem| Some((PublicKey::from_pem(pem).ok()?, pem)));
        // The id is that of the key itself, whatever the record calls it.
        let id = match &key {
            Some((key, _)) => key.id(),
            None => match Sha256::from_hex(&signer.key_id) {
                Some(id) => id,
                None => continue,
            },
        };
        match (fingerprint::compare(given, id), key) {
            (Ok(()), Some((key, pem))) => return Ok((key, pem.to_owned())),
            (Ok(()), None) => {
                return Err(format!(
                    "the signed list beside {backup} is said to be of this key, and does not have the key itself, as \
                     those of older versions; get the key with `velero-trust keys export` where it signs, and run \
                     `velero-trust keys trust FILE`"
                ));
            }
            (Err(error), _) => {
                let is_closer = |last: &FingerprintError| error.distance() < last.distance();
                if closest.as_ref().is_none_or(is_closer) {
                    closest = Some(error);
                }
            }
        }
    }
    let which = match signers.len() {
        1 => format!("the key that signed {backup}"),
        count => format!("the closest of the {count} keys that signed {backup}"),
    };
    let why = closest.map_or_else(|| "no key can be read".to_owned(), |why| why.to_string());
    Err(format!("{which}: {why}"))
}

fn without_signers(record: &BackupRecord) -> String {
    let backup = &record.spec.backup;
    let status = record.status.clone().unwrap_or_default();
    if let Some(imported) = status.imported {
        return format!(
            "{backup} was imported by the TrustedKey {}, so its key is known: `velero-trust keys show {}`",
            imported.key, imported.key
        );
    }
    match status.state {
        RecordState::Recorded | RecordState::Declared => format!(
            "{backup} was recorded in this cluster (level {}); no key of another cluster is needed for it",
            status.level.as_deref().unwrap_or("unknown")
        ),
        _ => {
            let why = status
                .message
                .unwrap_or_else(|| "it was not looked at yet".to_owned());
            format!("no signed list with a key is known beside {backup}: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn record(status: &Value) -> BackupRecord {
        let record = json!({
            "metadata": {"name": "nightly.x"},
            "spec": {"namespace": "velero", "backup": "nightly", "uid": "x"},
            "status": status,
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn the_key_of_the_fingerprint_is_found_among_those_that_signed() {
        let keys = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let signers = keys.each_ref().map(
            |key| json!({"keyId": key.public().id().to_string(), "publicKey": key.public_pem()}),
        );
        let record = record(&json!({"state": "Unobserved", "signers": signers}));
        let second = keys[1].public().id().to_string();
        let (key, pem) = find(&record, &second).unwrap();
        assert_eq!(
            (key.id(), pem),
            (keys[1].public().id(), keys[1].public_pem())
        );
        let digit = if second.ends_with('0') { "1" } else { "0" };
        let wrong = format!("{}{digit}", &second[..63]);
        let why = find(&record, &wrong).unwrap_err();
        let says = "the closest of the 2 keys that signed nightly: the fingerprint is not that of the key: group 16 is";
        assert!(why.starts_with(says), "{why}");
    }

    #[test]
    fn a_record_cannot_pass_another_key_off() {
        let [real, forged] = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let id = real.public().id().to_string();
        let signer = json!({"keyId": id, "publicKey": forged.public_pem()});
        let why = find(&record(&json!({"signers": [signer]})), &id).unwrap_err();
        assert!(why.contains("that of another key"), "{why}");
    }

    #[test]
    fn without_the_key_it_is_told_what_to_do() {
        let id = Sha256::of(b"x").to_string();
        let told = |status: &Value| find(&record(status), &id).unwrap_err();
        let untold = told(&json!({"signers": [{"keyId": id}]}));
        assert!(untold.contains("does not have the key itself"), "{untold}");
        let imported = json!({"state": "Recorded", "imported": {"key": "b", "keyId": id}});
        assert!(told(&imported).contains("keys show b"));
        let own = told(&json!({"state": "Recorded", "level": "observed"}));
        assert!(
            own.contains("recorded in this cluster (level observed)"),
            "{own}"
        );
        let none = told(&json!({"state": "Unobserved", "message": "it came by sync"}));
        assert!(none.ends_with("beside nightly: it came by sync"), "{none}");
    }
}
