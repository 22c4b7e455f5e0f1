//! The command line: one file per subcommand.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::velero::text::single_line;

mod activation;
mod certs;
mod client_ca;
mod cluster;
mod doctor;
mod file;
mod install;
mod lint;
mod namespace_args;
mod parse;
mod policy;
mod rollout;
mod root_args;
mod serve;
mod snapshot;
mod status;
mod stdout;
mod table;

/// Exit codes, as ripgrep and many linters have them.
mod exit {
    /// Nothing is wrong.
    pub(super) const CLEAN: u8 = 0;
    /// There are findings that deny.
    pub(super) const FINDINGS: u8 = 1;
    /// The command could not do its work.
    pub(super) const ERROR: u8 = 2;
    /// Nobody reads what is printed; what a shell tells of a program that SIGPIPE ended.
    pub(super) const CLOSED: u8 = 141;
}

/// Admission webhook for Velero: CA trust for backup storage locations, checksums before a restore
#[derive(Debug, Parser)]
#[command(name = "velero-trust", version, max_term_width = 100)]
#[command(
    after_help = "Every option can be set by the environment variable shown beside it.\n\
                        Exit codes: 0 clean, 1 findings, 2 usage or trouble."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the webhook
    Serve(Box<serve::Serve>),
    /// Make a CA and a serving certificate, for local work or for a cluster
    Certs(certs::Certs),
    /// Write the CA that the velero command needs on your own machine
    ClientCa(client_ca::ClientCa),
    /// Check an installation for what is easily forgotten
    Doctor(doctor::Doctor),
    /// Run the rules for BackupStorageLocations over manifests, before they reach a cluster
    Lint(lint::Lint),
    /// Status what Velero's Pods trust, and what needs a person
    Status(status::Status),
    /// Print, or do, the restarts after which every Pod of Velero carries the bundle
    Rollout(rollout::Rollout),
}

/// Runs the command that the arguments of the process ask for.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let (Command::Status(status), Some((name, given))) = (&cli.command, matches.subcommand())
        && let Some(wrong) = status.misused(given)
    {
        refuse(name, &wrong);
    }
    let done = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Certs(certs) => certs.run(),
        Command::ClientCa(client_ca) => client_ca.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Lint(lint) => lint.run(),
        Command::Status(status) => status.run(),
        Command::Rollout(rollout) => rollout.run(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if stdout::is_closed(&error) => ExitCode::from(exit::CLOSED),
        Err(error) => {
            complain(&error);
            ExitCode::from(exit::ERROR)
        }
    }
}

/// Ends with `wrong` and the usage of `command`, as clap does.
fn refuse(command: &str, wrong: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    let mut command = cli.find_subcommand(command).cloned().unwrap_or(cli);
    command.error(ErrorKind::ArgumentConflict, wrong).exit()
}

/// Most characters of what is said on standard error at a time.
const MAX_MESSAGE_CHARS: usize = 4000;

fn complain(error: &anyhow::Error) {
    say(&format!("velero-trust: {error:#}"));
}

/// Says on standard error what is no reason to end.
fn warn(text: &str) {
    say(&format!("velero-trust: warning: {text}"));
}

/// Says it in one line: names come from files and clusters. Nobody may be there to hear it.
fn say(text: &str) {
    let line = single_line(text, MAX_MESSAGE_CHARS);
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A runtime for commands that talk to a cluster or to files.
///
/// One worker whatever the node has: a review takes tens of microseconds, and handing connections
/// to and fro between two workers made each a fifth dearer.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// Installs the one crypto provider of the process.
fn install_crypto_provider() {
    // Fails only when one is installed already, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A person who learned a short option once is right everywhere.
    #[test]
    fn a_short_option_is_the_same_in_every_command() {
        let known = [("namespace", 'n'), ("output", 'o')];
        for command in Cli::command().get_subcommands() {
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
    fn every_option_has_its_environment_variable() {
        for command in Cli::command().get_subcommands() {
            for option in command
                .get_arguments()
                .filter(|argument| !argument.is_positional())
            {
                let id = option.get_id().as_str();
                if ["help", "version"].contains(&id) {
                    continue;
                }
                let env = option
                    .get_env()
                    .and_then(|env| env.to_str())
                    .unwrap_or_default();
                assert!(
                    env.starts_with("VELERO_TRUST_"),
                    "--{id} of {}",
                    command.get_name()
                );
            }
        }
    }
}
