//! A strict parser for the PEM text of a CA bundle.
//!
//! The parser is strict because Go silently skips every malformed block. Each `-----BEGIN` and each
//! `-----END` must belong to a CERTIFICATE block that parses, or it is a fault.
//!
//! A fault names the block and the line and never repeats any of the input, which could be a
//! private key.

mod fault;
mod scan;
mod shape;

use super::base64;
use super::certificate::Certificate;

pub use fault::{Fault, Kind};

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

/// Whether `bytes` contain a trace of a private key, whatever else they contain.
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
