//! Who may touch the vault's files: the one place that knows the platform.
//!
//! On Unix a private file is a regular file of the vault's owner that nobody else may read; it is never reached through a symbolic
//! link. The owner is whoever owns the folder, so that root can run commands for a daemon with a user of its own: what root makes
//! is handed to that user. Elsewhere the folder's own access list is relied on.

use std::fs::File;
use std::io;
use std::path::Path;

use super::VaultError;

pub(super) use platform::{Owner, make_dir, owner_of, sync_dir, sync_file};

/// Opens a private file for reading; `None` if there is none.
pub(super) fn open(path: &Path, owner: &Owner) -> Result<Option<File>, VaultError> {
    let file = match platform::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refusal("open", path, error)),
    };
    platform::check(&file, path, owner)?;
    Ok(Some(file))
}

/// Creates a private file that must not exist yet.
pub(super) fn create(path: &Path, owner: &Owner) -> Result<File, VaultError> {
    let file = platform::create(path).map_err(VaultError::io("create", path))?;
    owner
        .give(&file)
        .map_err(VaultError::io("hand over", path))?;
    Ok(file)
}

/// Opens a lock file, creating it if needed.
pub(super) fn open_lock(path: &Path, owner: &Owner) -> Result<File, VaultError> {
    let file = platform::open_lock(path).map_err(|error| refusal("open", path, error))?;
    owner
        .give(&file)
        .map_err(VaultError::io("hand over", path))?;
    Ok(file)
}

fn refusal(action: &'static str, path: &Path, error: io::Error) -> VaultError {
    if platform::is_link(path) {
        return VaultError::unsafe_file(path, "it is a symbolic link; put the file itself there");
    }
    VaultError::io(action, path)(error)
}

#[cfg(unix)]
mod platform {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
    use std::path::Path;

    use rustix::fs::OFlags;
    use rustix::process::geteuid;

    use crate::vault::VaultError;

    const PRIVATE_FILE: u32 = 0o600;
    const PRIVATE_DIR: u32 = 0o700;
    const ANY_ACCESS_OF_OTHERS: u32 = 0o077;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    const STICKY: u32 = 0o1000;

    /// Whose the vault is.
    #[derive(Clone, Copy, Debug)]
    pub struct Owner {
        uid: u32,
        gid: u32,
    }

    impl Owner {
        /// Hands a file that root made to the owner; for everybody else it is theirs already.
        pub fn give(&self, file: &File) -> io::Result<()> {
            if geteuid().is_root() && self.uid != 0 {
                fchown(file, Some(self.uid), Some(self.gid))?;
            }
            Ok(())
        }
    }

    /// Creates a folder, and those above it, for us alone; one that exists stays as it is.
    pub fn make_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIR)
            .create(path)
    }

    /// The owner of a folder in which nobody else can replace files.
    pub fn owner_of(path: &Path) -> Result<Owner, VaultError> {
        let meta = std::fs::metadata(path).map_err(VaultError::io("look at", path))?;
        let (uid, euid) = (meta.uid(), geteuid().as_raw());
        if uid != euid && euid != 0 {
            let why = format!("it belongs to user id {uid}, and this process is {euid}");
            return Err(VaultError::unsafe_file(path, why));
        }
        // In a sticky folder (as /tmp) others can add files but not replace ours.
        if meta.mode() & WRITABLE_BY_OTHERS != 0 && meta.mode() & STICKY == 0 {
            let why = format!(
                "others may write in it (mode {:04o}); run: chmod go-w on it",
                meta.mode() & 0o7777
            );
            return Err(VaultError::unsafe_file(path, why));
        }
        let gid = meta.gid();
        Ok(Owner { uid, gid })
    }

    /// `NONBLOCK`, so that a named pipe put in the place of a file cannot hold us.
    pub fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(path)
    }

    pub fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .open(path)
    }

    pub fn open_lock(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_FILE)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(path)
    }

    fn flags(flags: OFlags) -> i32 {
        // The bits are those of open(2), whose argument is an int.
        flags.bits().cast_signed()
    }

    pub fn is_link(path: &Path) -> bool {
        path.is_symlink()
    }

    /// Looks at the file that was opened, not at the path, which may name another one by now.
    pub fn check(file: &File, path: &Path, owner: &Owner) -> Result<(), VaultError> {
        let meta = file.metadata().map_err(VaultError::io("look at", path))?;
        match complaint(&meta, owner) {
            Some(why) => Err(VaultError::unsafe_file(path, why)),
            None => Ok(()),
        }
    }

    fn complaint(meta: &Metadata, owner: &Owner) -> Option<String> {
        let mode = meta.mode() & 0o7777;
        if !meta.is_file() {
            return Some("it is not a regular file".into());
        }
        if meta.uid() != owner.uid && meta.uid() != 0 {
            return Some(format!(
                "it belongs to user id {}, not to {}; if you trust it, run: chown {} on it",
                meta.uid(),
                owner.uid,
                owner.uid
            ));
        }
        (mode & ANY_ACCESS_OF_OTHERS != 0)
            .then(|| format!("others may use it (mode {mode:04o}); run: chmod 600 on it"))
    }

    /// Brings a file that was opened for reading to the disk.
    pub fn sync_file(file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Makes a rename in this folder last through a power cut.
    pub fn sync_dir(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::path::Path;

    use crate::vault::VaultError;

    /// Whose the vault is; here the folder's access list says it.
    #[derive(Clone, Copy, Debug)]
    pub struct Owner;

    impl Owner {
        pub fn give(&self, _file: &File) -> io::Result<()> {
            Ok(())
        }
    }

    pub fn make_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    pub fn owner_of(path: &Path) -> Result<Owner, VaultError> {
        std::fs::metadata(path).map_err(VaultError::io("look at", path))?;
        Ok(Owner)
    }

    pub fn open(path: &Path) -> io::Result<File> {
        refuse_link(path)?;
        File::open(path)
    }

    pub fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub fn open_lock(path: &Path) -> io::Result<File> {
        refuse_link(path)?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    }

    fn refuse_link(path: &Path) -> io::Result<()> {
        if is_link(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    pub fn is_link(path: &Path) -> bool {
        path.is_symlink()
    }

    pub fn check(file: &File, path: &Path, _owner: &Owner) -> Result<(), VaultError> {
        let meta = file.metadata().map_err(VaultError::io("look at", path))?;
        if !meta.is_file() {
            return Err(VaultError::unsafe_file(path, "it is not a regular file"));
        }
        Ok(())
    }

    /// Only what was opened for writing can be synced here.
    pub fn sync_file(_file: &File) -> io::Result<()> {
        Ok(())
    }

    /// Folders cannot be synced here; the file system's journal keeps the rename.
    pub fn sync_dir(_path: &Path) -> io::Result<()> {
        Ok(())
    }
}
