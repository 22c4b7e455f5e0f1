//! The envelope that carries signed bytes: DSSE
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>).

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::public_key::PublicKey;
use crate::digest::Sha256;

/// `payloadType` of an in-toto Statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Maximum size of an envelope that is read, in bytes: of one with
/// [`MAX_FILES`](super::manifest::MAX_FILES) files of the longest name.
pub const MAX_BYTES: usize = 48 << 10;

/// Maximum number of signatures that are looked at.
const MAX_SIGNATURES: usize = 8;

/// Signed bytes with their signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// A signature, and the key that is said to have made it. Nothing signs the id of the key: it only
/// says which key to try.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    key: Option<Sha256>,
    bytes: Vec<u8>,
}

impl Signature {
    /// Returns the one of `keys` that signed `message`. The one that is named is tried first.
    fn signer<'k>(&self, message: &[u8], keys: &[&'k PublicKey]) -> Option<&'k PublicKey> {
        let is_named = |key: &&&PublicKey| self.key == Some(key.id());
        let (named, others): (Vec<&&PublicKey>, Vec<_>) = keys.iter().partition(is_named);
        let mut tried = named.into_iter().chain(others);
        tried
            .find(|key| key.verifies(message, &self.bytes))
            .copied()
    }
}

/// Why bytes are no envelope that can be judged.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than [`MAX_BYTES`].
    #[error("it has {0} bytes, and an envelope has at most {MAX_BYTES}")]
    TooLong(usize),
    /// Not the JSON of an envelope.
    #[error("it is not the JSON of a DSSE envelope: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A part that is not base64.
    #[error("its {0} is not base64")]
    Base64(&'static str),
    /// An envelope around something else.
    #[error("its payload is of type \"{}\", not {PAYLOAD_TYPE}", crate::velero::text::shown(.0))]
    Type(String),
    /// No signature, or more than are looked at.
    #[error("it has {0} signatures, and one to {MAX_SIGNATURES} are taken")]
    Signatures(usize),
}

/// Why an envelope does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// None of the keys is said to have signed it. It cannot be judged.
    #[error("it is signed by another key: {}", keys(.0))]
    UnknownKey(Vec<Sha256>),
    /// A key that is said to have signed these bytes did not.
    #[error("the signature does not belong to these bytes")]
    Forged,
}

fn keys(ids: &[Sha256]) -> String {
    let ids: Vec<String> = ids.iter().map(Sha256::to_string).collect();
    if ids.is_empty() {
        return "it does not say which".to_owned();
    }
    ids.join(", ")
}

#[derive(Serialize, Deserialize)]
struct Document {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<SignatureDocument>,
}

#[derive(Serialize, Deserialize)]
struct SignatureDocument {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Returns what is signed for `payload`: DSSE's pre-authentication encoding.
pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    let (type_length, length) = (PAYLOAD_TYPE.len(), payload.len());
    let mut bytes = format!("DSSEv1 {type_length} {PAYLOAD_TYPE} {length} ").into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Makes the envelope of `payload`, for which `key` made `signature` over [`signed_bytes`].
    pub fn new(payload: Vec<u8>, key: Sha256, signature: Vec<u8>) -> Self {
        let signature = Signature {
            key: Some(key),
            bytes: signature,
        };
        Self {
            payload,
            signatures: vec![signature],
        }
    }

    /// Reads an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_BYTES {
            return Err(EnvelopeError::TooLong(bytes.len()));
        }
        let document: Document = serde_json::from_slice(bytes)?;
        if document.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::Type(document.payload_type));
        }
        let count = document.signatures.len();
        if !(1..=MAX_SIGNATURES).contains(&count) {
            return Err(EnvelopeError::Signatures(count));
        }
        let signatures = document.signatures.into_iter().map(|signature| {
            Ok(Signature {
                key: Sha256::from_hex(&signature.keyid),
                bytes: decode(&signature.sig).ok_or(EnvelopeError::Base64("signature"))?,
            })
        });
        Ok(Self {
            payload: decode(&document.payload).ok_or(EnvelopeError::Base64("payload"))?,
            signatures: signatures.collect::<Result<_, EnvelopeError>>()?,
        })
    }

    /// Returns the envelope as JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let signatures = self.signatures.iter().map(|signature| SignatureDocument {
            keyid: signature.key.map(|key| key.to_string()).unwrap_or_default(),
            sig: STANDARD.encode(&signature.bytes),
        });
        serde_json::to_string(&Document {
            payload: STANDARD.encode(&self.payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: signatures.collect(),
        })
    }

    /// Returns the bytes inside, of which nothing is known before [`Self::verify`].
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the first of `keys` that signed the payload.
    ///
    /// A signature that names none of the keys, or that names no key, is tried with all of them, as
    /// DSSE asks for.
    pub fn verify<'k>(&self, keys: &[&'k PublicKey]) -> Result<&'k PublicKey, VerifyError> {
        let mut signers = self.signers(keys)?.into_iter();
        signers.next().ok_or_else(|| self.unverified(keys))
    }

    /// Returns those of `keys` that signed the payload, each once.
    pub fn signers<'k>(&self, keys: &[&'k PublicKey]) -> Result<Vec<&'k PublicKey>, VerifyError> {
        let message = signed_bytes(&self.payload);
        let mut signers: Vec<&PublicKey> = Vec::new();
        for signature in &self.signatures {
            let signer = signature.signer(&message, keys);
            let is_known = |key: &&PublicKey| signers.iter().any(|known| known.id() == key.id());
            signers.extend(signer.filter(|key| !is_known(key)));
        }
        if signers.is_empty() {
            return Err(self.unverified(keys));
        }
        Ok(signers)
    }

    /// Returns why none of `keys` signed the payload.
    fn unverified(&self, keys: &[&PublicKey]) -> VerifyError {
        let ids = self.key_ids();
        if keys.iter().any(|key| ids.contains(&key.id())) {
            return VerifyError::Forged;
        }
        VerifyError::UnknownKey(ids)
    }

    /// Returns the ids of the keys that are said to have signed the payload.
    pub fn key_ids(&self) -> Vec<Sha256> {
        let ids = self.signatures.iter().filter_map(|signature| signature.key);
        ids.collect()
    }
}

/// Decodes base64 of either alphabet, as DSSE asks for.
fn decode(text: &str) -> Option<Vec<u8>> {
    let engines: [&GeneralPurpose; 2] = [&STANDARD, &URL_SAFE];
    engines.iter().find_map(|engine| engine.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_of_the_maximum_size_is_read() {
        let envelope = Envelope::new(b"payload".to_vec(), Sha256::of(b"key"), b"sig".to_vec());
        let padded = |length: usize| format!("{:length$}", envelope.to_json().unwrap());
        let longest = Envelope::parse(padded(MAX_BYTES).as_bytes());
        assert_eq!(longest.unwrap(), envelope);
        let longer = Envelope::parse(padded(MAX_BYTES + 1).as_bytes());
        assert!(matches!(longer, Err(EnvelopeError::TooLong(length)) if length == MAX_BYTES + 1));
    }
}
