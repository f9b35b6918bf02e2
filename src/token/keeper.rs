//! Gives out access tokens: the effects around [`super::life`].
//!
//! One request is in flight for an account: in this process by the account's gate, whose waiters look again when it is their
//! turn, and between processes by the vault's lock, after which the record is read again. A request runs in a task of its own, so
//! that a login that goes away does not lose the answer.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::AccessToken;
use super::entry::{Decision, Entry, Need};
use super::grant::{Bond, Grant, GrantError};
use super::life::Brake;
use super::world::{Real, World};
use crate::config::{Account, Provider, Roster};
use crate::failure::{Cause, Failure};
use crate::oauth::OAuth;
use crate::observe::Recent;
use crate::password::{self, Verified};
use crate::stage::Stage;
use crate::vault::{Kind, Vault, VaultError};

/// A login whose old token still lives waits no longer than this for a new one.
const SPARE_PATIENCE: Duration = Duration::from_secs(2);

/// The tokens of all accounts. Cloning it is cheap and gives the same tokens.
#[derive(Clone)]
pub struct Tokens {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) vault: Vault,
    pub(super) world: Arc<dyn World>,
    known: Mutex<HashMap<(String, Bond), Arc<Known>>>,
    registrations: Mutex<Vec<Arc<Registration>>>,
    running: TaskTracker,
    /// Tells the upkeep that something became due earlier than it thought.
    pub(super) changed: Notify,
    started: Timestamp,
    pub(super) recent: Recent,
}

/// A registration's OAuth client, and the brake that all its accounts share.
pub(super) struct Registration {
    pub(super) oauth: OAuth,
    /// Shared with the same registration in former configurations.
    pub(super) brake: Arc<Mutex<Brake>>,
    is_former: AtomicBool,
}

/// What is known of one account's tokens with one registration. It outlives the configuration: a renewal that is under way during a
/// reload ends in the same place where the next one begins.
struct Known {
    gate: tokio::sync::Mutex<()>,
    entry: Mutex<Entry>,
}

/// An account as one configuration has it, and what is known of its tokens.
pub(super) struct Slot {
    pub(super) account: Arc<Account>,
    known: Arc<Known>,
}

impl Tokens {
    /// Tokens kept in `vault`; a request to a token endpoint may take `limit`.
    pub fn new(vault: Vault, limit: Duration) -> Self {
        Self::telling(vault, limit, Recent::default())
    }

    /// The same, where `recent` hears of renewals and of states.
    pub fn telling(vault: Vault, limit: Duration, recent: Recent) -> Self {
        Self::in_world(vault, Arc::new(Real { limit }), recent)
    }

    pub(super) fn in_world(vault: Vault, world: Arc<dyn World>, recent: Recent) -> Self {
        let running = TaskTracker::new();
        // It takes tasks all the same; only a closed tracker can be waited for, and opening it again could leave somebody waiting.
        running.close();
        Self {
            inner: Arc::new(Inner {
                vault,
                known: Mutex::default(),
                registrations: Mutex::default(),
                running,
                changed: Notify::new(),
                started: world.now(),
                world,
                recent,
            }),
        }
    }

    /// An access token for a login, renewed before if it is about to end.
    ///
    /// # Errors
    /// At stage `token`: [`Cause::Consent`], [`Cause::Config`], or [`Cause::Token`] where trying again later is right.
    pub async fn access(&self, verified: &Verified) -> Result<AccessToken, Failure> {
        self.obtain(verified.account(), Need::Login).await
    }

    /// A token in place of `refused`, which the provider's mail server did not take: the one that is there if it is another, else a
    /// renewed one. At most one renewal for such a reason happens in a minute; those who wait share it.
    ///
    /// # Errors
    /// As [`Tokens::access`]; [`Cause::Refused`] if the refused token was just renewed, so that another would not help.
    pub async fn renew(
        &self,
        verified: &Verified,
        refused: &AccessToken,
    ) -> Result<AccessToken, Failure> {
        self.obtain(verified.account(), Need::Instead(refused.clone()))
            .await
    }

    /// As [`Tokens::access`], for `doctor`: who runs it holds the key of the vault, which proves more than a password.
    pub(crate) async fn access_for_operator(
        &self,
        account: &Arc<Account>,
    ) -> Result<AccessToken, Failure> {
        self.obtain(account, Need::Login).await
    }

    /// A renewal now, in place of `current`, for `doctor`: a token that still lives does not say that there will be another. It keeps to
    /// the waits and the gap of [`Tokens::renew`], and asks nobody where only a person can help.
    ///
    /// # Errors
    /// As [`Tokens::renew`]; [`Cause::Refused`] also where the provider gives the same token again.
    pub(crate) async fn renew_for_operator(
        &self,
        account: &Arc<Account>,
        current: &AccessToken,
    ) -> Result<AccessToken, Failure> {
        self.obtain(account, Need::Instead(current.clone())).await
    }

