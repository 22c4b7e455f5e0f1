//! The report of the controllers on a Velero namespace.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::kubernetes::error;
use crate::kubernetes::report::{self, NamespaceReport};
use crate::names;

/// Reads the report of the controllers on `namespace`, or returns why there is none.
pub(in crate::cli) async fn read_report(
    client: &Client,
    own_namespace: &str,
    namespace: &str,
) -> Result<NamespaceReport, String> {
    let name = report::name(namespace);
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own_namespace);
    let map = match config_maps.get_opt(&name).await {
        Ok(Some(map)) => map,
        Ok(None) => return Err(format!("ConfigMap {own_namespace}/{name} is not there")),
        Err(error) => return Err(error::lookup_error(&error).message),
    };
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(names::REPORT_KEY));
    let text = text.ok_or_else(|| {
        format!(
            "ConfigMap {own_namespace}/{name} has no {}",
            names::REPORT_KEY
        )
    })?;
    serde_json::from_str(text)
        .map_err(|error| format!("ConfigMap {own_namespace}/{name} cannot be understood: {error}"))
}
