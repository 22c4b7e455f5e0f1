//! A memory limit for a child process, as a kubelet sets one for a container.
//!
//! The limit is a memory cgroup (version 1 or 2) where this process may create one. Elsewhere it is
//! `RLIMIT_DATA` (the limit that `prlimit --data` sets): it counts the same private memory, but
//! when it is reserved rather than when it is used, so it is the stricter of the two.

use crate::process::clean_command;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Joins the group with the file of processes `$0`, then becomes the program.
const JOIN_GROUP: &str = r#"echo $$ >"$0" && exec "$@""#;

/// Limits its own private memory to `$0` KiB, then becomes the program.
const LIMIT_DATA: &str = r#"ulimit -d "$0" && exec "$@""#;

/// Waits for the end of its input, which is the end of the harness at the latest, then removes the
/// group. The process in it is killed at the same moment and may still be ending.
const REMOVE_GROUP: &str = r#"read -r _; for n in 1 2 3 4 5 6 7 8 9 10; do
    rmdir -- "$0" 2>/dev/null && exit; sleep 0.5; done"#;

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A memory limit for one child process. Declare it after the process that it limits: fields are
/// dropped in order, and a group is removed when its process has ended.
#[derive(Debug)]
pub struct MemoryLimit {
    bytes: u64,
    group: Option<Group>,
}

impl MemoryLimit {
    /// Creates a limit of `bytes`: a cgroup where one can be created, else `RLIMIT_DATA`.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            group: Group::create(bytes).ok(),
        }
    }

    /// Creates a limit by `RLIMIT_DATA` even where a cgroup could be created.
    pub const fn by_rlimit(bytes: u64) -> Self {
        Self { bytes, group: None }
    }

    /// Returns a command that runs `program` below the limit, with a clean environment
    /// ([`clean_command`]).
    pub fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = clean_command(Path::new("/bin/sh"), home);
        match &self.group {
            Some(group) => command
                .args(["-c", JOIN_GROUP])
                .arg(group.folder.join("cgroup.procs")),
            None => command
                .args(["-c", LIMIT_DATA])
                .arg((self.bytes >> 10).to_string()),
        };
        command.arg(program);
        command
    }

    /// Returns the peak memory of the process `id` that runs below the limit, in bytes: the peak
    /// of the group (with the page cache and the kernel's memory that are charged to it), else the
    /// peak of the resident set.
    pub fn peak(&self, id: u32) -> Result<u64> {
        match &self.group {
            Some(group) => group.peak(),
            None => Ok(resident(id)?.peak),
        }
    }

    /// Returns the working set of what runs below the limit, in bytes, as a kubelet counts it: what is
    /// charged to the group, without the part of the page cache that nobody used lately. `None`
    /// without a group.
    pub fn working_set(&self) -> Result<Option<u64>> {
        self.group.as_ref().map(Group::working_set).transpose()
    }
}

/// The resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The current size.
    pub now: u64,
    /// Of it what is no part of a file, such as the program: nothing else uses it.
    pub private: u64,
    /// The largest size since the start, or since [`reset_peak`].
    pub peak: u64,
}

/// Returns the resident memory of the process `id`.
pub fn resident(id: u32) -> Result<Resident> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let of = |key: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
        let kib: u64 = value.with_context(|| format!("no {key}"))?.parse()?;
        anyhow::Ok(kib << 10)
    };
    Ok(Resident {
        now: of("VmRSS:")?,
        private: of("RssAnon:")?,
        peak: of("VmHWM:")?,
    })
}

/// Lets the peak of the resident set of the process `id` begin again at its current size
/// (`proc_pid_clear_refs(5)`, 5).
pub fn reset_peak(id: u32) -> Result<()> {
    fs::write(format!("/proc/{id}/clear_refs"), "5").context("the peak cannot be reset")
}

/// A memory cgroup. It is removed when dropped, and when the harness ends in any other way.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    files: Files,
    remover: Child,
}

/// The names of a group's files, which differ between the versions of cgroups.
#[derive(Clone, Copy, Debug)]
struct Files {
    limit: &'static str,
    /// The limit of swap (version 2), or of memory and swap together (version 1).
    swap: &'static str,
    peak: &'static str,
    usage: &'static str,
    /// The key of the unused part of the page cache in `memory.stat`.
    inactive: &'static str,
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};

const VERSION_2: Files = Files {
    limit: "memory.max",
    swap: "memory.swap.max",
    peak: "memory.peak",
    usage: "memory.current",
    inactive: "inactive_file",
};

