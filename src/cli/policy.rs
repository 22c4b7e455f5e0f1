//! Policy options, shared by `serve`, `lint` and `status`.

use clap::{Args, ValueEnum};

use crate::admission::all_rules;
use crate::decision::{Policy, PolicyError, RestoresMode};

#[derive(Args, Clone, Debug)]
pub(super) struct PolicyOptions {
    /// Set the severity of a rule to `deny`, `warn` or `off`, such as `VT034=off`; can be repeated
    #[arg(
        long = "rule",
        value_name = "ID=SEVERITY",
        env = "VELERO_TRUST_RULE",
        value_delimiter = ',',
        help_heading = "Policy"
    )]
    rules: Vec<String>,
}

impl PolicyOptions {
    /// Returns the policy that the options describe.
    pub(super) fn policy(&self, restores: RestoresMode) -> Result<Policy, PolicyError> {
        let rules = all_rules();
        let mut policy = Policy::new(restores);
        self.rules
            .iter()
            .try_for_each(|rule| policy.set(rule, rules.iter()))?;
        Ok(policy)
    }
}

/// How a Restore whose backup has no checksum is handled.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Restores {
    /// Deny it
    Enforce,
    /// Admit it with a warning
    Warn,
    /// Admit it without a check
    Off,
}

impl From<Restores> for RestoresMode {
    fn from(restores: Restores) -> Self {
        match restores {
            Restores::Enforce => Self::Enforce,
            Restores::Warn => Self::Warn,
            Restores::Off => Self::Off,
        }
    }
}
