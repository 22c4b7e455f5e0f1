//! Parses the names and versions of images.

/// Returns the tag of `image`; `None` if it has none, for example because only a digest is given.
pub(super) fn image_tag(image: &str) -> Option<&str> {
    split_tag(image).1
}

/// Returns the last part of the name of `image`, such as `velero-plugin-for-aws`.
pub(super) fn image_name(image: &str) -> &str {
    split_tag(image).0
}

/// Returns the last part of the name of `image`, and its tag.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.split_once(':')
        .map_or((last, None), |(name, tag)| (name, Some(tag)))
}

/// Returns the major and minor version in the tag of `image`.
pub(super) fn image_version(image: &str) -> Option<(u32, u32)> {
    let tag = image_tag(image)?;
    let (major, rest) = tag.strip_prefix('v').unwrap_or(tag).split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_and_version_of_an_image() {
        for (image, expected_name, expected_version) in [
            ("velero/velero:v1.18.3", "velero", Some((1, 18))),
            ("host:5000/a/velero:v1.9.7-rc.1", "velero", Some((1, 9))),
            ("velero/velero:v1.17.0@sha256:00", "velero", Some((1, 17))),
            ("host:5000/velero/velero", "velero", None),
            ("velero@sha256:00", "velero", None),
            ("velero:main", "velero", None),
            ("velero:1.20", "velero", Some((1, 20))),
        ] {
            assert_eq!(
                (image_name(image), image_version(image)),
                (expected_name, expected_version),
                "{image}"
            );
        }
    }
}
