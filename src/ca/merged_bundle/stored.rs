//! The JSON form of the memory, stored in its ConfigMap.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Owner;
use super::memory::{Hold, Memory, RetainedCertificate};
use crate::ca::certificate::{Certificate, Fingerprint};

/// The version of the format that is written and read.
const VERSION: u32 = 1;

/// Maximum size in bytes of a [`StoredRetained`] as JSON and of the quotes and comma around its
/// certificate.
const MAX_RETAINED_ENTRY_BYTES: usize = 96;

/// Returns the maximum number of bytes by which a memory grows when it retains `certificate`.
pub(super) fn max_stored_bytes(certificate: &Certificate) -> usize {
    let base64 = certificate.der().len().div_ceil(3).saturating_mul(4);
    base64.saturating_add(MAX_RETAINED_ENTRY_BYTES)
}

/// The reason why a stored memory cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not in the format that velero-trust writes.
    #[error("it is not what velero-trust wrote: {0}")]
    Malformed(String),
    /// Written in another version of the format.
    #[error("it has version {0}, and only version {VERSION} is known")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredMemory {
    version: u32,
    /// Time when a certificate was last added, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_added: Option<String>,
    /// The certificates that were added later, by time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    additions: BTreeMap<String, Vec<usize>>,
    /// The certificates in base64 of their DER, each once: hundreds of locations may name the same.
    /// All other fields refer to them by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    locations: BTreeMap<String, Vec<usize>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<usize>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retained: Vec<StoredRetained>,
    /// The reason why each location holds the namespace; empty if it was released.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    holds: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRetained {
    certificate: usize,
    /// RFC 3339. Older versions did not write it.
    since: Option<String>,
    until: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Memory {
    /// Returns the memory as JSON. Equal memories give equal texts.
    pub fn to_text(&self) -> String {
        let known = self.known.values().flatten();
        let retained = self.retained.values().map(|entry| &entry.certificate);
        let all: BTreeMap<_, _> = known
            .chain(retained)
            .map(|certificate| (certificate.fingerprint(), encode(certificate)))
            .collect();
        let places: BTreeMap<_, _> = all.keys().zip(0..).collect();
        let place = |fingerprint: &Fingerprint| places.get(fingerprint).copied();
        let owned_by = |wanted: fn(&Owner) -> Option<&String>| {
            let owners = self.known.iter();
            let owners = owners.filter_map(|(owner, known)| Some((wanted(owner)?.clone(), known)));
            owners
                .map(|(name, known)| {
                    let known = known.iter().map(Certificate::fingerprint);
                    (name, known.filter_map(|one| place(&one)).collect())
                })
                .collect()
        };
        let retained = self.retained.iter().filter_map(|(fingerprint, entry)| {
            Some(StoredRetained {
                certificate: place(fingerprint)?,
                since: rfc3339(entry.since),
                until: rfc3339(entry.until).unwrap_or_default(),
            })
        });
        let additions = self.additions.iter().filter_map(|(at, added)| {
            let added = added.iter().filter_map(place);
            Some((rfc3339(*at)?, added.collect()))
        });
        let stored = StoredMemory {
            version: VERSION,
            last_added: self.last_added.and_then(rfc3339),
            additions: additions.collect(),
            locations: owned_by(|owner| match owner {
                Owner::Location(name) => Some(name),
                Owner::Extra(_) => None,
            }),
            extra: owned_by(|owner| match owner {
                Owner::Extra(name) => Some(name),
                Owner::Location(_) => None,
            }),
            retained: retained.collect(),
            holds: self
                .holds
                .iter()
                .map(|(name, hold)| {
                    let why = match hold {
                        Hold::Released => String::new(),
                        Hold::Held(why) => why.clone(),
                    };
                    (name.clone(), why)
                })
                .collect(),
            certificates: all.into_values().collect(),
        };
        // Maps with string keys, strings and numbers always serialize.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads the output of [`Self::to_text`].
    pub fn from_text(text: &str) -> Result<Self, Unreadable> {
        let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
        let Versioned { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let stored: StoredMemory = serde_json::from_str(text).map_err(malformed)?;
        let all = stored.certificates.iter().map(|text| decode(text));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let at = |place: usize| {
            let found = all.get(place).cloned();
            found.ok_or_else(|| Unreadable::Malformed("a certificate is not there".to_owned()))
        };
        let mut memory = Self {
            last_added: stored.last_added.as_deref().map(seconds).transpose()?,
            ..Self::default()
        };
        for (time, added) in stored.additions {
            let added = added
                .into_iter()
                .map(|place| at(place).map(|one| one.fingerprint()));
            let added = added.collect::<Result<_, _>>()?;
            memory.additions.insert(seconds(&time)?, added);
        }
        let locations = stored.locations.into_iter();
        let locations = locations.map(|(name, known)| (Owner::Location(name), known));
        let extra = stored.extra.into_iter();
        let extra = extra.map(|(name, known)| (Owner::Extra(name), known));
        for (owner, known) in locations.chain(extra) {
            let known = known.into_iter().map(at);
            memory.known.insert(owner, known.collect::<Result<_, _>>()?);
        }
        for StoredRetained {
            certificate,
            since,
            until,
        } in stored.retained
        {
            let until = seconds(&until)?;
            // Without `since` only `until` counts.
            let since = since.as_deref().map_or(Ok(until), seconds)?;
            let entry = RetainedCertificate {
                certificate: at(certificate)?,
                since,
                until,
                first_seen: None,
                expired_since: None,
            };
            memory
                .retained
                .insert(entry.certificate.fingerprint(), entry);
        }
        for (name, why) in stored.holds {
            let hold = if why.is_empty() {
                Hold::Released
            } else {
                Hold::Held(why)
            };
            memory.holds.insert(name, hold);
        }
        Ok(memory)
    }
}

fn encode(certificate: &Certificate) -> String {
    STANDARD.encode(certificate.der())
}

fn decode(text: &str) -> Result<Certificate, Unreadable> {
    let der = STANDARD.decode(text);
    let der = der.map_err(|_| Unreadable::Malformed("a certificate is not base64".to_owned()))?;
    Certificate::parse(der)
        .map_err(|defect| Unreadable::Malformed(format!("a certificate is none: {defect}")))
}

fn rfc3339(seconds: i64) -> Option<String> {
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}

fn seconds(text: &str) -> Result<i64, Unreadable> {
    let timestamp = text.parse::<Timestamp>();
    timestamp
        .map(Timestamp::as_second)
        .map_err(|_| Unreadable::Malformed("a time is none".to_owned()))
}
