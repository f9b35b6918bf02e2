//! The check of the local password, and of addresses that need none: the only place that makes [`Verified`].
//!
//! It knows logins, hashes and time, and nothing of tokens or of what the protocols say. A stranger learns nothing from it: an
//! unknown login, an account without passwords, a password that is not good from here and a wrong password take the same path, cost
//! a hash, and give the same failure after the same time. A wrong password changes nothing but counters. Trouble with the vault is
//! told apart from a wrong password, since a mail program must not ask for another one then; but it says nothing of an account
//! either, since an unknown login reads some account's record as well and shares its trouble.
//!
//! Who fails too often is refused without a hash for a while, in the same words and after the same growing delay (`throttle`).
//!
//! Hashes differ in what they cost, and accounts in how many they have. While the queue is long that shows, so an unknown login is
//! checked against the passwords of some account, always the same one, and refused whatever comes of it.

mod address;
mod candidates;
mod doors;
mod hash;
mod learning;
mod named;
mod remembered;
mod scheme;
mod throttle;
mod uses;
pub mod values;
mod workers;

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
pub use doors::mailboxes;
pub use hash::{HashError, generate, hash};
pub use learning::{Window, cancel as cancel_learning, open as open_learning};
pub use named::{Kept, NamedError, NamedPassword, add, list, read, remove};
pub use scheme::{Scheme, Unfit};
pub use uses::{GRANULARITY, LastUses, Use, Uses, last_uses};

use crate::config::{Account, Provider, Roster, Senders};
use crate::dialogue::Credentials;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::vault::Vault;
use candidates::{Candidate, Door, Known};
use doors::Doors;
use hash::Cost;
use remembered::{Mark, Marker};
use throttle::{Pair, Throttle, Try};
use uses::Tag;
use values::now;
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
    /// With the base doubled so often.
    fn draw(self, doublings: u32) -> Duration {
        // Without randomness the longest wait tells as little.
        let part = getrandom::u32().unwrap_or(u32::MAX);
        self.base * 2_u32.pow(doublings)
            + self.jitter.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// What happened since the start, for `status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Logins with a right password.
    pub accepted: u64,
    /// Unknown logins and wrong passwords.
    pub wrong: u64,
    /// Logins refused unseen, after too many failures.
    pub throttled: u64,
    /// Logins turned away because too many waited, or because the vault has trouble.
    pub turned_away: u64,
    /// Hashes computed.
    pub hashes: u64,
}

/// The check of local passwords for a set of accounts.
pub struct Passwords {
    vault: Vault,
    doors: Doors,
    uses: Uses,
    house: Arc<House>,
    /// The same login with the same password goes one at a time, so that the second finds what the first remembered.
    lanes: [Mutex<()>; LANES],
}

/// What outlives a change of the accounts.
struct House {
    delay: Delay,
    /// Of what is learned.
    cost: Cost,
    dummy: Arc<str>,
    marker: Marker,
    workers: Workers,
    throttle: Throttle,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    wrong: AtomicU64,
    throttled: AtomicU64,
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
    pair: Pair,
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
    Throttled,
    Crowded,
    /// Trouble with what is kept, or with keeping what was learned.
    Vault(NamedError),
}

