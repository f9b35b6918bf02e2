//! What has happened lately, for people who look at the console. It is kept in memory, within bounds, and gone at a restart.
//!
//! Knows no secret: whoever tells something here tells the log the same.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::notify::{Event, Notice};
use crate::protocol::Protocol;
use crate::relay::Traffic;
use crate::stage::Stage;
use crate::token::life::State;

/// How many events of each kind are kept. A flood of one kind never pushes another out.
const KEPT: usize = 500;
/// How many hours the figures of carried mail reach back, the running one included.
pub const HOURS: usize = 24;

/// What has happened lately. Cloning it is cheap and gives the same memory.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    inner: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Counts what was told, so that events of one moment keep their order.
    told: u64,
    rings: [VecDeque<Happened>; Kind::ALL.len()],
    carried: BTreeMap<String, Hours>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// Its number since the start.
    pub number: u64,
    /// Whose mailbox it concerns, where that is known.
    pub account: Option<String>,
    /// What.
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A mail program has tried to log in.
    Login(Login),
    /// The provider gave a new access token.
    Renewed {
        /// When it ends.
        until: Option<Timestamp>,
    },
    /// An account has entered a state.
    State {
        /// Which.
        state: State,
        /// Why; may be empty.
        reason: String,
        /// What to do; may be empty.
        remedy: String,
    },
    /// Something that people should hear.
    Notice(Notice),
    /// The configuration was taken up anew, or not.
    Reload {
        /// Why not.
        fault: Option<String>,
    },
}

/// The end of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What became of it.
    pub outcome: Outcome,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where the mail program is.
    pub source: IpAddr,
    /// The name that was presented.
    pub login: String,
    /// The short code of what went wrong.
    pub code: Option<&'static str>,
    /// How far it came.
    pub stage: Stage,
    /// What happened, in words.
    pub detail: Option<String>,
}

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mail program is in.
    Ok,
    /// Login and password do not fit together.
    Refused,
    /// The password was right, and something else went wrong.
    Failed,
}

impl Outcome {
    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Logins of people who are known.
    Login,
    /// Logins that were refused: anybody can cause them.
    Refused,
    /// New access tokens.
    Renewed,
    /// States of accounts.
    State,
    /// What people were told.
    Notice,
    /// Configurations.
    Reload,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Login,
        Self::Refused,
        Self::Renewed,
        Self::State,
        Self::Notice,
        Self::Reload,
    ];

    fn of(what: &What) -> Self {
        match what {
            What::Login(login) if login.outcome == Outcome::Refused => Self::Refused,
            What::Login(_) => Self::Login,
            What::Renewed { .. } => Self::Renewed,
            What::State { .. } => Self::State,
            What::Notice(_) => Self::Notice,
            What::Reload { .. } => Self::Reload,
        }
    }
}

impl Happened {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        Kind::of(&self.what)
    }
}

impl Recent {
    /// A login came to its end; `account` is known once the password was right.
    pub fn login(&self, account: Option<&str>, login: Login) {
        self.tell(account, What::Login(login));
    }

    /// The provider gave a token.
    pub fn renewed(&self, account: &str, until: Option<Timestamp>) {
        self.tell(Some(account), What::Renewed { until });
    }

    /// An account entered a state.
    pub fn state(&self, account: &str, state: State, reason: &str, remedy: &str) {
        let (reason, remedy) = (reason.to_owned(), remedy.to_owned());
        let what = What::State {
            state,
            reason,
            remedy,
        };
        self.tell(Some(account), what);
    }

    /// Something that people should hear. What ends need not be a mailbox, so only troubles are kept with their account.
    pub fn notice(&self, notice: &Notice) {
        let account = (notice.event != Event::Ending).then_some(notice.subject.as_str());
        self.tell(account, What::Notice(notice.clone()));
    }

    /// The configuration was taken up, or not.
    pub fn reload(&self, fault: Option<String>) {
        self.tell(None, What::Reload { fault });
    }

    /// A session carried mail.
    pub fn carried(&self, account: &str, traffic: Traffic) {
        let now = Timestamp::now();
        let mut memory = self.memory();
        if !memory.carried.contains_key(account) {
            // Mailboxes of whole domains come and go; those of which nothing would be shown make room.
            memory
                .carried
                .retain(|_, hours| hour(now) - hours.last < HOURS as i64);
        }
        let hours = memory.carried.entry(account.to_owned()).or_default();
        hours.add(now, traffic);
    }

    /// Everything that is kept, the newest first.
    pub fn all(&self) -> Vec<Happened> {
        self.matching(|_| true)
    }

    /// What is kept of one account, the newest first, with what was refused to whoever called themselves by its address. ASCII case is
    /// ignored.
    pub fn of_account(&self, address: &str) -> Vec<Happened> {
        self.matching(|event| {
            let name = match (&event.account, &event.what) {
                (Some(account), _) => account,
                (None, What::Login(login)) => &login.login,
                (None, _) => return false,
            };
            name.eq_ignore_ascii_case(address)
        })
    }

