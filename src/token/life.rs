//! The life of a token, as decisions without clock, chance or I/O: the caller brings `now` and `luck`, and does what is decided.
//!
//! `luck` is a number from 0 to 1, drawn anew for each use; it spreads what many accounts would else do at once.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::oauth::catalogue::Class;

/// An access token is renewed this long before its end, or a tenth of its life if that is longer.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Spread of the renewal, to either side.
const AHEAD_SPREAD: Duration = Duration::from_secs(30);
/// A new login gets no token with less than this left: logging in takes time, and some servers check more than once.
const LEFT_FOR_LOGIN: Duration = Duration::from_secs(60);
/// The life of a token whose provider does not say; the usual one.
const GUESSED_LIFE: Duration = Duration::from_secs(3600);
/// The longest wait between tries while the endpoint has trouble.
const RETRY_CAP: Duration = Duration::from_secs(60);
/// The first and the longest wait after a refusal that only a change of configuration can heal. Asking again now and then
/// lets a renewed secret work without a restart.
const CONFIG_FIRST: Duration = Duration::from_secs(5 * 60);
const CONFIG_CAP: Duration = Duration::from_secs(3600);
/// `Retry-After` is kept up to this; a mistaken "next year" must not end an account.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(3600);
/// After a mail server refused a token, the next renewal for such a reason comes no sooner than this.
const FORCED_GAP: Duration = Duration::from_secs(60);
/// An account that nobody used for this long is not renewed ahead of need.
const IDLE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A refresh token is used this often, so that the 90 days (Entra) and 6 months (Google) of disuse never pass.
const KEEP_ALIVE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much earlier than that it may happen, to spread accounts that were authorised together.
const KEEP_ALIVE_SPREAD: Duration = Duration::from_secs(12 * 3600);
/// By so much a wait may seem too long before it counts as over. Clocks are set back: a little all the time, which must not end a
/// wait early, and sometimes by years, which must not freeze an account.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// While one request probes an endpoint that failed, others of the same registration stay back this long at most.
const PROBE: Duration = Duration::from_secs(10);
/// A request that finds the endpoint broken may have itself to blame. So many accounts in a row have not.
const DOUBTS: usize = 3;

/// How an account stands with its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Tokens come when they are asked for.
    Ok,
    /// Temporary trouble; everything is kept and tried again.
    Retrying,
    /// A person must sign in again.
    NeedsConsent,
    /// Somebody must change the registration or the configuration.
    ConfigError,
    /// Never authorised with the registration that is configured now.
    Unauthorized,
}

impl State {
    /// The word that people and scripts see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::NeedsConsent => "needs-consent",
            Self::ConfigError => "config-error",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// Whether asking the provider makes any sense before a person did something.
    const fn may_heal_by_itself(self) -> bool {
        matches!(self, Self::Ok | Self::Retrying | Self::ConfigError)
    }
}

