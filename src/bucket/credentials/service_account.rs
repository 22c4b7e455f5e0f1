//! Tokens of a service account of Google's cloud, which are signed here with its key
//! (<https://google.aip.dev/auth/4111>), so that nobody is asked for them.
//!
//! `object_store` signs such tokens for everything that the account may do. These are for the files of
//! buckets only, as those of the gcp plugin are, since the host that gets them is one that a BSL names.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::CredentialsError;
use crate::bucket::error::ErrorKind;

/// What the tokens are for (`storage.ScopeReadWrite`).
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// How long Google takes a token for valid, which is the longest time that it allows.
const LIFETIME: Duration = Duration::from_hours(1);

/// How long a token is used.
const USE: Duration = Duration::from_mins(45);

/// A service account with its key.
pub(super) struct ServiceAccount {
    email: String,
    key_id: String,
    key: RsaKeyPair,
    last: Mutex<Option<(Instant, Arc<GcpCredential>)>>,
}

impl ServiceAccount {
    /// Reads a private key in PEM; `None` if it is no key for RSA.
    pub(super) fn new(email: &str, key_id: &str, private_key: &str) -> Option<Self> {
        let key = match PrivateKeyDer::from_pem_slice(private_key.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return None,
        };
        Some(Self {
            email: email.to_owned(),
            key_id: key_id.to_owned(),
            key: key.ok()?,
            last: Mutex::new(None),
        })
    }

    /// Returns a token that is valid from `now` on, in seconds since 1970.
    fn sign(&self, now: u64) -> Option<String> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email,
            "sub": self.email,
            "scope": SCOPE,
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut signature,
            )
            .ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for ServiceAccount {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((signed, token)) = &*last
            && signed.elapsed() < USE
        {
            return Ok(Arc::clone(token));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let bearer = self.sign(now.unwrap_or_default().as_secs());
        let bearer = bearer.ok_or_else(|| object_store::Error::Generic {
            store: "service account",
            source: Box::new(ErrorKind::Credentials(CredentialsError::GcpKey)),
        })?;
        let token = Arc::new(GcpCredential { bearer });
        *last = Some((Instant::now(), Arc::clone(&token)));
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _};

    use super::*;

    #[tokio::test]
    async fn a_token_is_signed_for_buckets_only_and_used_again() {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let account = ServiceAccount::new("a@p", "k1", &pair.serialize_pem()).unwrap();
        let token = account.sign(1_000).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            panic!("{token}");
        };
        let json = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            json(header),
            json!({"alg": "RS256", "typ": "JWT", "kid": "k1"})
        );
        let expected = json!({
            "iss": "a@p", "sub": "a@p", "iat": 1_000, "exp": 4_600,
            "scope": "https://www.googleapis.com/auth/devstorage.read_write",
        });
        assert_eq!(json(claims), expected);
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.der_bytes());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        key.verify(format!("{header}.{claims}").as_bytes(), &signature)
            .unwrap();

        let first = account.get_credential().await.unwrap();
        let second = account.get_credential().await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!format!("{account:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_that_is_none_for_rsa_is_none() {
        let other = KeyPair::generate().unwrap().serialize_pem();
        for key in ["", "nonsense", &other] {
            assert!(ServiceAccount::new("a@p", "k", key).is_none());
        }
    }
}
