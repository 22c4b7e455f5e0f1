//! The `--key-type` option.

use std::fmt;

use clap::ValueEnum;

use crate::integrity::public_key::Algorithm;

/// The type of a key that signs backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyType {
    /// ECDSA over P-256, which every OpenSSL, LibreSSL, KMS and HSM verifies
    #[default]
    EcdsaP256,
    /// Ed25519; `openssl` 1.1.1 and later verify it
    Ed25519,
}

impl KeyType {
    /// Returns the algorithm of keys of this type.
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::EcdsaP256 => Algorithm::EcdsaP256,
            Self::Ed25519 => Algorithm::Ed25519,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_as_it_is_read() {
        for one in KeyType::value_variants() {
            assert_eq!(KeyType::from_str(&one.to_string(), false), Ok(*one));
        }
        let algorithms = KeyType::value_variants().iter().map(|one| one.algorithm());
        assert!(algorithms.eq([Algorithm::EcdsaP256, Algorithm::Ed25519]));
    }
}
