//! The vault: sealed records on disk. It knows octets, not tokens or passwords.
//!
//! Each record has a file of its own, so that trouble with one account never touches another:
//!
//! ```text
//! STATE_DIR/vault/alice@contoso.com.grant        sealed, mode 0600
//! STATE_DIR/vault/alice@contoso.com.grant.lock   never deleted; holds the process id of the last writer
//! STATE_DIR/vault/alice@contoso.com.grant.new    only while a write is under way, or after a crash in one
//! ```
//!
//! What always holds:
//! - A reader sees a whole record, the old or the new one; it needs no lock.
//! - A writer holds the [`Guard`] of the record: one thread of one process at a time, and read-change-write is safe under it.
//! - What does not open is never overwritten. A person moves it away.
//! - What a killed writer had written whole is the record from the next [`Guard`] on.
//!
//! Everything here blocks; asynchronous callers use `blocking` where that matters. Reading takes well under a millisecond;
//! writing waits for the disk, and locking for others.

mod atomic;
mod error;
mod key;
mod lock;
mod name;
mod permissions;
mod seal;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub use error::VaultError;
use permissions::Owner;
use seal::{Key, Refusal};

use crate::config::SecretSource;

/// Octets that the longest sealed file may have.
const SEALED_MAX: usize = 1024 * 1024;

/// What a record is about; an account has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What the provider granted: tokens.
    Grant,
    /// The local passwords.
    Passwords,
    /// When and from where the local passwords were last used.
    Uses,
    /// The local CA with its key.
    Authority,
    /// The certificate that the local CA made, with its key.
    Leaf,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Grant,
        Self::Passwords,
        Self::Uses,
        Self::Authority,
        Self::Leaf,
    ];

    /// The end of the file's name, which is sealed with the content.
    const fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Passwords => "passwords",
            Self::Uses => "uses",
            Self::Authority => "authority",
            Self::Leaf => "leaf",
        }
    }

    /// How a person gets a new record where the old one is lost.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Grant => "authorize again: mailwicket authorize ACCOUNT",
            Self::Passwords => "set the passwords again: mailwicket password add ACCOUNT",
            Self::Uses => "the next login makes a new one",
            Self::Authority => {
                "make a new CA, which mail programs must be told to trust: mailwicket ca rotate"
            }
            Self::Leaf => "start mailwicket again, which makes another",
        }
    }
}

/// What was read: the octets as they were written, and which writing it was.
#[derive(Debug)]
pub struct Record {
    /// The content; wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Equal as long as nobody has written since.
    pub revision: Revision,
}

/// Which writing of a record this is. Cheaper to get than the record: no decryption.
///
/// It is the nonce of the sealed file, which every write draws anew. File times and inodes are no substitute: both come back when
/// two writes follow each other within a tick of the file system's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision(seal::Nonce);

/// The right to write one record; others wait until it is dropped.
///
/// Only [`Vault::lock`] makes one, and [`Vault::write`] cannot be called without:
///
/// ```compile_fail,E0061
/// fn careless(vault: &mailwicket::vault::Vault) {
///     let _ = vault.write(b"token");
/// }
/// ```
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct Guard {
    slot: Slot,
    _lock: File,
}

/// Does what blocks (here, or with what lies beside the vault) away from connections that others wait for.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The sealed store of one state directory. Cloning is cheap and gives the same store.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    owner: Owner,
    key: Key,
}

/// One record's place.
#[derive(Debug)]
struct Slot {
    kind: Kind,
    account: String,
    path: PathBuf,
}

