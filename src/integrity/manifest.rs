//! The files of one backup with their sizes and digests, and how two looks at them differ.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use super::files::{self, Role};
pub use crate::decision::{File, UnreadFile};
use crate::digest::Sha256;
use crate::velero::text;

/// Maximum number of files of a backup that is recorded. Velero writes at most 13. Each takes about
/// 200 bytes of a record, which is an object in etcd.
pub const MAX_FILES: usize = 32;

/// Longest name of a file, in bytes: that of the longest name of a backup with the longest ending.
pub const MAX_NAME_BYTES: usize = 300;

/// All files of one backup but its envelopes, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    files: Vec<File>,
}

/// Why the files of a backup are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A file without which Velero restores nothing.
    #[error("the file {0} is missing")]
    Missing(String),
    /// A file without which Velero restores nothing has no bytes.
    #[error("the file {0} is empty")]
    Empty(String),
    /// More files than [`MAX_FILES`].
    #[error("there are {0} files, and a backup of Velero has at most 13")]
    TooMany(usize),
    /// A name that cannot be the name of a file of Velero's.
    #[error("a file is named {0}, which is no name that Velero gives")]
    Name(String),
    /// The same name a second time.
    #[error("the file {0} is listed twice")]
    Duplicate(String),
}

impl Manifest {
    /// Makes the manifest of `backup` from its `files`, of which the envelopes are left out.
    pub fn new(backup: &str, files: Vec<File>) -> Result<Self, ManifestError> {
        let mut files = files;
        files.retain(|file| files::role(backup, &file.name) != Role::Envelope);
        if files.len() > MAX_FILES {
            return Err(ManifestError::TooMany(files.len()));
        }
        if let Some(file) = files.iter().find(|file| !is_name(&file.name)) {
            return Err(ManifestError::Name(shown(&file.name).into_owned()));
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let mut pairs = files.windows(2);
        if let Some([file, _]) = pairs.find(|pair| matches!(pair, [a, b] if a.name == b.name)) {
            return Err(ManifestError::Duplicate(file.name.clone()));
        }
        let manifest = Self { files };
        for name in files::required(backup) {
            match manifest.file(&name) {
                None => return Err(ManifestError::Missing(name)),
                Some(file) if file.size == 0 => return Err(ManifestError::Empty(name)),
                Some(_) => {}
            }
        }
        Ok(manifest)
    }

    /// Returns the files, ordered by name.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns the file `name`.
    pub fn file(&self, name: &str) -> Option<&File> {
        let found = self
            .files
            .binary_search_by(|file| file.name.as_str().cmp(name));
        found.ok().and_then(|index| self.files.get(index))
    }

    /// Returns the number of bytes of all files.
    pub fn bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| file.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns how `found`, the files of a later look in any order, and those that were `unread` then, differ
    /// from this manifest of `backup`. Envelopes do not count. Empty if nothing differs.
    ///
    /// Of a file that was not read, the bytes may differ. One that Velero knows is missing then.
    pub fn differences(
        &self,
        backup: &str,
        found: &[File],
        unread: &[UnreadFile],
    ) -> Vec<Difference> {
        let role = |name: &str| files::role(backup, name);
        let found = found.iter().map(Look::from);
        let found = found.filter(|file| role(file.name) != Role::Envelope);
        let unread = unread.iter().map(Look::from);
        let unread = unread.filter(|file| role(file.name) == Role::Unknown);
        let mut found: Vec<_> = found.chain(unread).collect();
        found.sort_by_key(|file| file.name);
        let mut differences = Vec::new();
        let (mut signed, mut found) = (self.files.iter().peekable(), found.into_iter().peekable());
        loop {
            let order = match (signed.peek(), found.peek()) {
                (None, None) => return differences,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(signed), Some(found)) => signed.name.as_str().cmp(found.name),
            };
            let was = if order.is_le() { signed.next() } else { None };
            let is = if order.is_ge() { found.next() } else { None };
            let change = match (was, is) {
                (Some(was), Some(is)) if was.size != is.size => Change::Size {
                    signed: was.size,
                    found: is.size,
                },
                (Some(was), Some(is)) if is.sha256.is_none_or(|sha256| sha256 == was.sha256) => {
                    continue;
                }
                (Some(_), Some(_)) => Change::Bytes,
                (Some(_), None) => Change::Missing,
                (None, _) => Change::Added,
            };
            let was = was.map(|file| file.name.as_str());
            let name = was.or_else(|| is.map(|file| file.name)).unwrap_or_default();
            let (name, role) = (name.to_owned(), role(name));
            differences.push(Difference { name, role, change });
        }
    }
}

