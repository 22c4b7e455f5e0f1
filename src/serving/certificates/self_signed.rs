//! Serving certificates of velero-trust's own CA: each replica issues its own, in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::CertificateSender;
use super::clients::ClientAuthorities;
use super::files;
use super::pair::{Pair, Validated};
use crate::admission::webhook_state::{
    Installation, RegisteredWebhook, Verification, verification,
};
use crate::ca::serving_certificate::ServingCertificate;
use crate::clock;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::serving_ca::{self, CaSecret, ServingCa, ServingCaHandle, Stored};
use crate::names;
use crate::serving_ca::issue::service_names;
use crate::serving_ca::renewal::{Served, is_due};
use crate::serving_ca::rotation::TRUSTED_BEFORE_USE_SECONDS;
use crate::serving_ca::{Authorities, Leaf};
use crate::telemetry::LogOnce;

/// Time between two looks at the Secret and at the wall clock: a timer that is set for the expiry would
/// stand still while the machine is suspended.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The same while there is no certificate.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// How long every webhook must trust a foreign CA before this replica presents a certificate of it.
const TRUSTED_BEFORE_USE: Duration = Duration::from_secs(TRUSTED_BEFORE_USE_SECONDS.unsigned_abs());

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What issues the certificates of this replica.
pub struct SelfSigned {
    /// The cluster.
    pub client: Client,
    /// The namespace of velero-trust.
    pub namespace: String,
    /// The file with the CAs of clients, if only theirs may connect.
    pub client_ca: Option<PathBuf>,
    /// Where certificates are published.
    pub sender: CertificateSender,
    /// Whom the API server asks; `None` while that is not known.
    pub webhooks: watch::Receiver<Option<Arc<Vec<RegisteredWebhook>>>>,
    /// Where what is known of the CA is published.
    pub ca: ServingCaHandle,
}

/// What is published.
struct Current {
    served: Served,
    presented: ServingCertificate,
    leaf: Leaf,
    client_ca: Option<Vec<u8>>,
}

impl SelfSigned {
    /// Reads the Secret from time to time, or makes it, and publishes certificates. Never returns.
    pub async fn run(self) {
        let mut known = ServingCa::default();
        let mut current = None;
        let mut failure = LogOnce::default();
        loop {
            match self.look(&mut known, &mut current).await {
                Ok(()) => failure.clear(),
                Err(why) => {
                    self.sender.failed();
                    if failure.is_new(&why) {
                        tracing::error!(why, "no new serving certificate; the last one stays");
                    }
                }
            }
            let pause = if current.is_some() {
                LOOK_INTERVAL
            } else {
                FIRST_INTERVAL
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.ca.looked_for() => {}
            }
        }
    }

    async fn look(
        &self,
        known: &mut ServingCa,
        current: &mut Option<Current>,
    ) -> Result<(), String> {
        let now = clock::now();
        let read = self.read_or_create(known, now).await;
        let read = read.map(|secret| {
            self.accept(known, secret, now, Instant::now());
            self.ca.publish(known.clone());
        });
        // What is held goes on whatever became of the Secret.
        let Some(authorities) = known.valid(now) else {
            read?;
            let secret = format!("Secret {}/{}", self.namespace, names::SERVING_CA);
            return Err(match &known.stored {
                Stored::Broken { why, .. } => {
                    format!("{secret} cannot be used: {why}; the leader replaces it")
                }
                _ => format!("the CA in {secret} is not valid now; check the clock of this node"),
            });
        };
        let renewed = self.renew(authorities, current, now);
        read.and(renewed)
    }

    /// Reads the Secret. Makes it if there is none and this replica holds no CA: one that it holds is
    /// written back by the leader.
    async fn read_or_create(
        &self,
        known: &ServingCa,
        now: i64,
    ) -> Result<Option<CaSecret>, String> {
        let found = self.request(serving_ca::read(&self.client, &self.namespace));
        let found = found.await?;
        if found.is_some() || known.valid(now).is_some() {
            return Ok(found);
        }
        let first = Authorities::first(now).map_err(|error| error.to_string())?;
        let create = serving_ca::create(&self.client, &self.namespace, &first);
        if self.request(create).await? {
            tracing::info!("made a CA for the serving certificates");
        }
        self.request(serving_ca::read(&self.client, &self.namespace))
            .await
    }

