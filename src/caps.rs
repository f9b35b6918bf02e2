//! How many sessions of an account there may be at once: with its provider, by protocol, and in all.
//!
//! A provider refuses sessions beyond its own number, and what it says then is rarely understood. So those beyond the number wait
//! here for a moment, in the order in which they came, and are then told to come back. The numbers follow the configuration while
//! sessions go on. Where a provider says for how long it wants no other login, all are told so at once until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::config::{Account, MOST_SESSIONS, Roster};
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;

/// How long a login waits for a place; mail programs give up after ten seconds at the earliest.
const WAIT: Duration = Duration::from_secs(5);
/// A provider's wish to be left alone is kept for so long at most.
const LONGEST_HOLD: Duration = Duration::from_secs(5 * 60);

/// The places of all accounts. It outlives reloads.
#[derive(Debug)]
pub struct Caps {
    per_account: Option<usize>,
    caps: Mutex<Table>,
    holds: Mutex<Holds>,
}

/// By account, and by protocol or over all of them.
type Table = HashMap<(String, Option<Protocol>), Arc<Cap>>;

/// Until when nobody may log in, by account and protocol: providers count each protocol for itself, and a program that fetches too
/// often must not keep alarms from being sent.
type Holds = HashMap<(String, Protocol), Instant>;

