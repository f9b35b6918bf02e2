//! What is known of one account's grant, and what follows from it for somebody who needs a token.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::AccessToken;
use super::grant::Grant;
use super::life::{Brake, Life, Span, State, Step, Trouble, Upkeep};
use super::world::World;
use crate::config::Account;
use crate::failure::{Cause, Failure};
use crate::oauth::OAuthError;
use crate::oauth::catalogue::Class;
use crate::oauth::response::Answer;
use crate::stage::Stage;
use crate::vault::Revision;

/// Two clocks that are read one after the other never agree quite.
const CLOCK_JITTER: Duration = Duration::from_secs(1);

/// What is known of an account's grant.
pub(super) struct Entry {
    /// Whether the vault was read; `revision` is then the record that `grant` came from.
    pub(super) is_loaded: bool,
    pub(super) revision: Option<Revision>,
    pub(super) grant: Option<Arc<Grant>>,
    pub(super) life: Life,
    /// A grant with a rotated refresh token that the vault did not take; nobody gets its access token before it does. It may have
    /// none, or one that has ended, if the refresh token was all that was good of the answer.
    pub(super) unsaved: Option<Grant>,
    /// An answer was lost, so the provider may have rotated the refresh token without our knowing.
    pub(super) is_ambiguous: bool,
    /// We are writing the record ourselves, so its new revision is no news.
    pub(super) is_writing: bool,
    pub(super) used_at: Timestamp,
    pub(super) luck: f64,
    /// When the grant was taken up, by the clock on the wall and by the one that nobody can set.
    taken_up: (Timestamp, Instant),
    world: Arc<dyn World>,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// A token for a login.
    Login,
    /// A token in place of this one, which a mail server refused.
    Instead(AccessToken),
    /// Nobody waits; a renewal ahead of need, if it is due.
    Upkeep,
}

pub(super) enum Decision {
    Serve(AccessToken),
    Renew,
    Refuse(Failure),
}

impl Entry {
    /// Before the vault was looked at.
    pub(super) fn new(started: Timestamp, world: Arc<dyn World>) -> Self {
        Self {
            is_loaded: false,
            revision: None,
            grant: None,
            life: Life::new(State::Unauthorized, started),
            unsaved: None,
            is_ambiguous: false,
            is_writing: false,
            used_at: started,
            luck: world.luck(),
            taken_up: (started, Instant::now()),
            world,
        }
    }

    /// Takes up what the vault holds. A grant of another registration is left where it is, and not used.
    pub(super) fn adopt(
        &mut self,
        grant: Option<Grant>,
        revision: Option<Revision>,
        account: &Account,
    ) {
        let record = grant.as_ref();
        let still_succeeds =
            |unsaved: &Grant| record.is_some_and(|record| unsaved.succeeds(record));
        if self.revision != revision {
            // Somebody wrote another one. If it has the token that ours was given for, ours is the only one that is still good.
            self.unsaved = self.unsaved.take().filter(still_succeeds);
        }
        (self.is_loaded, self.revision, self.is_ambiguous) = (true, revision, false);
        let foreign = grant
            .as_ref()
            .filter(|grant| !grant.belongs_to(&account.provider));
        let foreign = foreign.map(Grant::made_with);
        let grant = grant.filter(|_| foreign.is_none());
        if self.unsaved.is_none() {
            self.life = match &grant {
                Some(grant) => grant.life(),
                None if account.provider.flow.is_unattended() => {
                    Life::new(State::Ok, self.life.since)
                }
                None => never_authorised(foreign, self.life.since, account),
            };
        }
        self.grant = grant.map(Arc::new);
        self.luck = self.world.luck();
        self.taken_up = (self.world.now(), Instant::now());
    }

    /// Takes up a grant that was just made.
    pub(super) fn take(&mut self, grant: Grant) {
        self.grant = Some(Arc::new(grant));
        (self.is_ambiguous, self.luck) = (false, self.world.luck());
        self.taken_up = (self.world.now(), Instant::now());
    }