    /// Octets that an account's sessions carried in each of the last [`HOURS`] hours, the oldest first: up and down. A session counts
    /// when it ends.
    pub fn hours(&self, account: &str, now: Timestamp) -> [(u64, u64); HOURS] {
        let memory = self.memory();
        let hours = memory.carried.get(account);
        hours.map_or([(0, 0); HOURS], |hours| hours.until(now))
    }

    fn matching(&self, fits: impl Fn(&Happened) -> bool) -> Vec<Happened> {
        let memory = self.memory();
        let events = memory.rings.iter().flatten().filter(|event| fits(event));
        let mut events: Vec<_> = events.cloned().collect();
        drop(memory);
        events.sort_by_key(|event| std::cmp::Reverse(event.number));
        events
    }

    fn tell(&self, account: Option<&str>, what: What) {
        let mut memory = self.memory();
        memory.told += 1;
        let event = Happened {
            at: Timestamp::now(),
            number: memory.told,
            account: account.map(str::to_owned),
            what,
        };
        let ring = &mut memory.rings[event.kind() as usize];
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Octets by the hour, in a ring.
#[derive(Debug, Default)]
struct Hours {
    /// The hour since the epoch that was written last.
    last: i64,
    ring: [(u64, u64); HOURS],
}

impl Hours {
    fn add(&mut self, now: Timestamp, traffic: Traffic) {
        let hour = hour(now).max(self.last); // a clock that is set back
        let passed = hour.saturating_sub(self.last).min(HOURS as i64);
        for hour in (hour - passed + 1)..=hour {
            self.ring[place(hour)] = (0, 0);
        }
        self.last = hour;
        let (up, down) = &mut self.ring[place(hour)];
        *up = up.saturating_add(traffic.up);
        *down = down.saturating_add(traffic.down);
    }

    fn until(&self, now: Timestamp) -> [(u64, u64); HOURS] {
        let hour = hour(now).max(self.last);
        let oldest = self.last - HOURS as i64;
        std::array::from_fn(|at| {
            let wanted = hour - (HOURS - 1 - at) as i64;
            let is_kept = wanted > oldest && wanted <= self.last;
            if is_kept {
                self.ring[place(wanted)]
            } else {
                (0, 0)
            }
        })
    }
}

fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(3600)
}

fn place(hour: i64) -> usize {
    hour.rem_euclid(HOURS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(outcome: Outcome) -> Login {
        Login {
            outcome,
            protocol: Protocol::Imap,
            source: [192, 0, 2, 1].into(),
            login: "alice".into(),
            code: None,
            stage: Stage::Login,
            detail: None,
        }
    }

    #[test]
    fn the_newest_comes_first_whatever_its_kind() {
        let recent = Recent::default();
        recent.login(Some("alice@example.com"), login(Outcome::Ok));
        recent.renewed("alice@example.com", None);
        recent.login(Some("bob@example.com"), login(Outcome::Failed));
        let kinds: Vec<_> = recent.all().iter().map(Happened::kind).collect();
        assert_eq!(kinds, [Kind::Login, Kind::Renewed, Kind::Login]);
        let refused = Login {
            login: "alice@example.com".into(),
            ..login(Outcome::Refused)
        };
        recent.login(None, refused);
        let alices = recent.of_account("Alice@example.com");
        let kinds: Vec<_> = alices.iter().map(Happened::kind).collect();
        assert_eq!(kinds, [Kind::Refused, Kind::Renewed, Kind::Login]);
    }

    #[test]
    fn a_flood_of_refused_logins_is_bounded_and_pushes_nothing_else_out() {
        let recent = Recent::default();
        recent.state("alice@example.com", State::NeedsConsent, "it lapsed", "");
        for _ in 0..3 * KEPT {
            recent.login(None, login(Outcome::Refused));
        }
        assert_eq!(recent.all().len(), KEPT + 1);
        assert_eq!(recent.of_account("alice@example.com").len(), 1);
    }

    #[test]
    fn mail_is_counted_by_the_hour_and_forgotten_after_a_day() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).expect("a time");
        let traffic = |down| Traffic { up: 1, down };
        let mut hours = Hours::default();
        hours.add(at(0), traffic(10));
        hours.add(at(0), traffic(5));
        hours.add(at(3), traffic(7));
        assert_eq!(hours.until(at(3))[HOURS - 1], (1, 7));
        assert_eq!(hours.until(at(3))[HOURS - 4], (2, 15));
        assert_eq!(hours.until(at(23))[0], (2, 15));
        assert_eq!(hours.until(at(24))[0], (0, 0), "a day is over");
        assert_eq!(hours.until(at(26))[0], (1, 7));
        hours.add(at(100), traffic(1));
        assert_eq!(
            hours.until(at(100)).iter().map(|hour| hour.1).sum::<u64>(),
            1
        );
    }
}
