//! The files of a backup in the bucket, as Velero 1.10 to 1.18 write and read them
//! (`pkg/persistence/object_store_layout.go`, `object_store.go`).

/// What a file of a backup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Velero writes it for each backup, and restores nothing without it.
    Required,
    /// A restore, a deletion or the sync reads it if it is there. An added file is as effective as a
    /// changed one.
    Optional,
    /// Only people read it.
    Display,
    /// An envelope of velero-trust. It signs the other files and is not among them.
    Envelope,
    /// Velero does not know it.
    Unknown,
}

/// The copy of the Backup that the sync creates it from.
pub const BACKUP: &str = "velero-backup.json";

/// What follows the name of the backup in the name of the tarball.
pub const TARBALL_SUFFIX: &str = ".tar.gz";

/// What follows the name of the backup in the names of the other files.
const SUFFIXES: [(&str, Role); 12] = [
    (TARBALL_SUFFIX, Role::Required),
    ("-podvolumebackups.json.gz", Role::Optional),
    ("-volumesnapshots.json.gz", Role::Optional),
    ("-volumeinfo.json.gz", Role::Optional),
    ("-itemoperations.json.gz", Role::Optional),
    // Velero 1.10 only.
    ("-itemsnapshots.json.gz", Role::Optional),
    // Velero up to 1.16 writes it. 1.18 still reads it.
    ("-csi-volumesnapshots.json.gz", Role::Optional),
    // Velero up to 1.17 creates cluster-scoped objects from it.
    ("-csi-volumesnapshotclasses.json.gz", Role::Optional),
    ("-csi-volumesnapshotcontents.json.gz", Role::Display),
    ("-resource-list.json.gz", Role::Display),
    ("-results.gz", Role::Display),
    ("-logs.gz", Role::Display),
];

const ENVELOPE_PREFIX: &str = "velero-trust.";
const ENVELOPE_SUFFIX: &str = ".dsse.json";

/// Number of hexadecimal digits of the key id in the name of an envelope.
const KEY_ID_DIGITS: usize = 16;

/// Returns what the file `name` in the directory of `backup` is for.
pub fn role(backup: &str, name: &str) -> Role {
    if name == BACKUP {
        return Role::Required;
    }
    if envelope_key(name).is_some() {
        return Role::Envelope;
    }
    let suffix = name.strip_prefix(backup);
    let known = SUFFIXES.iter().find(|(known, _)| suffix == Some(known));
    known.map_or(Role::Unknown, |(_, role)| *role)
}

/// Returns the name of the tarball of `backup`.
pub fn tarball(backup: &str) -> String {
    format!("{backup}{TARBALL_SUFFIX}")
}

/// Returns the names of the files without which Velero restores nothing from `backup`.
pub fn required(backup: &str) -> impl Iterator<Item = String> {
    std::iter::once(BACKUP.to_owned()).chain(named(backup, Role::Required))
}

/// Returns the names of the files that Velero reads from the directory of `backup` if they are
/// there.
pub fn optional(backup: &str) -> impl Iterator<Item = String> {
    named(backup, Role::Optional)
}

fn named(backup: &str, role: Role) -> impl Iterator<Item = String> {
    let suffixes = SUFFIXES.iter().filter(move |(_, its)| *its == role);
    suffixes.map(move |(suffix, _)| format!("{backup}{suffix}"))
}

/// Returns the name of the envelope that the key with the hexadecimal id `key_id` signs. Each key
/// has its own, so that two clusters with one bucket never write the same file.
pub fn envelope(key_id: &str) -> String {
    let digits = key_id.get(..KEY_ID_DIGITS).unwrap_or(key_id);
    format!("{ENVELOPE_PREFIX}{digits}{ENVELOPE_SUFFIX}")
}

/// Returns the first digits of the key id from the name of an envelope.
pub fn envelope_key(name: &str) -> Option<&str> {
    let digits = name
        .strip_prefix(ENVELOPE_PREFIX)?
        .strip_suffix(ENVELOPE_SUFFIX)?;
    let is_lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == KEY_ID_DIGITS && digits.bytes().all(is_lower_hex)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_velero_writes_has_its_role() {
        assert_eq!(role("b", "velero-backup.json"), Role::Required);
        assert_eq!(role("b", "b.tar.gz"), Role::Required);
        assert_eq!(role("b", "b-volumesnapshots.json.gz"), Role::Optional);
        assert_eq!(role("b", "b-logs.gz"), Role::Display);
        // A name that itself ends like a file, and a file of another backup.
        assert_eq!(role("b-logs", "b-logs-logs.gz"), Role::Display);
        for unknown in [
            "b",
            "",
            "c.tar.gz",
            "B.tar.gz",
            "b.tar.gz.bak",
            "sub/b.tar.gz",
        ] {
            assert_eq!(role("b", unknown), Role::Unknown, "{unknown}");
        }
        assert!(required("b").eq(["velero-backup.json", "b.tar.gz"]));
        assert_eq!(optional("b").count(), 7);
        assert!(optional("b").all(|name| role("b", &name) == Role::Optional));
    }

    #[test]
    fn an_envelope_is_named_after_its_key() {
        let name = envelope(&"0123456789abcdef".repeat(4));
        assert_eq!(name, "velero-trust.0123456789abcdef.dsse.json");
        assert_eq!(envelope_key(&name), Some("0123456789abcdef"));
        assert_eq!(role("b", &name), Role::Envelope);
        for other in [
            "velero-trust.dsse.json",
            "velero-trust.0123456789ABCDEF.dsse.json",
            "velero-trust.0123456789abcde.dsse.json",
            "velero-trust.0123456789abcdef0.dsse.json",
            "velero-trust.0123456789abcdef.dsse.json.bak",
        ] {
            assert_eq!(role("b", other), Role::Unknown, "{other}");
        }
    }
}
