//! The value of an option that is on or off.

use clap::ValueEnum;

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// It is done
    On,
    /// It is not done
    Off,
}