impl From<Class> for State {
    fn from(class: Class) -> Self {
        match class {
            Class::Consent => Self::NeedsConsent,
            Class::Config => Self::ConfigError,
            Class::Retry => Self::Retrying,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// From when until when an access token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it was asked for: the provider counts from a moment that is no earlier.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

impl Span {
    /// The life of a token that was asked for at `from`.
    pub fn new(from: Timestamp, life: Option<Duration>) -> Self {
        Self {
            from,
            until: after(from, life.unwrap_or(GUESSED_LIFE)),
        }
    }

    fn life(&self) -> Duration {
        gap(self.from, self.until)
    }

    /// The same life where the clock has lost so much since.
    pub fn earlier(self, by: Duration) -> Self {
        Self {
            from: before(self.from, by),
            until: before(self.until, by),
        }
    }

    /// Whether it was asked for at a time that has not come yet: the clock was set back, and nothing is known of its end.
    fn is_of_the_future(&self, now: Timestamp) -> bool {
        gap(now, self.from) > CLOCK_SLACK
    }

    /// When to renew it, ahead of need. Of a short life at least the first half is used.
    pub fn refresh_at(&self, luck: f64) -> Timestamp {
        let ahead = AHEAD.max(self.life() / 10).min(self.life() / 2);
        let spread = AHEAD_SPREAD.min(self.life() / 20);
        let early = ahead + spread.mul_f64(2.0 * share(luck));
        before(self.until, early.saturating_sub(spread))
    }

    /// Whether enough is left for a new login; of a short life, a quarter.
    pub fn is_fit(&self, now: Timestamp) -> bool {
        gap(now, self.until) >= LEFT_FOR_LOGIN.min(self.life() / 4)
            && self.is_alive(now)
            && !self.is_of_the_future(now)
    }

    /// Whether it has not ended.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// Why the provider gave no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What has to happen.
    pub class: Class,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What happened, without secrets.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// Waiting between failures.
#[derive(Clone, Debug, Default)]
struct Backoff {
    failures: u32,
    wait: Option<Wait>,
    /// The part of it that the provider asked for.
    asked: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Timestamp,
    /// How long it was when it began.
    length: Duration,
}

impl Wait {
    fn new(now: Timestamp, length: Duration) -> Self {
        let until = after(now, length);
        Self { until, length }
    }

    /// Whether more of it seems to be left than there ever was: the clock was set back since.
    fn is_void(&self, now: Timestamp) -> bool {
        gap(now, self.until) > self.length + CLOCK_SLACK
    }
}

impl Backoff {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until(now).is_none_or(|until| now >= until)
    }

    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let wait = self.wait.filter(|wait| !wait.is_void(now));
        wait.map(|wait| wait.until)
    }

    fn failed(&mut self, now: Timestamp, trouble: &Trouble, luck: f64) {
        self.failures = self.failures.saturating_add(1);
        let (first, cap) = match trouble.class {
            Class::Retry => (Duration::from_secs(1), RETRY_CAP),
            Class::Consent | Class::Config => (CONFIG_FIRST, CONFIG_CAP),
        };
        let most = first
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(cap);
        let wait = first + (most - first).mul_f64(share(luck));
        let asked = trouble.retry_after.unwrap_or_default().min(RETRY_AFTER_CAP);
        // Never earlier than asked, and not all at the same moment.
        let asked = asked + asked.mul_f64(share(luck) / 10.0);
        self.wait = Some(Wait::new(now, wait.max(asked)));
        self.asked = (!asked.is_zero()).then(|| Wait::new(now, asked));
    }

    fn reconsidered(&mut self) {
        (self.failures, self.wait) = (0, self.asked);
    }
}

/// What to do for somebody who needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand out the token that is there.
    Serve,
    /// Ask the provider for another.
    Renew,
    /// Say no, with the state's reason.
    Refuse,
}

/// How an account stands, and what may be done next.
#[derive(Clone, Debug)]
pub struct Life {
    /// The state.
    pub state: State,
    /// Why it is not `ok`.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
    /// Since when.
    pub since: Timestamp,
    backoff: Backoff,
    forced_at: Option<Timestamp>,
}

impl Life {
    /// A life that is taken up in `state`.
    pub fn new(state: State, since: Timestamp) -> Self {
        Self {
            state,
            reason: String::new(),
            remedy: String::new(),
            since,
            backoff: Backoff::default(),
            forced_at: None,
        }
    }

    /// When the provider will be asked again after a failure.
    pub fn next_try(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.backoff.until(now);
        until.filter(|_| self.state.may_heal_by_itself())
    }

    /// Whether the provider may be asked now.
    pub fn may_ask(&self, now: Timestamp) -> bool {
        self.state.may_heal_by_itself() && self.backoff.is_over(now)
    }

    /// For a login: a fit token, else a new one, else the old one until its very end.
    pub fn at_login(&self, span: Option<Span>, now: Timestamp, brake: &Brake) -> Step {
        if span.is_some_and(|span| span.is_fit(now)) {
            Step::Serve
        } else if self.may_ask(now) && brake.is_off(now) {
            Step::Renew
        } else if span.is_some_and(|span| span.is_alive(now)) {
            Step::Serve
        } else {
            Step::Refuse
        }
    }

    /// For a login whose token a mail server refused although it has not ended. Never [`Step::Serve`].
    pub fn when_refused(&self, now: Timestamp, brake: &Brake) -> Step {
        if self.may_ask(now) && brake.is_off(now) && !self.was_just_forced(now) {
            Step::Renew
        } else {
            Step::Refuse
        }
    }

    /// Whether a token was renewed a moment ago because a mail server had refused its predecessor.
    pub fn was_just_forced(&self, now: Timestamp) -> bool {
        self.forced_at
            .is_some_and(|at| at <= now && gap(at, now) < FORCED_GAP)
    }

    /// A renewal begins because a mail server refused the token.
    pub fn forced(&mut self, now: Timestamp) {
        self.forced_at = Some(now);
    }

    /// The provider gave a token. True if that changes the state.
    pub fn succeeded(&mut self, now: Timestamp) -> bool {
        self.backoff = Backoff::default();
        self.enter(State::Ok, now, "", "")
    }

    /// The provider gave none. True if that changes the state.
    pub fn failed(&mut self, now: Timestamp, trouble: &Trouble, luck: f64) -> bool {
        self.backoff.failed(now, trouble, luck);
        self.enter(trouble.class.into(), now, &trouble.reason, &trouble.remedy)
    }

    /// The configuration was looked at by a person: asking again may help by now. What the provider asked for is kept.
    pub fn reconsidered(&mut self) {
        self.backoff.reconsidered();
    }