/// What the log says of a login that was refused unseen; the mail program hears what a wrong password hears.
pub const THROTTLED: &str = "MW-THROTTLED";

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (cause, detail) = match refusal {
            Refusal::Wrong => (Cause::Password, "unknown login or wrong password".into()),
            Refusal::Throttled => {
                let detail = "too many failed logins of late; the password was not looked at";
                return Self::new(Stage::Password, Cause::Password, detail).logged_as(THROTTLED);
            }
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
    /// Ready to check passwords of the accounts of `roster`; each source may fail so often a minute with each login. Blocks for one hash, some
    /// 30 ms.
    ///
    /// # Panics
    /// If the system has no randomness, without which nothing here would be safe.
    pub fn new(roster: &Roster, vault: Vault, failures_per_minute: usize) -> Self {
        let cost = &Cost::STANDARD;
        Self::build(roster, vault, failures_per_minute, cost)
    }

    fn build(roster: &Roster, vault: Vault, failures_per_minute: usize, cost: &Cost) -> Self {
        // The cost is one of our constants, and the salt too.
        let dummy = hash::dummy(cost).expect("a hash with fixed parameters");
        let house = House {
            delay: Delay::default(),
            cost: cost.clone(),
            dummy: dummy.into(),
            marker: Marker::new().expect("the system's randomness"),
            workers: Workers::new(),
            throttle: Throttle::new(failures_per_minute),
            counts: Counts::default(),
        };
        Self::with(roster, vault, Arc::new(house))
    }

    /// The same for the accounts of another configuration. Nobody who has failed is forgiven.
    #[must_use]
    pub fn renewed(&self, roster: &Roster, vault: Vault) -> Self {
        Self::with(roster, vault, Arc::clone(&self.house))
    }

    fn with(roster: &Roster, vault: Vault, house: Arc<House>) -> Self {
        Self {
            uses: Uses::new(vault.clone()),
            doors: Doors::new(roster, &vault),
            vault,
            house,
            lanes: [const { Mutex::const_new(()) }; LANES],
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
        let login = credentials.login.to_ascii_lowercase();
        let attempt = Attempt {
            provider: &provider.name,
            login: &login,
            password: Arc::new(credentials.password.expose_secret().to_vec().into()),
            protocol,
            source: source.to_canonical(),
            now: now(),
            pair: self.house.throttle.pair(source, &login),
        };
        let outcome = self.check(&attempt).await;
        self.count(&outcome);
        match outcome {
            Ok(account) => Ok(Verified {
                account,
                senders: None,
            }),
            Err(refusal) => {
                let doublings = self.house.throttle.refuse(attempt.pair, Instant::now());
                sleep_until(start + self.house.delay.draw(doublings)).await;
                Err(refusal.into())
            }
        }
    }

    /// Goes on with what `former`, which has the same vault, notes about last uses and knows of passwords that have not changed.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        self.uses = former.uses.clone();
        self.doors.inherit(&former.doors);
        self
    }

    /// The notes about last uses, which somebody must keep.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters {
            accepted: self.house.counts.accepted.load(Ordering::Relaxed),
            wrong: self.house.counts.wrong.load(Ordering::Relaxed),
            throttled: self.house.counts.throttled.load(Ordering::Relaxed),
            turned_away: self.house.counts.turned_away.load(Ordering::Relaxed),
            hashes: self.house.workers.hashed(),
        }
    }

    async fn check(&self, attempt: &Attempt<'_>) -> Result<Arc<Account>, Refusal> {
        // Small reads of local files; handing them to another thread would cost more than the reads.
        let found = self
            .doors
            .find(attempt.login, attempt.provider, &self.vault);
        let door = found.as_ref();
        let read = found.clone().or_else(|| self.decoy(attempt));
        let (known, trouble) = match read.map(|door| door.known(&self.vault)) {
            Some(Ok(known)) => (known, None),
            Some(Err(error)) => (Arc::default(), Some(error)),
            None => (Arc::default(), None),
        };
        let candidates = known.candidates.iter();
        let good: Vec<_> = candidates.filter(|c| attempt.may_use(c)).collect();
        if door.is_some() && good.is_empty() && !known.candidates.is_empty() {
            let (protocol, source) = (attempt.protocol, attempt.source);
            tracing::debug!(%protocol, %source, "no password of this account is good from here and now");
        }
        let tag = match door.and_then(|_| self.trusted(&good, attempt)) {
            Some(tag) => Ok(tag),
            None => self.judge(door, &known, &good, trouble, attempt).await,
        }?;
        let account = &door.ok_or(Refusal::Wrong)?.account;
        self.uses.note(&account.address, tag, attempt.as_use());
        Ok(account.clone())
    }

    /// A password that is known to be right, where that may be believed without a hash.
    fn trusted(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Option<Tag> {
        let tag = self.remembered(good, attempt)?;
        let (throttle, now) = (&self.house.throttle, Instant::now());
        throttle.trusts(attempt.pair, now).then(|| {
            throttle.welcome(attempt.pair, now);
            tag
        })
    }

    /// Looks at a password, unless too many have failed; what it is not is a failure, from the first moment on.
    async fn judge(
        &self,
        door: Option<&Arc<Door>>,
        known: &Arc<Known>,
        good: &[&Candidate],
        trouble: Option<NamedError>,
        attempt: &Attempt<'_>,
    ) -> Result<Tag, Refusal> {
        let Some(tried) = self.begin(door, attempt) else {
            // Also where it was not looked at: nobody must think of another password.
            return Err(trouble.map_or(Refusal::Throttled, Refusal::Vault));
        };
        let right = match door {
            Some(_) => self.compare(good, attempt).await,
            None => self.pretend(good, attempt).await,
        };
        let right = match (right, trouble, door) {
            (Err(Refusal::Wrong), Some(trouble), _) => Err(Refusal::Vault(trouble)),
            (Err(Refusal::Wrong), None, Some(door)) => self.learn(door, known, attempt).await,
            (right, _, _) => right,
        };
        match &right {
            Ok(_) => tried.succeed(Instant::now()),
            Err(Refusal::Crowded) => tried.call_off(),
            Err(_) => drop(tried),
        }
        right
    }

    /// Whether a password may be looked at. Who logged in from there before the start is known too: the guesses of others must not lock
    /// them out after a restart. The vault is asked only where that decides.
    fn begin(&self, door: Option<&Arc<Door>>, attempt: &Attempt<'_>) -> Option<Try<'_>> {
        let (throttle, now) = (&self.house.throttle, Instant::now());
        let was_here = || {
            let door = door.filter(|_| !throttle.knows(attempt.pair, now))?;
            // Trouble with the vault makes nobody known, and is told where passwords are read.
            let uses = last_uses(&self.vault, &door.account.address).ok()?;
            uses.came_from(attempt.source).then_some(())
        };
        throttle.begin(attempt.pair, now).or_else(|| {
            was_here()?;
            throttle.welcome(attempt.pair, now);
            throttle.begin(attempt.pair, now)
        })
    }

    /// Whose passwords an unknown login is checked against, always the same ones: it takes as long as its own would, and if the vault
    /// has trouble, so has an unknown login. Nothing comes of it.
    fn decoy(&self, attempt: &Attempt<'_>) -> Option<Arc<Door>> {
        let parts = [b"decoy", attempt.login.as_bytes(), b""];
        let mark = self.house.marker.mark(parts);
        self.doors.decoy(attempt.provider, &mark)
    }

    /// The slow way: a hash for each candidate, or for the dummy where there is none. Which one has the password that is presented.
    async fn compare(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Result<Tag, Refusal> {
        // Those who present the same password wait for the first of them, and take no place in the queue meanwhile.
        let _lane = self.lane(attempt).lock().await;
        if let Some(tag) = self.remembered(good, attempt) {
            return Ok(tag);
        }
        let ticket = self.house.workers.ticket().ok_or(Refusal::Crowded)?;
        if good.is_empty() {
            let dummy = self.house.dummy.clone();
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

    /// What a wrong password costs, for an unknown login: all the hashes, even if some account has this password.
    async fn pretend(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Result<Tag, Refusal> {
        let _lane = self.lane(attempt).lock().await;
        let ticket = self.house.workers.ticket().ok_or(Refusal::Crowded)?;
        let hashes = good.iter().map(|candidate| &candidate.hash);
        let dummy = good.is_empty().then_some(&self.house.dummy);
        for hash in hashes.chain(dummy) {
            ticket.verify(hash.clone(), attempt.password.clone()).await;
        }
        Err(Refusal::Wrong)
    }

    fn lane(&self, attempt: &Attempt<'_>) -> &Mutex<()> {
        let parts = [b"lane", attempt.login.as_bytes(), &attempt.password];
        &self.lanes[self.house.marker.mark(parts).below(LANES)]
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
        self.house.marker.mark([b"right", hash, &attempt.password])
    }

    fn count(&self, outcome: &Result<Arc<Account>, Refusal>) {
        let counts = &self.house.counts;
        let counter = match outcome {
            Ok(_) => &counts.accepted,
            Err(Refusal::Wrong) => &counts.wrong,
            Err(Refusal::Throttled) => &counts.throttled,
            Err(Refusal::Crowded | Refusal::Vault(_)) => &counts.turned_away,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
