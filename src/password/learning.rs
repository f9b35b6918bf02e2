//! Learning: a device keeps the password it has, and nobody types one into it.
//!
//! An administrator opens a window for one account, for minutes, from named addresses. The first login from there whose password nobody
//! knows is adopted: its password becomes a named one, good where the window was, and the window closes in the same write. From all other
//! addresses nothing differs, not even the time. Whoever comes first from a named address is believed: that is the whole risk, and why the
//! window is narrow and short.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::candidates::{Door, Known};
use super::hash::HashError;
use super::named::{self, Kept, NamedError, NamedPassword};
use super::uses::Tag;
use super::{Attempt, Passwords, Refusal};
use crate::config::Account;
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::vault::{Kind, Vault};

/// Octets of the longest password that is learned; `password add` takes no longer one either.
const ADOPTED_MAX: usize = 1024;
/// How long a login waits for a command that is writing the same record.
const PATIENCE: Duration = Duration::from_secs(5);
/// The widest networks: the devices of one floor, not of a company.
const WIDEST_IPV4: u8 = 24;
const WIDEST_IPV6: u8 = 64;
const LOOPBACK_IPV4_LEN: u8 = 8;

/// Where and until when a password may be learned, and what it is called then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The name of the password that will be learned.
    pub name: String,
    /// The networks that it is learned from, and good from later.
    pub from: Vec<IpNet>,
    /// The only protocol that it is learned over, and good for later; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it closes by itself.
    pub until: Timestamp,
}

impl Window {
    /// Whether it is open at `now`. A clock that was set back opens nothing again.
    pub fn is_open(&self, now: Timestamp) -> bool {
        (self.opened..self.until).contains(&now)
    }

    fn admits(&self, attempt: &Attempt<'_>) -> bool {
        let from = self.from.iter().any(|net| net.contains(&attempt.source));
        let protocol = self.protocol.is_none_or(|only| only == attempt.protocol);
        from && protocol && self.is_open(attempt.now)
    }

    /// The password that is learned through it.
    fn password(&self, hash: String, created: Timestamp) -> NamedPassword {
        NamedPassword {
            name: self.name.clone(),
            hash,
            created,
            from: self.from.clone(),
            protocol: self.protocol,
            expires: None,
        }
    }
}

/// Opens a window, in the place of one that there may be; that one is returned if it was still open. Blocks.
///
/// # Errors
/// If it would be open from too many addresses, the account has no room for a password of this name, or the vault refuses.
pub fn open(
    vault: &Vault,
    account: &Account,
    window: Window,
) -> Result<Option<Window>, NamedError> {
    check_from(&window.from)?;
    change(vault, &account.address, |kept| {
        kept.has_room_for(account, &window.name)?;
        Ok(kept.learning.replace(window))
    })
}

/// Closes the window; it is returned if it was still open. Blocks.
///
/// # Errors
/// If the vault refuses.
pub fn cancel(vault: &Vault, account: &str) -> Result<Option<Window>, NamedError> {
    change(vault, account, |kept| Ok(kept.learning.take()))
}

fn change(
    vault: &Vault,
    account: &str,
    change: impl FnOnce(&mut Kept) -> Result<Option<Window>, NamedError>,
) -> Result<Option<Window>, NamedError> {
    let guard = vault.lock(Kind::Passwords, account)?;
    let mut kept = named::read(vault, account)?;
    let former = change(&mut kept)?;
    named::store(vault, &guard, account, &kept)?;
    Ok(former.filter(|window| window.is_open(Timestamp::now())))
}

/// A wide window would be an open door. Loopback is this machine, whatever its length.
fn check_from(from: &[IpNet]) -> Result<(), NamedError> {
    let is_wide = |net: &&IpNet| match net {
        IpNet::V4(net) if net.addr().is_loopback() => net.prefix_len() < LOOPBACK_IPV4_LEN,
        IpNet::V4(net) => net.prefix_len() < WIDEST_IPV4,
        IpNet::V6(net) => net.prefix_len() < WIDEST_IPV6,
    };
    let words = match (from, from.iter().find(is_wide)) {
        ([], _) => {
            "a password is learned only from named addresses; say which: --from ADDRESS".to_owned()
        }
        (_, Some(net)) => format!(
            "{net} is too wide to learn from: whoever comes first from there is believed. \
             Name the device's address; at most a /{WIDEST_IPV4} of IPv4 or a /{WIDEST_IPV6} of IPv6"
        ),
        _ => return Ok(()),
    };
    Err(NamedError::TooWide(words))
}

