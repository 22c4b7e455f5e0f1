//! The fingerprint of a certificate as people write it.

use crate::ca::certificate::Fingerprint;

/// Fewest digits that select a certificate: fewer would often fit another one too.
const MIN_DIGITS: usize = 8;

/// The digits of a SHA-256 fingerprint.
const MAX_DIGITS: usize = 64;

/// The first digits of a SHA-256 fingerprint, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FingerprintPrefix(String);

impl FingerprintPrefix {
    /// Parses what `velero-trust status` prints, and the whole fingerprint as
    /// `openssl x509 -fingerprint -sha256` prints it.
    ///
    /// # Errors
    /// If it is no such text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = ["sha256 fingerprint=", "sha256:"]
            .iter()
            .find_map(|prefix| lower.strip_prefix(prefix))
            .unwrap_or(&lower)
            .replace(':', "");
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) {
            return Err(format!(
                "it is not the SHA-256 of a certificate, or its first {MIN_DIGITS} to {MAX_DIGITS} \
                 hexadecimal digits"
            ));
        }
        Ok(Self(digits))
    }

    pub(super) fn selects(&self, fingerprint: Fingerprint) -> bool {
        fingerprint.to_string().starts_with(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_status_and_openssl_print_it() {
        let whole = "0123456789abcdef".repeat(4);
        let pairs: Vec<_> = whole
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect();
        let openssl = pairs.join(":").to_ascii_uppercase();
        for text in [
            whole.clone(),
            format!("sha256:{whole}"),
            openssl.clone(),
            format!("SHA256 Fingerprint={openssl}"),
        ] {
            assert_eq!(FingerprintPrefix::parse(&text).unwrap().0, whole, "{text}");
        }
        assert_eq!(
            FingerprintPrefix::parse("0123456789AB").unwrap().0,
            "0123456789ab"
        );
        for text in ["", "0123456", "0123456g", "CN=store", &format!("{whole}0")] {
            assert!(FingerprintPrefix::parse(text).is_err(), "{text}");
        }
    }
}
