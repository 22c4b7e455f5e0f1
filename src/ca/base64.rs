//! Base64 as Go's `base64.StdEncoding` decodes it, which Velero and `encoding/pem` use: padded,
//! with line breaks anywhere, and with any trailing bits after the last byte.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const GO: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Decodes `text`. Returns `None` if it is not base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !text.iter().any(is_line_end) {
        return GO.decode(text).ok();
    }
    let rest: Vec<u8> = text.iter().copied().filter(|b| !is_line_end(b)).collect();
    GO.decode(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads_and_nothing_else() {
        let read = |text: &str| decode(text.as_bytes());
        let a = Some(b"a".to_vec());
        assert_eq!(read("YQ=="), a);
        assert_eq!(read("YR=="), a, "bits after the last byte");
        assert_eq!(read("Y\r\nQ=\n=\n"), a, "line ends");
        assert_eq!(read(""), Some(Vec::new()));
        for text in ["YQ", "YQ=", "YQ ==", "Y\tQ==", "YQ==YQ==", "Y-==", "YQ==="] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
