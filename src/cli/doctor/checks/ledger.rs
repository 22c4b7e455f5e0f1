//! Checks what the records of backups need: their kinds, the key that signs, the buckets.

use super::{CheckSubject, Diagnostic, identity};
use crate::bucket::{Content, Error, Rights};
use crate::cli::doctor::buckets::BucketAccess;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace};
use crate::cli::doctor::ledger::{KeySecret, LedgerKinds};
use crate::cli::snapshot::{
    INSTALL_LEDGER, Scopable, is_exported, key_trouble, public_key, restart, secret_gone,
    signing_key,
};
use crate::names;
use crate::velero::bsl::Bsl;

/// The command that writes a copy of the key.
const EXPORT: &str = "velero-trust keys export --private velero-trust-signing-key.pem";

/// Checks the kinds, and the key unless it waits for them.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = CheckSubject::new("records", "CRDs of the records");
    let kinds = match &cluster.ledger.kinds {
        Err(why) => subject.unknown(why),
        Ok(LedgerKinds::Current) => subject.ok("they are those of this version"),
        Ok(LedgerKinds::Absent) => {
            let message = "they are not installed, so no backup is recorded";
            return vec![subject.fail(message, INSTALL_LEDGER)];
        }
        Ok(LedgerKinds::Different) => {
            let message = "they are not those of this version, so fields of records may be lost";
            subject.fail(message, INSTALL_LEDGER)
        }
    };
    let mut diagnostics = vec![kinds, check_key(cluster)];
    diagnostics.extend(check_trusted_keys(cluster));
    diagnostics
}

/// Returns what is wrong with TrustedKeys. That they cannot be read is told of the key that signs.
fn check_trusted_keys(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let Ok(keys) = &cluster.ledger.trusted_keys else {
        return Vec::new();
    };
    let velero = cluster.velero.iter().flatten();
    let locations = velero.clone().flat_map(|velero| &velero.locations);
    let there = Scopable {
        namespaces: velero.map(|velero| &*velero.namespace).collect(),
        locations: locations.map(Bsl::name).collect(),
        // It reads no records.
        ..Scopable::default()
    };
    let trouble = key_trouble(keys, &there).into_iter();
    let diagnostics = trouble.map(|one| {
        let subject = CheckSubject::new("records", format!("TrustedKey {}", one.trusted_key));
        if one.is_leak {
            subject.fail(one.message, one.fix)
        } else {
            subject.warn(one.message, one.fix)
        }
    });
    diagnostics.collect()
}

fn check_key(cluster: &ClusterSnapshot) -> Diagnostic {
    let namespace = &cluster.namespace;
    let name = names::SIGNING_KEY;
    let subject = CheckSubject::new("records", format!("Secret {namespace}/{name}"));
    let restart = restart(namespace);
    let id = match &cluster.ledger.secret {
        Err(why) => return subject.unknown(why),
        Ok(KeySecret::Absent) => {
            let keys = cluster.ledger.trusted_keys.as_deref();
            if let Some(gone) = keys.ok().and_then(|keys| secret_gone(namespace, keys)) {
                return subject.warn(gone.message, gone.fix);
            }
            let message = "there is no key that signs: the leader makes one, and has not yet";
            return subject.warn(
                message,
                format!("kubectl -n {namespace} logs deployment/{}", names::APP),
            );
        }
        Ok(KeySecret::Unusable(why)) => {
            let fix = format!(
                "put a copy of the key back, or delete it with `kubectl -n {namespace} delete secret \
                 {name}` and run `{restart}`, which makes a new one"
            );
            return subject.fail(format!("no backup can be signed: {why}"), fix);
        }
        Ok(KeySecret::Key(id)) => *id,
    };
    let keys = match &cluster.ledger.trusted_keys {
        Err(why) => return subject.unknown(why),
        Ok(keys) => keys,
    };
    let is_trusted = keys
        .iter()
        .any(|key| public_key(key).is_ok_and(|key| key.id() == id));
    if !is_trusted {
        let message = "its public half is no TrustedKey, so nothing that it signs counts";
        return subject.fail(message, restart);
    }
    if signing_key(keys).is_some() && !is_exported(keys) {
        let message = "nobody has a copy of the key: it was never exported";
        return subject.fail(message, EXPORT);
    }
    subject.ok("it has a key, which is trusted and was exported")
}

