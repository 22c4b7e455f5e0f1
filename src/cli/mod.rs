//! The command line. Each subcommand has its own file or folder.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::kubernetes::error::lookup_error;
use crate::velero::text::single_line;

mod activation;
mod advice;
mod backup;
mod ca;
mod certs;
mod client_ca;
mod cluster;
mod cluster_args;
mod color;
mod completion;
mod doctor;
mod emergency_off;
mod explain;
mod file;
mod install;
mod json;
mod key_type;
mod keys;
mod lint;
mod looks;
mod namespace_args;
mod output_format;
mod parse;
mod policy;
mod restores;
mod rollout;
mod root_args;
mod serve;
mod snapshot;
mod status;
mod stdout;
mod switch_off;
mod table;
mod trusted_key_file;
mod uninstall;
mod verify;
mod version;
mod wait;
mod wrap;

/// Exit codes, the same as those of ripgrep and many linters.
mod exit {
    /// Success: no findings.
    pub(super) const CLEAN: u8 = 0;
    /// Findings that deny, or problems that need attention.
    pub(super) const FINDINGS: u8 = 1;
    /// The command failed.
    pub(super) const ERROR: u8 = 2;
    /// Standard output is closed. It is the code that a shell reports for a process ended by
    /// SIGPIPE.
    pub(super) const CLOSED: u8 = 141;
}

const AFTER_HELP: &str = "\
Most options can also be set by an environment variable, which the help of each command shows.
An option on the command line takes precedence.

Exit codes:
  0  Success
  1  Findings, or problems that need attention
  2  Invalid usage, or the command failed";

/// Admission webhook for Velero: CA trust for backup storage locations, checksums before restores
#[derive(Debug, Parser)]
#[command(name = "velero-trust", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// The help of a command is the doc comment of its arguments. One on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Certs(certs::Certs),
    ClientCa(client_ca::ClientCa),
    Doctor(doctor::Doctor),
    Lint(lint::Lint),
    Status(status::Status),
    Rollout(rollout::Rollout),
    Ca(ca::Ca),
    Backup(backup::Backup),
    Keys(keys::Keys),
    Explain(explain::Explain),
    Verify(verify::Verify),
    EmergencyOff(emergency_off::EmergencyOff),
    Uninstall(uninstall::Uninstall),
    Version(version::Version),
    Completion(completion::Completion),
}

/// Runs the command given by the arguments of the process, and returns its exit code.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let (Command::Status(status), Some((name, given))) = (&cli.command, matches.subcommand())
        && let Some(message) = status.misused(given)
    {
        exit_with_usage_error(name, &message);
    }
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Certs(certs) => certs.run(),
        Command::ClientCa(client_ca) => client_ca.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Lint(lint) => lint.run(),
        Command::Status(status) => status.run(),
        Command::Rollout(rollout) => rollout.run(),
        Command::Ca(ca) => ca.run(),
        Command::Backup(backup) => backup.run(),
        Command::Keys(keys) => keys.run(),
        Command::Explain(explain) => explain.run(),
        Command::Verify(verify) => verify.run(),
        Command::EmergencyOff(emergency_off) => emergency_off.run(),
        Command::Uninstall(uninstall) => uninstall.run(),
        Command::Version(version) => version.run(),
        Command::Completion(completion) => completion.run(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if stdout::is_closed(&error) => ExitCode::from(exit::CLOSED),
        Err(error) => {
            print_error(&error);
            ExitCode::from(exit::ERROR)
        }
    }
}

/// Prints `message` and the usage of `command`, as clap does, and exits.
fn exit_with_usage_error(command: &str, message: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    let mut command = cli.find_subcommand(command).cloned().unwrap_or(cli);
    command.error(ErrorKind::ArgumentConflict, message).exit()
}

/// What Velero in [`EXCLUDED_NAMESPACE`](crate::names::EXCLUDED_NAMESPACE) has to be told where that
/// is not included, and what to do.
const IN_EXCLUDED_NAMESPACE: (&str, &str) = (
    "velero-trust changes no Pod of kube-system and keeps no bundle there, so Velero there \
     trusts only what its BackupStorageLocations and its image give it",
    "install Velero in a namespace of its own, or include kube-system (docs/bundle.md)",
);

/// Longest message that is printed to standard error, in characters.
const MAX_MESSAGE_CHARS: usize = 4000;

fn print_error(error: &anyhow::Error) {
    eprint_line(&format!("velero-trust: {}", describe(error)));
}

/// Returns the error and its causes as one sentence. kube's own texts contain dumps of the answer.
fn describe(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<kube::Error>() {
            parts.push(lookup_error(error).message);
            break;
        }
        parts.push(cause.to_string());
    }
    parts.join(": ")
}

