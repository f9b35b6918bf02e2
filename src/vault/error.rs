//! What can go wrong with the vault, sorted by what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Kind;

/// Why the vault did not do what was asked. No message holds a secret; every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Permissions, ownership or the kind of a file must be mended.
    #[error("refusing {}: {why}", path.display())]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and how to mend it.
        why: String,
    },
    /// The key in force is not the one that sealed the file: put the right key back.
    #[error(
        "{} was sealed with another key than the one of [vault] key; nothing was overwritten. \
         Put that key back, or move the file away and {}", path.display(), kind.remedy()
    )]
    OtherKey {
        /// The sealed file.
        path: PathBuf,
        /// What is in it.
        kind: Kind,
    },
    /// The file is damaged: restore it or move it away.
    #[error(
        "{} cannot be opened ({why}); nothing was overwritten. \
         Restore it from a backup, or move it away and {}", path.display(), kind.remedy()
    )]
    Corrupt {
        /// The sealed file.
        path: PathBuf,
        /// What is in it.
        kind: Kind,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file is of a later release: upgrade.
    #[error(
        "{} has format {version}, which this release does not know; nothing was overwritten. \
         Use the mailwicket that wrote it", path.display()
    )]
    Version {
        /// The sealed file.
        path: PathBuf,
        /// The format it says it has.
        version: u8,
    },
    /// The source of the key must be mended.
    #[error("no usable key for the vault from {origin}: {why}")]
    Key {
        /// Where the key should have come from.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// Sealed files are there and the key file is not: restore the key.
    #[error(
        "the key file {} is gone, but {} holds files sealed with it; no new key was made. \
         Restore the key from a backup, or move that folder away and authorize again",
        key.display(), folder.display()
    )]
    KeyLost {
        /// Where the key should be.
        key: PathBuf,
        /// Where the sealed files are.
        folder: PathBuf,
    },
    /// Another thread or process is at work on the same record for too long.
    #[error(
        "{} has been locked by {holder} for {} s; \
         look whether that mailwicket hangs, and end it if so", path.display(), waited.as_secs()
    )]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who wrote its process id into it.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// More was to be stored than a record may hold.
    #[error("a record of {len} octets for {} is more than the vault takes", path.display())]
    TooLarge {
        /// The sealed file.
        path: PathBuf,
        /// Octets that were to be stored.
        len: usize,
    },
    /// The account's name cannot be the name of a file.
    #[error("the account name is empty or too long for a file name")]
    Account,
    /// The system refused: full disk, read-only file system, missing rights.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl VaultError {
    /// Whether it may pass by itself; everything else needs a person.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Busy { .. })
    }

    /// Turns the system's refusal of `action` on `path` into an error that says so; for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// A refusal of `path` for safety.
    pub(super) fn unsafe_file(path: &Path, why: impl Into<String>) -> Self {
        Self::Unsafe {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}
