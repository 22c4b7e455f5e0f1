//! Namespace options, shared by several commands.

use clap::Args;

use super::parse;
use crate::names;

#[derive(Args, Clone, Debug)]
pub(super) struct OwnNamespace {
    /// Namespace that velero-trust is installed in
    #[arg(
        long,
        short,
        default_value = names::APP,
        value_parser = parse::namespace,
        env = "VELERO_TRUST_NAMESPACE"
    )]
    pub(super) namespace: String,
}

#[derive(Args, Clone, Debug)]
pub(super) struct VeleroNamespaces {
    /// Namespace that Velero is installed in; can be repeated [default: all namespaces with a
    /// BackupStorageLocation]
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "VELERO_TRUST_VELERO_NAMESPACE",
        value_delimiter = ',',
        value_parser = parse::namespace
    )]
    pub(super) velero_namespace: Vec<String>,
}
