//! A strict parser for the PEM text of a CA bundle.
//!
//! The parser is strict because Go silently skips every malformed block. Each `-----BEGIN` and each
//! `-----END` must belong to a CERTIFICATE block that parses, or it is a fault. Everything else must
//! plainly be text.
//!
//! A fault names the block and the line and never repeats any of the input, which could be a
//! private key.

mod encoded;
mod fault;
mod hex_dump;
mod lines;
mod marker;
mod scan;
mod text;

use std::sync::Arc;

use super::base64;
use super::certificate::{Certificate, Fingerprint};

pub use fault::{Fault, Kind};
pub use lines::is_comment;
pub use marker::Damage;

/// Most blocks, broken ones included, that are read. The smallest certificate has more than 128 bytes
/// in PEM, so a bundle of certificates never has more in 1 MiB.
const MAX_BLOCKS: usize = 8192;

/// The content of a bundle.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The certificates that parse, in order.
    pub certificates: Vec<Certificate>,
    /// All faults, in the order of the lines.
    pub faults: Vec<Fault>,
}

/// Parses a bundle.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let unread = scan::for_each_block(bytes, MAX_BLOCKS, &mut |found| match found {
        Ok(block) => match decode(&block) {
            Ok(certificate) => contents.certificates.push(certificate),
            Err(kind) => contents.faults.push(block.fault(kind)),
        },
        Err(fault) => contents.faults.push(fault),
    });
    contents
        .faults
        .extend(unread.into_iter().flat_map(faults_of_unread));
    if contents.certificates.is_empty() && contents.faults.is_empty() {
        contents.faults.push(Fault {
            kind: Kind::Nothing,
            block: None,
            line: 1,
            identity: None,
        });
    }
    contents
}

/// Returns the faults of what was not read. Its digest is the identity of the first one, so that any
/// change of it is another fault.
fn faults_of_unread(unread: scan::Unread<'_>) -> impl Iterator<Item = Fault> {
    let has_private_key = has_private_key(unread.bytes);
    let fault = move |kind, identity| Fault {
        kind,
        block: None,
        line: unread.line,
        identity,
    };
    let identity = (!has_private_key).then(|| Fingerprint::of(unread.bytes));
    let private_key = has_private_key.then(|| fault(Kind::PrivateKey, None));
    [fault(Kind::Unread, identity)]
        .into_iter()
        .chain(private_key)
}

/// Whether `bytes` contain a trace of a private key, whatever else they contain.
pub fn has_private_key(bytes: &[u8]) -> bool {
    lines::lines(bytes).any(|line| lines::names_private_key(line.text))
        || text::has_private_key(bytes)
}

fn decode(block: &scan::Block<'_>) -> Result<Certificate, Kind> {
    let text: Vec<u8> = block
        .body
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .collect();
    if text.is_empty() {
        return Err(Kind::EmptyBlock);
    }
    let der = base64::decode(&text).ok_or(Kind::NotBase64)?;
    let der: Arc<[u8]> = der.into();
    // Most blocks are certificates, and only what is none may be a key.
    Certificate::parse(Arc::clone(&der)).map_err(|defect| match encoded::in_der(&der) {
        Some(Kind::PrivateKey) => Kind::PrivateKey,
        _ => Kind::NotCertificate(defect),
    })
}

#[cfg(test)]
mod tests;
