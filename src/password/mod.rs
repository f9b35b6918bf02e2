//! The check of the local password: the only place that makes [`Verified`].
//!
//! It knows logins, hashes and time, and nothing of tokens or of what the protocols say. A stranger learns nothing from it: an
//! unknown login, an account without passwords, a password that is not good from here and a wrong password take the same path, cost
//! a hash, and give the same failure after the same time. A wrong password changes nothing but counters. Trouble with the vault is
//! told apart from a wrong password, since a mail program must not ask for another one then; but it says nothing of an account
//! either, since an unknown login reads some account's record as well and shares its trouble.
//!
//! Who fails too often is refused without a hash for a while, in the same words and after the same growing delay (`throttle`).
//!
//! What this does not hide: an account with several passwords costs a hash for each, so while the queue is long its refusals can
//! come later than others'.

mod candidates;
mod hash;
mod named;
mod remembered;
mod throttle;
mod workers;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

pub use hash::{HashError, generate, hash};
pub use named::{NamedError, NamedPassword, add, list, remove};

use crate::config::{Account, Provider};
use crate::dialogue::Credentials;
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::vault::Vault;
use candidates::{Candidate, Door};
use hash::Cost;
use remembered::{Mark, Marker};
use throttle::{Pair, Throttle};
use workers::Workers;

/// Passwords of one account, in the configuration and the vault together: the hashes that one wrong password costs.
pub const MAX_PER_ACCOUNT: usize = 16;

/// Far more than logins under way at once, so that two different ones rarely share a lane.
const LANES: usize = 64;

/// Proof that somebody presented a right password for an account; the only key to a token.
#[derive(Clone, Debug)]
pub struct Verified {
    account: Arc<Account>,
}

impl Verified {
    /// The account that was opened.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
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
    /// Argon2 hashes computed.
    pub hashes: u64,
}

/// The check of local passwords for a set of accounts.
pub struct Passwords {
    vault: Vault,
    /// By login, in lower case.
    doors: HashMap<String, Arc<Door>>,
    /// Those that unknown logins read the records of, by provider.
    decoys: HashMap<String, Vec<Arc<Door>>>,
    house: Arc<House>,
    /// The same login with the same password goes one at a time, so that the second finds what the first remembered.
    lanes: [Mutex<()>; LANES],
}

/// What outlives a change of the accounts.
struct House {
    delay: Delay,
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
    pair: Pair,
}

impl Attempt<'_> {
    fn may_use(&self, candidate: &Candidate) -> bool {
        candidate.is_good_for(self.protocol, self.source)
    }
}

/// Why a login was refused.
enum Refusal {
    Wrong,
    Throttled,
    Crowded,
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
    /// Ready to check passwords of `accounts`; each source may fail so often a minute with each login. Blocks for one hash, some
    /// 30 ms.
    ///
    /// # Panics
    /// If the system has no randomness, without which nothing here would be safe.
    pub fn new(accounts: &[Arc<Account>], vault: Vault, failures_per_minute: usize) -> Self {
        let cost = &Cost::STANDARD;
        Self::build(accounts, vault, failures_per_minute, cost)
    }

    fn build(
        accounts: &[Arc<Account>],
        vault: Vault,
        failures_per_minute: usize,
        cost: &Cost,
    ) -> Self {
        // The cost is one of our constants, and the salt too.
        let dummy = hash::dummy(cost).expect("a hash with fixed parameters");
        let house = House {
            delay: Delay::default(),
            dummy: dummy.into(),
            marker: Marker::new().expect("the system's randomness"),
            workers: Workers::new(),
            throttle: Throttle::new(failures_per_minute),
            counts: Counts::default(),
        };
        Self::with(accounts, vault, Arc::new(house), &HashMap::new())
    }

    /// The same for the accounts of another configuration. Nobody who has failed is forgiven, and no program has to pay for a hash
    /// again whose password has not changed.
    pub fn renewed(&self, accounts: &[Arc<Account>], vault: Vault) -> Self {
        Self::with(accounts, vault, Arc::clone(&self.house), &self.doors)
    }

