//! Unix sockets that exist only while the driver runs.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// A socket that is removed when dropped so that no client connects to a driver that has stopped.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Socket {
    /// Listens at `path`, and replaces a socket that a killed driver left there.
    ///
    /// # Errors
    /// The error of the kernel; a file at `path` that is not a socket is an error.
    pub fn listen(path: &Path) -> io::Result<(Self, UnixListenerStream)> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        if path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        Ok((Self(path.to_owned()), UnixListenerStream::new(listener)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