    pub(super) fn granted(&self, answer: &Answer, sent: Timestamp, account: &Account) -> Grant {
        let mut healthy = self.life.clone();
        healthy.succeeded(self.world.now());
        match &self.grant {
            Some(grant) => grant.renewed(answer, sent),
            None => Grant::new(&account.provider, answer, sent),
        }
        .in_state(&healthy)
    }

    /// What has to be written after a refusal: a state that must outlive the process, or a refresh token that came all the same.
    pub(super) fn after_refusal(&self, error: OAuthError) -> Option<Grant> {
        let grant = self.grant.as_deref()?.clone().in_state(&self.life);
        match error {
            OAuthError::Unusable(unusable) => {
                Some(grant.with_refresh_token(unusable.refresh_token?))
            }
            _ => (self.life.state != State::Retrying).then_some(grant),
        }
    }

    /// Remembers that a renewal begins because a mail server refused the token that is there.
    pub(super) fn note_force(&mut self, need: &Need, now: Timestamp) {
        if let Need::Instead(refused) = need
            && self.living_token(now).as_ref() == Some(refused)
        {
            self.life.forced(now);
        }
    }

    pub(super) fn has_same_refresh_token(&self, grant: &Grant) -> bool {
        match grant.refresh_token() {
            None => true,
            Some(token) => self
                .grant
                .as_ref()
                .is_some_and(|own| own.has_refresh_token(token)),
        }
    }

    pub(super) fn living_token(&self, now: Timestamp) -> Option<AccessToken> {
        let grant = self.grant.as_ref()?;
        self.span(now).filter(|span| span.is_alive(now))?;
        grant.access_token().cloned()
    }

    /// The life of the access token, by the clock as it is `now`.
    fn span(&self, now: Timestamp) -> Option<Span> {
        let span = self.grant.as_deref().and_then(Grant::span)?;
        Some(span.earlier(self.set_back(now)))
    }

    /// By how much the clock on the wall was set back since the grant was taken up. That it is ahead may be true: the other clock
    /// stands still while the machine sleeps.
    fn set_back(&self, now: Timestamp) -> Duration {
        let (wall, steady) = self.taken_up;
        let expected = wall.checked_add(steady.elapsed()).unwrap_or(now);
        let lost = Duration::try_from(expected.duration_since(now)).unwrap_or_default();
        if lost < CLOCK_JITTER {
            Duration::ZERO
        } else {
            lost
        }
    }

    pub(super) fn upkeep(&self, now: Timestamp) -> Upkeep {
        let grant = self.grant.as_deref();
        let refresh_until = grant.and_then(Grant::refresh_expires_at);
        Upkeep {
            span: self.span(now),
            used_at: self.used_at,
            refresh_until: refresh_until
                .and_then(|until| until.checked_sub(self.set_back(now)).ok()),
            can_lapse: grant.is_some_and(|grant| grant.refresh_token().is_some()),
            luck: self.luck,
        }
    }

    pub(super) fn decide(
        &self,
        need: &Need,
        now: Timestamp,
        brake: &Brake,
        account: &Account,
    ) -> Decision {
        let current = self.living_token(now);
        let span = self.span(now);
        let step = match need {
            Need::Instead(refused) if current.as_ref() == Some(refused) => {
                self.life.when_refused(now, brake)
            }
            Need::Upkeep => self.step_of_upkeep(now, brake),
            Need::Login | Need::Instead(_) if self.unsaved.is_some() => {
                self.life.at_login(None, now, brake)
            }
            Need::Login | Need::Instead(_) => self.life.at_login(span, now, brake),
        };
        match (step, current) {
            (Step::Renew, _) => Decision::Renew,
            (Step::Serve, Some(token)) => Decision::Serve(token),
            // Only with a token that could not be saved: its predecessor serves as long as it lives.
            (Step::Refuse, Some(token)) if matches!(need, Need::Login) => Decision::Serve(token),
            (Step::Serve | Step::Refuse, _) => {
                Decision::Refuse(self.refusal(need, now, brake, account))
            }
        }
    }

