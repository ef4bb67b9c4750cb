//! Runs the system's own programs (mount, losetup, mkfs.xfs, …): what the kernel offers only through ioctls.

use std::ffi::OsStr;
use std::fs::File;
use std::process::{Command, Output};
use std::sync::Arc;

/// Every program that may be needed for any filesystem; `Probe` and the start look for them.
pub const NEEDED: [&str; 4] = ["mount", "losetup", "mkfs.xfs", "xfs_growfs"];

/// A program that could not be run or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Not there, or not executable.
    #[error("failed to run {program} (is it installed and in PATH?)")]
    Start {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It ran and said no.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its standard error, or output, in one line.
        said: String,
    },
}

impl ToolError {
    /// Whether the disk was full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Failed { said, .. } if said.contains("No space left on device"))
    }
}

/// The way to run programs.
///
/// Each gets the lock file of the state folder as its (empty) input, and so holds the lock as long as it runs: when the
/// driver is killed, the next one starts only after the mount or mkfs that was under way has ended, and meets no mount
/// that happens behind its back.
#[derive(Debug, Clone)]
pub struct Tools {
    lock: Arc<File>,
}

impl Tools {
    /// Tools that hold this lock.
    #[must_use]
    pub fn holding(lock: File) -> Self {
        Self { lock: Arc::new(lock) }
    }

    /// Runs `program` to its end, with English messages and no input, and returns its standard output.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0.
    pub fn run<A: AsRef<OsStr>>(&self, program: &'static str, arguments: &[A]) -> Result<String, ToolError> {
        let start = |source| ToolError::Start { program, source };
        let lock = self.lock.try_clone().map_err(start)?;
        let mut command = Command::new(program);
        let output = command.args(arguments).env("LC_ALL", "C").stdin(lock).output().map_err(start)?;
        outcome(program, &output)
    }
}

fn outcome(program: &'static str, output: &Output) -> Result<String, ToolError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = if output.stderr.is_empty() { text(&output.stdout) } else { text(&output.stderr) };
    Err(ToolError::Failed { program, status: output.status, said: said.replace('\n', "; ") })
}

/// The programs of [`NEEDED`] that are not in PATH.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    NEEDED.into_iter().filter(|program| !folders.iter().any(|folder| folder.join(program).is_file())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &'static str, arguments: &[&str]) -> Result<String, ToolError> {
        Tools::holding(tempfile::tempfile().unwrap()).run(program, arguments)
    }

    #[test]
    fn what_a_program_says_is_in_the_error() {
        let error = run("sh", &["-c", "echo one >&2; echo two >&2; exit 3"]).unwrap_err();
        assert_eq!(error.to_string(), "sh failed (exit status: 3): one; two");
    }

    #[test]
    fn a_full_disk_is_recognised() {
        let error = run("sh", &["-c", "echo 'mkfs: No space left on device' >&2; exit 1"]).unwrap_err();
        assert!(error.is_disk_full());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("no-such-program", &["x"]).unwrap_err();
        assert!(error.to_string().contains("no-such-program (is it installed and in PATH?)"), "{error}");
    }
}
