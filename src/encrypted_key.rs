//! Private keys under a passphrase: PKCS#8 (RFC 5958) with PBES2 (RFC 8018), as `openssl pkey` writes and reads
//! them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_128_KEY_LEN, AES_256, AES_256_KEY_LEN, Algorithm, DecryptionContext,
    EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{error, pbkdf2, rand};
use pkcs8::der::asn1::OctetString;
use pkcs8::der::{self, Encode as _, EncodePem as _, SecretDocument};
use pkcs8::pkcs5::EncryptionScheme as Scheme;
use pkcs8::pkcs5::pbes2::{self, EncryptionScheme, Kdf, Pbkdf2Prf};
use pkcs8::{EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};

use crate::signing_key::{SigningKey, SigningKeyError};

/// Rounds of PBKDF2, as OWASP asks for with SHA-256: about half a second for each guess of a passphrase.
const ROUNDS: u32 = 600_000;

/// Most rounds that are done for a key of somebody else: some ten seconds.
const MAX_ROUNDS: u32 = 10_000_000;

/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// Why a key is not read or written. No text of a key or passphrase is in it.
#[derive(Debug, thiserror::Error)]
pub enum EncryptedKeyError {
    /// Not PEM of an encrypted key.
    #[error("it is damaged: it is not PKCS#8 in PEM")]
    Damaged,
    /// Encrypted by other algorithms.
    #[error(
        "it is encrypted in a way that velero-trust does not read; `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf \
         hmacWithSHA256 -in <key> -out <new>` writes one that it reads"
    )]
    Unsupported,
    /// It decrypts to nothing that is a key.
    #[error("the passphrase is not that of the key")]
    Passphrase,
    /// What is in it is no key that can be used.
    #[error("{0}")]
    Key(SigningKeyError),
    /// The library failed.
    #[error("the key could not be encrypted")]
    Failed,
}

/// Whether `pem` has a private key under a passphrase.
pub fn is_encrypted(pem: &str) -> bool {
    pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// Returns `key` under `passphrase`, in PEM.
pub fn encrypt(key: &SigningKey, passphrase: &str) -> Result<String, EncryptedKeyError> {
    let failed = |_: error::Unspecified| EncryptedKeyError::Failed;
    let encoded = |_: der::Error| EncryptedKeyError::Failed;
    let mut salt = [0; BLOCK];
    rand::fill(&mut salt).map_err(failed)?;
    let mut iv = [0; BLOCK];
    rand::fill(&mut iv).map_err(failed)?;
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv);
    let parameters = parameters.map_err(|_| EncryptedKeyError::Failed)?;
    let aes = derived((&AES_256, AES_256_KEY_LEN), &parameters.kdf, passphrase)?;
    let aes = PaddedBlockEncryptingKey::cbc_pkcs7(aes).map_err(failed)?;
    let mut bytes = first_version(key.to_der());
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    aes.less_safe_encrypt(&mut bytes, context).map_err(failed)?;
    let info = EncryptedPrivateKeyInfoOwned {
        encryption_algorithm: Scheme::Pbes2(parameters),
        encrypted_data: OctetString::new(bytes).map_err(encoded)?,
    };
    info.to_pem(der::pem::LineEnding::LF).map_err(encoded)
}

/// Returns a key without its public half, as the first version of PKCS#8: OpenSSL 3.0 reads no other of Ed25519.
fn first_version(der: Vec<u8>) -> Vec<u8> {
    let info = PrivateKeyInfoRef::try_from(&*der);
    let first = info.and_then(|info| {
        let info = PrivateKeyInfoRef {
            public_key: None,
            ..info
        };
        Ok(info.to_der()?)
    });
    first.unwrap_or(der)
}

/// Returns the key that is in `pem` under `passphrase`.
pub fn decrypt(pem: &str, passphrase: &str) -> Result<SigningKey, EncryptedKeyError> {
    let (label, document) =
        SecretDocument::from_pem(pem.trim()).map_err(|_| EncryptedKeyError::Damaged)?;
    if label != "ENCRYPTED PRIVATE KEY" {
        return Err(EncryptedKeyError::Damaged);
    }
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
    let info = info.map_err(|_| EncryptedKeyError::Unsupported)?;
    let Scheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(EncryptedKeyError::Unsupported);
    };
    let (algorithm, iv) = match parameters.encryption {
        EncryptionScheme::Aes128Cbc { iv } => ((&AES_128, AES_128_KEY_LEN), iv),
        EncryptionScheme::Aes256Cbc { iv } => ((&AES_256, AES_256_KEY_LEN), iv),
        _ => return Err(EncryptedKeyError::Unsupported),
    };
    let aes = derived(algorithm, &parameters.kdf, passphrase)?;
    let wrong = |_: error::Unspecified| EncryptedKeyError::Passphrase;
    let aes = PaddedBlockDecryptingKey::cbc_pkcs7(aes).map_err(wrong)?;
    let mut bytes = info.encrypted_data.as_bytes().to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plain = aes.decrypt(&mut bytes, context).map_err(wrong)?;
    // One passphrase of 256 that are wrong ends in bytes that look like padding.
    if plain.first() != Some(&SEQUENCE) {
        return Err(EncryptedKeyError::Passphrase);
    }
    SigningKey::from_der(plain).map_err(EncryptedKeyError::Key)
}