    fn with(
        accounts: &[Arc<Account>],
        vault: Vault,
        house: Arc<House>,
        former: &HashMap<String, Arc<Door>>,
    ) -> Self {
        let doors = doors(accounts, former);
        Self {
            vault,
            decoys: decoys(&doors),
            doors,
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
            pair: self.house.throttle.pair(source, &login),
        };
        let outcome = self.check(&attempt).await;
        self.count(&outcome);
        match outcome {
            Ok(account) => Ok(Verified { account }),
            Err(refusal) => {
                let doublings = self.house.throttle.refuse(attempt.pair, Instant::now());
                sleep_until(start + self.house.delay.draw(doublings)).await;
                Err(refusal.into())
            }
        }
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
        let door = self.doors.get(attempt.login);
        let door = door.filter(|door| door.account.provider.name == attempt.provider);
        let read = door.or_else(|| self.decoy(attempt));
        // A small read of a local file; handing it to another thread would cost more than the read.
        let (found, trouble) = match read.map(|door| door.candidates(&self.vault)) {
            Some(Ok(found)) => (found, None),
            Some(Err(error)) => (Arc::default(), Some(error)),
            None => (Arc::default(), None),
        };
        let candidates = if door.is_some() { &found[..] } else { &[] };
        let good: Vec<_> = candidates.iter().filter(|c| attempt.may_use(c)).collect();
        if good.is_empty() && !candidates.is_empty() {
            let (protocol, source) = (attempt.protocol, attempt.source);
            tracing::debug!(%protocol, %source, "no password of this account is good from here");
        }
        if !self.trusts(&good, attempt) {
            let compared = self.compare(&good, attempt).await;
            compared.map_err(|refusal| match (refusal, trouble) {
                // Also where it was not looked at: nobody must think of another password.
                (Refusal::Wrong | Refusal::Throttled, Some(trouble)) => Refusal::Vault(trouble),
                (refusal, _) => refusal,
            })?;
        }
        door.map(|door| door.account.clone()).ok_or(Refusal::Wrong)
    }

    /// Whose record an unknown login reads, always the same one: it takes as long as its own would, and if the vault has trouble, so
    /// has an unknown login. Nothing of the record is used.
    fn decoy(&self, attempt: &Attempt<'_>) -> Option<&Arc<Door>> {
        let doors = self.decoys.get(attempt.provider)?;
        let mark = self
            .house
            .marker
            .mark([b"decoy", attempt.login.as_bytes(), b""]);
        doors.get(mark.below(doors.len()))
    }

    /// The slow way: Argon2 with each candidate, or with the dummy where there is none.
    async fn compare(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> Result<(), Refusal> {
        // Those who present the same password wait for the first of them, and take no place in the queue meanwhile.
        let _lane = self.lane(attempt).lock().await;
        if self.trusts(good, attempt) {
            return Ok(());
        }
        let allowed = self.house.throttle.begin(attempt.pair, Instant::now());
        let counted = allowed.ok_or(Refusal::Throttled)?;
        let Some(ticket) = self.house.workers.ticket() else {
            counted.call_off();
            return Err(Refusal::Crowded);
        };
        if good.is_empty() {
            let dummy = self.house.dummy.clone();
            ticket.verify(dummy, attempt.password.clone()).await;
        }
        for candidate in good {
            let hash = candidate.hash.clone();
            if ticket.verify(hash, attempt.password.clone()).await {
                // Set already: somebody with the same password came another way.
                let _ = candidate.right.set(self.right(candidate, attempt));
                counted.succeed(Instant::now());
                return Ok(());
            }
        }
        Err(Refusal::Wrong)
    }

    fn lane(&self, attempt: &Attempt<'_>) -> &Mutex<()> {
        let parts = [b"lane", attempt.login.as_bytes(), &attempt.password];
        &self.lanes[self.house.marker.mark(parts).below(LANES)]
    }

    /// Whether the password is known to be right, and may be taken without a hash.
    fn trusts(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> bool {
        let now = Instant::now();
        let trusted =
            self.remembers(good, attempt) && self.house.throttle.trusts(attempt.pair, now);
        if trusted {
            self.house.throttle.welcome(attempt.pair, now);
        }
        trusted
    }

    fn remembers(&self, good: &[&Candidate], attempt: &Attempt<'_>) -> bool {
        good.iter().any(|candidate| {
            let right = candidate.right.get();
            right.is_some_and(|right| right.is(&self.right(candidate, attempt)))
        })
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

/// ASCII case is all that is folded. An empty login opens nothing, whatever a configuration says.
fn doors(
    accounts: &[Arc<Account>],
    former: &HashMap<String, Arc<Door>>,
) -> HashMap<String, Arc<Door>> {
    let mut doors = HashMap::new();
    for account in accounts {
        let logins = || account.logins.iter().filter(|login| !login.is_empty());
        let former = logins().find_map(|login| former.get(&login.to_ascii_lowercase()));
        let door = Arc::new(Door::new(account.clone(), former.map(Arc::as_ref)));
        for login in logins() {
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
