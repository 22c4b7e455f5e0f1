//! The text form of a checksum: `sha256:` and 64 hexadecimal digits in lower case.

/// A well-formed checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum<'a>(&'a str);

/// What is wrong with a text that should be a checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing is there.
    #[error("is empty")]
    Empty,
    /// Another algorithm, or none.
    #[error("is of algorithm `{0}`, and only `sha256` is taken")]
    Algorithm(String),
    /// No algorithm before the digits.
    #[error("names no algorithm")]
    NoAlgorithm,
    /// Not 64 digits.
    #[error("has {0} hexadecimal digits instead of 64")]
    Length(usize),
    /// A digit in upper case.
    #[error("has digits in upper case; write them in lower case")]
    UpperCase,
    /// Something that is no hexadecimal digit.
    #[error("has a character that is no hexadecimal digit")]
    Digit,
}

impl<'a> Checksum<'a> {
    /// Reads `text`.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.trim().is_empty() {
            return Err(Malformed::Empty);
        }
        let (algorithm, digits) = text.split_once(':').ok_or(Malformed::NoAlgorithm)?;
        if algorithm != "sha256" {
            // A person's text goes into our message: keep it short and in one line.
            return Err(Malformed::Algorithm(
                algorithm.escape_debug().take(16).collect(),
            ));
        }
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Malformed::Digit);
        }
        if digits.len() != 64 {
            return Err(Malformed::Length(digits.len()));
        }
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Malformed::UpperCase);
        }
        Ok(Self(digits))
    }

    /// The digits.
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
        assert_eq!(of(""), Err(Malformed::Empty));
        assert_eq!(of(" "), Err(Malformed::Empty));
        assert_eq!(of(&digits), Err(Malformed::NoAlgorithm));
        assert_eq!(
            of(&format!("md5:{digits}")),
            Err(Malformed::Algorithm("md5".into()))
        );
        assert_eq!(
            of(&format!("sha256:{}", &digits[1..])),
            Err(Malformed::Length(63))
        );
        assert_eq!(of("sha256:"), Err(Malformed::Length(0)));
        assert_eq!(
            of(&format!("sha256:{}", digits.to_uppercase())),
            Err(Malformed::UpperCase)
        );
        assert_eq!(of(&format!("sha256:{digits} ")), Err(Malformed::Digit));
        assert_eq!(
            of(&format!("sha256:{}g", &digits[1..])),
            Err(Malformed::Digit)
        );
    }
}
