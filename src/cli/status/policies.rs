//! Whether the admission policies hold who writes records and checksums.

use super::model::{FIX_SEPARATOR, Policies};
use crate::cli::advice::{apply_manifest, replace_policies};
use crate::cli::snapshot;
use crate::names;

/// Returns what is shown of the policies, where velero-trust is installed in the namespace `own`.
pub(super) fn summarize(own: &str, policies: Result<snapshot::Policies, String>) -> Policies {
    let policies = match policies {
        Ok(policies) => policies,
        Err(why) => {
            return Policies {
                message: Some(why),
                ..Policies::default()
            };
        }
    };
    let missing = &policies.not_as_shipped;
    let (message, fix) = if !missing.is_empty() && missing.len() == policies.shipped {
        let message =
            "the admission policies are not installed, so who may change Backups can vouch for any";
        (message.to_owned(), apply_manifest(own, "policies.yaml"))
    } else if !missing.is_empty() {
        let message = format!(
            "admission policies are not there, or not as in the manifests: {}",
            missing.join(", ")
        );
        (message, replace_policies())
    } else if policies.accounts.is_empty() {
        let message = format!(
            "the admission policies let everybody write records: ClusterRoleBinding {} names nobody",
            names::APP
        );
        (message, apply_manifest(own, "rbac.yaml"))
    } else {
        return Policies {
            enforced: Some(true),
            ..Policies::default()
        };
    };
    Policies {
        enforced: Some(false),
        message: Some(message),
        fix: Some(fix),
    }
}

/// Returns the problem that the policies do not hold.
pub(super) fn problem(policies: &Policies) -> Option<String> {
    let (message, fix) = (policies.message.as_ref()?, policies.fix.as_ref()?);
    Some(format!("{message}{FIX_SEPARATOR}{fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_a_problem_and_what_cannot_be_read_is_none() {
        let told = |missing: &[&str], accounts: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            let policies = snapshot::Policies {
                not_as_shipped: owned(missing),
                shipped: 2,
                accounts: owned(accounts),
            };
            let summary = summarize("velero-trust", Ok(policies));
            assert_eq!(summary.enforced, Some(problem(&summary).is_none()));
            problem(&summary).unwrap_or_default()
        };
        assert_eq!(told(&[], &["velero-trust/velero-trust"]), "");
        assert!(told(&["a"], &["b/c"]).contains("as in the manifests: a"));
        assert!(told(&["a", "b"], &["b/c"]).contains("are not installed"));
        // A second `kubectl apply` alone would leave what was added.
        let replaced = told(&["a"], &["b/c"]);
        assert!(
            replaced.contains("kubectl replace --save-config"),
            "{replaced}"
        );
        assert!(!replaced.contains("--force"), "{replaced}");
        let nobody = told(&[], &[]);
        assert!(
            nobody.ends_with("kubectl apply -f manifests/rbac.yaml"),
            "{nobody}"
        );
        let unread = summarize("velero-trust", Err("no right".to_owned()));
        assert_eq!((unread.enforced, problem(&unread)), (None, None));
    }
}
