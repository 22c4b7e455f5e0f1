//! The options that set the policy, shared by `serve` and `lint`.

use clap::{Args, ValueEnum};

use crate::admission::all_rules;
use crate::decision::{Policy, PolicyError, RestoresMode};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Policy")]
pub(super) struct PolicyOptions {
    /// Change a rule's severity, such as `VT034=off`: `deny`, `warn` or `off`; can be given again
    #[arg(
        long = "rule",
        value_name = "ID=SEVERITY",
        env = "VELERO_TRUST_RULE",
        value_delimiter = ','
    )]
    rules: Vec<String>,
}

impl PolicyOptions {
    /// The policy that was asked for.
    pub(super) fn policy(&self, restores: RestoresMode) -> Result<Policy, PolicyError> {
        let rules = all_rules();
        let mut policy = Policy::new(restores);
        self.rules
            .iter()
            .try_for_each(|said| policy.set(said, rules.iter()))?;
        Ok(policy)
    }
}

/// What happens to a Restore whose backup has no checksum.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Restores {
    /// It is refused
    Enforce,
    /// It is admitted with a warning
    Warn,
    /// Nobody looks
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
