//! Roles for which AWS's Security Token Service (STS) gives keys (`AssumeRole` and
//! `AssumeRoleWithWebIdentity`).

mod answer;
mod request;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::jiff::Timestamp;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::HttpRequest;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

pub(super) use self::answer::advice;
use self::answer::{Given, may_pass, read_code, read_keys};
use super::source::Role;
use super::{CredentialsError, ini};
use crate::bucket::connector::{MAX_IDENTITY_BYTES, Peer, Reach, StoreClient, describe};
use crate::bucket::error::ErrorKind;

/// How long before their end keys are renewed, if they live for twice as long.
const RENEWAL: Duration = Duration::from_mins(5);

/// How long keys that are still valid are used after their renewal failed, until it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Where roles are assumed.
#[derive(Clone, Debug)]
pub(super) struct Sts {
    /// The URL.
    pub(super) url: String,
    /// The region that requests are signed for.
    pub(super) region: String,
    /// How it is reached.
    pub(super) reach: Reach,
}

/// What a request for keys is authorised with.
#[derive(Debug)]
pub(super) enum Proof {
    /// A signature with these keys.
    Keys(AwsCredentialProvider),
    /// The token in this file, which may be another one each time.
    Token(PathBuf),
}

/// Gives the keys of a role.
struct AssumedRole {
    role: Role,
    proof: Proof,
    url: String,
    region: String,
    client: StoreClient,
    pauses: [Duration; 2],
    /// Locked while keys are asked for, so that only one asks.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failure: Option<Failure>,
}

/// Keys that were given.
struct Kept {
    keys: Arc<AwsCredential>,
    renewal: Instant,
    end: Instant,
}

/// Why there were no keys.
struct Failure {
    error: ErrorKind,
    at: Instant,
}

/// Returns the provider of the keys of `role`. Nothing is requested before they are needed; they are kept
/// and renewed.
pub(super) fn provider(
    role: Role,
    proof: Proof,
    sts: Sts,
) -> Result<AwsCredentialProvider, CredentialsError> {
    let pauses = sts.reach.timing.pauses;
    let client = StoreClient::new("", sts.reach, Peer::Identity);
    let client = client.map_err(|kind| unavailable(&role, &words(&kind)))?;
    Ok(Arc::new(AssumedRole {
        role,
        proof,
        url: sts.url,
        region: sts.region,
        client,
        pauses,
        state: Mutex::default(),
    }))
}

fn unavailable(role: &Role, why: &str) -> CredentialsError {
    CredentialsError::RoleUnavailable {
        role: role.arn.clone(),
        why: why.to_owned(),
    }
}

impl fmt::Debug for AssumedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumedRole")
            .field("role", &self.role.arn)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for AssumedRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.keys()
            .await
            .map_err(|error| object_store::Error::Generic {
                store: "role",
                source: Box::new(error),
            })
    }
}

impl AssumedRole {
    async fn keys(&self) -> Result<Arc<AwsCredential>, ErrorKind> {
        let wanted = Instant::now();
        let mut state = self.state.lock().await;
        let State { kept, failure } = &mut *state;
        let now = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renewal) {
            return Ok(Arc::clone(&kept.keys));
        }
        // Somebody asked while this one waited.
        if let Some(failure) = failure.as_ref().filter(|failure| failure.at >= wanted) {
            return Err(failure.error.clone());
        }
        let error = match self.assume().await {
            Ok(new) => {
                let keys = Arc::clone(&new.keys);
                *kept = Some(new);
                return Ok(keys);
            }
            Err(error) => error,
        };
        let now = Instant::now();
        if let Some(kept) = kept.as_mut().filter(|kept| now < kept.end) {
            tracing::warn!(%error, "the keys of a role cannot be renewed; they are used until they end");
            kept.renewal = now + RETRY;
            return Ok(Arc::clone(&kept.keys));
        }
        let failed = error.clone();
        *failure = Some(Failure { error, at: now });
        Err(failed)
    }

    /// Asks for keys, at most three times.
    async fn assume(&self) -> Result<Kept, ErrorKind> {
        let mut pauses = self.pauses.into_iter();
        loop {
            let request = self.request().await?;
            let sent = (Timestamp::now(), Instant::now());
            let answer = self.client.send(request).await;
            let answer = answer.map_err(|kind| self.fails(&words(&kind)))?;
            let status = answer.status();
            let body = self.client.read(answer, MAX_IDENTITY_BYTES).await;
            let body = body.map_err(|kind| self.fails(&words(&kind)))?;
            if status.is_success() {
                return self.kept(read_keys(&body), sent);
            }
            let status = status.as_u16();
            let code = read_code(&body);
            let is_busy = status == 429 || status >= 500 || code.starts_with("Throttling");
            match pauses.next().filter(|_| is_busy) {
                Some(pause) => sleep(pause).await,
                None => return Err(self.refusal(status, code)),
            }
        }
    }

    async fn request(&self) -> Result<HttpRequest, ErrorKind> {
        let built = match &self.proof {
            Proof::Keys(keys) => {
                let keys = keys.get_credential().await;
                let keys = keys.map_err(|error| describe(&error))?;
                request::signed(&self.url, &self.role, &self.region, &keys)
            }
            Proof::Token(file) => {
                let token = request::read_token(file).await;
                let token = token.ok_or_else(|| {
                    self.fails("the file of velero-trust's own token cannot be read")
                })?;
                request::with_token(&self.url, &self.role, &token)
            }
        };
        built.ok_or_else(|| self.fails("AWS_ENDPOINT_URL_STS is no URL"))
    }

    /// Keeps what the service gave, which was asked at the time `sent`.
    fn kept(&self, given: Option<Given>, sent: (Timestamp, Instant)) -> Result<Kept, ErrorKind> {
        let Some(Given { keys, expiration }) = given else {
            return Err(self.fails("its answer is not that of an STS"));
        };
        ini::check(&keys).map_err(ErrorKind::Credentials)?;
        let life = Duration::try_from(expiration.duration_since(sent.0)).unwrap_or_default();
        if life.is_zero() {
            return Err(self.fails(
                "the keys that it gives have expired already; set the clock of this node by NTP",
            ));
        }
        // Whatever a clock says, they do not live for longer than was asked for.
        let life = life.min(request::duration(&self.role));
        let end = sent.1 + life;
        Ok(Kept {
            keys: Arc::new(keys),
            renewal: end - RENEWAL.min(life / 2),
            end,
        })
    }

    fn fails(&self, why: &str) -> ErrorKind {
        ErrorKind::Credentials(unavailable(&self.role, why))
    }

    fn refusal(&self, status: u16, code: String) -> ErrorKind {
        if may_pass(status, &code) {
            return self.fails(&format!("it answers {status} {code}"));
        }
        let code = if code.is_empty() {
            status.to_string()
        } else {
            code
        };
        let role = self.role.arn.clone();
        ErrorKind::Credentials(CredentialsError::RoleRefused { role, code })
    }
}

/// Says what is wrong with a service that is no store.
fn words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Certificate { problem, .. } => {
            format!("its certificate is not trusted: {problem}")
        }
        ErrorKind::CutOff => "the connection ended before its answer did".to_owned(),
        ErrorKind::Late | ErrorKind::TooSlow => "it did not answer in time".to_owned(),
        ErrorKind::Malformed(why) => format!("its answer is none of HTTP: {why}"),
        ErrorKind::NotTls => "it does not speak TLS on this port".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
