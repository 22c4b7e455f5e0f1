//! `velero-trust keys`: the keys that sign and verify backups.

mod export;
mod list;

use clap::{Args, Subcommand};

/// List the keys that verify backups, and export them
#[derive(Args, Debug)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

// The help of a command is the doc comment of its arguments. One on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Export(export::Export),
}

impl Keys {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::List(list) => list.run(),
            Command::Export(export) => export.run(),
        }
    }
}
