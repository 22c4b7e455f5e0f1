//! Finds the processes that a harness started, and the addresses they listen on, in `/proc`.

use anyhow::Result;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Returns the servers of the run in folder `root`, and their children. All of them have a home in
/// it. Processes that end meanwhile are skipped.
pub(crate) fn of(root: &Path) -> Result<Vec<u32>> {
    let home = [b"HOME=".as_slice(), root.as_os_str().as_bytes()].concat();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(&home))
        {
            found.push(id);
        }
    }
    Ok(found)
}

/// Returns the addresses that these processes listen on, in the hexadecimal form of
/// `/proc/net/tcp`.
pub(crate) fn listening_addresses(processes: &[u32]) -> Vec<String> {
    let sockets: HashSet<String> = processes.iter().flat_map(|id| sockets_of(*id)).collect();
    let mut addresses = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .skip(1)
        {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if let [_, address, _, "0A", _, _, _, _, _, inode, ..] = columns.as_slice()
                && sockets.contains(&format!("socket:[{inode}]"))
            {
                addresses.push((*address).to_owned());
            }
        }
    }
    addresses
}

fn sockets_of(process: u32) -> Vec<String> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return Vec::new();
    };
    descriptors
        .filter_map(|entry| {
            fs::read_link(entry.ok()?.path())
                .ok()?
                .into_os_string()
                .into_string()
                .ok()
        })
        .filter(|target| target.starts_with("socket:"))
        .collect()
}