    /// The mailboxes of `roster` that are in use, as this vault knows them: see [`password::mailboxes`].
    pub fn mailboxes(&self, roster: &Roster) -> Vec<Arc<Account>> {
        password::mailboxes(roster, &self.inner.vault)
    }

    /// Waits until no request is under way. Call it before the process ends, so that no answer with a rotated token is lost.
    pub async fn settle(&self) {
        self.inner.running.wait().await;
    }

    pub(super) async fn obtain(
        &self,
        account: &Arc<Account>,
        need: Need,
    ) -> Result<AccessToken, Failure> {
        let slot = self.slot(account);
        let registration = self.registration(&account.provider)?;
        if !matches!(need, Need::Upkeep) {
            self.note_use(&slot);
        }
        // A renewal that is under way may bring another token than the refused one; so nobody is turned away before its end.
        let may_come = matches!(need, Need::Instead(_)) && slot.known.gate.try_lock().is_err();
        match self.decide(&slot, &registration, &need) {
            Decision::Serve(token) => return Ok(token),
            Decision::Refuse(failure) if !may_come => return Err(failure),
            Decision::Refuse(_) | Decision::Renew => {}
        }
        let spare = matches!(need, Need::Login)
            .then(|| slot.entry().living_token(self.now()))
            .flatten();
        let work = self.clone().renew_grant(slot, registration, need);
        let work = self.inner.running.spawn(work);
        let outcome = match spare {
            None => work.await,
            Some(spare) => match tokio::time::timeout(SPARE_PATIENCE, work).await {
                Ok(outcome) => outcome,
                Err(_) => return Ok(spare),
            },
        };
        outcome.unwrap_or_else(|error| Err(internal(&format!("the renewal ended: {error}"))))
    }

    /// Takes up the accounts of a configuration that comes into force. Accounts and providers are other objects then, but what is
    /// known of the same account with the same registration lives on.
    ///
    /// What only a change of configuration can heal is asked about anew; an account that is gone is forgotten, but for a refresh
    /// token that the vault has not taken yet: the account may come back.
    pub(super) fn take_up(&self, accounts: &[Arc<Account>]) {
        let mut in_force = HashSet::new();
        for account in accounts {
            self.slot(account).entry().life.reconsidered();
            in_force.insert(place(account));
            // Whoever logs in hears about a registration that is no good.
            let _ = self.registration(&account.provider);
        }
        lock(&self.inner.known).retain(|place, known| {
            in_force.contains(place)
                || Arc::strong_count(known) > 1
                || lock(&known.entry).unsaved.is_some()
        });
        lock(&self.inner.registrations).retain(|registration| {
            let provider = registration.oauth.provider();
            let is_in_force = accounts
                .iter()
                .any(|account| Arc::ptr_eq(&account.provider, provider));
            lock(&registration.brake).reconsidered();
            registration
                .is_former
                .store(!is_in_force, Ordering::Relaxed);
            is_in_force
        });
    }

    /// The account's slot.
    pub(super) fn slot(&self, account: &Arc<Account>) -> Slot {
        let mut known = lock(&self.inner.known);
        let known = known.entry(place(account));
        let fresh = || Known {
            gate: tokio::sync::Mutex::default(),
            entry: Mutex::new(Entry::new(self.inner.started, self.inner.world.clone())),
        };
        Slot {
            account: account.clone(),
            known: known.or_insert_with(|| Arc::new(fresh())).clone(),
        }
    }

    fn registration(&self, provider: &Arc<Provider>) -> Result<Arc<Registration>, Failure> {
        let mut registrations = lock(&self.inner.registrations);
        let same = |known: &&Arc<Registration>| Arc::ptr_eq(known.oauth.provider(), provider);
        if let Some(known) = registrations.iter().find(same) {
            return Ok(known.clone());
        }
        let oauth = self.inner.world.client(provider.clone());
        let oauth =
            oauth.map_err(|error| Failure::new(Stage::Token, Cause::Config, error.to_string()))?;
        let bond = Bond::of(provider);
        let former = registrations
            .iter()
            .find(|known| Bond::of(known.oauth.provider()) == bond);
        let registration = Arc::new(Registration {
            oauth,
            brake: former.map_or_else(Arc::default, |former| former.brake.clone()),
            is_former: AtomicBool::new(false),
        });
        registrations.push(registration.clone());
        Ok(registration)
    }

    /// The brake of a registration that was used already. It only looks: making one reads the system's CA certificates.
    fn brake_of(&self, provider: &Provider) -> Option<Brake> {
        let bond = Bond::of(provider);
        let registrations = lock(&self.inner.registrations);
        let mut registrations = registrations.iter();
        let known = registrations.find(|known| Bond::of(known.oauth.provider()) == bond);
        known.map(|known| known.brake())
    }

