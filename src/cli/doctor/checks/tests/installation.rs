use serde_json::{Value, json};

use super::*;

#[test]
fn the_cluster_and_our_deployment() {
    use Level::{Fail, Unknown, Warn};
    exactly(Fail, "kubernetes", &["1.29", "1.30"], |cluster| {
        cluster.kubernetes = Ok((1, 29));
    });
    let available = |cluster: &mut ClusterSnapshot, wanted, available| {
        let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
        deployment.spec.as_mut().unwrap().replicas = Some(wanted);
        deployment.status.as_mut().unwrap().available_replicas = available;
    };
    exactly(Fail, "server", &["0 of 2", "describe pods"], |cluster| {
        available(cluster, 2, None);
    });
    exactly(Warn, "server", &["1 of 2"], |cluster| {
        available(cluster, 2, Some(1));
    });
    exactly(
        Fail,
        "server",
        &["scale deployment/velero-trust"],
        |cluster| {
            available(cluster, 0, None);
        },
    );
    let container = |cluster: &mut ClusterSnapshot, image: &str, env: Value| {
        let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
        let spec = &mut deployment.spec.as_mut().unwrap().template.spec;
        let container = &mut spec.as_mut().unwrap().containers[0];
        container.image = Some(image.to_owned());
        container.env = serde_json::from_value(env).unwrap();
    };
    exactly(Warn, "image", &["velero-trust:0.0.1"], |cluster| {
        container(cluster, "velero-trust:0.0.1", json!([]));
    });
    exactly(Unknown, "image", &["no tag"], |cluster| {
        container(cluster, "velero-trust@sha256:00", json!([]));
    });
    let ours = concat!("velero-trust:v", env!("CARGO_PKG_VERSION"));
    // Whatever velero-trust has beyond Velero is fine.
    let proxy = json!([{"name": "https_proxy", "value": "http://p"}]);
    let fine = problems_after(|cluster| container(cluster, ours, proxy));
    assert_eq!(fine, []);
}
