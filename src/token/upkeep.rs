//! Renewal without anybody waiting: ahead of need for accounts in use, weekly for idle ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry::Need;
use super::keeper::Tokens;
use crate::config::{Account, Roster};

/// Requests of the upkeep under way at a time, so that many accounts do not fall upon one endpoint.
const AT_A_TIME: usize = 8;
/// The shortest sleep, and the rest that an account gets after a renewal.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);
/// The rest after a renewal that failed, which bounds the work where something stays due without getting done.
const REST: Duration = Duration::from_secs(5);

impl Tokens {
    /// Takes up the accounts of `roster`, which comes into force, at once; then renews their tokens until `stop`, and sleeps between two
    /// renewals. A mailbox of a template that gets its first password is looked after within minutes; its logins need no upkeep. What is
    /// under way at the end goes on: see [`Tokens::settle`]. There may be one upkeep at a time: after a reload, stop the former first.
    pub fn upkeep(
        self,
        roster: Roster,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let accounts = self.mailboxes(&roster);
        self.take_up(&accounts);
        self.keep_up(roster, accounts, stop)
    }

    async fn keep_up(
        self,
        roster: Roster,
        mut accounts: Vec<Arc<Account>>,
        stop: CancellationToken,
    ) {
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        let mut work = JoinSet::new();
        let mut rests = Rests::new();
        self.look(&accounts);
        let mut look_at = Instant::now() + self.inner.world.longest_sleep();
        loop {
            if Instant::now() >= look_at {
                if !roster.templates().is_empty() {
                    accounts = self.mailboxes(&roster);
                }
                self.look(&accounts);
                look_at = Instant::now() + self.inner.world.longest_sleep();
            }
            let wake = self
                .start_what_is_due(&accounts, &permits, &mut work, &mut rests)
                .min(look_at);
            tokio::select! {
                biased; // a change that this upkeep does not hear of any more must wake the next one
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(wake) => {}
                () = self.changed() => {}
                Some(done) = work.join_next() => {
                    // An account whose renewal panicked stays busy for ever; it is left to the logins.
                    if let Ok((address, rest)) = done {
                        rests.insert(address, Some(Instant::now() + rest));
                    }
                }
            }
        }
    }

    fn look(&self, accounts: &[Arc<Account>]) {
        for account in accounts {
            // Whoever logs in hears about a vault that cannot be read.
            let _ = self.notice(&self.slot(account));
        }
    }

    /// Starts every renewal that is due and says when to look again.
    fn start_what_is_due(
        &self,
        accounts: &[Arc<Account>],
        permits: &Arc<Semaphore>,
        work: &mut JoinSet<(String, Duration)>,
        rests: &mut Rests,
    ) -> Instant {
        let (now, instant) = (self.now(), Instant::now());
        let longest = self.inner.world.longest_sleep();
        let mut wake = instant + longest;
        for account in accounts {
            let slot = self.slot(account);
            let rest = match rests.get(&account.address) {
                Some(None) => continue, // its renewal is under way
                Some(Some(until)) => until.saturating_duration_since(instant),
                None => Duration::ZERO,
            };
            let Some(due) = self.due(&slot, now).filter(|_| self.is_loaded(&slot)) else {
                continue;
            };
            let sleep = Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .max(rest);
            if sleep.is_zero() {
                rests.insert(account.address.clone(), None);
                work.spawn(self.clone().look_after(account.clone(), permits.clone()));
            } else {
                wake = wake.min(instant + sleep.clamp(SHORTEST_SLEEP, longest));
            }
        }
        wake
    }

    /// One renewal. Gives the account's name and the rest that it has earned.
    async fn look_after(
        self,
        account: Arc<Account>,
        permits: Arc<Semaphore>,
    ) -> (String, Duration) {
        // The semaphore is never closed; without a permit the renewal would only be less polite.
        let _permit = permits.acquire().await;
        // What went wrong is in the account's state.
        let outcome = self.obtain(&account, Need::Upkeep).await;
        (
            account.address.clone(),
            if outcome.is_ok() {
                SHORTEST_SLEEP
            } else {
                REST
            },
        )
    }
}

/// Until when accounts are left alone; `None` while a renewal is under way.
type Rests = HashMap<String, Option<Instant>>;
