//! Replacing a file so that a crash at any instant leaves the old content or the new, whole.
//!
//! Whoever calls holds the lock of the file, so there is one writer and one name for what is being written. What a crash left under
//! that name is newer than the file if it is whole: whoever takes the lock next [adopts](adopt) it, since it may hold a token whose
//! predecessor is dead. If it is not, the next write sweeps it away.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::VaultError;
use super::permissions::{self, Owner};

/// Writes `bytes` beside `path`, brings them to the disk, and moves them to `path`.
pub(super) fn replace(path: &Path, bytes: &[u8], owner: &Owner) -> Result<(), VaultError> {
    let new = unfinished(path);
    sweep(path)?;
    let written = write(&new, bytes, owner)
        .and_then(|()| fs::rename(&new, path).map_err(VaultError::io("replace", path)));
    if written.is_err() {
        // The first error says more than a second one would.
        let _ = fs::remove_file(&new);
    }
    written.and_then(|()| sync_folder(path))
}

/// Moves what an interrupted write left beside `path` to its place; `file` is that, and was found whole.
pub(super) fn adopt(path: &Path, file: &File) -> Result<(), VaultError> {
    let new = unfinished(path);
    // The crash may have come before this, and a name must not be on the disk sooner than the content.
    permissions::sync_file(file).map_err(VaultError::io("write", &new))?;
    fs::rename(&new, path).map_err(VaultError::io("replace", path))?;
    sync_folder(path)
}

/// Removes `path`, and what an interrupted write left beside it.
pub(super) fn remove(path: &Path) -> Result<(), VaultError> {
    sweep(path)?;
    gone(fs::remove_file(path)).map_err(VaultError::io("remove", path))?;
    sync_folder(path)
}

/// The name under which the next content of `path` is written.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn write(new: &Path, bytes: &[u8], owner: &Owner) -> Result<(), VaultError> {
    let mut file = permissions::create(new, owner)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(VaultError::io("write", new))
}

fn sweep(path: &Path) -> Result<(), VaultError> {
    let left = unfinished(path);
    gone(fs::remove_file(&left)).map_err(VaultError::io("remove", &left))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn sync_folder(path: &Path) -> Result<(), VaultError> {
    // A file that was just written stands in a folder; a bare name stands in the current one.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    permissions::sync_dir(folder).map_err(VaultError::io("sync", folder))
}