impl Group {
    fn create(bytes: u64) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        for (parent, files) in parents(&own) {
            if let Ok(group) = Self::create_in(&parent, files, bytes) {
                return Ok(group);
            }
        }
        bail!("no memory cgroup can be created")
    }

    fn create_in(parent: &Path, files: Files, bytes: u64) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("velero-trust-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let remover = Command::new("/bin/sh")
            .args(["-c", REMOVE_GROUP])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let group = Self {
            folder,
            files,
            remover,
        };
        // Where the controller is not delegated to the parent, the file does not exist.
        group.write(files.limit, bytes)?;
        let swap = if files.limit == VERSION_1.limit {
            bytes
        } else {
            0
        };
        // A kernel without accounting of swap has no such file.
        let _ = group.write(files.swap, swap);
        // Whether processes may join is only known by trying: `cgroup.procs` of version 2 also
        // needs the right to leave the group of now.
        let joined = Command::new("/bin/sh")
            .args(["-c", JOIN_GROUP])
            .arg(group.folder.join("cgroup.procs"))
            .arg("true")
            .stderr(Stdio::null())
            .status()?;
        if !joined.success() {
            bail!("no process can join {}", group.folder.display());
        }
        group.peak()?;
        Ok(group)
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        Ok(fs::write(self.folder.join(file), value.to_string())?)
    }

    fn peak(&self) -> Result<u64> {
        self.read(self.files.peak)
    }

    fn read(&self, file: &str) -> Result<u64> {
        let text = fs::read_to_string(self.folder.join(file))?;
        Ok(text.trim().parse()?)
    }

    fn working_set(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.folder.join("memory.stat"))?;
        let fields = stat.lines().filter_map(|line| line.split_once(' '));
        let mut inactive = fields.filter(|(key, _)| *key == self.files.inactive);
        let (_, inactive) = inactive.next().context("no inactive pages")?;
        let usage = self.read(self.files.usage)?;
        Ok(usage.saturating_sub(inactive.trim().parse()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // An error here cannot be handled; the remover is ours and ends by itself.
        let _ = self.remover.wait();
    }
}

/// Returns the groups in which to try to create one: below our own, beside it, and below the root.
/// `own` is the content of `/proc/self/cgroup`.
fn parents(own: &str) -> Vec<(PathBuf, Files)> {
    let mut parents = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, files) = if controllers.is_empty() {
            (PathBuf::from(CGROUPS), VERSION_2)
        } else if controllers.split(',').any(|name| name == "memory") {
            (Path::new(CGROUPS).join("memory"), VERSION_1)
        } else {
            continue;
        };
        let ours = root.join(path.trim_start_matches('/'));
        let beside = ours.parent().map(Path::to_owned);
        let beside = beside.filter(|beside| beside.starts_with(&root));
        let all = [Some(ours), beside, Some(root)];
        parents.extend(all.into_iter().flatten().map(|parent| (parent, files)));
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    /// Holds 96 MiB in memory.
    const GLUTTON: &str = "head -c 100663296 /dev/zero | tail | wc -c";

    fn printed_by_glutton(limit: &MemoryLimit) -> (String, Option<u64>) {
        let home = scratch::folder("limited").unwrap();
        let mut command = limit.command(Path::new("/bin/sh"), home.path());
        let output = command.args(["-c", GLUTTON]).output().unwrap();
        let peak = limit.group.as_ref().map(|group| group.peak().unwrap());
        (String::from_utf8(output.stdout).unwrap(), peak)
    }

    #[test]
    fn memory_beyond_the_limit_is_refused_by_both_kinds_and_memory_below_is_not() {
        for (limit, whole) in [
            (MemoryLimit::new(256 << 20), true),
            (MemoryLimit::new(32 << 20), false),
            (MemoryLimit::by_rlimit(256 << 20), true),
            (MemoryLimit::by_rlimit(32 << 20), false),
        ] {
            let (printed, peak) = printed_by_glutton(&limit);
            assert_eq!(printed.trim() == "100663296", whole, "{limit:?}: {printed}");
            if let Some(peak) = peak {
                assert_eq!(peak > 90 << 20, whole, "{peak}");
                assert!(peak <= limit.bytes, "{peak}");
            }
        }
    }

    #[test]
    fn a_group_is_removed_even_when_its_user_panics() {
        let Ok(group) = Group::create(32 << 20) else {
            return;
        };
        let folder = group.folder.clone();
        let outcome = std::panic::catch_unwind(move || {
            let _group = group;
            panic!("on purpose");
        });
        assert!(outcome.is_err() && !folder.exists());
    }

    #[test]
    fn the_peak_of_a_process_begins_again() {
        let id = std::process::id();
        let held = vec![1_u8; 64 << 20];
        let high = resident(id).unwrap().peak;
        assert!(high > 64 << 20 && held.iter().all(|byte| *byte == 1));
        drop(held);
        reset_peak(id).unwrap();
        assert!(resident(id).unwrap().peak < high);
    }

    #[test]
    fn groups_are_created_near_our_own() {
        let of = |own: &str| {
            let parents = parents(own).into_iter();
            parents
                .map(|(parent, files)| format!("{} {}", parent.display(), files.limit))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("0::/user.slice/app.scope"),
            [
                "/sys/fs/cgroup/user.slice/app.scope memory.max",
                "/sys/fs/cgroup/user.slice memory.max",
                "/sys/fs/cgroup memory.max",
            ]
        );
        assert_eq!(
            of("9:name=systemd:/\n4:cpu,memory:/a/b"),
            [
                "/sys/fs/cgroup/memory/a/b memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a memory.limit_in_bytes",
                "/sys/fs/cgroup/memory memory.limit_in_bytes",
            ]
        );
    }
}