    async fn request<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, String> {
        match timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(lookup_error(&error).message),
            Err(_) => Err("the API server did not answer in time".to_owned()),
        }
    }

    /// Takes what the Secret holds, unless it is foreign: what nobody here made, and what not every webhook
    /// has trusted long enough. `at` is the time on a clock that is never set.
    fn accept(&self, known: &mut ServingCa, secret: Option<CaSecret>, now: i64, at: Instant) {
        let Some(secret) = secret else {
            known.stored = Stored::Absent;
            return;
        };
        let version = secret.version;
        let read = match Authorities::read(&secret.data, now) {
            Ok(read) => read,
            // Nobody replaces a good one because of a wrong clock.
            Err(error) if error.is_not_yet_valid(now) => {
                known.stored = Stored::Unknown;
                return;
            }
            Err(error) => {
                let why = error.to_string();
                known.stored = Stored::Broken { why, version };
                return;
            }
        };
        let is_ours = known.valid(now).is_none_or(|held| read.follows(held));
        if !is_ours && !self.is_trusted_long(known, &read, now, at) {
            known.stored = Stored::Foreign { version };
            return;
        }
        known.trusted_foreign = None;
        if known.held.as_deref() != Some(&read) {
            known.held = Some(Arc::new(read));
        }
        known.stored = Stored::Held {
            version,
            is_rotation_requested: secret.is_rotation_requested,
        };
    }

    /// Whether every webhook has trusted these CAs as long as the next CA of a rotation.
    fn is_trusted_long(
        &self,
        known: &mut ServingCa,
        authorities: &Authorities,
        now: i64,
        at: Instant,
    ) -> bool {
        let ca = authorities.signing().certificate().fingerprint();
        if !self.is_trusted(authorities, now) {
            known.trusted_foreign = None;
            return false;
        }
        let before = known.trusted_foreign.filter(|(known, _)| *known == ca);
        let (_, since) = *known.trusted_foreign.insert(before.unwrap_or((ca, at)));
        at.duration_since(since) >= TRUSTED_BEFORE_USE
    }

    /// Whether the API server verifies what these CAs issue, wherever it asks.
    fn is_trusted(&self, authorities: &Authorities, now: i64) -> bool {
        let leaf = authorities.signing().issue(&self.names(), now).ok();
        let leaf = leaf.and_then(|leaf| ServingCertificate::from_pem(leaf.certificate.as_bytes()));
        leaf.is_some_and(|leaf| self.is_verified(&leaf, now))
    }

    fn is_verified(&self, certificate: &ServingCertificate, now: i64) -> bool {
        let webhooks = self.webhooks.borrow();
        let Some(webhooks) = webhooks.as_ref() else {
            return false;
        };
        let installation = Installation::presenting(&self.namespace, certificate, now);
        verification(installation, webhooks) == Verification::Everywhere
    }

    /// Publishes a new certificate if one is due, or if the CAs of clients changed.
    fn renew(
        &self,
        authorities: &Authorities,
        current: &mut Option<Current>,
        now: i64,
    ) -> Result<(), String> {
        let client_ca = self.client_ca.as_ref().map(|path| files::read(path, path));
        let client_ca = client_ca.transpose();
        let client_ca = client_ca.map_err(|error| files::error_chain(&error))?;
        let served = current.as_ref().map(|current| &current.served);
        let next = if is_due(served, authorities, now) {
            Some(self.issue(authorities, now)?)
        } else {
            None
        };
        let next = next.filter(|(_, leaf)| {
            let before = current.as_ref();
            before.is_none_or(|before| self.may_replace(before, leaf, authorities, now))
        });
        let before = current.as_ref();
        if next.is_none() && before.is_some_and(|before| before.client_ca == client_ca) {
            return Ok(());
        }
        let is_new = next.is_some();
        let next = next.or_else(|| before.map(|before| (before.served, before.leaf.clone())));
        let Some((served, leaf)) = next else {
            return Ok(());
        };
        let pair = Pair {
            certificate_name: "of this replica",
            certificate: leaf.certificate.as_bytes(),
            key_name: "of this replica",
            key: leaf.key.as_bytes(),
        };
        let clients = self.client_ca.as_ref().zip(client_ca.as_ref());
        let clients = clients
            .map(|(path, pem)| ClientAuthorities::parse(&path.display().to_string(), pem))
            .transpose()
            .map_err(|error| error.to_string())?;
        let validated = Validated::new(pair, clients.as_ref(), now);
        let validated = validated.map_err(|error| error.to_string())?;
        self.sender.publish(&validated);
        if is_new {
            let until = validated.certificate().expiry_date();
            tracing::info!(until, "a new serving certificate is presented");
        }
        *current = Some(Current {
            served,
            presented: validated.certificate().clone(),
            leaf,
            client_ca,
        });
        Ok(())
    }

    /// Whether a new certificate may take the place of the one before. One that the API server verifies
    /// stays until it verifies the new one, too.
    fn may_replace(
        &self,
        before: &Current,
        leaf: &Leaf,
        authorities: &Authorities,
        now: i64,
    ) -> bool {
        if before.served.is_of(authorities.signing()) || before.presented.not_after() <= now {
            return true;
        }
        let new = ServingCertificate::from_pem(leaf.certificate.as_bytes());
        let is_known = self.webhooks.borrow().is_some();
        is_known
            && (!self.is_verified(&before.presented, now)
                || new.is_some_and(|new| self.is_verified(&new, now)))
    }

    fn issue(&self, authorities: &Authorities, now: i64) -> Result<(Served, Leaf), String> {
        let signing = authorities.signing();
        let leaf = signing.issue(&self.names(), now);
        let leaf = leaf.map_err(|error| error.to_string())?;
        Ok((Served::new(signing, now), leaf))
    }

    fn names(&self) -> Vec<String> {
        service_names(names::APP, &self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving_ca::rotation::{self, Step};
    use crate::telemetry::Metrics;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    const NOW: i64 = 1_790_000_000;

    /// A replica whose API server asks with this caBundle.
    fn replica(ca_bundle: Option<&str>) -> SelfSigned {
        let none = service_fn(|_: http::Request<Body>| async {
            Err::<http::Response<Body>, _>(std::io::Error::other("no API server"))
        });
        let webhooks = ca_bundle.map(|bundle| {
            let webhook = json!({
                "name": "restores.velero-trust.io",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "service": {"name": "velero-trust", "namespace": "guards", "path": "/validate/restores"},
                    "caBundle": STANDARD.encode(bundle),
                },
                "rules": [{"apiGroups": ["velero.io"], "apiVersions": ["v1"], "resources": ["restores"],
                    "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"}],
            });
            Arc::new(vec![RegisteredWebhook::read("ValidatingWebhookConfiguration a", &webhook)])
        });
        SelfSigned {
            client: Client::new(none, "guards"),
            namespace: "guards".to_owned(),
            client_ca: None,
            sender: super::super::channel(Arc::new(Metrics::default())).0,
            webhooks: watch::channel(webhooks).1,
            ca: ServingCaHandle::default(),
        }
    }

    fn secret(authorities: &Authorities) -> CaSecret {
        CaSecret {
            data: authorities.data(),
            version: "7".to_owned(),
            is_rotation_requested: false,
        }
    }

    fn presented(replica: &SelfSigned) -> ServingCertificate {
        replica.sender.certificate().borrow().clone().unwrap()
    }

    #[tokio::test]
    async fn a_foreign_ca_is_not_taken_unless_the_api_server_trusts_it() {
        let (ours, foreign) = (
            Authorities::first(NOW).unwrap(),
            Authorities::first(NOW).unwrap(),
        );
        let at = Instant::now();
        let take = |bundle: Option<&str>, after| {
            let mut known = ServingCa::default();
            let replica = replica(bundle);
            replica.accept(&mut known, Some(secret(&ours)), NOW, at);
            assert_eq!(known.held.as_deref(), Some(&ours));
            for seconds in [0, 119, after] {
                let at = at + Duration::from_secs(seconds);
                replica.accept(&mut known, Some(secret(&foreign)), NOW, at);
            }
            known
        };
        let known = take(Some(&ours.ca_bundle()), 120);
        assert_eq!(known.held.as_deref(), Some(&ours));
        assert_eq!(
            known.stored,
            Stored::Foreign {
                version: "7".to_owned()
            }
        );
        assert_eq!(
            take(None, 120).held.as_deref(),
            Some(&ours),
            "it is not known"
        );
        let both = [ours.ca_bundle(), foreign.ca_bundle()].concat();
        assert_eq!(take(Some(&both), 119).held.as_deref(), Some(&ours));
        assert_eq!(take(Some(&both), 120).held.as_deref(), Some(&foreign));
    }

    #[tokio::test]
    async fn what_it_holds_outlives_the_secret() {
        let at = Instant::now();
        let ours = Authorities::first(NOW).unwrap();
        let replica = replica(Some(&ours.ca_bundle()));
        let mut known = ServingCa::default();
        replica.accept(&mut known, Some(secret(&ours)), NOW, at);
        replica.accept(&mut known, None, NOW, at);
        assert_eq!(
            (known.held.as_deref(), &known.stored),
            (Some(&ours), &Stored::Absent)
        );
        let mut half = secret(&ours);
        half.data.remove("ca.key");
        replica.accept(&mut known, Some(half), NOW, at);
        assert_eq!(known.held.as_deref(), Some(&ours));
        assert!(matches!(&known.stored, Stored::Broken { why, .. } if why.contains("its key")));
        // A clock that is far behind.
        replica.accept(&mut known, Some(secret(&ours)), NOW - 30 * 86_400, at);
        assert_eq!(known.stored, Stored::Unknown);
    }

    #[tokio::test]
    async fn a_certificate_of_the_new_ca_is_presented_once_it_is_verified() {
        let first = Authorities::first(NOW).unwrap();
        let both = rotation::take(&first, Step::AddNext, NOW).unwrap();
        let promoted = rotation::take(&both, Step::Promote, NOW).unwrap();
        let issuer_of = |bundle: &str| {
            let replica = replica(Some(bundle));
            let mut current = None;
            replica.renew(&first, &mut current, NOW).unwrap();
            let before = presented(&replica);
            replica.renew(&first, &mut current, NOW + 60).unwrap();
            assert_eq!(presented(&replica), before, "it is not due");
            replica.renew(&promoted, &mut current, NOW + 120).unwrap();
            let after = presented(&replica);
            let next = promoted.signing().pem();
            after
                .refusal(next.as_bytes(), "velero-trust.guards.svc", NOW)
                .is_none()
        };
        assert!(issuer_of(&promoted.ca_bundle()));
        let refused = issuer_of("");
        assert!(refused, "nobody verifies the one before either");
        assert!(
            !issuer_of(&first.ca_bundle()),
            "the API server would refuse it"
        );
    }

    #[tokio::test]
    async fn a_clock_that_jumps_gets_a_new_certificate() {
        let first = Authorities::first(NOW).unwrap();
        let replica = replica(Some(&first.ca_bundle()));
        let mut current = None;
        replica.renew(&first, &mut current, NOW).unwrap();
        let day = 86_400;
        for now in [NOW + 8 * day, NOW - 2 * day] {
            replica.renew(&first, &mut current, now).unwrap();
            assert_eq!(presented(&replica).not_after(), now + 7 * day);
        }
    }
}
