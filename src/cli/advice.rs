//! Advice: what a command prints to fix a problem.
//!
//! Advice that begins with a program is a command as it is typed, or several that ` && ` or ` | `
//! joins. All other advice is prose, with commands between backticks. Words in capitals stand for names that the
//! reader chooses.

use std::borrow::Cow;

use clap::CommandFactory as _;

use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use crate::names;

/// The programs whose commands are advised.
const PROGRAMS: [&str; 3] = ["kubectl", "velero-trust", "velero"];

/// Returns how to install velero-trust in the namespace `own`. The manifests alone have a placeholder for
/// the image.
pub(super) fn install(own: &str) -> String {
    format!(
        "apply your kustomization of the manifests with namespace {own} (docs/install.md); \
         `velero-trust doctor --namespace {own} --wait 120` says when it is active"
    )
}

/// Returns how to apply the file of this name, of the manifests of an installation in the namespace `own`,
/// again. The other files would reset what a kustomization changes, such as the image.
pub(super) fn apply_manifest(own: &str, file: &str) -> String {
    if own == names::APP {
        format!("kubectl apply -f manifests/{file}")
    } else {
        format!("apply your kustomization of the manifests with namespace {own} again")
    }
}

/// Returns how to make the admission policies those of the manifests again, without a moment in which one is not
/// there. `kubectl apply` makes those that are gone, and leaves fields that somebody else added to the others;
/// `kubectl replace` takes these away. They are the same in every namespace of velero-trust.
pub(super) fn replace_policies() -> String {
    let file = "manifests/policies.yaml";
    format!("kubectl apply -f {file} && kubectl replace --save-config -f {file}")
}

/// Returns `text` as one word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

/// The cluster and the namespace of velero-trust that the user selected by options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    /// The cluster.
    pub(super) cluster: &'a ClusterArgs,
    /// The namespace of velero-trust.
    pub(super) own: &'a OwnNamespace,
}

impl<'a> Selection<'a> {
    /// Returns what the options of a command select.
    pub(super) const fn new(cluster: &'a ClusterArgs, own: &'a OwnNamespace) -> Self {
        Self { cluster, own }
    }

    /// Returns `advice` with these options in its commands. Without them they would change another
    /// cluster.
    pub(super) fn apply(&self, advice: &str) -> String {
        if starts_with_program(advice) {
            return self.apply_to_list(advice);
        }
        self.apply_to_message(advice)
    }

    /// Returns `message`, which is prose, with these options in the commands between its backticks.
    pub(super) fn apply_to_message(&self, message: &str) -> String {
        let parts = message.split('`').enumerate();
        let parts = parts.map(|(index, part)| {
            if index % 2 == 1 && starts_with_program(part) {
                self.apply_to_list(part)
            } else {
                part.to_owned()
            }
        });
        parts.collect::<Vec<_>>().join("`")
    }

    fn apply_to_list(&self, list: &str) -> String {
        let pipelines = list.split(" && ").map(|pipeline| {
            let commands = pipeline.split(" | ").map(|command| self.apply_to(command));
            commands.collect::<Vec<_>>().join(" | ")
        });
        pipelines.collect::<Vec<_>>().join(" && ")
    }

    fn apply_to(&self, command: &str) -> String {
        let Some((program, rest)) = command.split_once(' ') else {
            return command.to_owned();
        };
        match program {
            "kubectl" => format!("kubectl{} {rest}", self.options("context")),
            "velero" => format!("velero{} {rest}", self.options("kubecontext")),
            "velero-trust" if is_for_clusters(rest) => {
                let namespace =
                    if rest.contains(" --namespace ") || self.own.namespace == names::APP {
                        String::new()
                    } else {
                        format!(" --namespace {}", self.own.namespace)
                    };
                format!("{command}{namespace}{}", self.options("context"))
            }
            _ => command.to_owned(),
        }
    }

    /// Returns the options that select the cluster, each with a space before it.
    fn options(&self, context: &str) -> String {
        let selection = self.cluster.selection();
        let file = selection.kubeconfig.map(|file| {
            let file = file.to_string_lossy();
            format!(" --kubeconfig {}", shell_word(&file))
        });
        let context = selection
            .context
            .map(|name| format!(" --{context} {}", shell_word(&name)));
        [file, context].into_iter().flatten().collect()
    }
}

/// Whether a command of ours, given from its subcommand on, is for a cluster.
fn is_for_clusters(command: &str) -> bool {
    let cli = super::Cli::command();
    let mut subcommand = &cli;
    for word in command.split(' ') {
        match subcommand.find_subcommand(word) {
            Some(found) => subcommand = found,
            None => break,
        }
    }
    let mut arguments = subcommand.get_arguments();
    arguments.any(|argument| argument.get_id() == "context")
}

