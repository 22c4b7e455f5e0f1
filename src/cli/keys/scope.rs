//! What a key is trusted for, from the command line.

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::cli::parse;
use crate::decision::{KeyScope, KeyState, SignedLevel};
use crate::kubernetes::crds::TrustedKeySpec;

/// For which backups a key counts. What is not given is that of the file, or everything.
#[derive(Args, Debug, Default)]
pub(super) struct ScopeArgs {
    /// Velero namespaces of this cluster that it counts in
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_delimiter = ',',
        value_parser = parse::namespace,
        env = "VELERO_TRUST_KEYS_NAMESPACES",
        help_heading = "What it counts for"
    )]
    namespaces: Vec<String>,

    /// BackupStorageLocations of this cluster that it counts in
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = parse::object,
        env = "VELERO_TRUST_KEYS_LOCATIONS",
        help_heading = "What it counts for"
    )]
    locations: Vec<String>,

    /// Names of backups that it counts for, in which `*` stands for any text and `?` for any character
    #[arg(
        long,
        value_name = "PATTERN",
        value_delimiter = ',',
        env = "VELERO_TRUST_KEYS_BACKUPS",
        help_heading = "What it counts for"
    )]
    backups: Vec<String>,

    /// Levels that it counts at: observed, late or adopted
    #[arg(
        long,
        value_name = "LEVEL",
        value_delimiter = ',',
        value_parser = level,
        env = "VELERO_TRUST_KEYS_LEVELS",
        help_heading = "What it counts for"
    )]
    levels: Vec<SignedLevel>,

    /// Backups that completed later do not count (state VerifyOnly), such as 2026-12-31T00:00:00Z
    #[arg(
        long,
        value_name = "TIME",
        env = "VELERO_TRUST_KEYS_VALID_UNTIL",
        help_heading = "What it counts for"
    )]
    valid_until: Option<Timestamp>,

    /// Only in the very bucket and prefix that are signed, not in a replica
    #[arg(
        long,
        env = "VELERO_TRUST_KEYS_SAME_BUCKET_ONLY",
        help_heading = "What it counts for"
    )]
    same_bucket_only: bool,
}

fn level(text: &str) -> Result<SignedLevel, String> {
    SignedLevel::parse(text).ok_or_else(|| "a level is observed, late or adopted".to_owned())
}

impl ScopeArgs {
    /// Sets what is given.
    pub(super) fn apply(&self, spec: &mut TrustedKeySpec) {
        let KeyScope {
            namespaces,
            locations,
            backups,
            levels,
        } = &mut spec.scope;
        set(namespaces, &self.namespaces);
        set(locations, &self.locations);
        set(backups, &self.backups);
        set(levels, &self.levels);
        if let Some(until) = self.valid_until {
            spec.state = KeyState::VerifyOnly;
            spec.valid_until = Some(Time(until));
        }
        spec.same_bucket_only |= self.same_bucket_only;
    }
}

fn set<T: Clone>(list: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        given.clone_into(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_what_the_file_says() {
        let mut spec = TrustedKeySpec::default();
        ScopeArgs::default().apply(&mut spec);
        assert_eq!(spec, TrustedKeySpec::default());
        spec.scope.backups = vec!["a".to_owned()];
        spec.scope.locations = vec!["old".to_owned()];
        spec.same_bucket_only = true;
        let given = ScopeArgs {
            locations: vec!["new".to_owned()],
            levels: vec![level("late").unwrap()],
            valid_until: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            ..ScopeArgs::default()
        };
        given.apply(&mut spec);
        assert_eq!(spec.scope.backups, ["a"]);
        assert_eq!(spec.scope.locations, ["new"]);
        assert_eq!(spec.scope.levels, [SignedLevel::Late]);
        assert_eq!(spec.state, KeyState::VerifyOnly);
        assert!(spec.valid_until.is_some() && spec.same_bucket_only);
        assert!(level("declared").is_err());
    }
}
