//! The certificate that the leader presents, published without its key: whoever may not read the
//! Secret, or the files, still learns when it expires and whether the caBundles verify it.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::owned_config_map;
use crate::ca::serving_certificate::ServingCertificate;
use crate::names;

/// Key of the certificate with its chain.
const CERTIFICATE_KEY: &str = "tls.crt";

/// Key of the identity of the replica that presents it.
const HOLDER_KEY: &str = "holder";

/// Publishes the certificate of the replica `identity`, which leads, in namespace `own`. Returns the
/// resourceVersion of the ConfigMap.
pub async fn publish(
    client: &Client,
    own: &str,
    identity: &str,
    certificate: &ServingCertificate,
) -> kube::Result<Option<String>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let data = BTreeMap::from([
        (CERTIFICATE_KEY.to_owned(), certificate.to_pem()),
        (HOLDER_KEY.to_owned(), identity.to_owned()),
    ]);
    let name = names::SERVING_CERTIFICATE;
    owned_config_map::apply(&config_maps, name, data, None).await
}

/// Returns the certificate that the leader of the installation in namespace `own` presents; `None`
/// if the replica that leads has not published it. Another one may present another certificate, and
/// what [Velero restored](owned_config_map::restored_by) is not the leader's.
pub async fn read(client: &Client, own: &str) -> kube::Result<Option<ServingCertificate>> {
    let (map, lease) =
        owned_config_map::read_with_lease(client, own, names::SERVING_CERTIFICATE).await?;
    Ok(presented(map, lease))
}

fn presented(map: Option<ConfigMap>, lease: Option<Lease>) -> Option<ServingCertificate> {
    let data = owned_config_map::of_leader(map?, lease?, HOLDER_KEY)?;
    ServingCertificate::from_pem(data.get(CERTIFICATE_KEY)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use velero_trust_testing::pki::Authority;

    #[test]
    fn only_the_certificate_of_the_replica_that_leads_counts() {
        let pem = Authority::new("a").unwrap().pem();
        let map = |holder: &str| {
            let map = json!({"metadata": {}, "data": {"tls.crt": pem, "holder": holder}});
            Some(serde_json::from_value(map).unwrap())
        };
        let lease = |holder: &str| {
            let lease = json!({"metadata": {}, "spec": {"holderIdentity": holder}});
            Some(serde_json::from_value(lease).unwrap())
        };
        assert_eq!(
            presented(map("a"), lease("a")),
            ServingCertificate::from_pem(pem.as_bytes())
        );
        assert_eq!(presented(map("a"), lease("b")), None);
        assert_eq!(presented(map("a"), None), None);
        assert_eq!(presented(None, lease("a")), None);
        let mut restored: Option<ConfigMap> = map("a");
        let label = ("velero.io/restore-name".to_owned(), "r".to_owned());
        restored.as_mut().unwrap().metadata.labels = Some([label].into());
        assert_eq!(
            presented(restored, lease("a")),
            None,
            "whoever can forge a backup decides what is in it"
        );
    }
}
