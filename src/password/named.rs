//! The local passwords that the vault keeps for an account, each with a name by which a person can take it back; and in the same record
//! the window in which one may be learned, so that a password comes and its window goes in one write.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MAX_PER_ACCOUNT;
use super::hash::HashError;
use super::learning::Window;
use crate::config::Account;
use crate::protocol::Protocol;
use crate::vault::{Guard, Kind, Vault, VaultError};

const NAME_MAX: usize = 64;
const VERSION: u32 = 1;

/// One local password: its hash, and where it is good.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedPassword {
    /// What the person calls it, as "scanner"; unique within the account.
    pub name: String,
    /// The hash, of any [`Scheme`](super::Scheme).
    pub hash: String,
    /// When it was added.
    pub created: Timestamp,
    /// The networks it is good from; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IpNet>,
    /// The protocol it is good for; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// When it ends; after that it stays listed and opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl NamedPassword {
    /// Whether it may be used over `protocol` from `source` (which is no IPv4-mapped address) at `now`.
    pub(super) fn is_good_for(&self, protocol: Protocol, source: IpAddr, now: Timestamp) -> bool {
        let from = self.from.is_empty() || self.from.iter().any(|net| net.contains(&source));
        from && self.protocol.is_none_or(|only| only == protocol) && !self.is_over(now)
    }

    /// Whether it has expired by `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

impl fmt::Debug for NamedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedPassword")
            .field("name", &self.name)
            .field("from", &self.from)
            .field("protocol", &self.protocol)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why the passwords of an account were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NamedError {
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What the vault holds was written by another release.
    #[error(
        "the passwords of {0} were written by another release of mailwicket; nothing was changed. Use that one"
    )]
    Format(String),
    /// The name is empty, longer than 64 octets or holds control characters.
    #[error("a password's name has 1 to 64 octets and no control characters")]
    Name,
    /// The name is taken.
    #[error(
        "{account} has a password named {name:?} already; remove it first, or give the new one another name"
    )]
    Taken {
        /// The account.
        account: String,
        /// The name.
        name: String,
    },
    /// There is no such name.
    #[error("{account} has no password named {name:?}; see: mailwicket password list {account}")]
    Unknown {
        /// The account.
        account: String,
        /// The name.
        name: String,
    },
    /// The account has as many passwords as a wrong one may be checked against.
    #[error("{0} has {MAX_PER_ACCOUNT} passwords, which is the most; remove one first")]
    Full(String),
    /// No hash was made of a password that was to be learned.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A window was to be opened from nowhere or from too many addresses.
    #[error("{0}")]
    TooWide(String),
}

/// What a record of [`Kind::Passwords`] holds. An unknown key is refused rather than lost, since it could be a restriction.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    version: u32,
    /// The passwords, in the order in which they were added.
    pub passwords: Vec<NamedPassword>,
    /// The window in which one may be learned; it may be over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<Window>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            version: VERSION,
            passwords: Vec::new(),
            learning: None,
        }
    }
}

impl Kept {
    /// Whether one more password, with this name, can be kept for `account`.
    pub(super) fn has_room_for(&self, account: &Account, name: &str) -> Result<(), NamedError> {
        check_name(name)?;
        if self.passwords.iter().any(|known| known.name == name) {
            return Err(NamedError::Taken {
                account: account.address.clone(),
                name: name.to_owned(),
            });
        }
        if self.passwords.len() + account.password_hashes.len() >= MAX_PER_ACCOUNT {
            return Err(NamedError::Full(account.address.clone()));
        }
        Ok(())
    }
}

/// All that the vault keeps of an account's passwords.
///
/// # Errors
/// If the vault refuses, or the record is of another release.
pub fn read(vault: &Vault, account: &str) -> Result<Kept, NamedError> {
    match vault.read(Kind::Passwords, account)? {
        Some(record) => decode(account, &record.bytes),
        None => Ok(Kept::default()),
    }
}

/// The passwords of an account, in the order in which they were added.
///
/// # Errors
/// As [`read`].
pub fn list(vault: &Vault, account: &str) -> Result<Vec<NamedPassword>, NamedError> {
    Ok(read(vault, account)?.passwords)
}

/// Adds a password; the running proxy takes it at the next login. Blocks.
///
/// # Errors
/// If the name is no name or taken, the account has too many, or the vault refuses.
pub fn add(vault: &Vault, account: &Account, password: NamedPassword) -> Result<(), NamedError> {
    check_name(&password.name)?;
    let guard = vault.lock(Kind::Passwords, &account.address)?;
    let mut kept = read(vault, &account.address)?;
    kept.has_room_for(account, &password.name)?;
    kept.passwords.push(password);
    store(vault, &guard, &account.address, &kept)
}

/// Removes a password; logins with it fail from then on. Sessions that are open stay open. Blocks.
///
/// # Errors
/// If there is none of that name, or the vault refuses.
pub fn remove(vault: &Vault, account: &str, name: &str) -> Result<(), NamedError> {
    let guard = vault.lock(Kind::Passwords, account)?;
    let mut kept = read(vault, account)?;
    let Some(at) = kept.passwords.iter().position(|known| known.name == name) else {
        return Err(NamedError::Unknown {
            account: account.to_owned(),
            name: name.to_owned(),
        });
    };
    kept.passwords.remove(at);
    store(vault, &guard, account, &kept)
}

fn check_name(name: &str) -> Result<(), NamedError> {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.contains(char::is_control);
    fits.then_some(()).ok_or(NamedError::Name)
}

fn decode(account: &str, bytes: &[u8]) -> Result<Kept, NamedError> {
    match serde_json::from_slice(bytes) {
        Ok(
            kept @ Kept {
                version: VERSION, ..
            },
        ) => Ok(kept),
        // The seal held, so this is no damage.
        _ => Err(NamedError::Format(account.to_owned())),
    }
}

/// Writes what is kept; where nothing is, the record goes.
pub(super) fn store(
    vault: &Vault,
    guard: &Guard,
    account: &str,
    kept: &Kept,
) -> Result<(), NamedError> {
    if kept.passwords.is_empty() && kept.learning.is_none() {
        return Ok(vault.remove(guard)?);
    }
    let bytes = serde_json::to_vec(kept).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| NamedError::Format(account.to_owned()))?;
    vault.write(guard, &bytes)?;
    Ok(())
}
