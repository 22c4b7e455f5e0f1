//! The option `--restores`: how Restores are handled, in all namespaces and in single ones.

use std::str::FromStr;

use super::parse;
use crate::decision::{Policy, RestoresMode};

/// A value of `--restores`: a mode, or one for a namespace, such as `staging=warn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestoresSetting {
    /// The namespace; `None` for all that have no setting of their own.
    namespace: Option<String>,
    mode: RestoresMode,
}

/// The values of `--restores` contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RestoresError {
    /// A namespace has two modes.
    #[error("`--restores` sets the mode of the namespace `{0}` more than once")]
    NamespaceRepeated(String),
    /// There are two modes for all other namespaces.
    #[error(
        "`--restores` sets the mode of all namespaces more than once; one of them needs `NAMESPACE=`"
    )]
    Repeated,
}

impl FromStr for RestoresSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, mode) = match text.split_once('=') {
            None => (None, text),
            Some((namespace, mode)) => (Some(parse::namespace(namespace)?), mode),
        };
        let mode = parse_mode(mode)
            .ok_or_else(|| format!("`{mode}` is none of `enforce`, `warn` and `off`"))?;
        Ok(Self { namespace, mode })
    }
}

fn parse_mode(text: &str) -> Option<RestoresMode> {
    let all = [RestoresMode::Enforce, RestoresMode::Warn, RestoresMode::Off];
    all.into_iter().find(|mode| mode.as_str() == text)
}

/// Sets in `policy` what `settings` say. Without one for all namespaces, that of `policy` stays.
pub(super) fn apply(
    settings: &[RestoresSetting],
    policy: &mut Policy,
) -> Result<(), RestoresError> {
    let mut is_set = false;
    for RestoresSetting { namespace, mode } in settings {
        match namespace {
            Some(namespace) => {
                let before = policy.restores_in.insert(namespace.clone(), *mode);
                if before.is_some() {
                    return Err(RestoresError::NamespaceRepeated(namespace.clone()));
                }
            }
            None if is_set => return Err(RestoresError::Repeated),
            None => {
                policy.restores = *mode;
                is_set = true;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(values: &[&str]) -> Result<Policy, String> {
        let mut policy = Policy::default();
        let settings: Result<Vec<_>, _> = values.iter().map(|value| value.parse()).collect();
        apply(&settings?, &mut policy).map_err(|error| error.to_string())?;
        Ok(policy)
    }

    #[test]
    fn a_namespace_has_its_own_mode_and_the_others_the_plain_one() {
        use RestoresMode::{Enforce, Off, Warn};
        for (values, others, staging, lab) in [
            (&[][..], Enforce, Enforce, Enforce),
            (&["warn"], Warn, Warn, Warn),
            (&["staging=warn"], Enforce, Warn, Enforce),
            (&["staging=enforce", "off", "lab=warn"], Off, Enforce, Warn),
        ] {
            let policy = policy(values).unwrap();
            let modes = ["velero", "staging", "lab"].map(|name| policy.restores_mode(name));
            assert_eq!(modes, [others, staging, lab], "{values:?}");
        }
    }

    #[test]
    fn a_wrong_value_says_what_is_wrong_with_it() {
        let error = |values: &[&str]| policy(values).unwrap_err();
        let unknown = "`loud` is none of `enforce`, `warn` and `off`";
        assert_eq!(error(&["loud"]), unknown);
        assert_eq!(error(&["velero=loud"]), unknown);
        assert_eq!(
            error(&["velero="]),
            "`` is none of `enforce`, `warn` and `off`"
        );
        for namespace in ["", "Velero", "a b", "velero.x"] {
            let error = error(&[&format!("{namespace}=warn")]);
            assert!(error.starts_with("a namespace is 1 to 63"), "{error}");
        }
        assert_eq!(
            error(&["velero=warn", "off", "velero=warn"]),
            "`--restores` sets the mode of the namespace `velero` more than once"
        );
        assert!(error(&["off", "off"]).contains("of all namespaces more than once"));
    }
}
