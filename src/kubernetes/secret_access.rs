//! How velero-trust is allowed to read the Secrets that contain CAs.

use crate::names::{CA_READER_ROLE, EXCLUDED_NAMESPACE, SECRET_READER_ROLE};

/// Returns the command that lets `subject`, an option of `kubectl create rolebinding`, read the Secrets of
/// `namespace` that contain CAs. In `kube-system`, where other Secrets are nobody's business, it is the right
/// to get those with the names in `named`, by a Role for each: to create it cannot take away what another
/// Role allows.
pub fn grant_command<'a>(
    namespace: &str,
    named: impl IntoIterator<Item = &'a str>,
    subject: &str,
) -> String {
    let kubectl = format!("kubectl -n {namespace} create");
    if namespace != EXCLUDED_NAMESPACE {
        return format!(
            "{kubectl} rolebinding {SECRET_READER_ROLE} --clusterrole={SECRET_READER_ROLE} {subject}"
        );
    }
    let commands = named.into_iter().map(|name| {
        let role = format!("{CA_READER_ROLE}-{name}");
        format!(
            "{kubectl} role {role} --verb=get --resource=secrets --resource-name={name} && {kubectl} \
             rolebinding {role} --role={role} {subject}"
        )
    });
    commands.collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_kube_system_only_the_secrets_with_cas_are_allowed() {
        let subject = "--serviceaccount=a:b";
        assert_eq!(
            grant_command("velero", ["ca"], subject),
            "kubectl -n velero create rolebinding velero-trust-secret-reader \
             --clusterrole=velero-trust-secret-reader --serviceaccount=a:b"
        );
        assert_eq!(
            grant_command("kube-system", ["ca"], subject),
            "kubectl -n kube-system create role velero-trust-ca-reader-ca --verb=get --resource=secrets \
             --resource-name=ca && kubectl -n kube-system create rolebinding velero-trust-ca-reader-ca \
             --role=velero-trust-ca-reader-ca --serviceaccount=a:b"
        );
        let two = grant_command("kube-system", ["ca", "other"], subject);
        assert_eq!(two.split(" && ").count(), 4, "{two}");
    }
}
