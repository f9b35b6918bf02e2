//! Live figures: sessions and octets, by listener and by account.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Recent;
use crate::failure::Failure;
use crate::relay::Traffic;

/// The figures of one listener, and of the accounts that logged in there.
#[derive(Default)]
pub struct Counters {
    sessions: AtomicU64,
    logins: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    accounts: Mutex<BTreeMap<String, AccountFigures>>,
    recent: Recent,
}

/// The figures of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerFigures {
    /// Sessions that are logged in now.
    pub sessions: u64,
    /// Logins that succeeded since the start.
    pub logins: u64,
    /// Logins refused since the start, throttled ones among them.
    #[serde(default)]
    pub refused: u64,
    /// Those that were refused unseen, after too many others.
    #[serde(default)]
    pub throttled: u64,
    /// Octets from mail programs to the provider, in sessions that have ended.
    pub up: u64,
    /// Octets from the provider to mail programs, in sessions that have ended.
    pub down: u64,
}

/// The figures of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountFigures {
    /// Sessions that are logged in now.
    pub sessions: u64,
    /// When the last login succeeded.
    pub last_login: Option<Timestamp>,
    /// The last login that failed although its password was right, if none has succeeded since.
    pub last_failure: Option<LoginFailure>,
}

/// A login that failed although its password was right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFailure {
    /// When.
    pub at: Timestamp,
    /// When the first one failed after the last success.
    #[serde(default)]
    pub since: Timestamp,
    /// The short code that the mail program heard.
    pub code: String,
    /// What happened, in words.
    pub detail: String,
}

impl AccountFigures {
    /// The figures of one account at two addresses that speak the same protocol: a success at one ends the failures at the other.
    pub fn plus(self, other: Self) -> Self {
        let last_login = self.last_login.max(other.last_login);
        let after = |failure: Option<LoginFailure>| failure?.after(last_login);
        Self {
            sessions: self.sessions + other.sessions,
            last_login,
            last_failure: LoginFailure::together(
                after(self.last_failure),
                after(other.last_failure),
            ),
        }
    }

    /// The figures of one account in two protocols: mail may be read and still not be sent.
    pub fn beside(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            last_login: self.last_login.max(other.last_login),
            last_failure: LoginFailure::together(self.last_failure, other.last_failure),
        }
    }
}

impl LoginFailure {
    /// This failure, if that login was not later.
    fn after(self, login: Option<Timestamp>) -> Option<Self> {
        let Some(login) = login else {
            return Some(self);
        };
        let since = self.since.max(login);
        (self.at >= login).then_some(Self { since, ..self })
    }

    /// The last of two, since the first.
    fn together(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let both = one.into_iter().chain(other);
        both.reduce(|one, other| {
            let since = one.since.min(other.since);
            let last = if one.at > other.at { one } else { other };
            Self { since, ..last }
        })
    }
}

/// A session that is logged in; it counts as long as it lives.
pub struct Session {
    counters: Arc<Counters>,
    account: String,
}

impl Counters {
    /// Figures that begin at nothing, and tell `recent` what happens.
    pub fn new(recent: Recent) -> Self {
        Self {
            recent,
            ..Self::default()
        }
    }

    /// What has happened lately, on all listeners.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Counts a login.
    pub fn logged_in(self: &Arc<Self>, account: &str) -> Session {
        self.sessions.fetch_add(1, Relaxed);
        self.logins.fetch_add(1, Relaxed);
        self.with_account(account, |figures| {
            figures.sessions += 1;
            figures.last_login = Some(Timestamp::now());
            figures.last_failure = None;
        });
        Session {
            counters: Arc::clone(self),
            account: account.to_owned(),
        }
    }

    /// Counts a login that was refused, unseen if it was throttled.
    pub fn refused(&self, is_throttled: bool) {
        self.refused.fetch_add(1, Relaxed);
        self.throttled.fetch_add(is_throttled.into(), Relaxed);
    }

    /// Keeps in mind why a login failed although its password was right.
    pub fn failed(&self, account: &str, failure: &Failure) {
        let at = Timestamp::now();
        self.with_account(account, |figures| {
            let former = figures.last_failure.as_ref();
            figures.last_failure = Some(LoginFailure {
                at,
                since: former.map_or(at, |former| former.since),
                code: failure.cause.code().to_owned(),
                detail: failure.detail.clone(),
            });
        });
    }

    /// The figures now.
    pub fn listener(&self) -> ListenerFigures {
        ListenerFigures {
            sessions: self.sessions.load(Relaxed),
            logins: self.logins.load(Relaxed),
            refused: self.refused.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            up: self.up.load(Relaxed),
            down: self.down.load(Relaxed),
        }
    }

    /// The figures of an account now.
    pub fn account(&self, account: &str) -> AccountFigures {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account).cloned().unwrap_or_default()
    }

    fn with_account(&self, account: &str, change: impl FnOnce(&mut AccountFigures)) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        change(accounts.entry(account.to_owned()).or_default());
    }
}

impl Session {
    /// Adds what went through.
    pub fn ended(self, traffic: Traffic) {
        self.counters.up.fetch_add(traffic.up, Relaxed);
        self.counters.down.fetch_add(traffic.down, Relaxed);
        self.counters.recent.carried(&self.account, traffic);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.counters.sessions.fetch_sub(1, Relaxed);
        self.counters
            .with_account(&self.account, |figures| figures.sessions -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Cause;
    use crate::stage::Stage;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn failed(since: i64, last: i64) -> AccountFigures {
        AccountFigures {
            last_failure: Some(LoginFailure {
                at: at(last),
                since: at(since),
                code: "MW-UPSTREAM".into(),
                detail: String::new(),
            }),
            ..AccountFigures::default()
        }
    }

    fn logged_in(second: i64) -> AccountFigures {
        AccountFigures {
            last_login: Some(at(second)),
            ..AccountFigures::default()
        }
    }

    fn times(figures: AccountFigures) -> Option<(Timestamp, Timestamp)> {
        let failure = figures.last_failure?;
        Some((failure.since, failure.at))
    }

    #[test]
    fn a_failure_at_one_address_is_over_after_a_success_at_the_other_in_the_same_protocol_only() {
        assert_eq!(times(failed(1, 1).plus(logged_in(2))), None);
        assert_eq!(times(logged_in(2).plus(failed(1, 1))), None);
        assert_eq!(times(logged_in(2).plus(failed(3, 3))), Some((at(3), at(3))));
        assert_eq!(
            times(failed(1, 1).beside(logged_in(2))),
            Some((at(1), at(1)))
        );
    }

    #[test]
    fn failures_count_from_the_first_after_the_last_success() {
        let both = failed(1, 9).plus(failed(4, 5));
        assert_eq!(times(both.clone()), Some((at(1), at(9))));
        assert_eq!(times(both.plus(logged_in(6))), Some((at(6), at(9))));
        let counters = Arc::new(Counters::default());
        let failure = Failure::new(Stage::Dial, Cause::Upstream, "down");
        let figures = || counters.account("alice").last_failure.expect("a failure");
        counters.failed("alice", &failure);
        let first = figures().at;
        counters.failed("alice", &failure);
        assert_eq!(figures().since, first);
        drop(counters.logged_in("alice"));
        counters.failed("alice", &failure);
        assert!(figures().since > first);
    }
}
