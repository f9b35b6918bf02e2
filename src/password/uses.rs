//! When and from where each password was last used, for `password list`.
//!
//! It is kept in a record of its own, so that nothing that is remembered about passwords is touched, and written off the login's path: at
//! once after a quiet time, then at most every five minutes for an account, and at the end. What it cannot write it tries again later;
//! no login waits for it or fails by it. A wrong password never comes here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::named::NamedError;
use crate::protocol::Protocol;
use crate::source::Source;
use crate::vault::{Kind, Vault};

/// Between two writes of an account's record; what `password list` shows may be that old.
pub const GRANULARITY: Duration = Duration::from_secs(5 * 60);

/// How long a write waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than an account can have passwords at once; the rest are of removed ones.
const KEPT: usize = 64;
const VERSION: u32 = 1;

/// Which password was used: a part of the digest of its hash. A password that is removed and added again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) fn of(hash: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(hash.as_bytes()).into();
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self(u64::from_be_bytes(*first))
    }
}

/// One use of a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: IpAddr,
    /// Over which protocol.
    pub protocol: Protocol,
}

/// What a record of [`Kind::Uses`] holds.
#[derive(Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    uses: Vec<(Tag, Use)>,
}

/// The last uses of an account's passwords, as far as they are written.
pub struct LastUses(HashMap<Tag, Use>);

impl LastUses {
    /// The last use of the password with this hash.
    pub fn of(&self, hash: &str) -> Option<&Use> {
        self.0.get(&Tag::of(hash))
    }

    /// Whether one of the passwords was last used from there.
    pub(super) fn came_from(&self, source: IpAddr) -> bool {
        let source = Source::from(source);
        self.0
            .values()
            .any(|used| Source::from(used.from) == source)
    }
}

/// Reads the last uses of an account's passwords.
///
/// # Errors
/// If the vault refuses, or the record is of another release.
pub fn last_uses(vault: &Vault, account: &str) -> Result<LastUses, NamedError> {
    read(vault, account).map(LastUses)
}

fn read(vault: &Vault, account: &str) -> Result<HashMap<Tag, Use>, NamedError> {
    let Some(record) = vault.read(Kind::Uses, account)? else {
        return Ok(HashMap::new());
    };
    match serde_json::from_slice(&record.bytes) {
        Ok(Document {
            version: VERSION,
            uses,
        }) => Ok(uses.into_iter().collect()),
        _ => Err(NamedError::Format(account.to_owned())),
    }
}

/// Adds `fresh` to what the vault has. Blocks.
fn write(vault: &Vault, account: &str, fresh: &HashMap<Tag, Use>) -> Result<(), NamedError> {
    let guard = vault.lock_within(Kind::Uses, account, PATIENCE)?;
    let mut uses = read(vault, account)?;
    uses.extend(fresh.clone());
    let mut uses: Vec<_> = uses.into_iter().collect();
    uses.sort_by_key(|(_, used)| std::cmp::Reverse(used.at));
    uses.truncate(KEPT);
    let version = VERSION;
    let bytes = serde_json::to_vec(&Document { version, uses });
    let bytes = bytes.map_err(|_| NamedError::Format(account.to_owned()))?;
    vault.write(&guard, &bytes)?;
    Ok(())
}

/// The uses that are on their way to the vault. Cloning gives the same ones.
#[derive(Clone)]
pub struct Uses {
    inner: Arc<Inner>,
}

struct Inner {
    vault: Vault,
    accounts: Mutex<HashMap<String, Pending>>,
    wake: Notify,
}

/// What is to be written of one account, and not before when.
#[derive(Default)]
struct Pending {
    uses: HashMap<Tag, Use>,
    not_before: Option<Instant>,
}

impl Pending {
    fn is_due(&self, now: Instant) -> bool {
        !self.uses.is_empty() && self.not_before.is_none_or(|at| at <= now)
    }
}

type Batch = Vec<(String, HashMap<Tag, Use>)>;

impl Uses {
    pub(super) fn new(vault: Vault) -> Self {
        let inner = Inner {
            vault,
            accounts: Mutex::default(),
            wake: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Takes note of a use; writes nothing.
    pub(super) fn note(&self, account: &str, tag: Tag, used: Use) {
        let mut accounts = self.accounts();
        match accounts.get_mut(account) {
            Some(pending) => drop(pending.uses.insert(tag, used)),
            None => {
                let pending = accounts.entry(account.to_owned()).or_default();
                pending.uses.insert(tag, used);
            }
        }
        self.inner.wake.notify_one();
    }

    /// Writes what is noted, in its time, until `done`.
    pub async fn keep(self, done: CancellationToken) {
        loop {
            let now = Instant::now();
            self.write(self.take(|pending| pending.is_due(now), now))
                .await;
            let next = self.next();
            let waiting = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = done.cancelled() => break,
                () = self.inner.wake.notified() => {}
                () = waiting => {}
            }
        }
        // A reload has started the next one, which must not sleep through what we were woken for.
        self.inner.wake.notify_one();
    }

    /// Writes everything that is noted by now.
    pub async fn settle(&self) {
        self.write(self.take(|pending| !pending.uses.is_empty(), Instant::now()))
            .await;
    }

    fn take(&self, which: impl Fn(&Pending) -> bool, now: Instant) -> Batch {
        let mut accounts = self.accounts();
        let due = accounts.iter_mut().filter(|(_, pending)| which(pending));
        let take = |(account, pending): (&String, &mut Pending)| {
            pending.not_before = Some(now + GRANULARITY);
            (account.clone(), std::mem::take(&mut pending.uses))
        };
        due.map(take).collect()
    }

    fn next(&self) -> Option<Instant> {
        let accounts = self.accounts();
        let waiting = accounts.values().filter(|pending| !pending.uses.is_empty());
        waiting.filter_map(|pending| pending.not_before).min()
    }

    async fn write(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let uses = self.clone();
        let writing = move || {
            for (account, fresh) in batch {
                if let Err(error) = write(&uses.inner.vault, &account, &fresh) {
                    tracing::warn!(account, %error, "when the passwords were last used could not be written; tried again later");
                    uses.give_back(account, fresh);
                }
            }
        };
        // It only fails when the process ends.
        let _ = tokio::task::spawn_blocking(writing).await;
    }

    fn give_back(&self, account: String, fresh: HashMap<Tag, Use>) {
        let mut accounts = self.accounts();
        let pending = accounts.entry(account).or_default();
        for (tag, used) in fresh {
            pending.uses.entry(tag).or_insert(used);
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        // A panic elsewhere left nothing half done.
        let accounts = self.inner.accounts.lock();
        accounts.unwrap_or_else(PoisonError::into_inner)
    }
}
