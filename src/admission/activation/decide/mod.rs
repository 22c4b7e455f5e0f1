//! Decides what is set in the webhook configurations, and why not.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::OLDEST_KUBERNETES;
use super::canary::{self, Canary};
use super::fields::{END, ca_bundle, lacks, with_ca_bundle};
use super::held::Held;
use super::owner::{Owner, owner};
use crate::admission::webhook_state::RegisteredWebhook;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::pem;
use crate::ca::serving_certificate::ServingCertificate;

/// Most certificates in a caBundle beside a certificate from files. A rotation needs a handful; a longer
/// one is somebody's mistake.
const MAX_CAS: usize = 16;

/// The same with velero-trust's own CAs.
const MAX_OWN_CAS: usize = 3;

/// The CAs that the API server has to trust, and for how long others beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cas {
    pem: String,
    /// Most certificates in a caBundle.
    most: usize,
    /// Whether they are velero-trust's own.
    is_own: bool,
    /// Until when others may have issued what a replica presents, in seconds since 1970.
    others_until: i64,
}

impl Cas {
    /// The CA of a certificate from files. What issued the ones before is trusted until it expires.
    pub const fn of_file(pem: String) -> Self {
        Self {
            pem,
            most: MAX_CAS,
            is_own: false,
            others_until: i64::MAX,
        }
    }

    /// velero-trust's own CAs, and until when others may have issued what a replica presents.
    pub const fn own(pem: String, others_until: i64) -> Self {
        Self {
            pem,
            most: MAX_OWN_CAS,
            is_own: true,
            others_until,
        }
    }
}

/// Why nothing may be made active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody said so.
    Off,
    /// velero-trust is being removed.
    Removed,
}

/// What is known when it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The namespace of this installation.
    pub namespace: &'a str,
    /// The version of the API server.
    pub kubernetes: (u32, u32),
    /// Why nothing may be made active, if somebody wants that.
    pub stopped: Option<Stopped>,
    /// Whether every replica is of this version and ready.
    pub is_rolled_out: bool,
    /// The certificate that is presented, if it is known.
    pub certificate: Option<&'a ServingCertificate>,
    /// The CAs of that certificate, or why they are not known.
    pub ca: Result<&'a Cas, &'a str>,
    /// Whether somebody else is said to set every caBundle.
    pub is_external: bool,
    /// What the canary heard.
    pub canary: &'a Canary,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// A webhook configuration of velero-trust in the cluster.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Kind and name.
    pub name: String,
    /// Its metadata.
    pub metadata: Value,
    /// Its webhooks.
    pub webhooks: Vec<Value>,
    /// Whether it was active before, as far as this leader saw.
    pub was_active: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The webhooks to apply, with the index of their configuration.
    pub changes: Vec<(usize, Vec<Value>)>,
    /// Why something is not active; `None` if all is, or will be.
    pub held: Option<Held>,
    /// Whether the API server can be asked for the canary.
    pub has_canary: bool,
    /// Whether something waits for the canary alone.
    pub waits_for_canary: bool,
}

/// Returns what is to be done with `configurations`.
pub fn plan(facts: Facts<'_>, configurations: &[Configuration]) -> Plan {
    let mut plan = Plan::default();
    let own = facts.namespace.to_owned();
    plan.held = match facts.stopped {
        Some(Stopped::Off) => Some(Held::Off(own)),
        Some(Stopped::Removed) => Some(Held::Removed(own)),
        None if facts.kubernetes < OLDEST_KUBERNETES => Some(Held::OldKubernetes(facts.kubernetes)),
        None => None,
    };
    if plan.held.is_some() {
        return plan;
    }
    let own = configurations.iter().enumerate();
    let own = own.filter(|(_, one)| one.calls_only(facts.namespace));
    let (canaries, others): (Vec<_>, Vec<_>) = own.partition(|(_, one)| one.is_canary());
    for (index, configuration) in &canaries {
        match configuration.entries(facts) {
            Ok(entries) if entries.is_changed => plan.changes.push((*index, entries.webhooks)),
            Ok(_) => plan.has_canary = true,
            Err(held) => plan.hold(held),
        }
    }
    if canaries.is_empty() {
        plan.hold(Held::NoCanary);
    }
    for (index, configuration) in others {
        let entries = match configuration.entries(facts) {
            Ok(entries) => entries,
            // It stays as it is, and its state is told.
            Err(held) => {
                plan.hold(held);
                continue;
            }
        };
        if !entries.is_changed {
            continue;
        }
        if !configuration.is_asked() {
            if !facts.is_rolled_out && !configuration.was_active {
                plan.hold(Held::NotRolledOut(facts.namespace.to_owned()));
                continue;
            }
            if !facts.canary.is_answered() {
                plan.waits_for_canary = true;
                continue;
            }
        }
        plan.changes.push((index, entries.webhooks));
    }
    if plan.waits_for_canary
        && let Some(heard) = facts.canary.last()
    {
        plan.hold(Held::Canary(heard.clone()));
    }
    plan
}

impl Plan {
    /// Keeps the first reason.
    fn hold(&mut self, held: Held) {
        self.held.get_or_insert(held);
    }
}

/// The webhooks of a configuration as they should be.
struct Entries {
    webhooks: Vec<Value>,
    is_changed: bool,
}

