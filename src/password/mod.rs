//! The check of the local password, and of addresses that need none: the only place that makes [`Verified`].
//!
//! It knows logins, hashes and time, and nothing of tokens or of what the protocols say. A stranger learns nothing from it: an
//! unknown login, an account without passwords, a password that is not good from here and a wrong password take the same path, cost
//! a hash, and give the same failure after the same time. A wrong password changes nothing but counters. Trouble with the vault is
//! told apart from a wrong password, since a mail program must not ask for another one then; but it says nothing of an account
//! either, since an unknown login reads some account's record as well and shares its trouble.
//!
//! Hashes differ in what they cost, and accounts in how many they have. While the queue is long that shows, so an unknown login is
//! checked against the passwords of some account, always the same one, and refused whatever comes of it.

mod address;
mod candidates;
mod hash;
mod learning;
mod named;
mod remembered;
mod scheme;
mod uses;
mod workers;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

pub use address::vouch;
pub use hash::{HashError, generate, hash};
pub use learning::{Window, cancel as cancel_learning, open as open_learning};
pub use named::{Kept, NamedError, NamedPassword, add, list, read, remove};
pub use scheme::{Scheme, Unfit};
pub use uses::{GRANULARITY, LastUses, Use, Uses, last_uses};

use crate::config::{Account, Provider, Senders};
use crate::dialogue::Credentials;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::vault::Vault;
use candidates::{Candidate, Door};
use hash::Cost;
use remembered::{Mark, Marker};
use uses::Tag;
use workers::Workers;

/// Passwords of one account, in the configuration and the vault together: the hashes that one wrong password costs.
pub const MAX_PER_ACCOUNT: usize = 16;

/// Far more than logins under way at once, so that two different ones rarely share a lane.
const LANES: usize = 64;

/// Proof that somebody presented a right password for an account, or came from an address that needs none; the only key to a token.
#[derive(Clone, Debug)]
pub struct Verified {
    account: Arc<Account>,
    senders: Option<Arc<Senders>>,
}

impl Verified {
    /// The account that was opened.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What may stand in MAIL FROM, where the mailbox was not opened for everything.
    pub fn senders(&self) -> Option<&Arc<Senders>> {
        self.senders.as_ref()
    }
}

/// How long after the start of a check its refusal is answered.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// What it always takes.
    pub base: Duration,
    /// The most that chance adds.
    pub jitter: Duration,
}

impl Default for Delay {
    /// One second, as long as many a mail server waits, and up to a tenth more.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            jitter: Duration::from_millis(100),
        }
    }
}

impl Delay {
    fn draw(self) -> Duration {
        // Without randomness the longest wait tells as little.
        let part = getrandom::u32().unwrap_or(u32::MAX);
        self.base + self.jitter.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// What happened since the start, for `status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Logins with a right password.
    pub accepted: u64,
    /// Unknown logins and wrong passwords.
    pub wrong: u64,
    /// Logins turned away because too many waited, or because the vault has trouble.
    pub turned_away: u64,
    /// Hashes computed.
    pub hashes: u64,
}

/// The check of local passwords for a set of accounts.
pub struct Passwords {
    vault: Vault,
    /// By login, in lower case.
    doors: HashMap<String, Arc<Door>>,
    /// Those whose passwords unknown logins are checked against, by provider.
    decoys: HashMap<String, Vec<Arc<Door>>>,
    delay: Delay,
    /// Of what is learned.
    cost: Cost,
    dummy: Arc<str>,
    marker: Marker,
    workers: Workers,
    uses: Uses,
    /// The same login with the same password goes one at a time, so that the second finds what the first remembered.
    lanes: [Mutex<()>; LANES],
    accepted: AtomicU64,
    wrong: AtomicU64,
    turned_away: AtomicU64,
}

/// What one login presents.
struct Attempt<'a> {
    provider: &'a str,
    login: &'a str,
    password: Arc<Zeroizing<Vec<u8>>>,
    protocol: Protocol,
    source: IpAddr,
    now: Timestamp,
}

impl Attempt<'_> {
    fn may_use(&self, candidate: &Candidate) -> bool {
        candidate.is_good_for(self.protocol, self.source, self.now)
    }

    fn as_use(&self) -> Use {
        Use {
            at: self.now,
            from: self.source,
            protocol: self.protocol,
        }
    }
}

