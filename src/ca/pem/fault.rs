//! The faults of a CA bundle.

use super::marker::Damage;
use crate::ca::certificate::Fingerprint;
use crate::ca::x509::Defect;

/// A fault of a CA bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: Kind,
    /// The number of the block, starting at one; `None` for a fault of the whole bundle or between
    /// blocks.
    pub block: Option<usize>,
    /// The line, starting at one.
    pub line: usize,
    /// Digest of the block, which stays the same when the block moves; `None` for a private key, of
    /// which not even a digest leaves this module.
    pub identity: Option<Fingerprint>,
}

/// The kinds of fault. Their texts follow a subject such as "block 2 (line 30)".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Base64 of a certificate without BEGIN and END lines.
    #[error("is a certificate in base64 without BEGIN and END lines")]
    Bare,
    /// Base64 of a whole PEM file.
    #[error("is PEM that was encoded in base64 once more")]
    Base64OfPem,
    /// A byte order mark before the first block, which hides the block from Go.
    #[error("has a byte order mark before its BEGIN line, so Go does not see it")]
    ByteOrderMark,
    /// Carriage returns without newlines as line ends.
    #[error("has carriage returns in place of newlines")]
    CarriageReturns,
    /// A BEGIN line that is damaged, so that it is text to Go.
    #[error("has a damaged BEGIN line, so Go does not see it: the line {0}")]
    DamagedBegin(Damage),
    /// An END line that is damaged.
    #[error("has a damaged END line, so Go does not see it: the line {0}")]
    DamagedEnd(Damage),
    /// A certificate in DER form.
    #[error("is a certificate in DER form, not PEM")]
    Der,
    /// Nothing between the BEGIN and END lines.
    #[error("is empty")]
    EmptyBlock,
    /// An END line with another label, or with text after it.
    #[error("has an END line that does not match its BEGIN line")]
    EndMismatch,
    /// END and BEGIN on one line, because the bundle was joined without a newline.
    #[error("is glued to the block before it: a newline is missing between END and BEGIN")]
    Glued,
    /// A block with PEM headers, which Go skips.
    #[error("has PEM headers, and Go skips such blocks")]
    Headers,
    /// A certificate as hexadecimal digits.
    #[error("is a certificate in hexadecimal digits, not PEM")]
    Hex,
    /// Blanks before BEGIN or END.
    #[error("is indented, so Go does not see it")]
    Indented,
    /// A binary file such as a Java key store or a PKCS#12 file.
    #[error("is a binary file that is no certificate")]
    Binary,
    /// The two characters `\n` in place of newlines.
    #[error("has `\\n` written out in place of newlines")]
    LiteralNewlines,
    /// Base64 outside of all blocks that encodes nothing that is known.
    #[error("is base64 that belongs to no block, so Go skips it")]
    LooseBase64,
    /// A block with another label.
    #[error("is {0}, not a CERTIFICATE")]
    NotACertificate(&'static str),
    /// Content that is not base64.
    #[error("has content that is not base64")]
    NotBase64,
    /// Content that is not a certificate.
    #[error("does not parse: {0}")]
    NotCertificate(Defect),
    /// No trace of a block.
    #[error("holds no certificate")]
    Nothing,
    /// All on one line: the newlines became blanks or were lost.
    #[error("is all in one line: its newlines were lost")]
    OneLine,
    /// An END line without a BEGIN line.
    #[error("has an END line without a BEGIN line before it")]
    OrphanEnd,
    /// A PKCS#7 container without a block.
    #[error("is a PKCS#7 container, not PEM")]
    Pkcs7,
    /// A private key.
    #[error("is a private key")]
    PrivateKey,
    /// Text before BEGIN or END on the same line.
    #[error("has text before its BEGIN or END on the same line, so Go does not see it")]
    TextBefore,
    /// A block without an END line.
    #[error("is cut off: it has no END line")]
    Truncated,
    /// An incomplete BEGIN line.
    #[error("has a BEGIN line that is not whole")]
    BrokenBegin,
    /// More blocks than are read.
    #[error("has more blocks than 1 MiB of certificates could have, and is not read further")]
    Unread,
    /// Text in UTF-16.
    #[error("is UTF-16 text; PEM is plain ASCII")]
    Utf16,
}
