//! Options for the root CAs in every bundle, shared by `serve` and `status`.

use std::path::PathBuf;

use clap::Args;

use crate::sources::roots::{PublicRoots, Roots};

#[derive(Args, Clone, Debug)]
pub(super) struct RootArgs {
    /// Public root CAs in every bundle: `mozilla` (compiled in), `none`, or the path of a PEM file
    #[arg(
        long,
        value_name = "ROOTS",
        default_value = "mozilla",
        env = "VELERO_TRUST_PUBLIC_ROOTS",
        help_heading = "Bundle"
    )]
    public_roots: PublicRoots,

    /// PEM file with CAs to add to every bundle; can be repeated
    ///
    /// The server reads the file again when it changes. CAs from ConfigMaps and Secrets labelled
    /// `velero-trust.io/ca=true` in the namespace of velero-trust are added to every bundle as
    /// well.
    #[arg(
        long,
        value_name = "FILE",
        env = "VELERO_TRUST_EXTRA_CA",
        value_delimiter = ',',
        help_heading = "Bundle"
    )]
    extra_ca: Vec<PathBuf>,
}

impl RootArgs {
    /// Returns where to read the roots from.
    pub(super) fn roots(&self) -> Roots {
        Roots {
            public: self.public_roots.clone(),
            extra: self.extra_ca.clone(),
        }
    }
}
