//! The local passwords that the vault keeps for an account, each with a name by which a person can take it back.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MAX_PER_ACCOUNT;
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
    /// The Argon2id hash, a PHC string.
    pub hash: String,
    /// When it was added.
    pub created: Timestamp,
    /// The networks it is good from; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IpNet>,
    /// The protocol it is good for; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

impl NamedPassword {
    /// Whether it may be used over `protocol` from `source` (which is no IPv4-mapped address).
    pub(super) fn is_good_for(&self, protocol: Protocol, source: IpAddr) -> bool {
        let from = self.from.is_empty() || self.from.iter().any(|net| net.contains(&source));
        from && self.protocol.is_none_or(|only| only == protocol)
    }
}

impl fmt::Debug for NamedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedPassword")
            .field("name", &self.name)
            .field("from", &self.from)
            .field("protocol", &self.protocol)
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
}

/// What a record of [`Kind::Passwords`] holds. An unknown key is refused rather than lost, since it could be a restriction.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    passwords: Vec<NamedPassword>,
}

/// The passwords of an account, in the order in which they were added.
///
/// # Errors
/// If the vault refuses, or the record is of another release.
pub fn list(vault: &Vault, account: &str) -> Result<Vec<NamedPassword>, NamedError> {
    match vault.read(Kind::Passwords, account)? {
        Some(record) => decode(account, &record.bytes),
        None => Ok(Vec::new()),
    }
}

/// Adds a password; the running proxy takes it at the next login. Blocks.
///
/// # Errors
/// If the name is no name or taken, the account has too many, or the vault refuses.
pub fn add(vault: &Vault, account: &Account, password: NamedPassword) -> Result<(), NamedError> {
    check_name(&password.name)?;
    let guard = vault.lock(Kind::Passwords, &account.address)?;
    let mut passwords = list(vault, &account.address)?;
    if passwords.iter().any(|known| known.name == password.name) {
        return Err(NamedError::Taken {
            account: account.address.clone(),
            name: password.name,
        });
    }
    if passwords.len() + account.password_hashes.len() >= MAX_PER_ACCOUNT {
        return Err(NamedError::Full(account.address.clone()));
    }
    passwords.push(password);
    store(vault, &guard, &account.address, passwords)
}

/// Removes a password; logins with it fail from then on. Sessions that are open stay open. Blocks.
///
/// # Errors
/// If there is none of that name, or the vault refuses.
pub fn remove(vault: &Vault, account: &str, name: &str) -> Result<(), NamedError> {
    let guard = vault.lock(Kind::Passwords, account)?;
    let mut passwords = list(vault, account)?;
    let Some(at) = passwords.iter().position(|known| known.name == name) else {
        return Err(NamedError::Unknown {
            account: account.to_owned(),
            name: name.to_owned(),
        });
    };
    passwords.remove(at);
    if passwords.is_empty() {
        return Ok(vault.remove(&guard)?);
    }
    store(vault, &guard, account, passwords)
}

fn check_name(name: &str) -> Result<(), NamedError> {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.contains(char::is_control);
    fits.then_some(()).ok_or(NamedError::Name)
}

fn decode(account: &str, bytes: &[u8]) -> Result<Vec<NamedPassword>, NamedError> {
    match serde_json::from_slice(bytes) {
        Ok(Document {
            version: VERSION,
            passwords,
        }) => Ok(passwords),
        // The seal held, so this is no damage.
        _ => Err(NamedError::Format(account.to_owned())),
    }
}

fn store(
    vault: &Vault,
    guard: &Guard,
    account: &str,
    passwords: Vec<NamedPassword>,
) -> Result<(), NamedError> {
    let document = Document {
        version: VERSION,
        passwords,
    };
    let bytes = serde_json::to_vec(&document).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| NamedError::Format(account.to_owned()))?;
    vault.write(guard, &bytes)?;
    Ok(())
}
