//! The operator's settings for decisions: the severities of rules and the mode for Restores.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::finding::Finding;
use super::rule::{Rule, Severity};
use crate::names;

/// The input of a decision beyond the object and the facts.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The operator's settings.
    pub policy: &'a Policy,
    /// The time of the decision, seconds since 1970.
    pub now: i64,
}

/// The operator's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    severities: BTreeMap<&'static str, Severity>,
    /// velero-trust's own namespace.
    pub own_namespace: String,
    /// Whether `kube-system` may be a Velero namespace.
    pub include_kube_system: bool,
    /// How to treat a Restore that fails its checks, such as one of a backup without a checksum.
    pub restores: RestoresMode,
    /// The same for Restores in these namespaces.
    pub restores_in: BTreeMap<String, RestoresMode>,
    /// Whether backups are recorded that were complete before velero-trust saw them.
    pub records_existing: bool,
    /// Whether backups may be restored of which only the tarball is recorded.
    pub accepts_partial: bool,
}

/// How to treat a Restore that fails its checks, such as one of a backup without a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoresMode {
    /// Refuse it.
    #[default]
    Enforce,
    /// Admit it with a warning.
    Warn,
    /// Do not check Restores.
    Off,
}

impl RestoresMode {
    /// Returns the value of the option that chooses it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// An invalid policy setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A rule with a fixed severity.
    #[error(
        "the severity of rule `{0}` cannot be changed: a bundle with this fault is useless or leaks a key"
    )]
    Fixed(String),
    /// A setting that is not of the form `VT017=warn`.
    #[error("`{0}` is not of the form `VT017=warn`, with `deny`, `warn` or `off`")]
    Malformed(String),
    /// The id of no known rule.
    #[error("there is no rule `{0}`; README lists them")]
    NoRule(String),
}

/// The default severities and mode, for velero-trust in the namespace of its manifests.
impl Default for Policy {
    fn default() -> Self {
        Self {
            severities: BTreeMap::new(),
            own_namespace: names::APP.to_owned(),
            include_kube_system: false,
            restores: RestoresMode::default(),
            restores_in: BTreeMap::new(),
            records_existing: true,
            accepts_partial: false,
        }
    }
}

impl Policy {
    /// Returns a policy with the default severities and the mode `restores`.
    pub fn new(restores: RestoresMode) -> Self {
        Self {
            restores,
            ..Self::default()
        }
    }

    /// Returns how a Restore in `namespace` is treated.
    pub fn restores_mode(&self, namespace: &str) -> RestoresMode {
        let own = self.restores_in.get(namespace);
        own.copied().unwrap_or(self.restores)
    }

    /// Returns this policy with one mode for the Restores of all namespaces.
    #[must_use]
    pub fn with_restores(mut self, mode: RestoresMode) -> Self {
        self.restores = mode;
        self.restores_in.clear();
        self
    }

    /// Whether `namespace` is never a Velero namespace, whatever is in it.
    pub fn excludes(&self, namespace: &str) -> bool {
        namespace == names::EXCLUDED_NAMESPACE && !self.include_kube_system
    }

    /// Changes the severity of a rule, given as `VT017=warn`. `rules` are all known rules.
    pub fn set<'a>(
        &mut self,
        setting: &str,
        mut rules: impl Iterator<Item = &'a &'static Rule>,
    ) -> Result<(), PolicyError> {
        let (id, severity) = setting
            .split_once('=')
            .ok_or_else(|| PolicyError::Malformed(setting.to_owned()))?;
        let severity = severity
            .parse()
            .map_err(|()| PolicyError::Malformed(setting.to_owned()))?;
        let rule = rules
            .find(|rule| rule.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| PolicyError::NoRule(id.to_owned()))?;
        if rule.fixed {
            return Err(PolicyError::Fixed(rule.id.to_owned()));
        }
        self.severities.insert(rule.id, severity);
        Ok(())
    }

    /// Returns the severity of `finding` under this policy.
    pub fn severity(&self, finding: &Finding) -> Severity {
        let rule = finding.rule;
        let severity = self
            .severities
            .get(rule.id)
            .copied()
            .unwrap_or(rule.severity);
        severity.min(finding.ceiling)
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "deny" => Ok(Self::Deny),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::FieldPath;

    static SOFT: Rule = Rule {
        id: "VT998",
        title: "soft",
        severity: Severity::Deny,
        ..Rule::DEFAULT
    };
    static HARD: Rule = Rule {
        id: "VT999",
        title: "hard",
        severity: Severity::Deny,
        fixed: true,
        ..Rule::DEFAULT
    };
    static RULES: [&Rule; 2] = [&SOFT, &HARD];

    #[test]
    fn a_severity_is_changed_but_never_above_the_findings_ceiling() {
        let mut policy = Policy::default();
        let finding = Finding::new(&SOFT, FieldPath::default(), "", "", "");
        assert_eq!(policy.severity(&finding), Severity::Deny);
        assert_eq!(policy.severity(&finding.clone().softened()), Severity::Warn);
        policy.set("vt998=off", RULES.iter()).unwrap();
        assert_eq!(policy.severity(&finding), Severity::Off);
    }

    #[test]
    fn a_wrong_setting_says_what_is_wrong_with_it() {
        let mut policy = Policy::default();
        let mut error = |s: &str| policy.set(s, RULES.iter()).unwrap_err();
        assert_eq!(error("VT999=warn"), PolicyError::Fixed("VT999".into()));
        assert_eq!(error("VT123=warn"), PolicyError::NoRule("VT123".into()));
        assert_eq!(error("VT998"), PolicyError::Malformed("VT998".into()));
        assert_eq!(
            error("VT998=loud"),
            PolicyError::Malformed("VT998=loud".into())
        );
    }
}