/// The places that a session has; they are free again when this is dropped.
#[derive(Debug)]
pub struct Seat(#[expect(dead_code, reason = "held, not used")] [Held; 2]);

impl Caps {
    /// With so many sessions for each account over all protocols, if that is limited.
    pub fn new(per_account: Option<usize>) -> Self {
        Self {
            per_account,
            caps: Mutex::default(),
            holds: Mutex::default(),
        }
    }

    /// Places for a session of `account`, perhaps after a while.
    ///
    /// # Errors
    /// [`Cause::Limit`], if none became free in time, or at once while the provider wants no login.
    pub async fn enter(&self, account: &Account, protocol: Protocol) -> Result<Seat, Failure> {
        self.not_held(account, protocol)?;
        let until = Instant::now() + WAIT;
        let all = self.cap(account, None).enter(until).await;
        let all = all.ok_or_else(|| {
            let most = self.per_account.unwrap_or(MOST_SESSIONS);
            let advice = "close mail programs, or raise `sessions-per-account` in [limits]";
            full(format!(
                "{} has {most} sessions already; {advice}",
                account.address
            ))
        })?;
        let own = self.cap(account, Some(protocol)).enter(until).await;
        let own = own.ok_or_else(|| {
            let most = account.max_upstream.of(protocol).unwrap_or(MOST_SESSIONS);
            full(format!(
                "{} has {most} {protocol} sessions already; close mail programs, or raise `max-upstream = {{ {protocol} = {most} }}` in its [[account]] if its provider allows more",
                account.address
            ))
        })?;
        // Whoever had the place before may have heard it meanwhile.
        self.not_held(account, protocol)?;
        Ok(Seat([all, own]))
    }

    /// The provider wants no other login of `account` for so long. A later wish does not shorten an earlier one.
    pub fn hold(&self, account: &Account, protocol: Protocol, pause: Duration) {
        let until = Instant::now() + pause.min(LONGEST_HOLD);
        let key = (account.address.clone(), protocol);
        let mut holds = self.holds();
        let hold = holds.entry(key).or_insert(until);
        *hold = until.max(*hold);
    }

    fn not_held(&self, account: &Account, protocol: Protocol) -> Result<(), Failure> {
        let mut holds = self.holds();
        if holds.is_empty() {
            return Ok(()); // as nearly always
        }
        let key = (account.address.clone(), protocol);
        let Some(until) = holds.get(&key) else {
            return Ok(());
        };
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            holds.remove(&key);
            return Ok(());
        }
        Err(full(format!(
            "the provider wants no other {protocol} login of {} for {} s more; let its mail programs log in less often",
            account.address,
            rest.as_secs() + 1
        )))
    }

    /// Takes other numbers up. Nobody who has a place loses it.
    pub fn adopt(&self, roster: &Roster) {
        self.caps().retain(|(address, protocol), cap| {
            let account = roster.by_address(address);
            if let Some(account) = &account {
                cap.resize(self.number(account, *protocol));
            }
            account.is_some()
        });
        self.holds()
            .retain(|(address, _), _| roster.by_address(address).is_some());
    }

    fn cap(&self, account: &Account, protocol: Option<Protocol>) -> Arc<Cap> {
        let key = (account.address.clone(), protocol);
        let cap = || Arc::new(Cap::new(self.number(account, protocol)));
        Arc::clone(self.caps().entry(key).or_insert_with(cap))
    }

    /// Sessions are counted without a limit too: a reload may bring one.
    fn number(&self, account: &Account, protocol: Option<Protocol>) -> usize {
        let number = match protocol {
            Some(protocol) => account.max_upstream.of(protocol),
            None => self.per_account,
        };
        number.unwrap_or(MOST_SESSIONS)
    }

    fn caps(&self) -> MutexGuard<'_, Table> {
        // Every change is complete when the lock is given back.
        self.caps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(detail: String) -> Failure {
    Failure::new(Stage::Dial, Cause::Limit, detail)
}

/// A number of places that can change while they are taken.
#[derive(Debug)]
struct Cap {
    places: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    places: usize,
    /// Places that are taken and will not be given out again.
    surplus: usize,
}

/// One place.
#[derive(Debug)]
struct Held {
    cap: Arc<Cap>,
    /// `None` only while it is dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl Cap {
    fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            size: Mutex::new(Size { places, surplus: 0 }),
        }
    }

    async fn enter(self: Arc<Self>, until: Instant) -> Option<Held> {
        let place = Arc::clone(&self.places).acquire_owned();
        // It is never closed, so only time can be the reason.
        let permit = timeout_at(until, place).await.ok()?.ok()?;
        Some(Held {
            cap: self,
            permit: Some(permit),
        })
    }

    fn resize(&self, places: usize) {
        let mut size = self.size();
        if places > size.places {
            let more = places - size.places;
            let paid = more.min(size.surplus);
            size.surplus -= paid;
            self.places.add_permits(more - paid);
        } else {
            let fewer = size.places - places;
            size.surplus += fewer - self.places.forget_permits(fewer);
        }
        size.places = places;
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut size = self.cap.size();
        if let Some(permit) = self.permit.take().filter(|_| size.surplus > 0) {
            size.surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MaxUpstream, Template};
    use crate::password::tests::account;

    fn with(smtp: Option<usize>) -> Arc<Account> {
        let account = account("alice@contoso.com", &["alice"], &[]);
        let mut account = Account::clone(&account);
        account.max_upstream = MaxUpstream {
            smtp,
            ..MaxUpstream::default()
        };
        Arc::new(account)
    }

    async fn enter(caps: &Caps, account: &Account) -> Result<Seat, Failure> {
        caps.enter(account, Protocol::Smtp).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_beyond_the_number_waits_and_is_then_told_what_to_do() {
        let (caps, alice) = (Caps::new(None), with(Some(2)));
        let seats = [enter(&caps, &alice).await, enter(&caps, &alice).await];
        let start = Instant::now();
        let failure = enter(&caps, &alice).await.unwrap_err();
        assert_eq!(start.elapsed(), WAIT);
        assert_eq!(failure.cause, Cause::Limit);
        let advice = "alice@contoso.com has 2 smtp sessions already";
        assert!(failure.detail.starts_with(advice), "{failure}");
        assert!(failure.detail.contains("max-upstream = { smtp = 2 }"));
        // Another protocol has numbers of its own.
        caps.enter(&alice, Protocol::Imap).await.unwrap();
        drop(seats);
        enter(&caps, &alice).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_is_let_in_first() {
        let (caps, alice) = (Arc::new(Caps::new(None)), with(Some(1)));
        let seat = enter(&caps, &alice).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..4 {
            let (caps, alice, order) = (caps.clone(), alice.clone(), order.clone());
            waiting.spawn(async move {
                let _seat = enter(&caps, &alice).await.unwrap();
                order.lock().unwrap().push(number);
            });
            tokio::task::yield_now().await;
        }
        drop(seat);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_waiting_takes_no_place() {
        let (caps, alice) = (Caps::new(None), with(Some(1)));
        let seat = enter(&caps, &alice).await.unwrap();
        let hasty = tokio::time::timeout(Duration::from_secs(1), enter(&caps, &alice));
        assert!(hasty.await.is_err());
        drop(seat);
        enter(&caps, &alice).await.unwrap();
    }

    fn roster(account: &Arc<Account>) -> Roster {
        Roster::new(vec![Arc::clone(account)], Vec::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_changes_the_number_and_takes_nobody_the_place() {
        let caps = Caps::new(None);
        let (free, two, three) = (with(None), with(Some(2)), with(Some(3)));
        let mut seats = Vec::new();
        for _ in 0..3 {
            seats.push(enter(&caps, &free).await.unwrap());
        }
        caps.adopt(&roster(&two));
        assert!(enter(&caps, &two).await.is_err());
        seats.pop();
        assert!(enter(&caps, &two).await.is_err(), "two are there still");
        caps.adopt(&roster(&three));
        seats.push(enter(&caps, &three).await.unwrap());
        assert!(enter(&caps, &three).await.is_err());
        caps.adopt(&roster(&two));
        caps.adopt(&roster(&three));
        assert!(enter(&caps, &three).await.is_err());
        seats.clear();
        for _ in 0..3 {
            seats.push(enter(&caps, &three).await.unwrap());
        }
        assert!(enter(&caps, &three).await.is_err());
        caps.adopt(&Roster::default());
        assert!(caps.caps().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_sessions_of_an_account_are_limited_over_all_protocols() {
        let (caps, alice) = (Caps::new(Some(2)), with(None));
        let _imap = caps.enter(&alice, Protocol::Imap).await.unwrap();
        let _pop3 = caps.enter(&alice, Protocol::Pop3).await.unwrap();
        let failure = enter(&caps, &alice).await.unwrap_err();
        assert!(failure.detail.contains("sessions-per-account"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mailbox_of_a_whole_domain_keeps_its_places_through_a_reload() {
        let caps = Caps::new(None);
        let alice = with(Some(1));
        let _seat = enter(&caps, &alice).await.unwrap();
        let template = Template {
            pattern: "*@contoso.com".into(),
            provider: Arc::clone(&alice.provider),
            max_upstream: alice.max_upstream,
        };
        caps.adopt(&Roster::new(Vec::new(), vec![Arc::new(template)]));
        assert!(enter(&caps, &alice).await.is_err(), "the place is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_wants_no_login_is_left_alone_for_as_long_as_it_says() {
        let (caps, alice) = (Caps::new(None), with(None));
        caps.hold(&alice, Protocol::Smtp, Duration::from_secs(90));
        caps.hold(&alice, Protocol::Smtp, Duration::from_secs(1));
        let start = Instant::now();
        let failure = enter(&caps, &alice).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::ZERO, "answered at once");
        assert_eq!(failure.cause, Cause::Limit);
        assert!(failure.detail.contains("smtp login"), "{failure}");
        caps.enter(&alice, Protocol::Imap).await.unwrap();
        let bob = account("bob@contoso.com", &["bob"], &[]);
        enter(&caps, &bob).await.unwrap();
        tokio::time::advance(Duration::from_secs(89)).await;
        assert!(enter(&caps, &alice).await.is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        enter(&caps, &alice).await.unwrap();
        assert!(caps.holds().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_a_place_hears_that_the_provider_wants_no_login() {
        let (caps, alice) = (Arc::new(Caps::new(None)), with(Some(1)));
        let seat = enter(&caps, &alice).await.unwrap();
        let (waiting_at, waiting_for) = (caps.clone(), alice.clone());
        let waiting = tokio::spawn(async move { enter(&waiting_at, &waiting_for).await });
        tokio::task::yield_now().await;
        caps.hold(&alice, Protocol::Smtp, Duration::MAX);
        drop(seat);
        assert!(waiting.await.unwrap().is_err());
        tokio::time::advance(LONGEST_HOLD).await;
        enter(&caps, &alice).await.unwrap();
        caps.hold(&alice, Protocol::Smtp, Duration::MAX);
        caps.adopt(&Roster::default());
        assert!(caps.holds().is_empty());
    }
}
