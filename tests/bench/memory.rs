//! How much memory do the programs hold?

use std::path::Path;

use crate::figures::sizes;

/// Prints the resident sets of every controller and agent that runs on this machine.
pub fn measure() {
    sizes("memory of a controller", resident("rso", "controller"), "");
    sizes("memory of an agent", resident("rso-agent", "--volume"), "≤ 2 MiB");
}

/// VmRSS in KiB of each process of that name whose command line has the word. The cluster runs in a process namespace
/// below this one, so its processes are seen from here.
fn resident(name: &str, word: &str) -> Vec<f64> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let folders = processes.map(|entry| entry.path());
    let ours = folders.filter(|folder| {
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        read("comm").trim() == name && read("cmdline").contains(word)
    });
    ours.filter_map(resident_of).collect()
}

/// VmRSS in KiB of the process with this folder in `/proc`.
pub fn resident_of(folder: impl AsRef<Path>) -> Option<f64> {
    let status = std::fs::read_to_string(folder.as_ref().join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
