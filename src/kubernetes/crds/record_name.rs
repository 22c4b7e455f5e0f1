//! The names of records.

use crate::digest::Sha256;

/// Longest part of a backup's name in the name of its record, so that a digest fits after it.
const MAX_NAME_BYTES: usize = 188;

/// Returns the name of the record of the backup `name` whose velero-backup.json has `uid`. The uid
/// comes from the bucket and may be any text.
pub fn record_name(name: &str, uid: &str) -> String {
    let is_usual =
        |byte: u8| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase() || byte == b'-';
    let is_uid = uid.len() == 36 && uid.bytes().all(is_usual);
    let prefix = name_prefix(name);
    if is_uid && prefix.len() == name.len() + 1 {
        return prefix + uid;
    }
    let digest = Sha256::of(format!("{name}\0{uid}").as_bytes());
    format!("{prefix}{digest}")
}

/// Returns what the names of all records of the backup `name` begin with.
pub fn name_prefix(name: &str) -> String {
    let start = name.get(..MAX_NAME_BYTES).unwrap_or(name);
    let start = start.trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
    format!("{start}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::velero::naming::is_name;

    #[test]
    fn each_backup_has_one_valid_name_of_a_record() {
        let uid = "3f2a0000-0000-4000-8000-00000000000a";
        assert_eq!(record_name("daily", uid), format!("daily.{uid}"));
        let (short, dotted) = ("a".repeat(188), format!("{}.b", "a".repeat(187)));
        let other = uid.replace('a', "b");
        let names = [
            ("daily", uid),
            ("daily", "Forged\n"),
            ("daily", &uid.to_uppercase()),
            ("daily", ""),
            (&"a".repeat(253), uid),
            (&"a".repeat(253), &other),
            (&short, uid),
            (&short, &other),
            (&dotted, uid),
        ];
        let made = names.map(|(name, uid)| record_name(name, uid));
        for (index, (name, record)) in names.iter().zip(&made).enumerate() {
            assert!(is_name(record), "{record}");
            assert!(!made[..index].contains(record), "{record}");
            assert!(record.starts_with(&name_prefix(name.0)), "{record}");
        }
        assert_eq!(made[6], format!("{short}.{uid}"));
    }
}
