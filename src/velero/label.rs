//! Label values for names that are too long for one.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// Longest value of a label, in bytes.
const MAX_BYTES: usize = 63;

/// Number of hexadecimal digits of the hash in a shortened value.
const HASH_DIGITS: usize = 6;

/// Returns the label value that Velero gives to `name`: a name that is too long is cut, and ends in
/// the start of its SHA-256 (`pkg/label/label.go`, `GetValidName`).
pub fn label_value(name: &str) -> String {
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let hash = HEXLOWER.encode(digest(&SHA256, name.as_bytes()).as_ref());
    let kept = name.get(..MAX_BYTES - HASH_DIGITS).unwrap_or_default();
    let hash = hash.get(..HASH_DIGITS).unwrap_or_default();
    format!("{kept}{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_as_velero_cuts_it() {
        assert_eq!(label_value("daily"), "daily");
        let longest = "a".repeat(63);
        assert_eq!(label_value(&longest), longest);
        let long = "the-quick-brown-fox-jumped-over-the-lazy-dog-the-quick-brown-fox-jumped-over";
        let short = "the-quick-brown-fox-jumped-over-the-lazy-dog-the-quick-bre577b1";
        assert_eq!(label_value(long), short);
    }
}