/// What was found of a file.
#[derive(Clone, Copy)]
struct Look<'a> {
    name: &'a str,
    size: u64,
    /// `None` if it was not read.
    sha256: Option<Sha256>,
}

impl<'a> From<&'a File> for Look<'a> {
    fn from(file: &'a File) -> Self {
        Self {
            name: &file.name,
            size: file.size,
            sha256: Some(file.sha256),
        }
    }
}

impl<'a> From<&'a UnreadFile> for Look<'a> {
    fn from(file: &'a UnreadFile) -> Self {
        Self {
            name: &file.name,
            size: file.size,
            sha256: None,
        }
    }
}

/// One file that differs from the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the file.
    pub name: String,
    /// What the file is for.
    pub role: Role,
    /// How it differs.
    pub change: Change,
}

/// How a file differs from the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its bytes differ, and their number is the same.
    Bytes,
    /// The number of its bytes differs.
    Size {
        /// The number in the manifest.
        signed: u64,
        /// The number that was found.
        found: u64,
    },
    /// It is gone.
    Missing,
    /// It is not in the manifest.
    Added,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(&self.name);
        match self.change {
            Change::Bytes => write!(f, "the bytes of {name} differ from those that were signed"),
            Change::Size { signed, found } => {
                write!(f, "{name} has {found} bytes, and {signed} were signed")
            }
            Change::Missing => write!(f, "{name} was signed and is missing"),
            Change::Added => write!(f, "{name} was added, it is not among the signed files"),
        }
    }
}

/// Names that tools take for something else: this directory, the one above, standard input.
const NO_FILES: [&str; 3] = [".", "..", "-"];

/// Whether `name` can be the name of a file in the directory of a backup. A store may have others, such as those with
/// a slash or a backslash: Velero gives none of them.
pub fn is_name(name: &str) -> bool {
    let is_usual =
        |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_usual)
        && !NO_FILES.contains(&name)
}

