//! The report of the controllers on a Velero namespace.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::kubernetes::report::{self, NamespaceReport};
use crate::kubernetes::{error, owned_config_map};
use crate::names;

/// Why the report on a namespace is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct NoReport {
    /// The reason, for people.
    pub(in crate::cli) why: String,
    is_absent: bool,
}

impl NoReport {
    const fn unreadable(why: String) -> Self {
        Self {
            why,
            is_absent: false,
        }
    }

    /// Whether there is none, so that the controllers do not keep the namespace, or not yet.
    pub(in crate::cli) const fn is_absent(&self) -> bool {
        self.is_absent
    }
}

/// Reads the report of the controllers on `namespace`, or returns why there is none.
pub(in crate::cli) async fn read_report(
    client: &Client,
    own_namespace: &str,
    namespace: &str,
) -> Result<NamespaceReport, NoReport> {
    let name = report::name(namespace);
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own_namespace);
    let map = match config_maps.get_opt(&name).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            return Err(NoReport {
                why: format!("ConfigMap {own_namespace}/{name} is not there"),
                is_absent: true,
            });
        }
        Err(error) => return Err(NoReport::unreadable(error::lookup_error(&error).message)),
    };
    if let Some(restore) = owned_config_map::restored_by(&map.metadata) {
        return Err(NoReport::unreadable(format!(
            "Velero's Restore {restore} wrote ConfigMap {own_namespace}/{name}; it is not used, and the \
             leader replaces it"
        )));
    }
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(names::REPORT_KEY));
    let text = text.ok_or_else(|| {
        let key = names::REPORT_KEY;
        NoReport::unreadable(format!("ConfigMap {own_namespace}/{name} has no {key}"))
    })?;
    serde_json::from_str(text).map_err(|error| {
        let map = format!("ConfigMap {own_namespace}/{name}");
        NoReport::unreadable(format!("{map} cannot be understood: {error}"))
    })
}
