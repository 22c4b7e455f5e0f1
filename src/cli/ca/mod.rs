//! `velero-trust ca`: changes which CAs velero-trust remembers.

mod fingerprint;
mod forget;
mod selection;

use clap::{Args, Subcommand};

/// Change which CAs velero-trust remembers
#[derive(Args, Debug)]
pub(super) struct Ca {
    #[command(subcommand)]
    command: Command,
}

// The help of a command is the doc comment of its arguments. One on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    Forget(forget::Forget),
}

impl Ca {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::Forget(forget) => forget.run(),
        }
    }
}