impl Configuration {
    /// Whether it calls the installation in `namespace` and no other.
    fn calls_only(&self, namespace: &str) -> bool {
        let services = self.webhooks.iter().map(|webhook| {
            let namespace = webhook.pointer("/clientConfig/service/namespace");
            namespace.and_then(Value::as_str)
        });
        let mut services = services.peekable();
        services.peek().is_some() && services.all(|one| one.is_none_or(|one| one == namespace))
    }

    fn is_canary(&self) -> bool {
        let mut webhooks = self.webhooks.iter();
        webhooks.any(|webhook| text(webhook, "/name") == canary::WEBHOOK)
    }

    /// Whether the API server sends it requests.
    pub fn is_asked(&self) -> bool {
        let has_rules = |webhook: &Value| {
            let rules = webhook.get("rules").and_then(Value::as_array);
            rules.is_some_and(|rules| !rules.is_empty())
        };
        self.webhooks.iter().any(has_rules)
    }

    fn entries(&self, facts: Facts<'_>) -> Result<Entries, Held> {
        let mut entries = Entries {
            webhooks: Vec::new(),
            is_changed: false,
        };
        for webhook in &self.webhooks {
            let bundle = self.ca_bundle(webhook, facts)?;
            let wanted = with_ca_bundle(webhook, bundle.as_deref());
            let wanted = wanted.map_err(|unknown| Held::UnknownPath {
                configuration: self.name.clone(),
                why: unknown.to_string(),
            })?;
            entries.is_changed |= lacks(webhook, &wanted);
            entries.webhooks.push(wanted);
        }
        Ok(entries)
    }

    /// Returns the caBundle, in base64, that `webhook` should have; `None` if somebody else sets it.
    fn ca_bundle(&self, webhook: &Value, facts: Facts<'_>) -> Result<Option<String>, Held> {
        let live = text(webhook, "/clientConfig/caBundle");
        let decoded = STANDARD.decode(live).unwrap_or_default();
        let refusal = |bundle: &[u8]| {
            let certificate = facts.certificate?;
            let host = RegisteredWebhook::read(&self.name, webhook).host()?;
            certificate.refusal(bundle, &host, facts.now)
        };
        let live_refusal = refusal(&decoded);
        let owner = match owner(&self.metadata, text(webhook, "/name")) {
            Owner::Nobody | Owner::Ours if facts.is_external => {
                Owner::Other("another tool (--ca-bundle=external)".to_owned())
            }
            owner => owner,
        };
        if let Owner::Other(manager) = owner {
            return match live_refusal {
                None if !live.is_empty() => Ok(None),
                refusal => Err(Held::OthersCaBundle {
                    configuration: self.name.clone(),
                    manager,
                    why: refusal
                        .filter(|_| !live.is_empty())
                        .map(|refusal| refusal.to_string()),
                }),
            };
        }
        let trusted = pem::read(&decoded).certificates;
        let cas = match facts.ca {
            Ok(cas) => cas,
            Err(_) if !live.is_empty() && live_refusal.is_none() && trusted.len() <= MAX_CAS => {
                return Ok(Some(live.to_owned()));
            }
            Err(why) => return Err(Held::NoCa(why.to_owned())),
        };
        // What velero-trust set before may have issued what a replica presents still.
        let is_presented = facts.now < cas.others_until || !facts.is_rolled_out;
        let keeps_others = owner == Owner::Ours && trusted.len() <= MAX_CAS && is_presented;
        let old = if keeps_others {
            String::from_utf8(decoded).unwrap_or_default()
        } else {
            String::new()
        };
        let new = ca_bundle([cas.pem.as_str(), &old].into_iter(), facts.now);
        let new: String = new.split_inclusive(END).take(cas.most).collect();
        // With our own CA, this replica presents what it issued as soon as it is trusted.
        if let Some(refusal) = refusal(new.as_bytes()).filter(|_| !cas.is_own) {
            return Err(Held::WrongCa(refusal.to_string()));
        }
        let wanted = pem::read(new.as_bytes()).certificates;
        let is_same =
            wanted.len() == trusted.len() && wanted.iter().all(|one| trusted.contains(one));
        if is_same {
            return Ok(Some(live.to_owned()));
        }
        Ok(Some(STANDARD.encode(new)))
    }
}

/// Returns the certificates that are in the caBundle of every webhook of the installation in `namespace` that
/// the API server asks, apart from that of the canary; none if it asks none.
pub fn trusted_everywhere(
    namespace: &str,
    configurations: &[Configuration],
) -> BTreeSet<Fingerprint> {
    let own = configurations
        .iter()
        .filter(|one| one.calls_only(namespace));
    let asked = own.filter(|one| one.is_asked() && !one.is_canary());
    let bundles = asked.flat_map(|one| &one.webhooks).map(|webhook| {
        let bundle = STANDARD.decode(text(webhook, "/clientConfig/caBundle"));
        let certificates = pem::read(&bundle.unwrap_or_default()).certificates;
        let certificates = certificates.iter().map(Certificate::fingerprint);
        certificates.collect::<BTreeSet<_>>()
    });
    let everywhere = bundles.reduce(|all, bundle| &all & &bundle);
    everywhere.unwrap_or_default()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests;
