//! The version of Velero that the reference to an image names.

/// Returns the tag of `image`, such as `v1.18.2`; without a tag, the shortened digest; without
/// either, `untagged`.
pub fn version(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.to_owned(),
        (None, Some(digest)) => digest.chars().take(SHORT_DIGEST_CHARS).collect(),
        (None, None) => "untagged".to_owned(),
    }
}

/// Length of a shortened digest: `sha256:` and twelve digits, as users of `docker images --digests`
/// know it.
const SHORT_DIGEST_CHARS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_tag_and_never_the_port_of_a_registry() {
        for (image, want) in [
            ("velero/velero:v1.18.2", "v1.18.2"),
            ("registry:5000/velero/velero:main@sha256:aa", "main"),
            ("registry:5000/velero/velero", "untagged"),
            ("velero@sha256:0123456789abcdef", "sha256:0123456789ab"),
            ("", "untagged"),
        ] {
            assert_eq!(version(image), want, "{image}");
        }
    }
}