/// First byte of every key in DER.
const SEQUENCE: u8 = 0x30;

/// Returns the AES key that comes of a passphrase.
fn derived(
    (algorithm, length): (&'static Algorithm, usize),
    kdf: &Kdf,
    passphrase: &str,
) -> Result<UnboundCipherKey, EncryptedKeyError> {
    let Kdf::Pbkdf2(parameters) = kdf else {
        return Err(EncryptedKeyError::Unsupported);
    };
    let function = match parameters.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(EncryptedKeyError::Unsupported),
    };
    let rounds = NonZeroU32::new(parameters.iteration_count);
    let rounds = rounds.filter(|rounds| rounds.get() <= MAX_ROUNDS);
    let rounds = rounds.ok_or(EncryptedKeyError::Unsupported)?;
    let mut bytes = vec![0; length];
    let is_length = |wanted: u16| usize::from(wanted) == length;
    if !parameters.key_length.is_none_or(is_length) {
        return Err(EncryptedKeyError::Unsupported);
    }
    let salt = parameters.salt.as_bytes();
    pbkdf2::derive(function, rounds, salt, passphrase.as_bytes(), &mut bytes);
    UnboundCipherKey::new(algorithm, &bytes).map_err(|_| EncryptedKeyError::Failed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::integrity::public_key::Algorithm as KeyAlgorithm;

    const PASSPHRASE: &str = "correct horse";

    fn id(key: Result<SigningKey, EncryptedKeyError>) -> Result<String, String> {
        key.map(|key| key.public().id().to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_its_passphrase_opens_a_key() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
            let key = SigningKey::generate(algorithm).unwrap();
            let pem = encrypt(&key, PASSPHRASE).unwrap();
            assert!(is_encrypted(&pem) && !is_encrypted(&key.to_pem()));
            let public = key.public().id().to_string();
            assert_eq!(id(decrypt(&pem, PASSPHRASE)), Ok(public));
            let wrong = id(decrypt(&pem, "correct horses")).unwrap_err();
            assert_eq!(wrong, "the passphrase is not that of the key");
            let half = pem.get(..pem.len() / 2).unwrap();
            let damaged = id(decrypt(half, PASSPHRASE)).unwrap_err();
            assert!(damaged.starts_with("it is damaged"), "{damaged}");
        }
    }

    #[test]
    fn no_two_copies_are_alike() {
        let key = SigningKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let [one, other] = [(); 2].map(|()| encrypt(&key, PASSPHRASE).unwrap());
        assert_ne!(one, other);
    }

    /// Runs openssl on `input`, a file of its own, and returns what it prints.
    fn openssl(arguments: &[&str], input: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, input).unwrap();
        let pass = format!("pass:{PASSPHRASE}");
        let arguments = arguments.iter().map(|argument| match *argument {
            "FILE" => file.to_str().unwrap(),
            "PASS" => &*pass,
            other => other,
        });
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{output:?}",
            output = output.stderr
        );
        text
    }

    #[test]
    fn openssl_opens_what_is_written() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
            let key = SigningKey::generate(algorithm).unwrap();
            let pem = encrypt(&key, PASSPHRASE).unwrap();
            let arguments = ["pkey", "-in", "FILE", "-passin", "PASS", "-pubout"];
            assert_eq!(openssl(&arguments, &pem), key.public_pem());
        }
    }

    #[test]
    fn what_openssl_writes_is_read_or_its_algorithm_told() {
        let written = ["pkcs8", "-topk8", "-in", "FILE", "-passout", "PASS"];
        let key = SigningKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let public = key.public().id().to_string();
        let with = |more: &[&str]| {
            let pem = openssl(&[&written[..], more].concat(), &key.to_pem());
            id(decrypt(&pem, PASSPHRASE))
        };
        assert_eq!(with(&[]), Ok(public.clone()));
        let old = ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"];
        assert_eq!(with(&old), Ok(public.clone()));
        let new = ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"];
        assert_eq!(with(&new), Ok(public));
        for other in [&["-scrypt"][..], &["-v2", "aes-192-cbc"], &["-v2", "des3"]] {
            let why = with(other).unwrap_err();
            assert!(why.contains("hmacWithSHA256 -in"), "{other:?}: {why}");
        }
    }
}
