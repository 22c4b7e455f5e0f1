//! SHA-256, as lower-case hexadecimal digits.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands before the digits in records and annotations.
const PREFIX: &str = "sha256:";

/// A SHA-256 digest. Its text is 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; SHA256_OUTPUT_LEN]);

impl Sha256 {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&digest(&SHA256, bytes))
    }

    /// Reads 64 hexadecimal digits in lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Reads `sha256:` and 64 hexadecimal digits in lower case, as records and annotations have it.
    pub fn from_prefixed(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix(PREFIX)?)
    }

    /// Returns `sha256:` and the digits.
    pub fn prefixed(&self) -> String {
        format!("{PREFIX}{self}")
    }

    fn from_digest(digest: &aws_lc_rs::digest::Digest) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl From<[u8; SHA256_OUTPUT_LEN]> for Sha256 {
    fn from(bytes: [u8; SHA256_OUTPUT_LEN]) -> Self {
        Self(bytes)
    }
}

impl From<Sha256> for [u8; SHA256_OUTPUT_LEN] {
    fn from(digest: Sha256) -> Self {
        digest.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| de::Error::custom("a SHA-256 is 64 lower-case hexadecimal digits"))
    }
}

/// A text that should be a digest. It needs less memory than the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestText {
    /// `sha256:` and these digits.
    Sha256(Sha256),
    /// Another text, which has this digest.
    Other(Sha256),
}

impl From<&str> for DigestText {
    fn from(text: &str) -> Self {
        let digest = Sha256::from_prefixed(text).map(Self::Sha256);
        digest.unwrap_or_else(|| Self::Other(Sha256::of(text.as_bytes())))
    }
}

/// A digest of bytes that come in pieces.
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the digest of all pieces.
    pub fn finish(self) -> Sha256 {
        Sha256::from_digest(&self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc" (FIPS 180-4, example).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_text_of_a_digest_is_that_of_sha256sum_and_is_read_back() {
        assert_eq!(Sha256::of(b"abc").to_string(), ABC);
        assert_eq!(Sha256::from_hex(ABC), Some(Sha256::of(b"abc")));
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), Sha256::of(b"abc"));
        for wrong in [
            "",
            &ABC[1..],
            &ABC.to_uppercase(),
            &ABC.replace('b', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(Sha256::from_hex(wrong), None, "{wrong}");
        }
        let json = serde_json::to_string(&Sha256::of(b"abc")).unwrap();
        assert_eq!(
            serde_json::from_str::<Sha256>(&json).unwrap(),
            Sha256::of(b"abc")
        );
        assert!(serde_json::from_str::<Sha256>("\"00\"").is_err());
    }

    #[test]
    fn another_text_is_no_digest_and_differs_from_others() {
        let digest = Sha256::of(b"abc");
        let text = digest.prefixed();
        assert_eq!(text, format!("sha256:{ABC}"));
        assert_eq!(Sha256::from_prefixed(&text), Some(digest));
        let of = |text: &str| DigestText::from(text);
        assert_eq!(of(&text), DigestText::Sha256(digest));
        for wrong in ["", "abc", ABC, &text.to_uppercase(), &format!("{text} ")] {
            assert!(matches!(of(wrong), DigestText::Other(_)), "{wrong}");
        }
        assert_ne!(of("abc"), of("abd"));
        assert_ne!(of("abc"), of(&text));
    }
}
