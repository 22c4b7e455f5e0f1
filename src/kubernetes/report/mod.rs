//! What the controllers know of a Velero namespace, kept in a ConfigMap of our own namespace, so
//! that `velero-trust status` needs no right to read Secrets and dials nobody.

mod issue;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ca::certificate;
use crate::ca::endpoint::{EndpointSettingError, SkippedSetting};
use crate::ca::evaluation::EvaluatedLocation;
use crate::decision::{self, Severity};
use crate::names;

pub use issue::{Issue, IssueKind, ReportIssue};

/// What is known of one Velero namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceReport {
    /// The Velero namespace.
    pub namespace: String,
    /// Its BSLs, by name.
    #[serde(default)]
    pub locations: BTreeMap<String, Location>,
    /// What is wrong with its bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
}

/// What is known of a BSL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Where its CA comes from, such as `Secret store-ca key ca.crt`, in the order of preference.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The certificates that it names.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// What the rules of admission say of it now.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Its endpoints, as the probe found them.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Why the namespace is held because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// A certificate, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Whom it is for.
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
    /// What admission would do.
    pub severity: Severity,
    /// The field.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// An endpoint of a BSL, as the probe found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// Whether it is trusted.
    pub state: EndpointState,
    /// What was found; empty when all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// When the server's certificate expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

/// Whether an endpoint is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// The bundle verifies it.
    Trusted,
    /// Velero does not trust it with the bundle.
    Untrusted,
    /// It was not seen, or it cannot be told. Also any state of a newer version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl EndpointState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trusted, Self::Untrusted, Self::Unknown];

    /// Returns its name in reports and metrics.
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
    /// Reports a setting that should name an endpoint and does not; `None` if it names one without
    /// TLS. Its value is not shown: it may hold a password.
    pub fn skipped(skipped: &SkippedSetting) -> Option<Self> {
        (skipped.reason != EndpointSettingError::PlainHttp).then(|| Self {
            url: skipped.setting.path().to_string(),
            message: skipped.reason.to_string(),
            ..Self::default()
        })
    }
}

impl Location {
    /// Sets what an evaluation found; the rest stays.
    pub fn set_evaluated(&mut self, evaluated: &EvaluatedLocation) {
        self.sources.clone_from(&evaluated.sources);
        let certificates = evaluated.ca.certificates.iter();
        self.certificates = certificates.map(Certificate::from).collect();
        let judged = &evaluated.judged;
        let denials = judged.denials.iter();
        let denials = denials.map(|one| Finding::of(one, Severity::Deny));
        let warnings = judged.warnings.iter();
        let warnings = warnings.map(|one| Finding::of(one, Severity::Warn));
        self.findings = denials.chain(warnings).collect();
    }
}

impl From<&certificate::Certificate> for Certificate {
    fn from(certificate: &certificate::Certificate) -> Self {
        let not_after = Timestamp::from_second(certificate.not_after);
        Self {
            subject: certificate.subject(),
            fingerprint: certificate.fingerprint().to_string(),
            not_after: not_after.map_or_else(|_| String::new(), |time| time.to_string()),
        }
    }
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

/// The name of the report's ConfigMap.
pub fn name(namespace: &str) -> String {
    format!("{}{namespace}", names::REPORT_PREFIX)
}

/// The namespace that a ConfigMap reports on, if it is a report.
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
        let told = |url: &str| {
            let bsl = format!(r#"{{"spec":{{"config":{{"s3Url":"{url}"}}}}}}"#);
            let bsl: Bsl<'_> = serde_json::from_str(&bsl).unwrap();
            let mut all = endpoint::read_endpoints("velero", &bsl).into_iter();
            let told = Endpoint::skipped(&all.next().unwrap().unwrap_err())?;
            Some((told.url, told.state, told.message))
        };
        let field = "spec.config.s3Url";
        let (url, state, message) = told("ftp://user:secret@store").unwrap();
        assert_eq!(
            (url.as_str(), state, message.as_str()),
            (field, EndpointState::Unknown, "it is no https:// URL")
        );
        assert!(told("https://store:99999").unwrap().2.contains("port"));
        // It works without TLS, and nothing is missing.
        assert_eq!(told("http://store:9000"), None);
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
