//! Conversion of paths to URIs.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

/// Returns the path as a URI. It is relative for a path in the working directory, as code scanning
/// requires, and absolute for any other, since a reader of the output cannot resolve `..`.
pub(super) fn uri(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let file = resolved(&here, file);
    let file = file.strip_prefix(here).unwrap_or(&file);
    let parts = file.components().filter_map(|component| match component {
        Component::Normal(name) => Some(encoded(&name.to_string_lossy())),
        _ => None,
    });
    let path = parts.collect::<Vec<_>>().join("/");
    if file.is_absolute() {
        format!("file:///{path}")
    } else {
        path
    }
}

/// Returns the path without `..`.
fn resolved(here: &Path, file: &Path) -> PathBuf {
    if !file.components().any(|it| it == Component::ParentDir) {
        return file.to_owned();
    }
    // After a symbolic link, `..` is not the component to its left.
    std::fs::canonicalize(file).unwrap_or_else(|_| {
        let mut resolved = PathBuf::new();
        for component in here.join(file).components() {
            match component {
                Component::ParentDir => {
                    resolved.pop();
                }
                other => resolved.push(other),
            }
        }
        resolved
    })
}

/// Percent-encodes all characters except the unreserved ones of RFC 3986.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_relative_uri_where_it_can_be() {
        let uri = |path: &str| uri(Path::new(path));
        assert_eq!(uri("./a/b.yaml"), "a/b.yaml");
        assert_eq!(uri("a b/c#ö.yaml"), "a%20b/c%23%C3%B6.yaml");
        assert_eq!(uri("src/../no-such.yaml"), "no-such.yaml");
        assert_eq!(uri("tests/../Cargo.toml"), "Cargo.toml");
        let above = std::env::current_dir().unwrap();
        let above = above.parent().unwrap().display().to_string();
        assert_eq!(
            uri("../no-such.yaml"),
            format!("file://{above}/no-such.yaml")
        );
        assert_eq!(uri("/no-such/a.yaml"), "file:///no-such/a.yaml");
        let here = std::env::current_dir().unwrap().join("a.yaml");
        assert_eq!(uri(here.to_str().unwrap()), "a.yaml");
    }
}