fn starts_with_program(text: &str) -> bool {
    let first = text.split_once(' ').map(|(first, _)| first);
    first.is_some_and(|first| PROGRAMS.contains(&first))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Returns the commands in `advice`.
    fn commands(advice: &str) -> Vec<String> {
        let parts: Vec<_> = if starts_with_program(advice) {
            vec![advice]
        } else {
            assert!(advice.matches('`').count().is_multiple_of(2), "{advice}");
            let parts = advice.split('`').enumerate();
            parts
                .filter(|(index, part)| index % 2 == 1 && starts_with_program(part))
                .map(|(_, part)| part)
                .collect()
        };
        let commands = parts.iter().flat_map(|part| part.split(" && "));
        let commands = commands.flat_map(|list| list.split(" | "));
        commands.map(str::to_owned).collect()
    }

    /// Splits a command as a shell does: at blanks, except within single quotes.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
        for c in command.chars() {
            match c {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
                _ => {
                    assert!(
                        is_quoted || !"\"\\$;&|<>()*?[]{}~#!".contains(c),
                        "a shell changes `{c}`: {command}"
                    );
                    word.push(c);
                }
            }
        }
        assert!(!is_quoted, "{command}");
        words.push(word);
        assert!(words.iter().all(|word| !word.is_empty()), "{command}");
        words
    }

    /// Asserts that the commands in `advice` can be typed as they are: ours parse, and those of others
    /// have nothing behind them that is prose. Returns the number of commands.
    #[track_caller]
    pub(in crate::cli) fn assert_can_be_typed(advice: &str) -> usize {
        let commands = commands(advice);
        for command in &commands {
            let words = words(command);
            if words[0] == "velero-trust" {
                let parsed = crate::cli::Cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
            }
            for word in &words {
                assert!(!word.ends_with([',', ';', '.']), "prose in {command}");
                assert!(!word.contains("--namespace="), "{command}");
            }
        }
        if commands.is_empty() {
            for program in ["kubectl ", "velero-trust certs", "velero-trust status"] {
                assert!(!advice.contains(program), "no command: {advice}");
            }
        }
        commands.len()
    }

    #[test]
    fn a_word_with_blanks_or_quotes_is_quoted() {
        assert_eq!(shell_word(".svc,s3.corp"), ".svc,s3.corp");
        assert_eq!(shell_word("a, b"), "'a, b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn commands_are_for_the_cluster_that_was_selected() {
        let own = |namespace: &str| OwnNamespace {
            namespace: namespace.to_owned(),
        };
        let (prod, guards) = (
            ClusterArgs::select(Some(PathBuf::from("/a b")), Some("prod".to_owned())),
            own("guards"),
        );
        let selection = Selection {
            cluster: &prod,
            own: &guards,
        };
        for (advice, expected) in [
            (
                "kubectl apply -k x && velero-trust certs --install",
                "kubectl --kubeconfig '/a b' --context prod apply -k x && velero-trust certs --install \
                 --namespace guards --kubeconfig '/a b' --context prod",
            ),
            (
                "see `velero get backups | kubectl apply -f -`; `x`",
                "see `velero --kubeconfig '/a b' --kubecontext prod get backups | kubectl --kubeconfig \
                 '/a b' --context prod apply -f -`; `x`",
            ),
            (
                "velero-trust doctor --namespace other",
                "velero-trust doctor --namespace other --kubeconfig '/a b' --context prod",
            ),
            (
                "velero-trust ca forget ab12ab12",
                "velero-trust ca forget ab12ab12 --namespace guards --kubeconfig '/a b' --context prod",
            ),
            ("velero-trust explain VT013", "velero-trust explain VT013"),
            ("velero-trust lint x", "velero-trust lint x"),
            ("upgrade it", "upgrade it"),
        ] {
            assert_eq!(selection.apply(advice), expected);
            assert_can_be_typed(&selection.apply(advice));
        }
        // A sentence may begin with the name of a program.
        assert_eq!(
            selection.apply_to_message("velero-trust may not read it; `kubectl get x`"),
            "velero-trust may not read it; `kubectl --kubeconfig '/a b' --context prod get x`"
        );
        let here = (ClusterArgs::default(), own(names::APP));
        let here = Selection {
            cluster: &here.0,
            own: &here.1,
        };
        for advice in ["velero-trust rollout", "upgrade `kubectl get x` it"] {
            assert_eq!(here.apply(advice), advice);
        }
    }
}
