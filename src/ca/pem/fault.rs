//! What can be wrong with a bundle.

use crate::ca::certificate::Fingerprint;
use crate::ca::x509::Defect;

/// Something that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// The number of the block, from one; none when it is about the whole, or between blocks.
    pub block: Option<usize>,
    /// The line, from one.
    pub line: usize,
    /// Stays the same when the block moves to another place; none for a private key, of which not
    /// even a digest leaves this module.
    pub identity: Option<Fingerprint>,
}

/// The kinds of fault. Their texts follow "block 2 (line 30) …" or the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Base64 of a certificate without the lines around it.
    #[error("holds base64 without BEGIN and END lines")]
    Bare,
    /// Base64 of a whole PEM file.
    #[error("holds PEM that was encoded in base64 once more")]
    Base64OfPem,
    /// A byte order mark before the first block, which Go then does not see.
    #[error("has a byte order mark before its BEGIN line, so Go does not see it")]
    ByteOrderMark,
    /// Line ends are single carriage returns.
    #[error("has carriage returns in place of newlines")]
    CarriageReturns,
    /// A certificate in binary form.
    #[error("holds a certificate in DER form, not PEM")]
    Der,
    /// Nothing between the BEGIN and END lines.
    #[error("is empty")]
    EmptyBlock,
    /// The END line does not repeat the label, or something follows on it.
    #[error("has an END line that does not match its BEGIN line")]
    EndMismatch,
    /// END and BEGIN on one line: the bundle was joined without a newline.
    #[error("is glued to the block before it: a newline is missing between END and BEGIN")]
    Glued,
    /// PEM headers; Go skips such blocks.
    #[error("has PEM headers, and Go skips such blocks")]
    Headers,
    /// Blanks before BEGIN or END.
    #[error("is indented, so Go does not see it")]
    Indented,
    /// A Java key store or a PKCS#12 file or the like.
    #[error("holds a binary file that is no certificate")]
    Binary,
    /// Newlines became the two characters `\n`.
    #[error("has `\\n` written out in place of newlines")]
    LiteralNewlines,
    /// A block with another label.
    #[error("is {0}, not a CERTIFICATE")]
    NotACertificate(&'static str),
    /// The content is not base64.
    #[error("has content that is not base64")]
    NotBase64,
    /// The content is no certificate.
    #[error("does not parse: {0}")]
    NotCertificate(Defect),
    /// No trace of a block.
    #[error("holds no certificate")]
    Nothing,
    /// All in one line: newlines became blanks, or were lost.
    #[error("is all in one line: its newlines were lost")]
    OneLine,
    /// An END line without a BEGIN line.
    #[error("has an END line without a BEGIN line before it")]
    OrphanEnd,
    /// A private key.
    #[error("is a private key")]
    PrivateKey,
    /// Text before BEGIN or END on the same line.
    #[error("has text before its BEGIN or END on the same line, so Go does not see it")]
    TextBefore,
    /// No END line.
    #[error("is cut off: it has no END line")]
    Truncated,
    /// A BEGIN line that is not whole.
    #[error("has a BEGIN line that is not whole")]
    BrokenBegin,
    /// Text in UTF-16.
    #[error("is UTF-16 text; PEM is plain ASCII")]
    Utf16,
}
