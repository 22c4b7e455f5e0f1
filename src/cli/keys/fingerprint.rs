//! The fingerprint of a key, for people: the digits of its id in groups, to be read aloud, typed and compared.

use crate::digest::Sha256;

/// Digits of a group.
const GROUP_DIGITS: usize = 4;

/// Groups in a line.
const LINE_GROUPS: usize = 8;

/// Digits of a fingerprint.
const DIGITS: usize = 64;

/// Groups up to which it is likely that the fingerprint was copied wrong.
const MAX_TYPOS: usize = 2;

/// Why a fingerprint is not that of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FingerprintError {
    /// A character that is no digit.
    #[error("the fingerprint has {0:?}, which is none of the digits 0-9 and a-f")]
    NotHex(char),
    /// Not all digits.
    #[error("the fingerprint has {0} digits, and all {DIGITS} are needed")]
    Length(usize),
    /// Some groups differ.
    #[error(
        "the fingerprint is not that of the key: {}; read it again, and if it is right, the key is another one",
        differences(.0)
    )]
    Groups(Vec<GroupDifference>),
    /// Another key.
    #[error(
        "the fingerprint is that of another key: {0} of {count} groups differ, the first is group {1}",
        count = DIGITS / GROUP_DIGITS
    )]
    Other(usize, usize),
}

/// A group that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupDifference {
    /// Its number, from 1.
    number: usize,
    given: String,
    of_key: String,
}

fn differences(groups: &[GroupDifference]) -> String {
    let groups = groups.iter().map(|group| {
        format!(
            "group {} is {}, and the key has {}",
            group.number, group.given, group.of_key
        )
    });
    groups.collect::<Vec<_>>().join(", ")
}

impl FingerprintError {
    /// Returns how many groups differ; the most if that is not known.
    pub(super) fn distance(&self) -> usize {
        match self {
            Self::NotHex(_) | Self::Length(_) => usize::MAX,
            Self::Groups(groups) => groups.len(),
            Self::Other(count, _) => *count,
        }
    }
}

/// Returns the fingerprint in lines of groups.
pub(super) fn lines(id: Sha256) -> Vec<String> {
    let groups = groups(&id.to_string());
    let lines = groups.chunks(LINE_GROUPS).map(|line| line.join(" "));
    lines.collect()
}

/// Returns the fingerprint as the end of a message.
pub(super) fn indented(id: Sha256) -> String {
    let lines = lines(id).into_iter();
    let lines = lines.map(|line| format!("  {line}\n"));
    lines.collect()
}

fn groups(digits: &str) -> Vec<String> {
    let digits: Vec<char> = digits.chars().collect();
    let groups = digits.chunks(GROUP_DIGITS);
    groups.map(|group| group.iter().collect()).collect()
}

/// Returns the digits of a fingerprint that a person gave. Spaces, colons and the case do not count.
pub(super) fn digits(given: &str) -> Result<String, FingerprintError> {
    let given = given.trim();
    let given = match given.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => {
            given.get(7..).unwrap_or_default()
        }
        _ => given,
    };
    let digits = given
        .chars()
        .filter(|one| !one.is_whitespace() && *one != ':');
    let digits: String = digits.map(|one| one.to_ascii_lowercase()).collect();
    if let Some(other) = digits.chars().find(|one| !one.is_ascii_hexdigit()) {
        return Err(FingerprintError::NotHex(other));
    }
    if digits.len() != DIGITS {
        return Err(FingerprintError::Length(digits.len()));
    }
    Ok(digits)
}

/// Compares a fingerprint that a person gave with that of a key.
pub(super) fn compare(given: &str, id: Sha256) -> Result<(), FingerprintError> {
    let digits = digits(given)?;
    let (given, of_key) = (groups(&digits), groups(&id.to_string()));
    let pairs = (1..).zip(given.into_iter().zip(of_key));
    let differing = pairs.filter(|(_, (given, of_key))| given != of_key);
    let differing: Vec<_> = differing
        .map(|(number, (given, of_key))| GroupDifference {
            number,
            given,
            of_key,
        })
        .collect();
    match &*differing {
        [] => Ok(()),
        [first, ..] if differing.len() > MAX_TYPOS => {
            Err(FingerprintError::Other(differing.len(), first.number))
        }
        _ => Err(FingerprintError::Groups(differing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(given: &str, id: Sha256) -> String {
        compare(given, id).unwrap_err().to_string()
    }

    #[test]
    fn a_fingerprint_is_compared_as_people_write_it() {
        let id = Sha256::of(b"a key");
        let shown = lines(id);
        assert_eq!(shown.len(), 2);
        assert!(shown.iter().all(|line| line.len() == 39), "{shown:?}");
        let paper = shown.join("\n");
        let hex = id.to_string();
        let colons: Vec<_> = paper.split_whitespace().collect();
        for given in [
            &paper,
            &hex,
            &hex.to_uppercase(),
            &colons.join(":"),
            &format!("SHA256:{hex}"),
            &format!("  {paper}\n"),
        ] {
            assert_eq!(compare(given, id), Ok(()), "{given}");
        }
    }

    #[test]
    fn one_wrong_digit_is_refused_and_its_group_told() {
        let id = Sha256::of(b"a key");
        let hex = id.to_string();
        for position in 0..DIGITS {
            let mut digits: Vec<char> = hex.chars().collect();
            digits[position] = if digits[position] == '0' { '1' } else { '0' };
            let given: String = digits.into_iter().collect();
            let why = told(&given, id);
            let group = position / GROUP_DIGITS;
            let from = group * GROUP_DIGITS;
            let expected = format!(
                "group {} is {}, and the key has {};",
                group + 1,
                &given[from..from + 4],
                &hex[from..from + 4]
            );
            assert!(why.contains(&expected), "{why}");
        }
    }

    #[test]
    fn part_of_a_fingerprint_is_none() {
        let id = Sha256::of(b"a key");
        let hex = id.to_string();
        assert!(told(&hex[..63], id).contains("has 63 digits, and all 64"));
        assert!(told("", id).contains("has 0 digits"));
        assert!(told(&format!("{hex}0"), id).contains("has 65 digits"));
        assert!(told(&hex.replacen(&hex[..1], "g", 1), id).contains("'g'"));
        let other = told(&Sha256::of(b"another key").to_string(), id);
        assert!(other.contains("that of another key"), "{other}");
    }
}