/// Checks what Velero's credentials may do in each bucket.
pub(super) fn check_buckets(
    cluster: &ClusterSnapshot,
    velero: &VeleroNamespace,
) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let checked = velero.buckets.iter().map(|(name, access)| {
        let subject = format!("bucket of BackupStorageLocation {namespace}/{name}");
        let subject = CheckSubject::new("bucket", subject);
        match access {
            BucketAccess::Unknown(why) => subject.unknown(why),
            BucketAccess::Unusable(why) => subject.warn(
                format!("its backups cannot be recorded: {why}"),
                "change the BackupStorageLocation, its credentials or the store; until then restores \
                 of these backups need a checksum that a person sets",
            ),
            BucketAccess::OwnIdentity(provider) => identity::check(subject, cluster, *provider),
            BucketAccess::Tried {
                rights,
                content,
                role,
            } => check_rights(subject, rights, *content, role.as_deref()),
        }
    });
    checked.collect()
}

fn check_rights(
    subject: CheckSubject,
    rights: &Rights,
    content: Option<Content>,
    role: Option<&str>,
) -> Diagnostic {
    let problem = |error: &Error| (error.to_string(), error.fix().unwrap_or_default());
    for right in [&rights.list, &rights.get] {
        match right {
            Err(error) if error.may_pass() => return subject.unknown(error.to_string()),
            Err(error) => {
                let (message, fix) = problem(error);
                let but = if error.lacks_rights() {
                    ", but for the tarballs of those that Velero can read"
                } else {
                    ""
                };
                let message = format!("its backups cannot be recorded{but}: {message}");
                return subject.fail(message, fix);
            }
            Ok(()) => {}
        }
    }
    match &rights.put {
        Ok(()) => {
            let content = content.map(describe_content).unwrap_or_default();
            let who = role.map_or_else(
                || "the credentials".to_owned(),
                |role| format!("the role {role}"),
            );
            subject.ok(format!("{who} may list, read and write in it{content}"))
        }
        Err(error) if error.may_pass() => subject.unknown(error.to_string()),
        Err(error) => {
            let (message, fix) = problem(error);
            let kept = "the signed lists of files are kept in the records only";
            subject.warn(format!("{kept}: {message}"), fix)
        }
    }
}

/// Tells before anything is read how much it is.
fn describe_content(content: Content) -> String {
    let Content {
        backups,
        bytes,
        is_whole,
    } = content;
    let size = if bytes < 1_000_000_000 {
        format!("{} MB", bytes.div_ceil(1_000_000))
    } else {
        let tenths = bytes.div_ceil(100_000_000);
        format!("{}.{} GB", tenths / 10, tenths % 10)
    };
    let least = if is_whole { "" } else { "at least " };
    format!(
        "; its {least}{backups} backups hold {least}{size}, and each is read once when it is \
         recorded"
    )
}

/// Checks the password of the repositories of volume data.
pub(super) fn check_repositories(_: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let subject = format!("repositories of volume data in namespace {namespace}");
    let subject = CheckSubject::new("repository", subject);
    match &velero.has_default_password {
        Err(why) => vec![subject.unknown(why)],
        Ok(false) => Vec::new(),
        Ok(true) => vec![subject.warn(
            "their password is Velero's default, which everybody knows: who can read the bucket can read \
             the data of volumes, and who can write to it can change them",
            "set a password of your own in the Secret velero-repo-credentials before the first backup of \
             volumes; repositories that exist keep theirs",
        )],
    }
}