impl Vault {
    /// Whether both keep their records in one folder, sealed with one key.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.inner.folder == other.inner.folder && self.inner.key.is_same_as(&other.inner.key)
    }

    /// Opens `STATE_DIR/vault`, making it and, where the key is a file that is not there yet, the key.
    ///
    /// # Errors
    /// If a folder or the key is not safe from others, cannot be read or made, or is no key; and if the key file is gone while
    /// sealed files are there.
    pub fn open(state_dir: &Path, key: &SecretSource) -> Result<Self, VaultError> {
        let folder = state_dir.join("vault");
        permissions::make_dir(&folder).map_err(VaultError::io("create", &folder))?;
        permissions::owner_of(state_dir)?;
        let owner = permissions::owner_of(&folder)?;
        let key = key::load(
            key,
            &key::Folder {
                path: &folder,
                owner: &owner,
                sealed: holds_records(&folder)?,
            },
        )?;
        let inner = Arc::new(Inner { folder, owner, key });
        Ok(Self { inner })
    }

    /// Where the sealed files are.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Reads a record; `None` if there is none.
    ///
    /// # Errors
    /// If the file is not safe from others, cannot be read, or does not open.
    pub fn read(&self, kind: Kind, account: &str) -> Result<Option<Record>, VaultError> {
        self.read_slot(&self.slot(kind, account)?)
    }

    /// Which writing of a record is there now; `None` if there is no record.
    ///
    /// # Errors
    /// As [`Vault::read`], but damage behind the header is not noticed.
    pub fn revision(&self, kind: Kind, account: &str) -> Result<Option<Revision>, VaultError> {
        let slot = self.slot(kind, account)?;
        let sealed = self.load(&slot, seal::HEADER_LEN)?;
        let revision = |(_, sealed): (File, Vec<u8>)| revision(&slot, &sealed);
        sealed.map(revision).transpose()
    }

    /// Waits until nobody else may write this record, for 30 seconds at most. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Busy`] with the process that holds it; or the system's refusal.
    pub fn lock(&self, kind: Kind, account: &str) -> Result<Guard, VaultError> {
        self.lock_within(kind, account, lock::PATIENCE)
    }

    /// As [`Vault::lock`], with a bound of one's own.
    ///
    /// # Errors
    /// As [`Vault::lock`].
    pub fn lock_within(
        &self,
        kind: Kind,
        account: &str,
        patience: Duration,
    ) -> Result<Guard, VaultError> {
        let slot = self.slot(kind, account)?;
        let lock = lock::acquire(&slot.lock_path(), &self.inner.owner, patience)?;
        self.adopt_unfinished(&slot)?;
        Ok(Guard { slot, _lock: lock })
    }

    /// Puts into place what a writer had written whole when it was killed. Whatever else stands under that name is left to the next
    /// write, which sweeps it away or says why it cannot.
    fn adopt_unfinished(&self, slot: &Slot) -> Result<(), VaultError> {
        let left = slot.unfinished();
        let (file, sealed) = match self.load(&left, SEALED_MAX + 1) {
            Ok(Some(left)) => left,
            // Trouble of the moment must not cost a good record: the next write would sweep it.
            Err(error @ VaultError::Io { .. }) => return Err(error),
            Ok(None) | Err(_) => return Ok(()),
        };
        // A record that does not open is for a person, and what was left may be all that there is to restore.
        let is_whole = self.unseal(&left, &sealed).is_ok();
        if is_whole && self.read_slot(slot).is_ok() {
            atomic::adopt(&slot.path, &file)?;
            tracing::info!(path = %slot.path.display(), "took up a record whose writer was killed");
        }
        Ok(())
    }

    /// Replaces the record that `guard` is for. Whatever happens, the old record or the new one is there, whole.
    ///
    /// # Errors
    /// If the record there now does not open, nothing is written. Else if it is too large, or the system refuses.
    pub fn write(&self, guard: &Guard, bytes: &[u8]) -> Result<Revision, VaultError> {
        let slot = self.writable(guard)?;
        let too_large = || VaultError::TooLarge {
            path: slot.path.clone(),
            len: bytes.len(),
        };
        if bytes.len() > SEALED_MAX - seal::OVERHEAD {
            return Err(too_large());
        }
        let nonce = self.draw_nonce()?;
        let sealed = seal::seal(&self.inner.key, nonce, slot.kind, &slot.account, bytes)
            .ok_or_else(too_large)?;
        atomic::replace(&slot.path, &sealed, &self.inner.owner)?;
        Ok(Revision(nonce))
    }

    /// Removes the record that `guard` is for; that there is none is no error.
    ///
    /// # Errors
    /// If the record does not open (a person moves it away), or the system refuses.
    pub fn remove(&self, guard: &Guard) -> Result<(), VaultError> {
        atomic::remove(&self.writable(guard)?.path)
    }

    /// The accounts that have a record of this kind, sorted, with ASCII letters in lower case. The records are not opened.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn accounts(&self, kind: Kind) -> Result<Vec<String>, VaultError> {
        let names = file_names(&self.inner.folder)?;
        let mut accounts: Vec<_> = names
            .iter()
            .filter_map(|file| name::account(kind, file))
            .collect();
        accounts.sort_unstable();
        Ok(accounts)
    }

    /// The place that `guard` locks, once it is known that nothing unreadable would be lost there.
    fn writable<'g>(&self, guard: &'g Guard) -> Result<&'g Slot, VaultError> {
        debug_assert!(guard.slot.path.starts_with(&self.inner.folder));
        self.read_slot(&guard.slot)?;
        Ok(&guard.slot)
    }

    fn slot(&self, kind: Kind, account: &str) -> Result<Slot, VaultError> {
        let file = name::file_name(kind, account).ok_or(VaultError::Account)?;
        Ok(Slot {
            kind,
            account: account.to_owned(),
            path: self.inner.folder.join(file),
        })
    }

    fn read_slot(&self, slot: &Slot) -> Result<Option<Record>, VaultError> {
        let Some((_, sealed)) = self.load(slot, SEALED_MAX + 1)? else {
            return Ok(None);
        };
        self.unseal(slot, &sealed).map(Some)
    }

    fn unseal(&self, slot: &Slot, sealed: &[u8]) -> Result<Record, VaultError> {
        if sealed.len() > SEALED_MAX {
            return Err(slot.corrupt("it is larger than 1 MiB"));
        }
        let bytes = seal::open(&self.inner.key, slot.kind, &slot.account, sealed)
            .map_err(|refusal| slot.refused(refusal))?;
        let revision = revision(slot, sealed)?;
        Ok(Record { bytes, revision })
    }

    /// The sealed file, and at most `limit` octets of it.
    fn load(&self, slot: &Slot, limit: usize) -> Result<Option<(File, Vec<u8>)>, VaultError> {
        let Some(file) = permissions::open(&slot.path, &self.inner.owner)? else {
            return Ok(None);
        };
        let mut sealed = Vec::new();
        (&file)
            .take(limit as u64)
            .read_to_end(&mut sealed)
            .map_err(VaultError::io("read", &slot.path))?;
        Ok(Some((file, sealed)))
    }

    fn draw_nonce(&self) -> Result<seal::Nonce, VaultError> {
        let mut nonce = [0; seal::NONCE_LEN];
        getrandom::fill(&mut nonce)
            .map_err(io::Error::from)
            .map_err(VaultError::io(
                "draw random numbers for",
                &self.inner.folder,
            ))?;
        Ok(nonce)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Vault").field(&self.inner.folder).finish()
    }
}

