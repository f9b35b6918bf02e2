//! Files that a command makes for a person: whole or not at all, and never over another file.

use std::io::{self, Write};
use std::path::Path;

/// Who can read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only its owner: there is a secret in it.
    Owner,
    /// Every user of this machine, as a daemon with a user of its own needs it.
    Everybody,
}

/// Makes a file.
///
/// # Errors
/// If something has that name already, or the system refuses.
pub fn create(path: &Path, text: &str, readers: Readers) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Mode 0600 from the beginning, and moved into place only if nothing is there.
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if readers == Readers::Everybody {
        open_to_everybody(file.as_file())?;
    }
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(unix)]
fn open_to_everybody(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// The folder decides there.
#[cfg(not(unix))]
fn open_to_everybody(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        create(&path, "first", Readers::Owner).unwrap();
        let again = create(&path, "second", Readers::Everybody).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
