//! Atomic writes of files, which other processes may be reading.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes `bytes` to the file at `path` atomically, with the permissions `mode` regardless of the
/// umask. A symbolic link is followed and kept.
///
/// # Errors
/// If `path` exists and is not a file, such as `/dev/stdout`, or if it cannot be written.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(path) if path.is_file() => path,
        Ok(_) => return Err(Error::new(ErrorKind::InvalidInput, "it is not a file")),
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let name = path
        .file_name()
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    // In the same folder, because only there a rename is certainly atomic. The name is one that no
    // user gives a file.
    let mut part = OsString::from(".");
    part.push(name);
    part.push(format!(".velero-trust-{}", std::process::id()));
    let part = path.with_file_name(part);
    let written = write_new(&part, bytes, mode).and_then(|()| fs::rename(&part, &path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Writes `bytes` to a new file at `path`, with the permissions `mode` regardless of the umask.
///
/// # Errors
/// If there is something at `path`, or if it cannot be written.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    // A process with the same ID may have left one.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(path, bytes, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_through_a_link_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["ca.crt", "link"].map(|name| folder.path().join(name));
        write(&file, b"old", 0o600).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"new", 0o644).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["key.pem", "link"].map(|name| folder.path().join(name));
        create(&file, b"old", 0o600).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::os::unix::fs::symlink(folder.path().join("absent"), &link).unwrap();
        for path in [&file, &link] {
            let error = create(path, b"new", 0o600).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", path.display());
        }
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path(), Path::new("..")] {
            assert!(write(path, b"x", 0o644).is_err(), "{}", path.display());
        }
        assert!(write(&folder.path().join("no/such"), b"x", 0o644).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
