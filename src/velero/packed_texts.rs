//! Some texts in one allocation.

/// Stands for the length of a text that is absent. The API server stores none of this length.
const ABSENT: u32 = u32::MAX;

/// `N` texts that are kept together, each of which may be absent. A cluster may have thousands of Backups and records,
/// and each short text that is a `String` of its own takes 56 bytes or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedTexts<const N: usize> {
    /// All texts, one after the other.
    all: Box<str>,
    /// The length of each text, in bytes.
    lengths: [u32; N],
}

impl<const N: usize> From<[Option<&str>; N]> for PackedTexts<N> {
    fn from(texts: [Option<&str>; N]) -> Self {
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(ABSENT);
        Self {
            all: texts.into_iter().flatten().collect(),
            lengths: texts.map(|text| text.map_or(ABSENT, length)),
        }
    }
}

impl<const N: usize> PackedTexts<N> {
    /// Returns the texts, in their order.
    pub fn unpack(&self) -> [Option<&str>; N] {
        let mut rest = &*self.all;
        self.lengths.map(|length| {
            let length = usize::try_from(length).ok().filter(|_| length != ABSENT)?;
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_after_they_were_packed() {
        for texts in [
            [Some("velero"), Some("é"), None, Some("")],
            [None, Some(""), Some("u"), Some("b")],
            [None; 4],
        ] {
            assert_eq!(PackedTexts::from(texts).unpack(), texts);
        }
    }
}