    fn note_use(&self, slot: &Slot) {
        let now = self.now();
        let mut entry = slot.entry();
        let was_idle = entry.upkeep(now).is_idle(now);
        entry.used_at = now;
        if was_idle {
            self.inner.changed.notify_one();
        }
    }

    /// Looks whether somebody else (`authorize`, another process) wrote the record, and reads it if so.
    ///
    /// This blocks, for well under a millisecond on a local disk. On a network file system that hangs it holds a worker of the
    /// runtime, and with it others' sessions, until the file system comes back; a vault should not be kept on one. Another thread
    /// for each look would cost every login more than the look.
    pub(super) fn notice(&self, slot: &Slot) -> Result<(), Failure> {
        let address = &slot.account.address;
        let mut entry = slot.entry();
        if entry.is_writing {
            return Ok(());
        }
        let revision = self.inner.vault.revision(Kind::Grant, address);
        if entry.is_loaded && entry.revision == revision.map_err(|error| from_vault(&error))? {
            return Ok(());
        }
        let record = self.inner.vault.read(Kind::Grant, address);
        let record = record.map_err(|error| from_vault(&error))?;
        let grant = record
            .as_ref()
            .map(|record| Grant::from_bytes(&record.bytes));
        let grant = grant.transpose().map_err(from_grant)?;
        let former = entry.is_loaded.then_some(entry.life.state);
        entry.adopt(grant, record.map(|record| record.revision), &slot.account);
        let life = &entry.life;
        if former.is_some_and(|former| former != life.state) {
            self.inner
                .recent
                .state(address, life.state, &life.reason, &life.remedy);
        }
        Ok(())
    }

    pub(super) fn decide(&self, slot: &Slot, registration: &Registration, need: &Need) -> Decision {
        let now = self.now();
        if let Err(failure) = self.notice(slot) {
            // A vault that cannot be read is no reason to stop while the token in memory lives.
            let living = slot.entry().living_token(now);
            return match (need, living) {
                (Need::Login, Some(token)) => Decision::Serve(token),
                _ => Decision::Refuse(failure),
            };
        }
        let brake = registration.brake();
        slot.entry().decide(need, now, &brake, &slot.account)
    }

    /// What the upkeep needs to know: when to look after the account, if ever.
    pub(super) fn due(&self, slot: &Slot, now: Timestamp) -> Option<Timestamp> {
        let brake = self.registration(&slot.account.provider).ok()?.brake();
        let entry = slot.entry();
        let due = match entry.unsaved {
            Some(_) => entry.life.next_try(now).unwrap_or(now),
            None => entry.life.due(&entry.upkeep(now), now)?,
        };
        Some(brake.until(now).map_or(due, |until| until.max(due)))
    }

    pub(super) fn is_loaded(&self, slot: &Slot) -> bool {
        slot.entry().is_loaded
    }

    pub(super) async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    /// How the account stands, from what is known in this process after a look into the vault (which blocks for a moment).
    pub fn status(&self, account: &Arc<Account>) -> super::AccountStatus {
        let (slot, now) = (self.slot(account), self.now());
        let trouble = self.notice(&slot).err();
        let brake = self.brake_of(&account.provider);
        let brake = brake.and_then(|brake| brake.as_life());
        let entry = slot.entry();
        let held_back = brake.filter(|_| entry.waits_for_its_turn(now));
        let life = held_back.as_ref().unwrap_or(&entry.life);
        super::AccountStatus::new(life, entry.grant.as_deref(), trouble, now)
    }

    /// The clock on the wall.
    pub(super) fn now(&self) -> Timestamp {
        self.inner.world.now()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("vault", &self.inner.vault)
            .finish_non_exhaustive()
    }
}

impl Registration {
    /// The brake as it is now. Copied, so that its lock and an account's are never held together.
    pub(super) fn brake(&self) -> Brake {
        lock(&self.brake).clone()
    }

    /// Whether another configuration is in force by now.
    pub(super) fn is_former(&self) -> bool {
        self.is_former.load(Ordering::Relaxed)
    }
}

impl Slot {
    /// Waits until nobody else in this process renews.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.known.gate.lock().await
    }

    pub(super) fn entry(&self) -> MutexGuard<'_, Entry> {
        lock(&self.known.entry)
    }
}

/// What tells what is known of one account from another's: letters of an address fold as in the vault.
fn place(account: &Account) -> (String, Bond) {
    let address = account.address.to_ascii_lowercase();
    (address, Bond::of(&account.provider))
}

pub(super) fn internal(words: &str) -> Failure {
    Failure::new(Stage::Token, Cause::Token, words)
}

fn from_vault(error: &VaultError) -> Failure {
    let cause = match error.may_pass() {
        true => Cause::Token,
        false => Cause::Config,
    };
    Failure::new(Stage::Token, cause, error.to_string())
}

fn from_grant(error: GrantError) -> Failure {
    Failure::new(Stage::Token, Cause::Config, error.to_string())
}

/// A poisoned lock only says that a thread panicked; every change under these locks is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
