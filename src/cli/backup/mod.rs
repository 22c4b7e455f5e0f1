//! `velero-trust backup`: shows the records of backups, and vouches for backups.

mod adopt;
mod list;
mod show;
mod signed;
#[cfg(test)]
mod tests;
mod view;

use clap::{Args, Subcommand};

pub(super) use self::show::{records_of, select as select_record};

/// Show which backups are recorded, and vouch for those that are not
#[derive(Args, Debug)]
pub(super) struct Backup {
    #[command(subcommand)]
    command: Command,
}

// The help of a command is the doc comment of its arguments. One on a variant would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Adopt(adopt::Adopt),
}

impl Backup {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Adopt(adopt) => adopt.run(),
        }
    }
}
