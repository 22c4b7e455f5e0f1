//! `velero-trust completion`: completions for a shell.

use std::io::Write as _;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::aot::{Shell, generate};

use super::stdout::Stdout;
use super::{Cli, exit};
use crate::names;

const AFTER_HELP: &str = "\
Examples:
  # bash, with the package bash-completion
  velero-trust completion bash > ~/.local/share/bash-completion/completions/velero-trust

  # zsh, into a folder of $fpath
  velero-trust completion zsh > ~/.zfunc/_velero-trust

  # fish
  velero-trust completion fish > ~/.config/fish/completions/velero-trust.fish";

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Completion {
    /// Shell to print them for
    #[arg(value_enum)]
    shell: SupportedShell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SupportedShell {
    /// Bourne Again Shell
    Bash,
    /// Z Shell
    Zsh,
    /// Friendly Interactive Shell
    Fish,
}

impl Completion {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let shell = match self.shell {
            SupportedShell::Bash => Shell::Bash,
            SupportedShell::Zsh => Shell::Zsh,
            SupportedShell::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), names::APP, &mut script);
        Stdout::fail_when_closed().write_all(&script)?;
        Ok(exit::CLEAN)
    }
}
