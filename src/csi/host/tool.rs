//! Programs of the host (mount, losetup, mkfs.xfs, …), which do what the kernel offers only through ioctls.

use std::ffi::OsStr;
use std::fs::File;
use std::process::{Command, Output};
use std::sync::Arc;

/// The programs that every node needs. `Probe` and the start check that they exist; those for ext4 are not checked.
pub const REQUIRED_PROGRAMS: [&str; 4] = ["mount", "losetup", "mkfs.xfs", "xfs_growfs"];

/// A program that could not be started or that failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It does not exist, or is not executable.
    #[error("failed to run {program}; check that it is installed and in PATH")]
    Start {
        /// The name of the program.
        program: &'static str,
        /// The error of the kernel.
        #[source]
        source: std::io::Error,
    },
    /// It did not exit with 0.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The name of the program.
        program: &'static str,
        /// The exit status.
        status: std::process::ExitStatus,
        /// Its standard error, or its standard output if that is empty, in one line.
        output: String,
    },
}

impl ToolError {
    /// Whether the program failed because the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Failed { output, .. } if output.contains("No space left on device"))
    }
}

/// Runs programs.
///
/// Each program gets the lock file of the state directory as its (empty) input, and so holds the lock while it runs. If the
/// driver is killed, the next driver starts only after the mount or mkfs in progress has ended, so no mount appears that the
/// driver did not start.
#[derive(Debug, Clone)]
pub struct Tools {
    lock: Arc<File>,
}

impl Tools {
    /// Programs hold this lock while they run.
    #[must_use]
    pub fn holding(lock: File) -> Self {
        Self { lock: Arc::new(lock) }
    }

    /// Runs `program`, with English messages and no input, waits until it has ended, and returns its standard output.
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
    let message = if output.stderr.is_empty() { text(&output.stdout) } else { text(&output.stderr) };
    Err(ToolError::Failed { program, status: output.status, output: message.replace('\n', "; ") })
}

/// The programs of [`REQUIRED_PROGRAMS`] that are not in PATH.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    REQUIRED_PROGRAMS
        .into_iter()
        .filter(|program| !directories.iter().any(|directory| directory.join(program).is_file()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &'static str, arguments: &[&str]) -> Result<String, ToolError> {
        Tools::holding(tempfile::tempfile().unwrap()).run(program, arguments)
    }

    #[test]
    fn the_output_of_a_failed_program_is_in_the_error() {
        let error = run("sh", &["-c", "echo one >&2; echo two >&2; exit 3"]).unwrap_err();
        assert_eq!(error.to_string(), "sh failed (exit status: 3): one; two");
    }

    #[test]
    fn a_full_disk_is_recognized() {
        let error = run("sh", &["-c", "echo 'mkfs: No space left on device' >&2; exit 1"]).unwrap_err();
        assert!(error.is_disk_full());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("no-such-program", &["x"]).unwrap_err();
        assert!(error.to_string().contains("failed to run no-such-program; check that it is installed"), "{error}");
    }
}