    fn enter(&mut self, state: State, now: Timestamp, reason: &str, remedy: &str) -> bool {
        (self.reason, self.remedy) = (reason.to_owned(), remedy.to_owned());
        let is_new = self.state != state;
        if is_new {
            (self.state, self.since) = (state, now);
        }
        is_new
    }

    /// When to ask the provider without anybody waiting; `None`: not before something changes.
    pub fn due(&self, upkeep: &Upkeep, now: Timestamp) -> Option<Timestamp> {
        if !self.state.may_heal_by_itself() {
            return None;
        }
        let wanted = match upkeep.span {
            Some(span) if span.is_of_the_future(now) => now,
            Some(span) if upkeep.is_idle(now) => upkeep.keep_alive(span)?,
            Some(span) => {
                let ahead = span.refresh_at(upkeep.luck);
                // An access token may live longer than a refresh token that nobody uses.
                upkeep.keep_alive(span).map_or(ahead, |at| at.min(ahead))
            }
            None => now,
        };
        let until = self.backoff.until(now);
        Some(until.map_or(wanted, |until| until.max(wanted)))
    }
}

/// What the upkeep of an account depends on.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// The life of the access token that is there.
    pub span: Option<Span>,
    /// When somebody last needed a token.
    pub used_at: Timestamp,
    /// When the refresh token ends, where the provider says so.
    pub refresh_until: Option<Timestamp>,
    /// Whether there is a refresh token that could lapse.
    pub can_lapse: bool,
    /// Drawn once for each token.
    pub luck: f64,
}

impl Upkeep {
    /// Whether nobody used the account lately.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        gap(self.used_at, now) >= IDLE_AFTER
    }

    /// When the refresh token must be used, whoever uses the access token: every week, or in the middle of a shorter life.
    fn keep_alive(&self, span: Span) -> Option<Timestamp> {
        let most = self.refresh_until.map_or(KEEP_ALIVE, |until| {
            KEEP_ALIVE.min(gap(span.from, until) / 2)
        });
        let early = KEEP_ALIVE_SPREAD.min(most / 4).mul_f64(share(self.luck));
        self.can_lapse.then(|| after(span.from, most - early))
    }
}

/// Holds all accounts of a registration back after one of them met what all of them would meet.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    backoff: Backoff,
    trouble: Option<Trouble>,
    /// Since when there is trouble.
    since: Timestamp,
    /// The accounts that found the endpoint broken since it last answered as it should.
    doubts: Vec<String>,
}

impl Brake {
    /// Whether a request may be sent.
    pub fn is_off(&self, now: Timestamp) -> bool {
        self.backoff.is_over(now)
    }

    /// Until when no request may be sent, if one has failed.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.backoff.until(now)
    }

    /// Why not.
    pub fn trouble(&self, now: Timestamp) -> Option<&Trouble> {
        self.trouble.as_ref().filter(|_| !self.is_off(now))
    }

    /// Asks for leave to send a request. After a failure one request goes first and the others wait for its outcome.
    pub fn admit(&mut self, now: Timestamp) -> bool {
        let admitted = self.is_off(now);
        if admitted && self.trouble.is_some() {
            self.backoff.wait = Some(Wait::new(now, PROBE));
        }
        admitted
    }

    /// A request met trouble that concerns every account.
    pub fn failed(&mut self, now: Timestamp, trouble: &Trouble, luck: f64) {
        self.backoff.failed(now, trouble, luck);
        if self.trouble.is_none() {
            self.since = now;
        }
        self.trouble = Some(trouble.clone());
    }

    /// A request of `account` found the endpoint broken. If others did so before, it concerns every account.
    pub fn doubted(&mut self, account: &str, now: Timestamp, trouble: &Trouble, luck: f64) {
        if !self.doubts.iter().any(|known| known == account) && self.doubts.len() < DOUBTS {
            self.doubts.push(account.to_owned());
        }
        if self.trouble.is_some() || self.doubts.len() == DOUBTS {
            self.failed(now, trouble, luck);
        }
    }

    /// How an account stands that needs a token and is held back by this.
    pub fn as_life(&self) -> Option<Life> {
        let trouble = self.trouble.as_ref()?;
        let mut life = Life::new(State::Ok, self.since);
        life.enter(
            trouble.class.into(),
            self.since,
            &trouble.reason,
            &trouble.remedy,
        );
        life.backoff = self.backoff.clone();
        Some(life)
    }

    /// See [`Life::reconsidered`]. One request still goes first.
    pub fn reconsidered(&mut self) {
        self.backoff.reconsidered();
    }

    /// The endpoint answered as it should, be it with a refusal of one account.
    pub fn release(&mut self) {
        *self = Self::default();
    }
}

fn share(luck: f64) -> f64 {
    if luck.is_finite() {
        luck.clamp(0.0, 1.0)
    } else {
        0.5
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// From `from` to `to`; nothing if that is in the past.
fn gap(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
