//! The report of the controllers on a Velero namespace. It is stored in a ConfigMap in our own
//! namespace, so that `velero-trust status` does not need to read Secrets or to connect to
//! endpoints.

mod issue;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ca::certificate;
use crate::ca::endpoint::{EndpointSettingError, SkippedSetting};
use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::merged_bundle::{Contributions, Memory, Owner};
use crate::decision::{self, Severity};
use crate::names;

pub use issue::{Issue, IssueKind, ReportIssue};

/// The report on one Velero namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceReport {
    /// The Velero namespace.
    pub namespace: String,
    /// Its BSLs, by name.
    #[serde(default)]
    pub locations: BTreeMap<String, Location>,
    /// The CAs that were given at installation, which are in every bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_cas: Vec<ExtraCa>,
    /// The CAs that no location names any longer and that are still in the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<RetainedCa>,
    /// Issues of its bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
    /// The last request for a probe ([`names::PROBE_REQUESTED`]) that is done: all endpoints were
    /// probed after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_request_done: Option<String>,
}

/// The report on a BSL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Where its CA comes from, such as `Secret store-ca key ca.crt`, in the order of preference.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The certificates of its CA.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The current findings of the admission rules.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Its endpoints, with the results of the probe.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Why this location holds its namespace; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// The CAs that one file, or one key of a labelled object, adds to every bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExtraCa {
    /// Where they come from, such as `ConfigMap corp key ca.crt`.
    pub source: String,
    /// The certificates.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// A CA that no location names any longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RetainedCa {
    /// The certificate.
    #[serde(flatten)]
    pub certificate: Certificate,
    /// The end of its retention, RFC 3339.
    pub until: String,
}

/// A certificate, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// SHA-256 of its DER, hex.
    pub fingerprint: String,
    /// When it expires, RFC 3339.
    pub not_after: String,
}

/// A finding of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The id of the rule, `VTnnn`.
    pub rule: String,
    /// The effect on an admission request.
    pub severity: Severity,
    /// The path of the field.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    pub fix: String,
}

/// An endpoint of a BSL, with the result of the probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// Whether it is trusted.
    pub state: EndpointState,
    /// The problem; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How to fix the problem.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// When the server's certificate expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The issuer of the last certificate of the chain that the server presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When it was probed last, RFC 3339; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed_at: Option<String>,
}

/// Whether an endpoint is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// The bundle verifies the endpoint.
    Trusted,
    /// Velero does not trust the endpoint with the bundle.
    Untrusted,
    /// The endpoint was not reached, or its state cannot be determined. Also any state that a newer
    /// version wrote.
    #[default]
    #[serde(other)]
    Unknown,
}

impl EndpointState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Trusted, Self::Untrusted, Self::Unknown];

    /// Returns the name of the state in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Endpoint {
    /// Returns the report on a setting that should name an endpoint and does not; `None` if it
    /// names an endpoint without TLS. The value is not shown, because it may contain a password.
    pub fn skipped(skipped: &SkippedSetting) -> Option<Self> {
        (skipped.reason != EndpointSettingError::PlainHttp).then(|| Self {
            url: skipped.setting.path().to_string(),
            message: skipped.reason.to_string(),
            ..Self::default()
        })
    }
}

impl ExtraCa {
    /// Returns the extra CAs among `contributions`, without those that have no certificate.
    pub fn all(contributions: &Contributions) -> Vec<Self> {
        let extra = contributions.iter().filter_map(|(owner, contribution)| {
            let Owner::Extra(source) = owner else {
                return None;
            };
            let certificates = contribution.certificates.iter().map(Certificate::from);
            Some(Self {
                source: source.clone(),
                certificates: certificates.collect(),
            })
        });
        extra
            .filter(|extra| !extra.certificates.is_empty())
            .collect()
    }
}

impl RetainedCa {
    /// Returns the retained CAs of a memory; those that leave first come first.
    pub fn all(memory: &Memory) -> Vec<Self> {
        let retained = memory.retained_until().map(|(certificate, until)| Self {
            certificate: Certificate::from(certificate),
            until: rfc3339(until),
        });
        let mut all: Vec<_> = retained.collect();
        all.sort_by(|one, other| one.until.cmp(&other.until).then_with(|| one.cmp(other)));
        all
    }
}

impl Location {
    /// Sets the results of an evaluation. Other fields are left unchanged.
    pub fn set_evaluated(&mut self, evaluated: &EvaluatedLocation) {
        self.sources.clone_from(&evaluated.sources);
        let certificates = evaluated.ca.certificates.iter();
        self.certificates = certificates.map(Certificate::from).collect();
        let judged = &evaluated.judged;
        let denials = judged.denials.iter();
        let denials = denials.map(|finding| Finding::of(finding, Severity::Deny));
        let warnings = judged.warnings.iter();
        let warnings = warnings.map(|finding| Finding::of(finding, Severity::Warn));
        self.findings = denials.chain(warnings).collect();
    }
}

impl From<&certificate::Certificate> for Certificate {
    fn from(certificate: &certificate::Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            fingerprint: certificate.fingerprint().to_string(),
            not_after: rfc3339(certificate.not_after),
        }
    }
}

/// Returns a time in seconds since 1970 as RFC 3339; an empty text if it is out of range.
pub fn rfc3339(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds);
    time.map_or_else(|_| String::new(), |time| time.to_string())
}

impl Finding {
    fn of(finding: &decision::Finding, severity: Severity) -> Self {
        Self {
            rule: finding.rule.id.to_owned(),
            severity,
            path: finding.path.to_string(),
            message: finding.message.clone(),
            fix: finding.fix.clone(),
        }
    }
}

/// Returns the name of the ConfigMap with the report on `namespace`.
pub fn name(namespace: &str) -> String {
    format!("{}{namespace}", names::REPORT_PREFIX)
}

/// Returns the namespace that the ConfigMap `name` reports on; `None` if it is not a report.
pub fn namespace_of(name: &str) -> Option<&str> {
    name.strip_prefix(names::REPORT_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::endpoint;
    use crate::velero::bsl::Bsl;

    #[test]
    fn a_setting_that_names_no_endpoint_is_told_without_what_it_says() {
        let reported = |url: &str| {
            let bsl = format!(r#"{{"spec":{{"config":{{"s3Url":"{url}"}}}}}}"#);
            let bsl: Bsl<'_> = serde_json::from_str(&bsl).unwrap();
            let mut all = endpoint::read_endpoints("velero", &bsl).into_iter();
            let reported = Endpoint::skipped(&all.next().unwrap().unwrap_err())?;
            Some((reported.url, reported.state, reported.message))
        };
        let field = "spec.config.s3Url";
        let (url, state, message) = reported("ftp://user:secret@store").unwrap();
        assert_eq!(
            (url.as_str(), state, message.as_str()),
            (field, EndpointState::Unknown, "it is no https:// URL")
        );
        assert!(reported("https://store:99999").unwrap().2.contains("port"));
        // An endpoint without TLS is valid.
        assert_eq!(reported("http://store:9000"), None);
    }

    #[test]
    fn states_and_severities_are_lower_case_text_and_a_new_state_is_unknown() {
        for state in EndpointState::ALL {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str());
            assert_eq!(
                serde_json::from_value::<EndpointState>(json).unwrap(),
                state
            );
        }
        let newer: EndpointState = serde_json::from_str("\"revoked\"").unwrap();
        assert_eq!(newer, EndpointState::Unknown);
        for severity in [Severity::Off, Severity::Warn, Severity::Deny] {
            let json = serde_json::to_value(severity).unwrap();
            assert_eq!(json, severity.to_string());
        }
    }
}
