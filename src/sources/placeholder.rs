//! Values that another tool replaces before the object reaches a cluster.

use super::yaml::is_template;

/// Returns what `text` stands for, as it reads after "is", if another tool replaces it.
pub(super) fn placeholder(text: &str) -> Option<&'static str> {
    let trimmed = text.trim();
    if trimmed.starts_with("ENC[") && trimmed.ends_with(']') {
        Some("encrypted by SOPS")
    } else if is_template(text) {
        Some("a template")
    } else if between(text, "${", "}") {
        Some("a variable that Flux or envsubst replaces")
    } else if between(text, "<path:", ">") || is_argo_key(trimmed) {
        Some("a placeholder of Argo CD's vault plugin")
    } else if trimmed.starts_with("ref+") && trimmed.contains("://") {
        Some("a reference that vals replaces")
    } else {
        None
    }
}

fn between(text: &str, begin: &str, end: &str) -> bool {
    text.split_once(begin)
        .is_some_and(|(_, rest)| rest.contains(end))
}

/// Whether all of `text` is `<key>`, the short form of Argo CD's vault plugin, which may apply
/// functions: `<key | base64encode>`.
fn is_argo_key(text: &str) -> bool {
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    inner.is_some_and(|inner| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || " _-.|()'\"".contains(c);
        !inner.is_empty() && inner.chars().all(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notations_of_the_usual_tools_are_known() {
        for (text, want) in [
            ("ENC[AES256_GCM,data:x]", "encrypted by SOPS"),
            ("{{ .Values.ca }}", "a template"),
            ("${STORE_CA}\n", "a variable that Flux"),
            ("https://${HOST:=minio}:9000", "a variable that Flux"),
            ("<path:secret/data/ca#ca.crt>", "a placeholder of Argo CD"),
            ("<ca | base64encode>", "a placeholder of Argo CD"),
            ("<bucket>", "a placeholder of Argo CD"),
            ("ref+vault://secret/ca#/ca.crt", "a reference that vals"),
        ] {
            let found = placeholder(text).unwrap_or_default();
            assert!(found.starts_with(want), "{text}: {found}");
        }
        for text in [
            "",
            "backups",
            "$HOME",
            "a<b",
            "<!-- x -->",
            "ENC",
            "https://minio.example.test:9000",
            "ref+",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
