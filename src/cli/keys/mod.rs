//! `velero-trust keys`: the keys that sign and verify backups.

mod export;
mod fingerprint;
mod import;
mod list;
mod object;
mod passphrase;
mod private;
mod revocation;
mod revoke;
mod rotate;
mod scope;
mod secret;
mod select;
mod show;
mod signers;
mod signing;
mod trust;
mod view;
mod wanted;

use clap::{Args, Subcommand};

/// Show, export, trust and change the keys that sign and verify backups
#[derive(Args, Debug)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

// The help of a command is the doc comment of its arguments. One on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Export(export::Export),
    Trust(trust::Trust),
    Import(import::Import),
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
}

impl Keys {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Export(export) => export.run(),
            Command::Trust(trust) => trust.run(),
            Command::Import(import) => import.run(),
            Command::Rotate(rotate) => rotate.run(),
            Command::Revoke(revoke) => revoke.run(),
        }
    }
}
