//! The private keys that sign statements about backups. A signature takes random numbers, so this is
//! not part of the pure core.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SigningKey as _};

use crate::integrity::envelope::{Envelope, signed_bytes};
use crate::integrity::public_key::{Algorithm, PublicKey, PublicKeyError};

/// A private key with its public half.
pub struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

/// Why there is no key, or no signature of one. No text of a key is in it.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// Not a private key that can be used.
    #[error("it is not the PEM of a private P-256 or Ed25519 key in PKCS#8")]
    Unusable,
    /// The public half cannot be used.
    #[error("its public half cannot be used: {0}")]
    Public(#[from] PublicKeyError),
    /// The library failed.
    #[error("the key could not be made or used")]
    Failed,
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate(algorithm: Algorithm) -> Result<Self, SigningKeyError> {
        let algorithm = match algorithm {
            Algorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::Ed25519 => &PKCS_ED25519,
        };
        Self::new(KeyPair::generate_for(algorithm).map_err(|_| SigningKeyError::Failed)?)
    }

    /// Reads a key from PEM of PKCS#8.
    pub fn from_pem(pem: &str) -> Result<Self, SigningKeyError> {
        Self::new(KeyPair::from_pem(pem).map_err(|_| SigningKeyError::Unusable)?)
    }

    /// Reads a key from DER of PKCS#8.
    pub fn from_der(der: &[u8]) -> Result<Self, SigningKeyError> {
        Self::new(KeyPair::try_from(der).map_err(|_| SigningKeyError::Unusable)?)
    }

    fn new(pair: KeyPair) -> Result<Self, SigningKeyError> {
        let public = PublicKey::from_der(&pair.subject_public_key_info())?;
        Ok(Self { pair, public })
    }

    /// Returns the key as PEM of PKCS#8.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// Returns the key as DER of PKCS#8.
    pub fn to_der(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }

    /// Returns the public half as PEM of its SubjectPublicKeyInfo.
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// Returns the public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `payload`.
    pub fn sign(&self, payload: Vec<u8>) -> Result<Envelope, SigningKeyError> {
        let signature = self.pair.sign(&signed_bytes(&payload));
        let signature = signature.map_err(|_| SigningKeyError::Failed)?;
        Ok(Envelope::new(payload, self.public.id(), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::envelope::{EnvelopeError, VerifyError};
    use serde_json::{Value, json};

    const BOTH: [Algorithm; 2] = [Algorithm::EcdsaP256, Algorithm::Ed25519];

    fn key(algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm).unwrap()
    }

    fn signed(key: &SigningKey) -> Envelope {
        key.sign(b"{}".to_vec()).unwrap()
    }

    fn changed(
        envelope: &Envelope,
        change: impl FnOnce(&mut Value),
    ) -> Result<Envelope, EnvelopeError> {
        let mut json: Value = serde_json::from_str(&envelope.to_json()?)?;
        change(&mut json);
        Envelope::parse(json.to_string().as_bytes())
    }

    #[test]
    fn what_a_key_signs_its_public_half_verifies_and_no_other() {
        for algorithm in BOTH {
            let key = key(algorithm);
            let again = SigningKey::from_pem(&key.to_pem()).unwrap();
            let public = PublicKey::from_pem(&again.public_pem()).unwrap();
            assert_eq!(public.algorithm(), algorithm);
            assert_eq!(public.id(), key.public().id());
            let json = signed(&again).to_json().unwrap();
            let envelope = Envelope::parse(json.as_bytes()).unwrap();
            assert_eq!(envelope, signed_by(&envelope));
            assert_eq!(envelope.payload(), b"{}");
            assert_eq!(envelope.verify(&[&public]).unwrap().id(), public.id());

            let [one, other] = BOTH.map(self::key);
            let unknown = envelope
                .verify(&[one.public(), other.public()])
                .unwrap_err();
            assert_eq!(unknown, VerifyError::UnknownKey(vec![public.id()]));
            assert!(unknown.to_string().contains(&public.id().to_string()));
            let keys = &[one.public(), other.public(), &public];
            assert_eq!(envelope.verify(keys).unwrap().id(), public.id());
        }
    }

    /// Returns the envelope after it is written and read again.
    fn signed_by(envelope: &Envelope) -> Envelope {
        Envelope::parse(envelope.to_json().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_changed_payload_or_signature_is_forged() {
        for algorithm in BOTH {
            let key = key(algorithm);
            let verify = |change: fn(&mut Value)| {
                let envelope = changed(&signed(&key), change).unwrap();
                envelope.verify(&[key.public()]).map(PublicKey::id)
            };
            assert_eq!(verify(|_| ()), Ok(key.public().id()));
            let forged = Err(VerifyError::Forged);
            assert_eq!(verify(|json| json["payload"] = json!("e30K")), forged);
            assert_eq!(
                verify(|json| json["signatures"][0]["sig"] = json!("AAAA")),
                forged
            );
            assert_eq!(
                verify(|json| json["signatures"][0]["sig"] = json!("")),
                forged
            );
            // The id of a key is only a hint.
            let id = Ok(key.public().id());
            assert_eq!(
                verify(|json| json["signatures"][0]["keyid"] = json!("x")),
                id
            );
            assert_eq!(
                verify(|json| drop(
                    json["signatures"][0]
                        .as_object_mut()
                        .unwrap()
                        .remove("keyid")
                )),
                id
            );
            let unnamed = |json: &mut Value| {
                json["payload"] = json!("e30K");
                json["signatures"][0]["keyid"] = json!("");
            };
            assert_eq!(verify(unnamed), Err(VerifyError::UnknownKey(Vec::new())));
            // A second signature that is not ours changes nothing.
            let added = |json: &mut Value| {
                let other = json!({"keyid": "0".repeat(64), "sig": "AAAA"});
                json["signatures"].as_array_mut().unwrap().insert(0, other);
            };
            assert_eq!(verify(added), id);
        }
    }

    #[test]
    fn the_type_of_the_payload_is_signed() {
        let key = key(Algorithm::EcdsaP256);
        let bare = key.pair.sign(b"{}").unwrap();
        let envelope = Envelope::new(b"{}".to_vec(), key.public().id(), bare);
        assert_eq!(
            envelope.verify(&[key.public()]).map(PublicKey::id),
            Err(VerifyError::Forged)
        );
    }

    #[test]
    fn what_is_no_envelope_is_told() {
        let key = key(Algorithm::Ed25519);
        let error =
            |change: fn(&mut Value)| changed(&signed(&key), change).unwrap_err().to_string();
        assert!(
            error(|json| json["payloadType"] = json!("text/plain\n")).contains("\"text/plain\\n\"")
        );
        assert!(error(|json| json["payload"] = json!("%")).contains("payload is not base64"));
        assert!(
            error(|json| json["signatures"][0]["sig"] = json!("%"))
                .contains("signature is not base64")
        );
        assert!(error(|json| json["signatures"] = json!([])).contains("0 signatures"));
        let many = |json: &mut Value| {
            let signature = json["signatures"][0].clone();
            json["signatures"] = json!(vec![signature; 9]);
        };
        assert!(error(many).contains("9 signatures"));
        assert!(error(|json| *json = json!({"a": 1})).contains("missing field"));
        let long = " ".repeat(crate::integrity::envelope::MAX_BYTES + 1);
        assert!(matches!(
            Envelope::parse(long.as_bytes()),
            Err(EnvelopeError::TooLong(_))
        ));
        // The alphabet for URLs is read as well.
        let url = changed(&signed(&key), |json| {
            let text = json["signatures"][0]["sig"].as_str().unwrap();
            let text = text.replace('+', "-").replace('/', "_");
            json["signatures"][0]["sig"] = json!(text);
        });
        assert!(url.unwrap().verify(&[key.public()]).is_ok());
    }

    #[test]
    fn what_is_no_public_key_is_told() {
        let key = key(Algorithm::EcdsaP256);
        let error = |pem: &str| PublicKey::from_pem(pem).unwrap_err();
        assert_eq!(error(&key.to_pem()), PublicKeyError::Private);
        assert_eq!(error(&key.public_pem().repeat(2)), PublicKeyError::Several);
        assert_eq!(error(""), PublicKeyError::Pem);
        assert_eq!(
            error("-----BEGIN PUBLIC KEY-----\nAAAA\n"),
            PublicKeyError::Pem
        );
        let rsa = "-----BEGIN PUBLIC KEY-----\nMCQCAQ==\n-----END PUBLIC KEY-----\n";
        assert_eq!(error(rsa), PublicKeyError::Algorithm);
        // The point alone, which is no SubjectPublicKeyInfo.
        let der = key.pair.subject_public_key_info();
        assert!(PublicKey::from_der(&der).is_ok());
        for bare in [&der[26..], &der[..90], &[0; 91][..], &[0; 44][..]] {
            assert!(matches!(
                PublicKey::from_der(bare),
                Err(PublicKeyError::Algorithm)
            ));
        }
    }

    #[test]
    fn only_a_private_key_signs() {
        for algorithm in BOTH {
            let pem = key(algorithm).public_pem();
            assert!(matches!(
                SigningKey::from_pem(&pem),
                Err(SigningKeyError::Unusable)
            ));
        }
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let error = SigningKey::from_pem(&p384.serialize_pem()).err().unwrap();
        assert!(error.to_string().contains("neither a P-256"), "{error}");
    }
}
