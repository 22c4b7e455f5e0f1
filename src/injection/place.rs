//! The position of a path in a container relative to the mount of the bundle.

use crate::names::MOUNT_PATH;

/// The position of a path relative to [`MOUNT_PATH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Neither at nor below [`MOUNT_PATH`].
    Elsewhere,
    /// At [`MOUNT_PATH`].
    Here,
    /// Below [`MOUNT_PATH`], where the kubelet could not create it: the bundle's mount is
    /// read-only.
    Below,
}

impl Place {
    /// Returns the position of `path`, however it is written: the kubelet makes a relative path
    /// absolute and cleans it, and on Windows accepts both slashes, a drive and any case.
    pub(super) fn of(path: &str, windows: bool) -> Self {
        let path = match path.split_once(':') {
            Some((drive, rest)) if windows && drive.len() == 1 => rest,
            _ => path,
        };
        let ours = MOUNT_PATH.trim_start_matches('/');
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split(|c| c == '/' || windows && c == '\\') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        let here = |first: &str| first == ours || windows && first.eq_ignore_ascii_case(ours);
        match parts.as_slice() {
            [first] if here(first) => Self::Here,
            [first, ..] if here(first) => Self::Below,
            _ => Self::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_place_however_it_is_written() {
        for path in [
            "/certs",
            "/certs/",
            "//certs",
            "/./certs",
            "certs",
            "/a/../certs",
        ] {
            assert_eq!(Place::of(path, false), Place::Here, "{path}");
        }
        for path in ["/certs/a", "/certs//a/", "/certs/./a"] {
            assert_eq!(Place::of(path, false), Place::Below, "{path}");
        }
        for path in [
            "/",
            "",
            "/cert",
            "/certs2",
            "/etc/certs",
            "/certs/..",
            "/CERTS",
            "\\certs",
        ] {
            assert_eq!(Place::of(path, false), Place::Elsewhere, "{path}");
        }
    }

    #[test]
    fn takes_a_windows_path_as_windows_does() {
        for path in ["\\certs", "C:\\Certs\\", "c:/certs", "/certs"] {
            assert_eq!(Place::of(path, true), Place::Here, "{path}");
        }
        assert_eq!(Place::of("C:\\certs\\a", true), Place::Below);
        assert_eq!(Place::of("C:\\other", true), Place::Elsewhere);
    }
}