/// Why a login was refused.
enum Refusal {
    Wrong,
    Crowded,
    /// Trouble with what is kept, or with keeping what was learned.
    Vault(NamedError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (cause, detail) = match refusal {
            Refusal::Wrong => (Cause::Password, "unknown login or wrong password".into()),
            Refusal::Crowded => (Cause::Limit, "too many passwords wait to be checked".into()),
            Refusal::Vault(error) => {
                let may_pass = matches!(&error, NamedError::Vault(error) if error.may_pass());
                let cause = if may_pass {
                    Cause::Token
                } else {
                    Cause::Config
                };
                (cause, error.to_string())
            }
        };
        Self::new(Stage::Password, cause, detail)
    }
}

impl Passwords {
    /// Ready to check passwords of `accounts`. Blocks for one hash, some 30 ms.
    ///
    /// # Panics
    /// If the system has no randomness, without which nothing here would be safe.
    pub fn new(accounts: &[Arc<Account>], vault: Vault) -> Self {
        Self::with_delay(accounts, vault, Delay::default())
    }

    /// As [`Passwords::new`], with another delay of refusals.
    ///
    /// # Panics
    /// As [`Passwords::new`].
    pub fn with_delay(accounts: &[Arc<Account>], vault: Vault, delay: Delay) -> Self {
        Self::build(accounts, vault, delay, &Cost::STANDARD)
    }