/// Prints a warning to standard error.
fn print_warning(text: &str) {
    eprint_line(&format!("velero-trust: warning: {text}"));
}

/// Prints `text` to standard error as one printable line, since it may contain names from files and
/// clusters. Ignores write errors: standard error may be closed.
fn eprint_line(text: &str) {
    let line = single_line(text, MAX_MESSAGE_CHARS);
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Creates the runtime for commands that access a cluster or files.
///
/// It has one worker on any node: a review takes tens of microseconds, and moving connections
/// between two workers made each review a fifth more expensive.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// Installs the crypto provider of the process.
fn install_crypto_provider() {
    // It fails only if a provider is installed already, which is fine as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_server_is_one_sentence() {
        use anyhow::Context as _;

        let status = kube::core::Status::failure("secrets is forbidden: no", "Forbidden");
        let error = kube::Error::Api(status.with_code(403).boxed());
        let error = Err::<(), _>(error).context("cannot write Secret a/b");
        let error = error.context("no CA was revoked").unwrap_err();
        assert_eq!(
            describe(&error),
            "no CA was revoked: cannot write Secret a/b: secrets is forbidden: no"
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Returns every command and the commands below it.
    fn all_commands() -> Vec<clap::Command> {
        let mut open: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        let mut all = Vec::new();
        while let Some(command) = open.pop() {
            open.extend(command.get_subcommands().cloned());
            all.push(command);
        }
        all
    }

    /// A short option has the same meaning in every command.
    #[test]
    fn a_short_option_is_the_same_in_every_command() {
        let known = [("namespace", 'n'), ("output", 'o')];
        for command in all_commands() {
            for option in command.get_arguments() {
                let long = option.get_long().unwrap_or_default();
                let wanted = known.iter().find(|(name, _)| *name == long);
                let wanted = wanted.map(|(_, short)| *short);
                assert_eq!(
                    option.get_short(),
                    wanted,
                    "--{long} of {}",
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn every_command_and_option_has_a_summary_of_one_style() {
        let styled = |help: Option<String>, what: &str| {
            let help = help.unwrap_or_default();
            assert!(help.starts_with(char::is_uppercase), "{what}: {help}");
            assert!(!help.ends_with('.'), "{what}: {help}");
        };
        for command in all_commands() {
            let name = command.get_name();
            styled(command.get_about().map(ToString::to_string), name);
            for option in command.get_arguments() {
                let help = option.get_help().map(ToString::to_string);
                styled(help, &format!("{} of {name}", option.get_id()));
            }
        }
    }

    /// Options that change a cluster or a machine. They must be typed: a variable that somebody set
    /// for another command, or in a Pod, must not switch them on.
    const TYPED_ONLY: [&str; 17] = [
        "live",
        "install",
        "revoke_old",
        "apply",
        "even_while_running",
        "configure",
        "private",
        "unencrypted",
        "fingerprint",
        "replace",
        "reason",
        "at",
        "all",
        "checksum",
        "yes",
        "undo",
        "purge_keys",
    ];

    #[test]
    fn every_option_but_destructive_ones_has_its_environment_variable() {
        for command in all_commands() {
            for option in command
                .get_arguments()
                .filter(|argument| !argument.is_positional())
            {
                let id = option.get_id().as_str();
                if ["help", "version"].contains(&id) {
                    continue;
                }
                let env = option.get_env().and_then(|env| env.to_str());
                let what = format!("--{id} of {}: {env:?}", command.get_name());
                if TYPED_ONLY.contains(&id) {
                    assert_eq!(env, None, "{what}");
                } else {
                    assert!(
                        env.is_some_and(|env| env.starts_with("VELERO_TRUST_")),
                        "{what}"
                    );
                }
            }
        }
    }

    /// Otherwise a variable for one command would be an error of the other.
    #[test]
    fn commands_share_a_variable_only_where_it_has_the_same_values() {
        let mut seen = std::collections::BTreeMap::new();
        for command in all_commands() {
            for option in command.get_arguments() {
                let Some(env) = option.get_env() else {
                    continue;
                };
                let mut values = option
                    .get_possible_values()
                    .iter()
                    .map(|value| value.get_name().to_owned())
                    .collect::<Vec<_>>();
                values.sort();
                let takes = (
                    option.get_num_args(),
                    option.get_value_delimiter(),
                    option.get_value_parser().type_id(),
                    values,
                );
                let (first, of) = seen
                    .entry(env.to_owned())
                    .or_insert_with(|| (takes.clone(), command.get_name().to_owned()));
                assert_eq!(*first, takes, "{env:?} of {of} and {}", command.get_name());
            }
        }
    }
}
