//! The handler that mutates Velero's Pods.

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, Report};
use crate::injection;
use crate::velero::pod::Pod;

/// Injects the CA bundle into Velero's Pods.
pub(super) static HANDLER: Handler = Handler {
    path: "/mutate/pods",
    group: "",
    resource: "pods",
    subresources: &[""],
    kind: "Pod",
    plural: "Pods of Velero",
    unjudged: "start without the CA bundle",
    operations: &[Operation::Create],
    mode: Mode::Mutate,
    // etcd takes requests of 1.5 MiB. A stored Pod is protobuf; its JSON has field names and escapes
    // as well. A larger Pod is refused later, so it needs no patch.
    max_body_bytes: 3 << 20,
    memory_per_byte: 16,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let pod = serde_json::from_str(request.object.unwrap_or("{}"))?;
    Ok(Box::new(Review {
        namespace: request.namespace,
        pod,
    }))
}

struct Review<'a> {
    namespace: &'a str,
    pod: Pod<'a>,
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, facts: &Facts, Context { policy, .. }: Context<'_>) -> Report {
        if policy.excludes(self.namespace) {
            return Report::default();
        }
        injection::decide(self.namespace, &self.pod, facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Lookup, Policy};
    use serde_json::json;

    #[test]
    fn kube_system_is_left_alone_unless_it_is_included() {
        let pod = json!({
            "metadata": {"labels": {"component": "velero"}},
            "spec": {"containers": [{"name": "velero", "command": ["/velero", "server"]}]},
        })
        .to_string();
        let report = |namespace, include_kube_system| {
            let review = Review {
                namespace,
                pod: serde_json::from_str(&pod).unwrap(),
            };
            let mut policy = Policy::default();
            policy.include_kube_system = include_kube_system;
            let context = Context {
                policy: &policy,
                now: 0,
            };
            review.decide(&Facts::default(), context)
        };
        assert_eq!(report("kube-system", false), Report::default());
        for (namespace, include) in [("kube-system", true), ("velero", false)] {
            let needs = report(namespace, include).needs;
            assert_eq!(needs, [Lookup::Bundle(namespace.to_owned())], "{namespace}");
        }
    }
}