    fn build(accounts: &[Arc<Account>], vault: Vault, delay: Delay, cost: &Cost) -> Self {
        // The cost is one of our constants, and the salt too.
        let dummy = hash::dummy(cost).expect("a hash with fixed parameters");
        let doors = doors(accounts);
        Self {
            uses: Uses::new(vault.clone()),
            vault,
            decoys: decoys(&doors),
            doors,
            delay,
            cost: cost.clone(),
            dummy: dummy.into(),
            marker: Marker::new().expect("the system's randomness"),
            workers: Workers::new(),
            lanes: [const { Mutex::const_new(()) }; LANES],
            accepted: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Checks what a mail program presented over `protocol` from `source`, at a listener of `provider`. Success is told at once, a
    /// failure after the delay.
    ///
    /// An account of another provider does not exist there: its token must never come to this provider's server.
    ///
    /// # Errors
    /// [`Cause::Password`] for everything that a stranger can get wrong; [`Cause::Limit`] if too many wait; if the vault has trouble
    /// with passwords, [`Cause::Token`] where that may pass, else [`Cause::Config`].
    pub async fn verify(
        &self,
        credentials: &Credentials,
        provider: &Provider,
        protocol: Protocol,
        source: IpAddr,
    ) -> Result<Verified, Failure> {
        let start = Instant::now();
        let attempt = Attempt {
            provider: &provider.name,
            login: &credentials.login,
            password: Arc::new(credentials.password.expose_secret().to_vec().into()),
            protocol,
            source: source.to_canonical(),
            now: now(),
        };
        let outcome = self.check(&attempt).await;
        self.count(&outcome);
        match outcome {
            Ok(account) => Ok(Verified {
                account,
                senders: None,
            }),
            Err(refusal) => {
                sleep_until(start + self.delay.draw()).await;
                Err(refusal.into())
            }
        }
    }

    /// Goes on with the notes of `former` about last uses, which has the same vault.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        self.uses = former.uses.clone();
        self
    }

    /// The notes about last uses, which somebody must keep.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters {
            accepted: self.accepted.load(Ordering::Relaxed),
            wrong: self.wrong.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            hashes: self.workers.hashed(),
        }
    }

    async fn check(&self, attempt: &Attempt<'_>) -> Result<Arc<Account>, Refusal> {
        let login = attempt.login.to_ascii_lowercase();
        let door = self.doors.get(&login);
        let door = door.filter(|door| door.account.provider.name == attempt.provider);
        let read = door.or_else(|| self.decoy(&login, attempt));
        // A small read of a local file; handing it to another thread would cost more than the read.
        let (known, trouble) = match read.map(|door| door.known(&self.vault)) {
            Some(Ok(known)) => (known, None),
            Some(Err(error)) => (Arc::default(), Some(error)),
            None => (Arc::default(), None),
        };
        let candidates = known.candidates.iter();
        let good: Vec<_> = candidates.filter(|c| attempt.may_use(c)).collect();
        if door.is_some() && good.is_empty() && !known.candidates.is_empty() {
            let (protocol, source) = (attempt.protocol, attempt.source);
            tracing::info!(%protocol, %source, "no password of this account is good from here and now");
        }
        let right = match self.remembered(&good, attempt) {
            Some(tag) => Ok(tag),
            None => self.compare(&good, attempt).await,
        };
        // Whatever came of it for an unknown login.
        let right = right.and_then(|tag| door.map(|_| tag).ok_or(Refusal::Wrong));
        let tag = match (right, trouble, door) {
            (Err(Refusal::Wrong), Some(trouble), _) => Err(Refusal::Vault(trouble)),
            (Err(Refusal::Wrong), None, Some(door)) => self.learn(door, &known, attempt).await,
            (right, _, _) => right,
        }?;
        let account = &door.ok_or(Refusal::Wrong)?.account;
        self.uses.note(&account.address, tag, attempt.as_use());
        Ok(account.clone())
    }

    /// Whose passwords an unknown login is checked against, always the same ones: it takes as long as its own would, and if the vault
    /// has trouble, so has an unknown login. Nothing comes of it.
    fn decoy(&self, login: &str, attempt: &Attempt<'_>) -> Option<&Arc<Door>> {
        let doors = self.decoys.get(attempt.provider)?;
        let mark = self.marker.mark([b"decoy", login.as_bytes(), b""]);
        doors.get(mark.below(doors.len()))
    }

    /// The slow way: a hash for each candidate, or for the dummy where there is none. Which one has the password that is presented.
    async fn compare(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Result<Tag, Refusal> {
        // Those who present the same password wait for the first of them, and take no place in the queue meanwhile.
        let _lane = self.lane(attempt).lock().await;
        if let Some(tag) = self.remembered(good, attempt) {
            return Ok(tag);
        }
        let ticket = self.workers.ticket().ok_or(Refusal::Crowded)?;
        if good.is_empty() {
            let dummy = self.dummy.clone();
            ticket.verify(dummy, attempt.password.clone()).await;
        }
        for candidate in good {
            let hash = candidate.hash.clone();
            if ticket.verify(hash, attempt.password.clone()).await {
                // Set already: somebody with the same password came another way.
                let _ = candidate.right.set(self.right(candidate, attempt));
                return Ok(candidate.tag);
            }
        }
        Err(Refusal::Wrong)
    }

    fn lane(&self, attempt: &Attempt<'_>) -> &Mutex<()> {
        let login = attempt.login.to_ascii_lowercase();
        let parts = [b"lane", login.as_bytes(), &attempt.password];
        &self.lanes[self.marker.mark(parts).below(LANES)]
    }

    /// Which candidate is known to have the password that is presented.
    fn remembered(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Option<Tag> {
        let mut good = good.iter();
        let found = good.find(|candidate| {
            let right = candidate.right.get();
            right.is_some_and(|right| right.is(&self.right(candidate, attempt)))
        });
        found.map(|candidate| candidate.tag)
    }

    /// The mark that a candidate has if `attempt` has its password. The account is in it too: a candidate is never shared.
    fn right(&self, candidate: &Candidate, attempt: &Attempt<'_>) -> Mark {
        let hash = candidate.hash.as_bytes();
        self.marker.mark([b"right", hash, &attempt.password])
    }

    fn count(&self, outcome: &Result<Arc<Account>, Refusal>) {
        let counter = match outcome {
            Ok(_) => &self.accepted,
            Err(Refusal::Wrong) => &self.wrong,
            Err(Refusal::Crowded | Refusal::Vault(_)) => &self.turned_away,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// To the second, as people read it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// ASCII case is all that is folded. An empty login opens nothing, whatever a configuration says.
fn doors(accounts: &[Arc<Account>]) -> HashMap<String, Arc<Door>> {
    let mut doors = HashMap::new();
    for account in accounts {
        let door = Arc::new(Door::new(account.clone()));
        for login in account.logins.iter().filter(|login| !login.is_empty()) {
            doors.insert(login.to_ascii_lowercase(), door.clone());
        }
    }
    doors
}

fn decoys(doors: &HashMap<String, Arc<Door>>) -> HashMap<String, Vec<Arc<Door>>> {
    let mut decoys: HashMap<_, Vec<_>> = HashMap::new();
    for door in doors.values() {
        let name = &door.account.provider.name;
        decoys.entry(name.clone()).or_default().push(door.clone());
    }
    decoys
}

#[cfg(test)]
pub(crate) mod tests;