    /// Whether nothing keeps this account from a renewal that is due, unless something keeps all of them.
    pub(super) fn waits_for_its_turn(&self, now: Timestamp) -> bool {
        let due = self.life.due(&self.upkeep(now), now);
        self.is_loaded && self.life.state == State::Ok && due.is_some_and(|due| due <= now)
    }

    fn step_of_upkeep(&self, now: Timestamp, brake: &Brake) -> Step {
        let due = self.life.due(&self.upkeep(now), now);
        let is_due = self.unsaved.is_some() || due.is_some_and(|due| due <= now);
        if is_due && self.life.may_ask(now) && brake.is_off(now) {
            Step::Renew
        } else {
            Step::Serve
        }
    }

    /// After a renewal that did not happen: the old token for a login, while it lives.
    pub(super) fn fall_back(
        &self,
        need: &Need,
        brake: &Brake,
        account: &Account,
    ) -> Result<AccessToken, Failure> {
        let now = self.world.now();
        match (need, self.living_token(now)) {
            (Need::Login, Some(token)) => Ok(token),
            _ => Err(self.refusal(need, now, brake, account)),
        }
    }

    fn refusal(&self, need: &Need, now: Timestamp, brake: &Brake, account: &Account) -> Failure {
        let is_healthy = self.life.state == State::Ok;
        if let (true, Some(trouble)) = (is_healthy, brake.trouble(now)) {
            return failure(trouble.class.into(), &trouble.reason, &trouble.remedy);
        }
        if matches!(need, Need::Instead(_)) && is_healthy && self.life.was_just_forced(now) {
            return just_renewed();
        }
        let Life {
            state,
            reason,
            remedy,
            ..
        } = &self.life;
        if reason.is_empty() {
            let reason = format!("no token for {}", account.address);
            return failure(*state, &reason, remedy);
        }
        failure(*state, reason, remedy)
    }

    /// What a refusal means for this account.
    pub(super) fn trouble(&self, error: &OAuthError, account: &Account) -> Trouble {
        let class = match error.class() {
            // Nobody signs in for an application: somebody has to change its rights.
            Class::Consent if account.provider.flow.is_unattended() => Class::Config,
            class => class,
        };
        let mut reason = error.to_string();
        if self.is_ambiguous && class == Class::Consent {
            reason.push_str(
                "; an earlier answer was lost on the network, and with it perhaps a renewed sign-in",
            );
        }
        Trouble {
            class,
            retry_after: error.retry_after(),
            reason,
            remedy: error.remedy().replace("ACCOUNT", &account.address),
        }
    }
}

fn never_authorised(foreign: Option<String>, since: Timestamp, account: &Account) -> Life {
    let mut life = Life::new(State::Unauthorized, since);
    life.reason = match foreign {
        Some(made_with) => format!(
            "the stored sign-in was made with {made_with}, not with the present registration"
        ),
        None => "nobody has signed in for this account yet".into(),
    };
    life.remedy = format!("Run: mailwicket authorize {}", account.address);
    life
}

fn failure(state: State, reason: &str, remedy: &str) -> Failure {
    let cause = match state {
        State::NeedsConsent | State::Unauthorized => Cause::Consent,
        State::ConfigError => Cause::Config,
        State::Ok | State::Retrying => Cause::Token,
    };
    let gap = if remedy.is_empty() { "" } else { ". " };
    let detail = format!("{reason}{gap}{remedy}");
    Failure::new(Stage::Token, cause, detail).remedied(Some(remedy))
}

pub(super) fn just_renewed() -> Failure {
    Failure::new(
        Stage::Token,
        Cause::Refused,
        "the mail server refused a token that had just been renewed",
    )
}
