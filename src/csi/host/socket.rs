//! Unix sockets that come and go with the driver.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// A socket that is removed when dropped, so that nobody connects to a driver that is gone.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Socket {
    /// Listens at `path`, in the place of a socket that a killed driver has left.
    ///
    /// # Errors
    /// As the kernel says; a file there that is no socket is an error.
    pub fn listen(path: &Path) -> io::Result<(Self, UnixListenerStream)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
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
