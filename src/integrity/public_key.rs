//! The public keys that verify what is signed about backups.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::{self, PemObject as _};

use crate::digest::Sha256;

/// Length of the DER of a P-256 key with its point uncompressed, as OpenSSL, KMS and HSMs write it.
const P256_DER_BYTES: usize = 91;

/// Length of the DER of an Ed25519 key (RFC 8410).
const ED25519_DER_BYTES: usize = 44;

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256; signatures are in ASN.1.
    EcdsaP256,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA-P256",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// A public key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: Sha256,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// Why a text is no public key that velero-trust can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// A private key.
    #[error(
        "it is a private key; give its public half, `openssl pkey -in <key> -pubout` writes it"
    )]
    Private,
    /// Not PEM of a public key.
    #[error(
        "it is not a public key in PEM, with lines from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----"
    )]
    Pem,
    /// More than one key.
    #[error("it has several keys; give each in a file of its own")]
    Several,
    /// A key of another algorithm.
    #[error("it is neither a P-256 nor an Ed25519 key")]
    Algorithm,
}

impl PublicKey {
    /// Reads a key from PEM of its SubjectPublicKeyInfo (`BEGIN PUBLIC KEY`).
    pub fn from_pem(text: &str) -> Result<Self, PublicKeyError> {
        let kinds = |kind: &str| text.matches(kind).count();
        if kinds("PRIVATE KEY-----") > 0 {
            return Err(PublicKeyError::Private);
        }
        if kinds("-----BEGIN ") > 1 {
            return Err(PublicKeyError::Several);
        }
        let key: Result<_, pem::Error> = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes());
        Self::from_der(&key.map_err(|_| PublicKeyError::Pem)?)
    }

    /// Reads a key from DER of its SubjectPublicKeyInfo.
    pub fn from_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        // The length tells a SubjectPublicKeyInfo from a bare key, which aws-lc-rs takes as well.
        let (algorithm, parsed) = match der.len() {
            P256_DER_BYTES => (
                Algorithm::EcdsaP256,
                ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der),
            ),
            ED25519_DER_BYTES => (Algorithm::Ed25519, ParsedPublicKey::new(&ED25519, der)),
            _ => return Err(PublicKeyError::Algorithm),
        };
        Ok(Self {
            id: Sha256::of(der),
            algorithm,
            key: parsed.map_err(|_| PublicKeyError::Algorithm)?,
        })
    }

    /// Returns the id of the key: the digest of its SubjectPublicKeyInfo.
    pub const fn id(&self) -> Sha256 {
        self.id
    }

    /// Returns the algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is one of `message` by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}