impl Slot {
    /// The same record where it stands while it is written.
    fn unfinished(&self) -> Self {
        Self {
            kind: self.kind,
            account: self.account.clone(),
            path: atomic::unfinished(&self.path),
        }
    }

    fn lock_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".lock");
        name.into()
    }

    fn corrupt(&self, why: &'static str) -> VaultError {
        VaultError::Corrupt {
            path: self.path.clone(),
            kind: self.kind,
            why,
        }
    }

    fn refused(&self, refusal: Refusal) -> VaultError {
        match refusal {
            Refusal::Truncated => self.corrupt("it is cut short"),
            Refusal::Foreign => self.corrupt("it is no sealed file"),
            Refusal::Damaged => self.corrupt("it was changed, or belongs to another account"),
            Refusal::Version(version) => VaultError::Version {
                path: self.path.clone(),
                version,
            },
            Refusal::OtherKey => VaultError::OtherKey {
                path: self.path.clone(),
                kind: self.kind,
            },
        }
    }
}

fn revision(slot: &Slot, sealed: &[u8]) -> Result<Revision, VaultError> {
    let nonce = seal::nonce_of(sealed);
    nonce.map(Revision).map_err(|refusal| slot.refused(refusal))
}

fn holds_records(folder: &Path) -> Result<bool, VaultError> {
    let names = file_names(folder)?;
    let is_record = |file: &String| {
        let of = |kind| name::account(kind, file).is_some();
        Kind::ALL.into_iter().any(of)
    };
    Ok(names.iter().any(is_record))
}

/// Names that are not UTF-8 are not ours.
fn file_names(folder: &Path) -> Result<Vec<String>, VaultError> {
    let entries = fs::read_dir(folder).map_err(VaultError::io("list", folder))?;
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<_>> = names.collect();
    let names = names.map_err(VaultError::io("list", folder))?;
    Ok(names.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
