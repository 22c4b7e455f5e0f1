//! Policy options, shared by `serve`, `lint` and `status`.

use clap::Args;

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

    /// Treat `kube-system` as any other namespace, if Velero is installed there
    ///
    /// By default, no Pod of it is changed and it gets no bundle. The component
    /// `manifests/components/kube-system` sets this option of `serve`, and lets the API server ask about
    /// the Pods of Velero there.
    #[arg(
        long,
        env = "VELERO_TRUST_INCLUDE_KUBE_SYSTEM",
        help_heading = "Policy"
    )]
    include_kube_system: bool,
}

impl PolicyOptions {
    /// Creates options with these settings of rules, as far as they matter for Restores.
    pub(super) const fn new(rules: Vec<String>) -> Self {
        Self {
            rules,
            include_kube_system: false,
        }
    }

    /// Returns the policy that the options describe.
    pub(super) fn policy(&self, restores: RestoresMode) -> Result<Policy, PolicyError> {
        let rules = all_rules();
        let mut policy = Policy::new(restores);
        policy.include_kube_system = self.include_kube_system;
        self.rules
            .iter()
            .try_for_each(|rule| policy.set(rule, rules.iter()))?;
        Ok(policy)
    }
}
