//! Certificates out of the text of a CA bundle, as strictly as silence is dangerous: Go leaves
//! out every block that is not as it should be, and says nothing. So each `-----BEGIN` and each
//! `-----END` has to belong to a CERTIFICATE block that parses, or it is a fault.
//!
//! A fault names block and line, and never repeats anything that stands in the input: it could be
//! a private key.

mod fault;
mod scan;
mod shape;

use super::base64;
use super::certificate::Certificate;

pub use fault::{Fault, Kind};

/// What a bundle holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The certificates that parse, in their order.
    pub certificates: Vec<Certificate>,
    /// All that is wrong, in the order of the lines.
    pub faults: Vec<Fault>,
}

/// Reads a bundle.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    scan::for_each_block(bytes, &mut |found| match found {
        Ok(block) => match decode(&block) {
            Ok(certificate) => contents.certificates.push(certificate),
            Err(kind) => contents.faults.push(block.fault(kind)),
        },
        Err(fault) => contents.faults.push(fault),
    });
    if contents.certificates.is_empty() && contents.faults.is_empty() {
        contents.faults = shape::faults_without_blocks(bytes);
    }
    contents
}

/// Whether there is a trace of a private key, whatever else is there.
pub fn has_private_key(bytes: &[u8]) -> bool {
    scan::lines(bytes).any(|line| scan::names_private_key(line.text))
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
    Certificate::parse(der).map_err(Kind::NotCertificate)
}

#[cfg(test)]
mod tests;
