//! The image files: sparse, one a volume, made with their filesystem in one step that is seen whole or not at all.
//!
//! `<id>.img.new` is being made and was never handed out. `<id>.img` is a volume's data: it is never formatted, never
//! shortened, and leaves the folder only by [`Images::discard`].

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::csi::error::Fault;
use crate::csi::host::durable;
use crate::csi::host::tool::Tools;
use crate::csi::volume::capacity::Disk;
use crate::csi::volume::class::Filesystem;
use crate::csi::volume::id::VolumeId;

/// How an image's name ends.
pub const IMAGE: &str = "img";
/// How the name of one that is being made ends.
pub const NEW: &str = "img.new";

/// Image files end at a multiple of the page, which is also the filesystems' block: else the last blocks of a `700M`
/// volume could not be used.
const BLOCK: u64 = 4096;

/// The folder of images.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    trash: PathBuf,
    tools: Tools,
}

impl Images {
    /// Images in `folder`; `trash`, on the same filesystem, is where deleted ones wait to be freed.
    #[must_use]
    pub fn new(folder: PathBuf, trash: PathBuf, tools: Tools) -> Self {
        Self { folder, trash, tools }
    }

    /// Where the image of a volume is.
    #[must_use]
    pub fn path(&self, id: &VolumeId) -> PathBuf {
        self.folder.join(file_name(id))
    }

    fn path_of_new(&self, id: &VolumeId) -> PathBuf {
        self.folder.join(format!("{id}.{NEW}"))
    }

    /// Makes an image with an empty filesystem, still under its name of one that is being made.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when the disk is full, OUT_OF_RANGE when the host's filesystem has no files that large. Nothing
    /// is left behind.
    pub fn prepare(&self, id: &VolumeId, size: u64, filesystem: Filesystem) -> Result<(), Fault> {
        let path = self.path_of_new(id);
        let made = make(&self.tools, &path, size, filesystem);
        if made.is_err() {
            let _ = durable::remove(&path);
        }
        made
    }

    /// Gives a prepared image its name, for good. Once done, doing it again is a success.
    ///
    /// # Errors
    /// As the file system says.
    pub fn reveal(&self, id: &VolumeId) -> Result<(), Fault> {
        let (new, path) = (self.path_of_new(id), self.path(id));
        match durable::rename(&new, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
            other => other.map_err(Fault::io("name", path)),
        }
    }

    /// Makes sure that the image has at least `size` bytes. Takes no disk space.
    ///
    /// # Errors
    /// OUT_OF_RANGE when the host's filesystem has no files that large.
    pub fn lengthen(&self, id: &VolumeId, size: u64) -> Result<(), Fault> {
        let path = self.path(id);
        let file = OpenOptions::new().write(true).open(&path).map_err(Fault::io("open", &path))?;
        let length = file.metadata().map_err(Fault::io("measure", &path))?.len();
        if length < size {
            set_length(&file, &path, size)?;
            file.sync_all().map_err(Fault::io("write", &path))?;
        }
        Ok(())
    }

    /// Takes the image out of the folder, at once however large it is. Its space comes back with
    /// [`Images::empty_trash`].
    ///
    /// # Errors
    /// As the file system says; one that is gone is a success.
    pub fn discard(&self, id: &VolumeId) -> Result<(), Fault> {
        let path = self.path(id);
        let inode = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(Fault::io("look at", &path))?.ino(),
        };
        // The inode keeps apart two volumes of one name, one made after the other.
        let grave = self.trash.join(format!("{id}.{inode}"));
        fs::rename(&path, &grave).map_err(Fault::io("move away", &path))?;
        durable::sync_folder_of(&grave).map_err(Fault::io("sync the folder of", &grave))?;
        durable::sync_folder_of(&path).map_err(Fault::io("sync the folder of", &path))
    }

    /// Frees what was discarded; what cannot be freed now is tried again the next time.
    pub fn empty_trash(&self) {
        for entry in fs::read_dir(&self.trash).into_iter().flatten().flatten() {
            match fs::remove_file(entry.path()) {
                // Another call was quicker.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), %error, "a deleted volume's space could not be freed yet");
                }
                Ok(()) => {}
            }
        }
    }

    /// What the disk under the images has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn disk(&self) -> Result<Disk, Fault> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(Fault::io("measure", &self.folder))?;
        Ok(Disk { available: stat.f_bavail.saturating_mul(stat.f_frsize), in_images: self.allocated()? })
    }

    fn allocated(&self) -> Result<u64, Fault> {
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.folder).map_err(Fault::io("list", &self.folder))?.flatten() {
            if entry.path().extension().is_some_and(|e| e == IMAGE) {
                // An image that vanishes meanwhile uses nothing.
                bytes += entry.metadata().map_or(0, |m| m.blocks() * 512);
            }
        }
        Ok(bytes)
    }
}

/// The name of a volume's image; the kernel shows it as the loop device's backing file.
#[must_use]
pub fn file_name(id: &VolumeId) -> String {
    format!("{id}.{IMAGE}")
}

fn make(tools: &Tools, path: &Path, size: u64, filesystem: Filesystem) -> Result<(), Fault> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(path).map_err(Fault::io("create", path))?;
    set_length(&file, path, size)?;
    format(tools, path, filesystem)?;
    file.sync_all().map_err(Fault::io("write", path))
}

fn set_length(file: &fs::File, path: &Path, size: u64) -> Result<(), Fault> {
    let length = size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
    file.set_len(length).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput) {
            let path = path.display();
            return Fault::OutOfRange(format!("the node's filesystem cannot hold a file of {size} bytes ({path})"));
        }
        Fault::io("lengthen", path)(error)
    })
}

fn format(tools: &Tools, path: &Path, filesystem: Filesystem) -> Result<(), Fault> {
    let path = path.as_os_str();
    match filesystem {
        // -K: nothing to discard in a new sparse file.
        Filesystem::Xfs => tools.run("mkfs.xfs", &["-q".as_ref(), "-K".as_ref(), path])?,
        // No blocks kept for root: what is promised is the pod's. nodiscard: as above.
        Filesystem::Ext4 => {
            let options = ["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];
            let arguments: Vec<_> = options.into_iter().map(std::ffi::OsStr::new).chain([path]).collect();
            tools.run("mkfs.ext4", &arguments)?
        }
    };
    Ok(())
}
