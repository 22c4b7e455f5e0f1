//! The textual form of a checksum: `sha256:` and 64 lower-case hexadecimal digits.

/// A well-formed checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum<'a>(&'a str);

/// An error in the textual form of a checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// An empty text.
    #[error("is empty")]
    Empty,
    /// An algorithm other than SHA-256, or an empty one.
    #[error("is of algorithm `{0}`, and only `sha256` is taken")]
    Algorithm(String),
    /// No algorithm before the digits.
    #[error("names no algorithm")]
    NoAlgorithm,
    /// A number of digits other than 64.
    #[error("has {0} hexadecimal digits instead of 64")]
    Length(usize),
    /// An upper-case digit.
    #[error("has digits in upper case; write them in lower case")]
    UpperCase,
    /// A character that is not a hexadecimal digit.
    #[error("has a character that is no hexadecimal digit")]
    Digit,
}

impl<'a> Checksum<'a> {
    /// Parses `text`.
    pub fn parse(text: &'a str) -> Result<Self, ChecksumError> {
        if text.trim().is_empty() {
            return Err(ChecksumError::Empty);
        }
        let (algorithm, digits) = text.split_once(':').ok_or(ChecksumError::NoAlgorithm)?;
        if algorithm != "sha256" {
            // The user's text becomes part of our message: keep it short and in one line.
            return Err(ChecksumError::Algorithm(
                algorithm.escape_debug().take(16).collect(),
            ));
        }
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ChecksumError::Digit);
        }
        if digits.len() != 64 {
            return Err(ChecksumError::Length(digits.len()));
        }
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ChecksumError::UpperCase);
        }
        Ok(Self(digits))
    }

    /// Returns the digits.
    pub const fn hex(self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_sha256_in_lower_case_and_says_what_is_wrong_with_all_else() {
        let digits = "0123456789abcdef".repeat(4);
        let of = |text: &str| Checksum::parse(text).map(|checksum| checksum.hex().to_owned());
        assert_eq!(of(&format!("sha256:{digits}")), Ok(digits.clone()));
        assert_eq!(of(""), Err(ChecksumError::Empty));
        assert_eq!(of(" "), Err(ChecksumError::Empty));
        assert_eq!(of(&digits), Err(ChecksumError::NoAlgorithm));
        assert_eq!(
            of(&format!("md5:{digits}")),
            Err(ChecksumError::Algorithm("md5".into()))
        );
        assert_eq!(
            of(&format!("sha256:{}", &digits[1..])),
            Err(ChecksumError::Length(63))
        );
        assert_eq!(of("sha256:"), Err(ChecksumError::Length(0)));
        assert_eq!(
            of(&format!("sha256:{}", digits.to_uppercase())),
            Err(ChecksumError::UpperCase)
        );
        assert_eq!(of(&format!("sha256:{digits} ")), Err(ChecksumError::Digit));
        assert_eq!(
            of(&format!("sha256:{}g", &digits[1..])),
            Err(ChecksumError::Digit)
        );
    }
}