/// Returns the name of a file for a message. One that Velero does not give is escaped and cut:
/// whoever can write to the bucket chooses it.
pub fn shown(name: &str) -> Cow<'_, str> {
    if is_name(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("\"{}\"", text::shown(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> File {
        File {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256: Sha256::of(content.as_bytes()),
        }
    }

    fn backup() -> Vec<File> {
        ["velero-backup.json", "b.tar.gz", "b-logs.gz"]
            .map(|name| file(name, name))
            .into()
    }

    #[test]
    fn a_manifest_lists_all_files_but_envelopes_by_name() {
        let mut files = backup();
        files.push(file("velero-trust.0123456789abcdef.dsse.json", "{}"));
        files.push(file("notes", ""));
        let manifest = Manifest::new("b", files).unwrap();
        let names = manifest.files().iter().map(|file| file.name.as_str());
        assert!(names.eq(["b-logs.gz", "b.tar.gz", "notes", "velero-backup.json"]));
        assert_eq!(manifest.bytes(), 9 + 8 + 18);
        assert_eq!(
            manifest.file("b.tar.gz"),
            Some(&file("b.tar.gz", "b.tar.gz"))
        );
        assert_eq!(manifest.file("c"), None);
    }

    #[test]
    fn what_is_no_backup_is_no_manifest() {
        let without = |name: &str| {
            let files = backup().into_iter().filter(|file| file.name != name);
            Manifest::new("b", files.collect())
        };
        let missing = |name: &str| Err(ManifestError::Missing(name.to_owned()));
        assert_eq!(without("b.tar.gz"), missing("b.tar.gz"));
        assert_eq!(without("velero-backup.json"), missing("velero-backup.json"));
        assert!(without("b-logs.gz").is_ok());
        // The same files in the directory of another backup.
        assert_eq!(Manifest::new("c", backup()), missing("c.tar.gz"));

        let with = |added: File| {
            let mut files = backup();
            files.push(added);
            Manifest::new("b", files)
        };
        let twice = with(file("b.tar.gz", "other"));
        assert_eq!(twice, Err(ManifestError::Duplicate("b.tar.gz".into())));
        for odd in [
            "",
            ".",
            "..",
            "-",
            "/a",
            "a/b",
            "../a",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "ä",
            &"a".repeat(301),
        ] {
            let error = with(file(odd, "")).unwrap_err();
            assert!(matches!(error, ManifestError::Name(_)), "{odd:?}");
            let message = error.to_string();
            assert!(
                message.len() < 200 && !message.contains(['\n', '\u{202e}']),
                "{message}"
            );
        }
        assert!(with(file(&"a".repeat(300), "")).is_ok());
        let mut empty = backup();
        empty[1].size = 0;
        let error = Manifest::new("b", empty).unwrap_err();
        assert_eq!(error, ManifestError::Empty("b.tar.gz".into()));
        let many = |count: usize| {
            let more = (3..count).map(|n| file(&format!("f{n}"), ""));
            Manifest::new("b", backup().into_iter().chain(more).collect())
        };
        assert!(many(MAX_FILES).is_ok());
        assert_eq!(
            many(MAX_FILES + 1),
            Err(ManifestError::TooMany(MAX_FILES + 1))
        );
    }

    #[test]
    fn of_a_file_that_was_not_read_only_the_size_is_compared() {
        let mut signed = backup();
        signed.push(file("notes", "abc"));
        let manifest = Manifest::new("b", signed).unwrap();
        let look = |unread: &[(&str, u64)]| {
            let unread = unread.iter().map(|(name, size)| UnreadFile {
                name: (*name).to_owned(),
                size: *size,
            });
            let unread: Vec<_> = unread.collect();
            let differences = manifest.differences("b", &backup(), &unread);
            let texts = differences.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(look(&[("notes", 3)]), "");
        assert_eq!(
            look(&[("notes", 4)]),
            "notes has 4 bytes, and 3 were signed"
        );
        assert_eq!(look(&[]), "notes was signed and is missing");
        let added = "more was added, it is not among the signed files";
        assert_eq!(look(&[("more", 1), ("notes", 3)]), added);
        // One that Velero knows has to be read.
        let found: Vec<_> = backup().into_iter().skip(1).collect();
        let unread = [UnreadFile {
            name: "velero-backup.json".into(),
            size: 18,
        }];
        let manifest = Manifest::new("b", backup()).unwrap();
        let missing = manifest.differences("b", &found, &unread);
        assert_eq!(missing[0].change, Change::Missing);
        assert_eq!(missing.len(), 1);
    }

    #[test]
    fn a_later_look_tells_each_file_that_differs() {
        let manifest = Manifest::new("b", backup()).unwrap();
        let look = |change: fn(&mut Vec<File>)| {
            let mut files = backup();
            change(&mut files);
            let differences = manifest.differences("b", &files, &[]);
            let texts = differences.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(look(|_| ()), "");
        assert_eq!(look(|files| files.reverse()), "");
        let envelope = |files: &mut Vec<File>| {
            files.push(file("velero-trust.0123456789abcdef.dsse.json", "{}"));
        };
        assert_eq!(look(envelope), "");
        let bytes = "the bytes of b.tar.gz differ from those that were signed";
        assert_eq!(look(|files| files[1] = file("b.tar.gz", "b.tar.GZ")), bytes);
        let size = "b.tar.gz has 3 bytes, and 8 were signed";
        assert_eq!(look(|files| files[1] = file("b.tar.gz", "abc")), size);
        let missing = "b-logs.gz was signed and is missing";
        assert_eq!(look(|files| drop(files.pop())), missing);
        let added = "b-volumeinfo.json.gz was added, it is not among the signed files";
        assert_eq!(
            look(|files| files.push(file("b-volumeinfo.json.gz", ""))),
            added
        );
        let renamed = look(|files| files[1].name = "c.tar.gz".into());
        assert_eq!(
            renamed,
            "b.tar.gz was signed and is missing; c.tar.gz was added, it is not among the signed files"
        );
        // The last file, and a name before all others.
        assert_eq!(
            look(|files| drop(files.remove(0))),
            "velero-backup.json was signed and is missing"
        );
        let first = look(|files| files.push(file("A\n", "")));
        assert_eq!(
            first,
            "\"A\\n\" was added, it is not among the signed files"
        );
        let roles = manifest.differences("b", &[], &[]);
        let roles: Vec<_> = roles.iter().map(|difference| difference.role).collect();
        assert_eq!(roles, [Role::Display, Role::Required, Role::Required]);
    }
}
