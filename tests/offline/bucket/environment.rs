//! What a process has around it: variables, and the Secrets of a namespace.

use std::collections::BTreeMap;

use velero_trust::bucket::credentials::identity::Services;
use velero_trust::bucket::{
    CredentialsError, OwnIdentity, Provider, SecretKey, SecretSource, Trust,
};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;

use super::TIMING;

/// The file of credentials of the installation, if there is one.
pub(super) struct Installed<'a>(pub(super) Option<&'a str>);

impl SecretSource for Installed<'_> {
    async fn value(&self, _secret: &SecretKey) -> Result<Option<Vec<u8>>, CredentialsError> {
        Ok(self.0.map(|text| text.as_bytes().to_vec()))
    }

    async fn installed(&self, _provider: Provider) -> Result<Option<SecretKey>, CredentialsError> {
        let (name, key) = ("cloud".to_owned(), "cloud".to_owned());
        Ok(self.0.map(|_| SecretKey { name, key }))
    }
}

/// Returns the identity of a process with these variables.
pub(super) fn own(
    variables: &[(&'static str, &str)],
) -> OwnIdentity<impl Fn(&str) -> Option<String> + use<>> {
    let variables = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let variables: BTreeMap<_, _> = variables.collect();
    OwnIdentity {
        variable: move |name: &str| variables.get(name).cloned(),
        services: Services {
            trust: Trust::Everything,
            denied: DeniedAddresses::default().allowing_loopback(),
            proxies: Proxies::default(),
            timing: TIMING,
        },
    }
}