/// Keeps `hash` as the password that `seen` was opened for, if that window is there still; its window is gone then. Blocks.
fn adopt(
    vault: &Vault,
    account: &Account,
    seen: &Window,
    hash: String,
    now: Timestamp,
) -> Result<bool, NamedError> {
    let guard = vault.lock_within(Kind::Passwords, &account.address, PATIENCE)?;
    let mut kept = named::read(vault, &account.address)?;
    if kept.learning.as_ref() != Some(seen) {
        return Ok(false);
    }
    kept.has_room_for(account, &seen.name)?;
    kept.learning = None;
    kept.passwords.push(seen.password(hash, now));
    named::store(vault, &guard, &account.address, &kept)?;
    Ok(true)
}

impl Known {
    fn window_for(&self, attempt: &Attempt<'_>) -> Option<&Window> {
        let window = self.window.as_ref();
        window.filter(|window| window.admits(attempt))
    }
}

impl Passwords {
    /// What becomes of a login whose password is none of those that `known` has for here: it is adopted where a window is open for it,
    /// and wrong else.
    pub(super) async fn learn(
        &self,
        door: &Door,
        known: &Arc<Known>,
        attempt: &Attempt<'_>,
    ) -> Result<Tag, Refusal> {
        if known.window_for(attempt).is_none() {
            return Err(Refusal::Wrong);
        }
        if !(1..=ADOPTED_MAX).contains(&attempt.password.len()) {
            let account = &door.account.address;
            tracing::info!(stage = %Stage::Password, account, source = %attempt.source, "not learned: the password is empty or longer than 1024 octets");
            return Err(Refusal::Wrong);
        }
        // One at a time, and each looks again: what the one before presented is known by now, and its window is gone.
        let _turn = door.learning.lock().await;
        let now_known = door.known(&self.vault).map_err(Refusal::Vault)?;
        if !Arc::ptr_eq(known, &now_known)
            && let Some(tag) = self.find(&now_known, attempt, true).await?
        {
            return Ok(tag);
        }
        let Some(window) = now_known.window_for(attempt) else {
            return Err(Refusal::Wrong);
        };
        if self.find(&now_known, attempt, false).await?.is_some() {
            let account = &door.account.address;
            tracing::info!(stage = %Stage::Password, account, source = %attempt.source, "not learned: this password is known, and not good from here or now; remove it first if it is to be learned");
            return Err(Refusal::Wrong);
        }
        match self.adopt(door, window, attempt).await? {
            Some(tag) => Ok(tag),
            // Closed while we hashed: by a login that was given up after its write had begun, or by the administrator.
            None => {
                let known = door.known(&self.vault).map_err(Refusal::Vault)?;
                let found = self.find(&known, attempt, true).await?;
                found.ok_or(Refusal::Wrong)
            }
        }
    }

    /// Which of the passwords that are good here, or of those that are not, is presented.
    async fn find(
        &self,
        known: &Known,
        attempt: &Attempt<'_>,
        good: bool,
    ) -> Result<Option<Tag>, Refusal> {
        let candidates = known.candidates.iter();
        let some: Vec<_> = candidates
            .filter(|candidate| attempt.may_use(candidate) == good)
            .collect();
        if some.is_empty() {
            return Ok(None);
        }
        match self.compare(&some, attempt).await {
            Ok(tag) => Ok(Some(tag)),
            Err(Refusal::Wrong) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn adopt(
        &self,
        door: &Door,
        window: &Window,
        attempt: &Attempt<'_>,
    ) -> Result<Option<Tag>, Refusal> {
        let ticket = self.house.workers.ticket().ok_or(Refusal::Crowded)?;
        let hash = ticket
            .make(&self.house.cost, attempt.password.clone())
            .await;
        let hash = hash.map_err(|error| Refusal::Vault(error.into()))?;
        let tag = Tag::of(&hash);
        let (vault, account) = (self.vault.clone(), door.account.clone());
        let (seen, now) = (window.clone(), attempt.now);
        let adopting = move || adopt(&vault, &account, &seen, hash, now);
        let adopted = tokio::task::spawn_blocking(adopting).await;
        let adopted =
            adopted.unwrap_or_else(|_| Err(HashError("mailwicket is ending".to_owned()).into()));
        if !adopted.map_err(Refusal::Vault)? {
            return Ok(None);
        }
        let (account, name) = (&door.account.address, &window.name);
        tracing::info!(stage = %Stage::Password, account, name, source = %attempt.source, protocol = %attempt.protocol, "learned the password that was presented; the window is closed");
        Ok(Some(tag))
    }
}
